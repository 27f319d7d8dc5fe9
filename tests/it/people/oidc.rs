//! Single sign-on at a simulated OpenID provider, which keeps to the protocol as a real one does: it redeems a code once,
//! for the client that asked and knows the verifier, and signs what it says with RS256.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::RsaKeyPair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ADA, Browser, PASSWORD, set_up};
use crate::providers::signatures::{gemini, rsa_key};
use crate::support::provider::{base, merged, route};
use crate::support::{Answer, OIDC_SECRET, Reply, Seen, Service, Target};

const CLIENT: &str = "queue client";

/// What the provider knows.
#[derive(Default)]
struct Known {
    /// Codes that were given out: the challenge that came with the request, and what the token will say.
    codes: HashMap<String, (String, Value)>,
    /// Overrides members of the next tokens.
    lies: Value,
}

struct Provider {
    target: Target,
    known: Arc<Mutex<Known>>,
}

impl Provider {
    async fn start() -> Self {
        let known: Arc<Mutex<Known>> = Arc::default();
        let (shared, (key, jwk)) = (known.clone(), rsa_key());
        let target = Target::start(move |seen, _| answer(&shared, &key, &jwk, seen)).await;
        Self { target, known }
    }

    fn issuer(&self) -> String {
        self.target.url("")
    }

    async fn service(&self, more: &[&str]) -> Service {
        let issuer = self.issuer();
        let flags = ["--oidc-issuer", &issuer, "--oidc-client-id", CLIENT];
        Service::with(&[&flags, more].concat()).await
    }

    /// Lets somebody in who was sent here; answers the path that their browser is sent back to.
    fn approve(&self, location: &str, who: Value) -> String {
        let url = url::Url::parse(location).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["client_id"], CLIENT);
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
        let at = asyncqueue::clock::Clock::now(&asyncqueue::clock::SystemClock).unix_seconds();
        let claims = json!({"iss": self.issuer(), "aud": CLIENT, "nonce": query["nonce"], "iat": at, "exp": at + 300});
        let mut known = self.known.lock().unwrap();
        let code = format!("code{}", known.codes.len());
        known.codes.insert(code.clone(), (query["code_challenge"].clone(), merged(claims, who)));
        let redirect = url::Url::parse(&query["redirect_uri"]).unwrap();
        format!("{}?code={code}&state={}", redirect.path(), query["state"])
    }

    fn lie(&self, lies: Value) {
        self.known.lock().unwrap().lies = lies;
    }
}

fn answer(known: &Mutex<Known>, key: &RsaKeyPair, jwk: &Value, seen: &Seen) -> Reply {
    let here = base(seen);
    match route(seen).as_str() {
        "GET /.well-known/openid-configuration" => Reply::status(
            200,
            &json!({"issuer": here, "authorization_endpoint": format!("{here}/authorize"), "jwks_uri": format!("{here}/keys"),
                "token_endpoint": format!("{here}/token")})
            .to_string(),
        ),
        "GET /keys" => Reply::status(200, &json!({"keys": [jwk]}).to_string()),
        "POST /token" => redeem(&mut known.lock().unwrap(), key, jwk, seen),
        _ => Reply::status(404, "{}"),
    }
}

