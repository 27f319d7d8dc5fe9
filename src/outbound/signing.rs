//! Signatures by which a target can tell that a request is ours: our own header, and the Standard Webhooks ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::task::Timestamp;

const SIGNATURE: HeaderName = HeaderName::from_static("x-asyncqueue-signature");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Signs the requests of one attempt.
#[derive(Clone)]
pub struct Signer {
    /// One secret, or two while a rotation is under way: then the target may check against either.
    pub secrets: Vec<Zeroizing<String>>,
    /// When the attempt is made.
    pub at: Timestamp,
    /// The message's id, where the Standard Webhooks headers are wanted too.
    pub standard_webhooks_id: Option<String>,
}

impl Signer {
    /// The headers for a request that carries `body`; an absent body signs as an empty one.
    pub(super) fn headers(&self, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        let secrets: Vec<&str> = self.secrets.iter().map(|secret| secret.as_str()).collect();
        let t = self.at.unix_seconds();
        let mut headers = Vec::with_capacity(4);
        let mut add = |name, text: String| headers.extend(HeaderValue::try_from(text).ok().map(|value| (name, value)));
        add(SIGNATURE, sign_v1(&secrets, t, body));
        if let Some(id) = &self.standard_webhooks_id {
            add(WEBHOOK_SIGNATURE, sign_standard_webhooks(&secrets, id, t, body));
            add(WEBHOOK_TIMESTAMP, t.to_string());
            add(WEBHOOK_ID, id.clone());
        }
        headers
    }
}

/// `t=<t>,v1=<hex>`, one `v1` for each secret: HMAC-SHA256 over `<t>.<body>`, keyed with the whole secret string.
pub fn sign_v1(secrets: &[&str], t: i64, body: &[u8]) -> String {
    let t = t.to_string();
    let mut header = String::with_capacity(2 + t.len() + secrets.len() * (4 + 64));
    header.push_str("t=");
    header.push_str(&t);
    for secret in secrets {
        header.push_str(",v1=");
        push_hex(&mut header, &mac(secret.as_bytes(), &[t.as_bytes(), body]));
    }
    header
}

/// `v1,<base64>`, one for each secret, parted by spaces: HMAC-SHA256 over `<id>.<t>.<body>`, keyed with what the
/// secret's part after `whsec_` decodes to. A secret that is not base64 is its own key.
pub fn sign_standard_webhooks(secrets: &[&str], id: &str, t: i64, body: &[u8]) -> String {
    let t = t.to_string();
    let mut header = String::with_capacity(secrets.len() * (4 + 44));
    for secret in secrets {
        let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
        let key = Zeroizing::new(STANDARD.decode(encoded).unwrap_or_else(|_| secret.as_bytes().to_vec()));
        let part = if header.is_empty() { "v1," } else { " v1," };
        header.push_str(part);
        STANDARD.encode_string(mac(&key, &[id.as_bytes(), t.as_bytes(), body]), &mut header);
    }
    header
}

/// Digit by digit rather than by `write!`: two of three signatures are spelled so, with every call.
fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// HMAC-SHA256 over the parts, joined by dots.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            mac.update(b".");
        }
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_test_0123456789abcdef";

    /// Computed with Python's hmac module.
    #[test]
    fn our_signature_is_what_other_languages_compute() {
        let long = ["k".repeat(64), "k".repeat(65)];
        let vectors: [(&str, i64, &[u8], &str); 8] = [
            (SECRET, 1_700_000_000, b"", "814e706027d44b6013448b27b12c76ad281f72d11fcf05d71e1ef85b69465064"),
            (SECRET, 1_700_000_000, b"{}", "86e42664e55bdef9d21c29ec99ef840bb60f05f718392629bb0eb162a585147e"),
            (
                SECRET,
                1_700_000_000,
                br#"{"event":"task.completed"}"#,
                "8d0c6675b7e092562373565603402b7f7dbda109438f4bfe94a06b0783517889",
            ),
            (SECRET, 0, b"{}", "67d380ca01bfec17c9b335dd3de844bf5c228937bfef38c3b19bf62eb570d51a"),
            (SECRET, 1_700_000_000, br#"{"a": 1}"#, "7a428ed30a753bc3f7d3a5315937f356809207ceeb42fec0552fde3fd50add27"),
            (SECRET, 1_700_000_000, br#"{"a":1}"#, "07728d7e7b1736bac3de36a46c9bc0b660d59aa4a6f251544124fede1dc42a6c"),
            (
                &long[0],
                1_700_000_000,
                r#"{"s":"é 日本 😀"}"#.as_bytes(),
                "fa4f71d0820af36afaf0adeed4e1dd4c8d89322133edfa81f959c40edb5f2c17",
            ),
            (
                &long[1],
                1_700_000_000,
                b"\x00\xff\xfe",
                "a24f49563f2a676537ddbed8168a52b271b47eafc0b7c2a3c5957be00e41cbc6",
            ),
        ];
        for (secret, t, body, hex) in vectors {
            assert_eq!(sign_v1(&[secret], t, body), format!("t={t},v1={hex}"));
        }
    }

    #[test]
    fn during_a_rotation_both_secrets_sign() {
        let both = sign_v1(&[SECRET, "other"], 0, b"{}");
        let [first, second] = [sign_v1(&[SECRET], 0, b"{}"), sign_v1(&["other"], 0, b"{}")];
        assert_eq!(both, format!("{first},{}", second.strip_prefix("t=0,").unwrap()));
    }

    #[test]
    fn standard_webhooks_signatures_match_the_published_one() {
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        assert_eq!(sign_standard_webhooks(&[secret], id, 1_649_367_553, body), signature);
        let twice = sign_standard_webhooks(&[secret, secret], id, 1_649_367_553, body);
        assert_eq!(twice, format!("{signature} {signature}"));
    }

    fn hex(bytes: &[u8]) -> String {
        let mut text = String::new();
        push_hex(&mut text, bytes);
        text
    }

    #[test]
    fn the_mac_is_hmac_sha256() {
        assert_eq!(
            hex(&mac(b"Jefe", &[b"what do ya want for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&mac(b"It's a Secret to Everybody", &[b"Hello, World!"])),
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
