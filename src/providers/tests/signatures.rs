//! Signatures made by others are believed, and none that was touched.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::webhooks;
use crate::providers::{Invalid, Jwks, Keys, Scheme, Signed, embedded};

const AT: i64 = 1_760_000_000;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Clone, Deserialize)]
struct Vector {
    template: String,
    webhook: Option<String>,
    body: Option<String>,
    secret: Option<String>,
    jwks: Option<serde_json::Value>,
    headers: BTreeMap<String, String>,
}

impl Vector {
    fn scheme(&self) -> Scheme {
        let template = embedded().unwrap().get(&self.template).unwrap();
        template.callback().unwrap().signature.clone().unwrap()
    }

    fn body(&self) -> Vec<u8> {
        let of = |name: &String| webhooks::all().into_iter().find(|webhook| webhook.name == *name).unwrap().body;
        self.webhook.as_ref().map_or_else(|| self.body.clone().unwrap().into_bytes(), of)
    }

    fn headers(&self) -> HeaderMap {
        let header = |(name, value): (&String, &String)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        self.headers.iter().map(header).collect()
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), Invalid> {
        let jwks = self.jwks.as_ref().map(|jwks| Jwks::parse(jwks.to_string().as_bytes()).unwrap());
        let secrets: Vec<&str> = self.secret.as_deref().into_iter().collect();
        let keys = Keys { secrets: &secrets, jwks: jwks.as_ref() };
        self.scheme().verify(&Signed { headers, body }, &keys, now)
    }
}

fn vectors() -> Vec<Vector> {
    let files = [
        include_str!("../../../tests/data/signatures/computed.json"),
        include_str!("../../../tests/data/signatures/libraries.json"),
    ];
    files.iter().flat_map(|text| serde_json::from_str::<File>(text).unwrap().vectors).collect()
}

#[test]
fn every_vector_verifies() {
    for vector in vectors() {
        assert_eq!(
            vector.verify(&vector.headers(), &vector.body(), AT),
            Ok(()),
            "{} {:?}",
            vector.template,
            vector.headers
        );
    }
    assert!(vectors().len() >= 20);
}

#[test]
fn no_flipped_byte_of_the_body_does() {
    for vector in vectors() {
        let body = vector.body();
        // kie.ai's signature and Gemini's token do not cover the body, and a secret in a header signs nothing.
        let covered = !matches!(vector.scheme(), Scheme::JobAndTime { .. } | Scheme::Header { .. })
            && !vector.headers.get("webhook-signature").is_some_and(|value| value.starts_with("ey"));
        for at in (0..body.len()).filter(|_| covered).step_by(1 + body.len() / 60) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert_eq!(vector.verify(&vector.headers(), &changed, AT), Err(Invalid::Mismatch), "{}", vector.template);
        }
        if covered {
            assert!(vector.verify(&vector.headers(), &[&body[..], b" "].concat(), AT).is_err());
            let shorter = body.split_last().map(|(_, rest)| rest);
            assert!(shorter.is_none_or(|rest| vector.verify(&vector.headers(), rest, AT).is_err()));
        }
    }
}

#[test]
fn no_changed_or_missing_header_does() {
    for vector in vectors() {
        let body = vector.body();
        for (name, value) in &vector.headers {
            // A header that a scheme does not read may be anything.
            let mut without = vector.headers();
            without.remove(name.as_str());
            let matters = vector.verify(&without, &body, AT).is_err();
            // Gemini's token covers no other header.
            let covered = matters && !(vector.template == "gemini-veo" && name != "webhook-signature");
            // Each bit, the one between upper and lower case too.
            for (at, bit) in (0..value.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))).filter(|_| covered) {
                let mut changed = value.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
                let mut headers = vector.headers();
                headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), changed);
                let verified = vector.verify(&headers, &body, AT);
                assert!(verified.is_err(), "{} {name}: bit {bit} at {at}", vector.template);
            }
            let mut twice = vector.headers();
            twice.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
            assert_eq!(vector.verify(&twice, &body, AT).is_err(), matters, "{} {name} twice", vector.template);
        }
    }
}

#[test]
fn no_other_secret_does_and_no_secret_at_all() {
    for vector in vectors().iter().filter(|vector| vector.secret.is_some()) {
        for other in ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh4=", "other", "", "whsec_"] {
            let changed = Vector { secret: Some(other.to_owned()), ..vector.clone() };
            assert_eq!(
                changed.verify(&vector.headers(), &vector.body(), AT),
                Err(Invalid::Mismatch),
                "{}",
                vector.template
            );
        }
        let none = Vector { secret: None, ..vector.clone() };
        assert_eq!(none.verify(&vector.headers(), &vector.body(), AT), Err(Invalid::NoKey), "{}", vector.template);
    }
}

