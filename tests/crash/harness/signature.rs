//! A second implementation of the signatures, written from the contract and not from the service's code.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Whether `header` (`t=…,v1=…`) signs `body` with the whole secret as the key.
pub fn ours(secret: &str, header: &str, body: &[u8]) -> bool {
    let fields = || header.split(',').filter_map(|field| field.trim().split_once('='));
    let Some((_, time)) = fields().find(|(name, _)| *name == "t") else {
        return false;
    };
    let wanted = to_hex(&hmac(secret.as_bytes(), &[time.as_bytes(), b".", body]));
    fields().any(|(name, value)| name == "v1" && value == wanted)
}

/// Whether a Standard Webhooks signature holds: base64, keyed with the decoded secret.
pub fn standard(secret: &str, id: &str, time: &str, header: &str, body: &[u8]) -> bool {
    let Some(key) = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok()) else {
        return false;
    };
    let wanted = STANDARD.encode(hmac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]));
    header.split(' ').filter_map(|one| one.strip_prefix("v1,")).any(|value| value == wanted)
}

#[test]
fn published_vectors_verify_and_a_changed_byte_does_not() {
    let header = "t=1700000000,v1=86e42664e55bdef9d21c29ec99ef840bb60f05f718392629bb0eb162a585147e";
    assert!(ours("whsec_test_0123456789abcdef", header, b"{}"));
    assert!(!ours("whsec_test_0123456789abcdef", header, b"{ }"));
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let check = |body: &[u8]| {
        let signature = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        standard(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            signature,
            body,
        )
    };
    assert!(check(body));
    assert!(!check(b"{}"));
}
