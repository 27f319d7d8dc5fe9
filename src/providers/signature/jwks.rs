//! A provider's public keys (JSON Web Key Set, RFC 7517), and the two kinds of signature that are checked with them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// More keys than any provider has; each costs a verification.
const KEYS_MAX: usize = 32;

/// The keys that we can use; others in the set are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwks {
    ed25519: Vec<Key<Vec<u8>>>,
    rsa: Vec<Key<(Vec<u8>, Vec<u8>)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key<T> {
    id: Option<String>,
    key: T,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The members that matter (RFC 7518, 6.3; RFC 8037, 2).
#[derive(Deserialize)]
struct Member {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Jwks {
    /// Reads a set. An error if it is none, or holds no key that we can use: the last good set is better then.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(text).map_err(|_| "not a set of keys (JWKS)".to_owned())?;
        let mut known = Self::default();
        for member in set.keys.into_iter().take(KEYS_MAX) {
            if let Ok(member) = serde_json::from_value::<Member>(member) {
                known.add(member);
            }
        }
        if known == Self::default() {
            return Err("the set of keys (JWKS) holds no Ed25519 or RSA key".to_owned());
        }
        Ok(known)
    }

    /// Whether a key of this id is there; if not, the set may be out of date.
    pub fn has(&self, id: &str) -> bool {
        let is = |known: &Option<String>| known.as_deref() == Some(id);
        self.ed25519.iter().any(|key| is(&key.id)) || self.rsa.iter().any(|key| is(&key.id))
    }

    fn add(&mut self, member: Member) {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?.trim_end_matches('=')).ok();
        if member.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return;
        }
        let alg = member.alg.as_deref();
        match (member.kty.as_str(), member.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let key = bytes(&member.x).filter(|key| key.len() == 32);
                self.ed25519.extend(key.map(|key| Key { id: member.kid, key }));
            }
            ("RSA", _) if alg.is_none_or(|alg| alg == "RS256") => {
                let key = bytes(&member.n).zip(bytes(&member.e));
                self.rsa.extend(key.map(|key| Key { id: member.kid, key }));
            }
            _ => {}
        }
    }

    /// Whether any Ed25519 key of the set made this signature.
    pub(super) fn verify_ed25519(&self, message: &[u8], signature: &[u8]) -> bool {
        let made = |key: &Key<Vec<u8>>| UnparsedPublicKey::new(&ED25519, &key.key).verify(message, signature).is_ok();
        self.ed25519.iter().any(made)
    }

    /// Whether the RSA key of this id made this signature (PKCS #1 1.5, SHA-256); without an id, whether any did.
    pub fn verify_rs256(&self, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let made = |key: &Key<(Vec<u8>, Vec<u8>)>| {
            let (n, e) = &key.key;
            let public = RsaPublicKeyComponents { n, e };
            public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
        };
        self.rsa.iter().filter(|key| id.is_none() || key.id.as_deref() == id).any(made)
    }
}
