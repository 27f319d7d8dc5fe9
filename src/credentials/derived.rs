//! Callback ids and signal tokens: 64 hex characters that open to the task id, for who has the key.
//!
//! With `r = HMAC(K_id, label ‖ task id)[..16]` the credential is `(task id XOR HMAC(K_mask, r)[..16]) ‖ r`. It is not
//! to be told from random, is the same each time it is derived, and verifies by deriving it again.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::task::TaskId;

/// What a credential is good for. Each kind has keys of its own, so that one never passes for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The id in a callback URL.
    Callback,
    /// A signal token.
    Signal,
    /// The token in an endpoint's URL; it opens to the endpoint's address.
    Endpoint,
}

/// How many classes of credentials there are. The class travels inside the credential, in the six bits of a `UUIDv7`
/// that are always the same, so that some things are known of a task before the store is asked.
pub const CLASSES: u8 = 64;

/// A task's id with a class in place of its version and variant bits (RFC 9562, 4.1 and 4.2). Class 0 changes nothing.
fn classed(task: TaskId, class: u8) -> [u8; 16] {
    let mut bytes = task.0.into_bytes();
    bytes[6] ^= (class >> 2) << 4;
    bytes[8] ^= (class & 3) << 6;
    bytes
}

/// The id and the class that were put together.
fn unclassed(mut bytes: [u8; 16]) -> (TaskId, u8) {
    let class = (bytes[6] >> 4 ^ 7) << 2 | (bytes[8] >> 6 ^ 2);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    (TaskId(Uuid::from_bytes(bytes)), class)
}

/// The two keys of one kind of credential, ready to use.
#[derive(Clone)]
pub(super) struct Deriver {
    id: Hmac<Sha256>,
    mask: Hmac<Sha256>,
}

impl Deriver {
    pub fn new(id: &[u8; 32], mask: &[u8; 32]) -> Self {
        Self { id: keyed(id), mask: keyed(mask) }
    }

    /// The credential of a task: 64 lower-case hex characters.
    pub fn derive(&self, task: TaskId, class: u8) -> String {
        encode(&self.bytes(&classed(task, class)))
    }

    /// The task that a credential is for, and its class; none if it was not derived with these keys.
    pub fn open(&self, credential: &[u8; 32]) -> Option<(TaskId, u8)> {
        let (masked, r) = credential.split_at(16);
        let mask = first_half(&self.mask, r);
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().enumerate() {
            *byte = masked[place] ^ mask[place];
        }
        let genuine: bool = self.bytes(&id).ct_eq(credential).into();
        genuine.then(|| unclassed(id))
    }

    fn bytes(&self, id: &[u8; 16]) -> [u8; 32] {
        let r = first_half(&self.id, id);
        let mask = first_half(&self.mask, &r);
        let mut bytes = [0; 32];
        for (place, byte) in id.iter().enumerate() {
            bytes[place] = byte ^ mask[place];
        }
        bytes[16..].copy_from_slice(&r);
        bytes
    }
}

/// Reads 64 lower-case hex characters.
pub(super) fn decode(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn encode(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn first_half(key: &Hmac<Sha256>, message: &[u8]) -> [u8; 16] {
    let tag = key.clone().chain_update(message).finalize().into_bytes();
    let mut half = [0; 16];
    half.copy_from_slice(&tag[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deriver(seed: u8) -> Deriver {
        Deriver::new(&[seed; 32], &[seed + 1; 32])
    }

    #[test]
    fn a_credential_opens_to_its_task_and_stays_the_same() {
        let task = TaskId::from_parts(1_763_900_000_000, 77, 42);
        for class in 0..CLASSES {
            let credential = deriver(1).derive(task, class);
            assert_eq!(credential.len(), 64);
            assert_eq!(credential, deriver(1).derive(task, class));
            assert_eq!(deriver(1).open(&decode(&credential).unwrap()), Some((task, class)));
        }
    }

    #[test]
    fn no_changed_bit_passes() {
        let credential = decode(&deriver(1).derive(TaskId::from_parts(1, 2, 3), 5)).unwrap();
        for bit in 0..256 {
            let mut changed = credential;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(deriver(1).open(&changed), None, "bit {bit}");
        }
        assert_eq!(deriver(9).open(&credential), None, "another key");
    }

    #[test]
    fn only_lower_case_hex_is_read() {
        let good = "0123456789abcdef".repeat(4);
        assert!(decode(&good).is_some());
        for odd in [good.to_uppercase(), good[1..].to_owned(), format!("{good}0"), "g".repeat(64), "é".repeat(32)] {
            assert_eq!(decode(&odd), None, "{odd}");
        }
    }
}
