//! What proves who somebody is, or lets them in once: 256 random bits. Only the SHA-256 is kept, and look-up is by it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hash_key;

/// How long one is, as text.
const CHARACTERS: usize = 43;

/// A session's cookie, or what an invitation's link holds. It is not to be told from random.
pub struct Bearer(Zeroizing<String>);

impl Bearer {
    /// A new one.
    pub fn generate() -> Self {
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bits).expect("the operating system has randomness");
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bits)))
    }

    /// One that a client sends; none if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let safe = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (safe && text.len() == CHARACTERS).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        hash_key(&self.0)
    }

    /// What the forms of this session carry: who cannot read a page of it cannot make one up.
    pub fn form_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.form_mac().finalize().into_bytes())
    }

    /// Whether a form carries it; takes the same time for every wrong one.
    pub fn made_form(&self, token: &str) -> bool {
        self.form_token().as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn form_mac(&self) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("any length is a key");
        mac.update(b"asyncqueue form");
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_belongs_to_one_session() {
        let (one, other) = (Bearer::generate(), Bearer::generate());
        assert!(one.made_form(&one.form_token()));
        for wrong in [other.form_token(), String::new(), one.expose().to_owned(), one.form_token()[1..].to_owned()] {
            assert!(!one.made_form(&wrong));
        }
    }

    #[test]
    fn only_what_has_the_form_of_one_is_looked_up() {
        assert!(Bearer::parse(Bearer::generate().expose()).is_some());
        for odd in ["", "x", &"x".repeat(44), &"ü".repeat(43), &format!("{}'", "x".repeat(42))] {
            assert!(Bearer::parse(odd).is_none(), "{odd}");
        }
    }
}
