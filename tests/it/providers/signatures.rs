//! Webhooks that are signed: believed if they are true, refused if not, and a refusal uses nothing up.

use std::sync::{Arc, Mutex};

use asyncqueue::outbound::Detours;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::provider::*;
use crate::support::{Answer, Created, Reply, Service, Target, hex, hmac_sha256};

const REFUSED: &str = "Invalid provider signature";
pub const FAL_KEYS: &str = "https://rest.fal.ai/.well-known/jwks.json";
pub const GEMINI_KEYS: &str = "https://generativelanguage.googleapis.com/.well-known/jwks.json";

fn now(service: &Service) -> i64 {
    asyncqueue::clock::Clock::now(&*service.clock).unix_seconds()
}

async fn waiting(service: &Service, provider: &str, more: Value) -> Created {
    let target = Target::ok().await;
    let body = json!({"provider": provider, "targetUrl": target.url("/"), "useCallback": true, "body": "{}"});
    let poll = json!({"pollConfig": {"interval": 3600}});
    let body = if provider == "deepgram" { body } else { merged(body, poll) };
    service.following(&merged(body, more)).await
}

async fn send(service: &Service, task: &Created, headers: &[(String, String)], body: &str) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    service.send("POST", &task.callback_path(), &headers, Some(body)).await
}