fn redeem(known: &mut Known, key: &RsaKeyPair, jwk: &Value, seen: &Seen) -> Reply {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&seen.body).into_owned().collect();
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(OIDC_SECRET))));
    if seen.header("authorization") != Some(&basic) {
        return Reply::status(401, r#"{"error":"invalid_client"}"#);
    }
    // A code is good for once.
    let Some((challenge, claims)) = known.codes.remove(&form["code"]) else {
        return Reply::status(400, r#"{"error":"invalid_grant"}"#);
    };
    let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    if form["grant_type"] != "authorization_code" || verifier != challenge {
        return Reply::status(400, r#"{"error":"invalid_grant"}"#);
    }
    let claims = if known.lies.is_null() { claims } else { merged(claims, known.lies.clone()) };
    let token = gemini(key, jwk["kid"].as_str().unwrap(), &claims);
    Reply::status(200, &json!({"id_token": token, "access_token": "x", "token_type": "Bearer"}).to_string())
}

/// Goes to the provider and comes back; answers what the service then says.
async fn round(service: &Service, provider: &Provider, browser: &mut Browser, who: Value) -> Answer {
    let back = there(service, provider, browser, who).await;
    come_back(service, browser, &back).await
}

async fn there(service: &Service, provider: &Provider, browser: &mut Browser, who: Value) -> String {
    let sent = browser.get(service, "/login/oidc?next=/account").await.expect(303);
    let cookie = sent.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().clone_into(&mut browser.cookie);
    provider.approve(sent.header("location").unwrap(), who)
}

async fn come_back(service: &Service, browser: &mut Browser, path: &str) -> Answer {
    let answer = browser.get(service, path).await;
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    if let Some((_, cookie)) = cookies.into_iter().find(|(_, cookie)| cookie.starts_with("asyncqueue=")) {
        cookie.split(';').next().unwrap().clone_into(&mut browser.cookie);
    }
    answer
}

fn ada() -> Value {
    json!({"sub": "ada-1", "email": "Ada@example.com", "email_verified": true, "name": "Ada"})
}

#[tokio::test]
async fn somebody_with_an_account_is_known_by_a_verified_address_and_then_for_ever() {
    let provider = Provider::start().await;
    let service = provider.service(&[]).await;
    set_up(&service).await;
    assert!(Browser::default().get(&service, "/login").await.expect(200).text().contains("/login/oidc"));
    let mut browser = Browser::default();
    let answer = round(&service, &provider, &mut browser, ada()).await.expect(303);
    assert_eq!(answer.header("location"), Some("/account"));
    assert!(browser.get(&service, "/account").await.expect(200).text().contains(ADA));
    // Known by what does not change, whatever the address is now.
    let moved = json!({"sub": "ada-1", "email": "ada@elsewhere.example", "email_verified": true});
    let mut again = Browser::default();
    round(&service, &provider, &mut again, moved).await.expect(303);
    let page = again.get(&service, "/account").await.expect(200);
    assert!(page.text().contains(ADA) && page.text().contains("account.linked"));
}

#[tokio::test]
async fn who_has_no_account_gets_one_only_with_an_address_of_an_allowed_domain() {
    let provider = Provider::start().await;
    let service = provider.service(&["--oidc-allowed-domain", "Example.com"]).await;
    set_up(&service).await;
    for odd in [
        json!({"sub": "1", "email": "eve@evil.example", "email_verified": true}),
        json!({"sub": "2", "email": "eve@example.com", "email_verified": false}),
        json!({"sub": "3", "email": "eve@example.com"}),
        json!({"sub": "4", "email": "eve@sub.example.com", "email_verified": true}),
        json!({"sub": "5"}),
        // An address that the provider has not made sure of is nobody's, and least of all Ada's.
        json!({"sub": "6", "email": ADA, "email_verified": false}),
    ] {
        let mut browser = Browser::default();
        let refused = round(&service, &provider, &mut browser, odd.clone()).await.expect(403);
        assert!(refused.text().contains("There is no account for you here"), "{odd}");
        browser.get(&service, "/account").await.expect(303);
    }
    let eve = json!({"sub": "7", "email": "Eve@Example.com", "email_verified": "true", "name": "<b>Eve</b>"});
    let mut browser = Browser::default();
    round(&service, &provider, &mut browser, eve).await.expect(303);
    let page = browser.get(&service, "/account").await.expect(200);
    assert!(page.text().contains("eve@example.com") && page.text().contains("&lt;b&gt;Eve"));
    // There is no password to guess.
    let fields = [("email", "eve@example.com"), ("password", PASSWORD)];
    Browser::default().submit(&service, "/login", &fields).await.expect(401);
}

#[tokio::test]
async fn what_the_browser_brings_back_must_be_its_own() {
    let provider = Provider::start().await;
    let service = provider.service(&[]).await;
    set_up(&service).await;
    // Somebody else's way back, slipped to a browser that holds none, or one of its own.
    let mut mallory = Browser::default();
    let slipped = there(&service, &provider, &mut mallory, ada()).await;
    let mut victim = Browser::default();
    come_back(&service, &mut victim, &slipped).await.expect(400);
    there(&service, &provider, &mut victim, ada()).await;
    come_back(&service, &mut victim, &slipped).await.expect(400);
    // A code works once.
    come_back(&service, &mut mallory.clone(), &slipped).await.expect(303);
    come_back(&service, &mut mallory, &slipped).await.expect(502);
    let refused = there(&service, &provider, &mut victim, ada()).await;
    let state = refused.split("state=").nth(1).unwrap();
    let denied = format!("/login/oidc/callback?error=access_denied&state={state}");
    assert!(come_back(&service, &mut victim, &denied).await.expect(403).text().contains("did not let you in"));
}

#[tokio::test]
async fn a_token_that_says_anything_wrong_lets_nobody_in() {
    let provider = Provider::start().await;
    let service = provider.service(&[]).await;
    set_up(&service).await;
    for lies in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "somebody else"}),
        json!({"aud": [CLIENT, "somebody else"]}),
        json!({"azp": "somebody else"}),
        json!({"exp": 1_700_000_000}),
        json!({"iat": 4_000_000_000_i64, "exp": 4_000_000_300_i64}),
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"sub": ""}),
        json!({"sub": "ada\0"}),
    ] {
        provider.lie(lies.clone());
        let mut browser = Browser::default();
        let refused = round(&service, &provider, &mut browser, ada()).await;
        assert_eq!(refused.status, 502, "{lies}");
        browser.get(&service, "/account").await.expect(303);
    }
    provider.lie(Value::Null);
    round(&service, &provider, &mut Browser::default(), ada()).await.expect(303);
}

#[tokio::test]
async fn without_a_provider_there_is_no_such_way() {
    let service = Service::start().await;
    set_up(&service).await;
    assert!(!Browser::default().get(&service, "/login").await.expect(200).text().contains("oidc"));
    for path in ["/login/oidc", "/login/oidc/callback?code=x&state=y"] {
        let answer = Browser::default().get(&service, path).await.expect(303);
        assert_eq!(answer.header("location"), Some("/login"));
    }
}
