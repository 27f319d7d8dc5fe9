//! API keys: `async_` and 43 URL-safe characters; only the SHA-256 of one is ever kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every key starts with.
const PREFIX: &str = "async_";

/// The fewest characters behind the prefix.
const MIN_CHARACTERS: usize = 32;

/// The most characters of a key as a whole.
const MAX_CHARACTERS: usize = 256;

/// How much of a key is shown to tell keys apart.
const SHOWN: usize = PREFIX.len() + 4;

/// An API key in the clear. It is shown once, when it is made.
pub struct ApiKeySecret(Zeroizing<String>);

impl ApiKeySecret {
    /// A new key: 256 random bits.
    pub fn generate() -> Self {
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bits).expect("the operating system has randomness");
        Self(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*bits))))
    }

    /// A key that somebody else made; none if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let safe = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (safe && rest.len() >= MIN_CHARACTERS && text.len() <= MAX_CHARACTERS)
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        hash_key(&self.0)
    }

    /// Its first characters.
    pub fn shown(&self) -> String {
        self.0[..SHOWN].to_owned()
    }
}

/// The SHA-256 of a key: keys are random, so nothing slower is needed, and look-up is by equality of hashes.
pub fn hash_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_form_of_one() {
        let key = ApiKeySecret::generate();
        assert!(ApiKeySecret::parse(key.expose()).is_some());
        assert_eq!(key.shown().len(), 10);
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        let odd = [
            "",
            "async_",
            "async_short",
            "sk_0123456789012345678901234567890123",
            "async_01234567890123456789 0123456789012",
        ];
        for text in odd {
            assert!(ApiKeySecret::parse(text).is_none(), "{text}");
        }
        assert!(ApiKeySecret::parse(&format!("async_{}", "x".repeat(251))).is_none(), "too long");
    }
}