#[test]
fn old_and_future_times_are_refused() {
    for vector in vectors() {
        let tolerance = match vector.scheme() {
            Scheme::Timestamped { tolerance, .. } => tolerance,
            Scheme::Body { .. } | Scheme::Header { .. } => continue,
            _ => 300,
        };
        for (away, timely) in [(tolerance, true), (tolerance + 1, false), (-tolerance, true), (-tolerance - 1, false)] {
            let result = vector.verify(&vector.headers(), &vector.body(), AT + away);
            assert_eq!(result, if timely { Ok(()) } else { Err(Invalid::Stale) }, "{} {away}", vector.template);
        }
    }
}

#[test]
fn during_a_change_of_secret_either_will_do() {
    let vector = vectors().into_iter().find(|vector| vector.template == "replicate").unwrap();
    let (headers, body) = (vector.headers(), vector.body());
    let secrets = ["whsec_b3RoZXI=", vector.secret.as_deref().unwrap()];
    let signed = Signed { headers: &headers, body: &body };
    assert_eq!(vector.scheme().verify(&signed, &Keys { secrets: &secrets, jwks: None }, AT), Ok(()));
    let mut several = headers.clone();
    let text = format!("v1a,AAAA v1,AAAA {} v2,x", headers["webhook-signature"].to_str().unwrap());
    several.insert("webhook-signature", HeaderValue::from_str(&text).unwrap());
    assert_eq!(vector.verify(&several, &body, AT), Ok(()));
}

#[test]
fn the_header_of_a_static_secret_may_be_chosen_in_the_request() {
    let scheme = embedded().unwrap().get("assemblyai").unwrap().callback().unwrap().signature.clone().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-my-webhook-secret", HeaderValue::from_static("secret-value"));
    let verify = |scheme: &Scheme, secret: &str| {
        scheme.verify(&Signed { headers: &headers, body: b"{}" }, &Keys { secrets: &[secret], jwks: None }, AT)
    };
    assert_eq!(verify(&scheme, "secret-value"), Err(Invalid::Missing));
    let chosen = scheme.for_request(Some(r#"{"webhook_auth_header_name":"X-My-Webhook-Secret"}"#));
    assert_eq!(verify(&chosen, "secret-value"), Ok(()));
    assert_eq!(verify(&chosen, "secret-valuE"), Err(Invalid::Mismatch));
    assert_eq!(scheme.for_request(Some("{}")), scheme);
    assert_eq!(scheme.for_request(Some(r#"{"webhook_auth_header_name":"no name"}"#)), scheme);
}

#[test]
fn a_set_of_keys_is_read_and_what_is_none_is_refused() {
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"EC","crv":"P-256"},{"kty":"OKP","crv":"Ed25519","x":"AA"},7]}"#,
    ] {
        assert!(Jwks::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let key = concat!(
        r#"{"keys":[{"kty":"EC"},{"kty":"OKP","crv":"Ed25519","kid":"k1","#,
        r#""x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}"#
    );
    let jwks = Jwks::parse(key.as_bytes()).unwrap();
    assert!(jwks.has("k1") && !jwks.has("k2"));
}

#[test]
fn a_token_of_another_kind_is_refused() {
    let vector = vectors()
        .into_iter()
        .find(|vector| vector.headers.get("webhook-signature").is_some_and(|value| value.starts_with("ey")))
        .unwrap();
    let token = vector.headers["webhook-signature"].clone();
    let (_, rest) = token.split_once('.').unwrap();
    // {"alg":"none"}, {"alg":"HS256"}, {"alg":"RS256","kid":"other"}, {"alg":"RS256","crit":["x"]}
    for (header, error) in [
        ("eyJhbGciOiJub25lIn0", Invalid::Malformed),
        ("eyJhbGciOiJIUzI1NiJ9", Invalid::Malformed),
        ("eyJhbGciOiJSUzI1NiIsImtpZCI6Im90aGVyIn0", Invalid::UnknownKey { id: "other".to_owned() }),
        ("eyJhbGciOiJSUzI1NiIsImNyaXQiOlsieCJdfQ", Invalid::Malformed),
        ("eyJhbGciOiJSUzI1NiJ9", Invalid::Mismatch),
        ("x", Invalid::Malformed),
    ] {
        let mut headers = vector.headers();
        headers.insert("webhook-signature", HeaderValue::from_str(&format!("{header}.{rest}")).unwrap());
        assert_eq!(vector.verify(&headers, &vector.body(), AT), Err(error), "{header}");
    }
    let scheme = vector.scheme();
    assert!(scheme.wants_jwks(&Signed { headers: &vector.headers(), body: b"" }));
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", Keys { secrets: &["hush"], jwks: None }), "Keys(1 secrets, jwks: false)");
}
