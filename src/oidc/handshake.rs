//! What ties a browser's way to the provider to its way back. The browser holds one random value in a cookie that scripts
//! cannot read, and all that is sent along is derived from it: nothing has to be kept here, and nobody else can finish it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::credentials::Bearer;

/// One attempt to sign in.
pub struct Handshake(Bearer);

impl Handshake {
    /// A new one.
    pub fn begin() -> Self {
        Self(Bearer::generate())
    }

    /// The one that a browser holds.
    pub fn resume(text: &str) -> Option<Self> {
        Bearer::parse(text).map(Self)
    }

    /// What the browser is to hold.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Comes back through the browser.
    pub(super) fn state(&self) -> String {
        self.derive("state").to_string()
    }

    /// Whether this is the state that was sent.
    pub(super) fn is_state(&self, text: &str) -> bool {
        self.state().as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Comes back inside the token.
    pub(super) fn nonce(&self) -> String {
        self.derive("nonce").to_string()
    }

    /// Proves to the provider that who redeems the code is who asked for it (RFC 7636).
    pub(super) fn verifier(&self) -> Zeroizing<String> {
        self.derive("verifier")
    }

    /// What the provider is told beforehand.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier().as_bytes()))
    }

    fn derive(&self, purpose: &str) -> Zeroizing<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes()).expect("any length is a key");
        mac.update(format!("asyncqueue oidc {purpose}").as_bytes());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_is_the_same_when_the_browser_comes_back_and_gives_nothing_away() {
        let begun = Handshake::begin();
        let back = Handshake::resume(begun.expose()).unwrap();
        assert_eq!((begun.state(), begun.nonce()), (back.state(), back.nonce()));
        let texts = [begun.state(), begun.nonce(), begun.verifier().to_string(), begun.expose().to_owned()];
        assert!(texts.iter().all(|one| texts.iter().filter(|other| *other == one).count() == 1), "{texts:?}");
        assert!(back.is_state(&begun.state()));
        assert!(!back.is_state(&Handshake::begin().state()) && !back.is_state(""));
        assert!((43..=128).contains(&begun.verifier().len()), "RFC 7636, 4.1");
    }
}
