//! Signatures as providers make them, one for each scheme that a template can name. Written apart from what verifies
//! them, so that the two are a check on each other.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::values::{at, texts};

/// The id of the RSA key.
const KEY_ID: &str = "k1";

/// The keys that simulated providers sign with. Everybody knows them, so they are worth nothing: only a service whose
/// look-ups of public keys lead to the simulation believes them.
pub struct Signing {
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct SignedWebhook<'a> {
    /// The body's exact bytes.
    pub body: &'a [u8],
    /// The webhook secret, where the two sides share one.
    pub secret: &'a str,
    /// The header's name, where the request chose it.
    pub header: Option<&'a str>,
    /// The event's id.
    pub id: &'a str,
    /// Seconds since 1970.
    pub at: i64,
}

type Headers = Vec<(String, String)>;

impl Default for Signing {
    fn default() -> Self {
        let text: String = include_str!("rsa_key.txt").split_whitespace().collect();
        let der = STANDARD.decode(text).expect("the file holds a key");
        Self {
            ed25519: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 bytes are a seed"),
            rsa: RsaKeyPair::from_pkcs8(&der).expect("the file holds a key"),
        }
    }
}

impl Signing {
    /// The public keys, as a set (JWKS).
    pub fn jwks(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": encode(self.ed25519.public_key().as_ref())},
            {"kty": "RSA", "alg": "RS256", "kid": KEY_ID, "n": encode(&rsa.n), "e": encode(&rsa.e)},
        ]})
    }

    /// The headers that sign a webhook by a template's scheme; none where it has no scheme, or where what would be signed
    /// is not there.
    pub fn headers(&self, scheme: &Value, webhook: SignedWebhook<'_>) -> Headers {
        let (time, body) = (webhook.at.to_string(), webhook.body);
        let name = |field: &str| scheme[field].as_str().unwrap_or_default().to_owned();
        let mac = |parts: &[&[u8]]| mac(webhook.secret.as_bytes(), parts);
        match scheme["scheme"].as_str().unwrap_or_default() {
            "standard-webhooks" if scheme["jwksUrl"].is_string() => standard(webhook, self.token(webhook.at)),
            "standard-webhooks" => standard(webhook, format!("v1,{}", standard_mac(webhook))),
            "wavespeed-v3" => standard(webhook, format!("v3,{}", look_alike_mac(webhook))),
            "timestamped" => {
                let between = scheme["separator"].as_str().unwrap_or(".");
                let signature = hex(&mac(&[time.as_bytes(), between.as_bytes(), body]));
                vec![(name("header"), format!("t={time},{}={signature}", name("version")))]
            }
            "two-headers" => {
                vec![(name("header"), hex(&mac(&[time.as_bytes(), b".", body]))), (name("timestampHeader"), time)]
            }
            "body" => {
                let encoded =
                    if scheme["encoding"] == "base64" { STANDARD.encode(mac(&[body])) } else { hex(&mac(&[body])) };
                let header = texts(&scheme["headers"]).first().cloned().unwrap_or_default();
                vec![(header, format!("{}{encoded}", name("prefix")))]
            }
            "job-and-time" => {
                let job = job_of(&texts(&scheme["idPaths"]), body);
                let signed = job.map(|job| STANDARD.encode(mac(&[job.as_bytes(), b".", time.as_bytes()])));
                signed.map_or_else(Vec::new, |mac| vec![(name("header"), mac), (name("timestampHeader"), time)])
            }
            "header" => {
                let header = webhook.header.map_or_else(|| name("header"), str::to_owned);
                vec![(header, format!("{}{}", name("prefix"), webhook.secret))]
            }
            "fal-ed25519" => self.fal(webhook),
            _ => Vec::new(),
        }
    }

    fn fal(&self, webhook: SignedWebhook<'_>) -> Headers {
        let digest = hex(&Sha256::digest(webhook.body));
        let message = format!("{}\nuser-1\n{}\n{digest}", webhook.id, webhook.at);
        let signature = hex(self.ed25519.sign(message.as_bytes()).as_ref());
        let pairs = [
            ("request-id", webhook.id.to_owned()),
            ("user-id", "user-1".to_owned()),
            ("timestamp", webhook.at.to_string()),
            ("signature", signature),
        ];
        pairs.map(|(name, value)| (format!("x-fal-webhook-{name}"), value)).to_vec()
    }

    /// A token that is in force for five minutes.
    fn token(&self, at: i64) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID});
        let signed = format!("{}.{}", part(&header), part(&json!({"iat": at, "exp": at + 300})));
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        let done = self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        done.expect("a signature has the key's length");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The three headers of Standard Webhooks and its relatives.
fn standard(webhook: SignedWebhook<'_>, signature: String) -> Headers {
    let pairs = [
        ("webhook-id", webhook.id.to_owned()),
        ("webhook-timestamp", webhook.at.to_string()),
        ("webhook-signature", signature),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Standard Webhooks v1: the key is what the secret's base64 stands for.
fn standard_mac(webhook: SignedWebhook<'_>) -> String {
    let key = STANDARD.decode(webhook.secret.trim_start_matches("whsec_")).unwrap_or_default();
    let head = format!("{}.{}.", webhook.id, webhook.at);
    STANDARD.encode(mac(&key, &[head.as_bytes(), webhook.body]))
}

/// The look-alike: the key is the secret's text.
fn look_alike_mac(webhook: SignedWebhook<'_>) -> String {
    let head = format!("{}.{}.", webhook.id, webhook.at);
    hex(&mac(webhook.secret.trim_start_matches("whsec_").as_bytes(), &[head.as_bytes(), webhook.body]))
}

fn job_of(paths: &[String], body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    paths.iter().find_map(|path| at(&body, path, 0)?.as_str().map(str::to_owned))
}

/// HMAC-SHA256 over the parts, one behind the other.
fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, &parts.concat()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}