/// The headers of the Standard Webhooks specification.
pub fn standard(secret: &str, id: &str, at: i64, body: &str) -> Vec<(String, String)> {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mac = STANDARD.encode(hmac_sha256(&key, format!("{id}.{at}.{body}").as_bytes()));
    let pairs = [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", format!("v1,{mac}")),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

#[tokio::test]
async fn standard_webhooks_with_a_secret_of_the_vault() {
    let service = Service::start().await;
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let reference = token(&service, &secret, json!({"use": "verify"})).await;
    let task = waiting(&service, "replicate", json!({"callbackSecret": reference})).await;
    assert_eq!(task.json["task"]["callbackSecret"], reference);
    let (body, at) = (r#"{ "status": "succeeded" }"#, now(&service));
    let good = standard(&secret, "m1", at, body);
    let other = format!("whsec_{}", STANDARD.encode([8; 32]));
    let bad = [
        (vec![], body),
        (good[..2].to_vec(), body),
        (good.clone(), r#"{"status":"succeeded"}"#),
        (standard(&other, "m1", at, body), body),
        (standard(&secret, "m1", at - 301, body), body),
        (standard(&secret, "m1", at + 330, body), body),
        (standard(&secret, "m2", at, body).into_iter().skip(1).chain([good[0].clone()]).collect(), body),
    ];
    for (headers, body) in bad {
        send(&service, &task, &headers, body).await.expect_error(401, REFUSED);
        let now = service.task(&task.id).await;
        assert_eq!((&now["status"], &now["progress"]), (&json!("polling"), &Value::Null), "{headers:?}");
    }
    // News is checked too.
    send(&service, &task, &[], r#"{"status":"starting"}"#).await.expect_error(401, REFUSED);
    send(&service, &task, &good, body).await.expect(200);
    assert_eq!(service.task(&task.id).await["status"], "completed");
    // An id that is used up is gone, whatever the signature.
    send(&service, &task, &[], body).await.expect(404);
}

#[tokio::test]
async fn without_a_secret_nothing_is_checked() {
    let service = Service::start().await;
    let task = waiting(&service, "replicate", json!({})).await;
    send(&service, &task, &[], r#"{"status":"succeeded"}"#).await.expect(200);
}

#[tokio::test]
async fn a_secret_that_is_revoked_verifies_nothing() {
    let service = Service::start().await;
    let reference = token(&service, "a-secret-in-a-header", json!({})).await;
    let task = waiting(&service, "deepgram", json!({"callbackSecret": reference})).await;
    service.ask("DELETE", &format!("/v1/tokens/{reference}")).await.expect(200);
    let header = [("dg-token".to_owned(), "a-secret-in-a-header".to_owned())];
    send(&service, &task, &header, r#"{"results":{}}"#).await.expect_error(401, REFUSED);
    assert_eq!(service.task(&task.id).await["status"], "waiting");
}

#[tokio::test]
async fn each_other_family_with_a_secret() {
    let service = Service::start().await;
    let secret = "wsec_a secret, as it is";
    let reference = token(&service, secret, json!({})).await;
    let body = r#"{"status":"completed","data":{"task_id":"t","status":"completed"}}"#;
    let mac = |text: &str| hex(&hmac_sha256(secret.as_bytes(), text.as_bytes()));
    let at = now(&service);
    let family = |headers: &[(&str, String)]| -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let wavespeed = mac(&format!("w1.{at}.{body}"));
    let cases = [
        ("bfl", family(&[("X-BFL-Signature", format!("sha256={}", mac(body)))])),
        ("firecrawl", family(&[("X-Firecrawl-Signature", format!("sha256={}", mac(body)))])),
        ("baseten", family(&[("X-BASETEN-SIGNATURE", format!("v1=00,v1={}", mac(body)))])),
        ("assemblyai", family(&[("X-Callback-Secret", secret.to_owned())])),
        ("revai", family(&[("Authorization", format!("Bearer {secret}"))])),
        ("piapi", family(&[("x-webhook-secret", secret.to_owned())])),
        (
            "wavespeed",
            family(&[
                ("webhook-id", "w1".to_owned()),
                ("webhook-timestamp", at.to_string()),
                ("webhook-signature", format!("v3,{wavespeed}")),
            ]),
        ),
    ];
    for (provider, headers) in cases {
        let params = if provider == "baseten" { json!({"model_id": "m"}) } else { json!({}) };
        let more = json!({"callbackSecret": reference, "providerParams": params});
        let task = waiting(&service, provider, more).await;
        send(&service, &task, &[], body).await.expect_error(401, REFUSED);
        let mut flipped = headers.clone();
        let last = flipped.last_mut().unwrap().1.pop().unwrap();
        flipped.last_mut().unwrap().1.push(if last == '0' { '1' } else { '0' });
        send(&service, &task, &flipped, body).await.expect_error(401, REFUSED);
        let answer = send(&service, &task, &headers, body).await;
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_user_may_have_named_the_header() {
    let service = Service::start().await;
    let reference = token(&service, "a-secret-in-a-header", json!({})).await;
    let body = r#"{"webhook_auth_header_name":"X-Of-Mine"}"#;
    let task = waiting(&service, "assemblyai", json!({"callbackSecret": reference, "body": body})).await;
    let header = |name: &str| [(name.to_owned(), "a-secret-in-a-header".to_owned())];
    let done = r#"{"transcript_id":"t","status":"completed"}"#;
    send(&service, &task, &header("X-Callback-Secret"), done).await.expect_error(401, REFUSED);
    send(&service, &task, &header("X-Of-Mine"), done).await.expect(200);
}

/// A provider's key server: what it answers may change.
pub struct KeyServer {
    set: Arc<Mutex<Option<Value>>>,
    pub target: Target,
}

impl KeyServer {
    pub async fn start(set: Option<Value>) -> Self {
        let set = Arc::new(Mutex::new(set));
        let shown = set.clone();
        let target = Target::start(move |_, _| match &*shown.lock().unwrap() {
            Some(set) => Reply::status(200, &set.to_string()),
            None => Reply::status(500, "{}"),
        })
        .await;
        Self { set, target }
    }

    async fn service(&self, url: &str) -> Service {
        let mut detours = Detours::default();
        detours.add(url::Url::parse(url).unwrap().host_str().unwrap().to_owned(), self.target.address);
        Service::with_detours(detours).await
    }

    fn becomes(&self, set: Option<Value>) {
        *self.set.lock().unwrap() = set;
    }
}

pub struct FalKey(Ed25519KeyPair);

impl FalKey {
    pub fn make() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    pub fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.0.public_key())})
    }

    fn sign(&self, at: i64, body: &str) -> Vec<(String, String)> {
        self.sign_bytes(at, body.as_bytes())
    }

    pub fn sign_bytes(&self, at: i64, body: &[u8]) -> Vec<(String, String)> {
        let message = format!("r1\nu1\n{at}\n{}", hex(&Sha256::digest(body)));
        let signature = hex(self.0.sign(message.as_bytes()).as_ref());
        let pairs = [
            ("request-id", "r1".to_owned()),
            ("user-id", "u1".to_owned()),
            ("timestamp", at.to_string()),
            ("signature", signature),
        ];
        pairs.map(|(name, value)| (format!("x-fal-webhook-{name}"), value)).to_vec()
    }
}

async fn fal(service: &Service) -> Created {
    let target = Target::ok().await;
    let body = json!({
        "provider": "fal", "targetUrl": target.url("/"), "useCallback": true, "body": "{}",
        "pollConfig": {"interval": 3600},
    });
    service.following(&body).await
}

const OK: &str = r#"{ "request_id": "r1", "status": "OK", "payload": { "seed": 196619188014358660 } }"#;

#[tokio::test]
async fn fals_signature_by_its_public_keys_and_their_rotation() {
    let (old, new) = (FalKey::make(), FalKey::make());
    let keys = KeyServer::start(Some(json!({"keys": [old.jwk()]}))).await;
    let service = keys.service(FAL_KEYS).await;
    let at = now(&service);
    let task = fal(&service).await;
    send(&service, &task, &[], OK).await.expect_error(401, REFUSED);
    send(&service, &task, &old.sign(at - 301, OK), OK).await.expect_error(401, REFUSED);
    send(&service, &task, &old.sign(at, "{}"), OK).await.expect_error(401, REFUSED);
    // That one made the service look for new keys; from now on it does so once a minute at most.
    let fetched = keys.target.count();
    assert_eq!(fetched, 2);
    send(&service, &task, &old.sign(at, "[]"), OK).await.expect_error(401, REFUSED);
    send(&service, &task, &old.sign(at, OK), OK).await.expect(200);
    assert_eq!((keys.target.count(), &service.task(&task.id).await["status"]), (fetched, &json!("completed")));

    let keys = KeyServer::start(Some(json!({"keys": [old.jwk()]}))).await;
    let service = keys.service(FAL_KEYS).await;
    let (one, two) = (fal(&service).await, fal(&service).await);
    send(&service, &one, &old.sign(at, OK), OK).await.expect(200);
    keys.becomes(Some(json!({"keys": [old.jwk(), new.jwk()]})));
    send(&service, &two, &new.sign(at, OK), OK).await.expect(200);
    assert_eq!(keys.target.count(), 2);
}

#[tokio::test]
async fn the_last_good_keys_serve_when_there_are_no_newer_ones() {
    let (known, unknown) = (FalKey::make(), FalKey::make());
    let keys = KeyServer::start(Some(json!({"keys": [known.jwk()]}))).await;
    let service = keys.service(FAL_KEYS).await;
    let at = now(&service);
    let (one, two) = (fal(&service).await, fal(&service).await);
    send(&service, &one, &known.sign(at, OK), OK).await.expect(200);
    for broken in [None, Some(json!({"keys": []}))] {
        keys.becomes(broken);
        send(&service, &two, &unknown.sign(at, OK), OK).await.expect_error(401, REFUSED);
    }
    assert_eq!(keys.target.count(), 2, "the fetch was tried");
    send(&service, &two, &known.sign(at, OK), OK).await.expect(200);
}

#[tokio::test]
async fn keys_that_were_never_had_are_a_503() {
    let key = FalKey::make();
    let keys = KeyServer::start(None).await;
    let service = keys.service(FAL_KEYS).await;
    let task = fal(&service).await;
    // What is not signed at all is refused without any key.
    send(&service, &task, &[], OK).await.expect_error(401, REFUSED);
    let signed = key.sign(now(&service), OK);
    let answer = send(&service, &task, &signed, OK).await.expect(503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(service.task(&task.id).await["status"], "polling");
    keys.becomes(Some(json!({"keys": [key.jwk()]})));
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while send(&service, &task, &signed, OK).await.status == 503 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(service.task(&task.id).await["status"], "completed");
}

/// Signs as Gemini does, with the key of the tests' data.
pub fn gemini(key: &RsaKeyPair, kid: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT", "kid": kid})), part(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub fn rsa_key() -> (RsaKeyPair, Value) {
    let text = include_str!("../../../src/simulate/rsa_key.txt");
    let der = STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap();
    let key = RsaKeyPair::from_pkcs8(&der).unwrap();
    let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "RSA", "alg": "RS256", "kid": "k1", "n": encode(&public.n), "e": encode(&public.e)});
    (key, jwk)
}

#[tokio::test]
async fn geminis_token_by_its_public_keys() {
    let (key, jwk) = rsa_key();
    let keys = KeyServer::start(Some(json!({"keys": [jwk]}))).await;
    let service = keys.service(GEMINI_KEYS).await;
    let at = now(&service);
    let webhook = Webhook::named("gemini.batch.succeeded");
    let task = waiting(&service, "gemini-batch", json!({})).await;
    let headers = |token: String| {
        let pairs =
            [("webhook-id", "m".to_owned()), ("webhook-timestamp", at.to_string()), ("webhook-signature", token)];
        pairs.map(|(name, value)| (name.to_owned(), value))
    };
    let claims = json!({"iat": at, "exp": at + 300});
    for bad in [
        gemini(&key, "k2", &claims),
        gemini(&key, "k1", &json!({"iat": at - 900, "exp": at - 600})),
        format!("{}x", gemini(&key, "k1", &claims)),
        format!("v1,{}", STANDARD.encode([0; 32])),
    ] {
        send(&service, &task, &headers(bad), webhook.text()).await.expect_error(401, REFUSED);
    }
    send(&service, &task, &headers(gemini(&key, "k1", &claims)), webhook.text()).await.expect(200);
    assert_eq!(service.task(&task.id).await["status"], "completed");
    // The static form, with a secret.
    let secret = format!("whsec_{}", STANDARD.encode([9; 32]));
    let reference = token(&service, &secret, json!({})).await;
    let task = waiting(&service, "gemini-batch", json!({"callbackSecret": reference})).await;
    send(&service, &task, &standard(&secret, "m", at, webhook.text()), webhook.text()).await.expect(200);
}
