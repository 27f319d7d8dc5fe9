//! Secrets at rest: XChaCha20-Poly1305 with a random nonce; whose secret it is, is authenticated with it.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const NONCE: usize = 24;

/// Seals and opens with one key.
#[derive(Clone)]
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new_from_slice(key).expect("the key is 32 bytes long"))
    }

    /// `owner` names what the secret belongs to; it must be given again to open it.
    pub fn seal(&self, owner: &str, secret: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).expect("the operating system has randomness");
        let message = Payload { msg: secret, aad: owner.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), message).expect("memory for a small secret");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The secret; none if a bit of it, or its owner, is another.
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let message = Payload { msg: sealed, aad: owner.as_bytes() };
        self.0.decrypt(&XNonce::from(nonce), message).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_opens_it_and_no_bit_may_change() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("team:1", b"whsec_x");
        assert_eq!(sealer.open("team:1", &sealed).unwrap().as_slice(), b"whsec_x");
        assert!(sealer.open("team:2", &sealed).is_none());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open("team:1", &changed).is_none(), "bit {bit}");
        }
        assert!(sealer.open("team:1", &sealed[..10]).is_none());
    }
}
