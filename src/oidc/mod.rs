//! Signing in at somebody else's: OpenID Connect, authorization code with PKCE. The provider is the operator's choice; all
//! that is fetched from it goes through the guarded client, and nothing that it says is believed before it is checked.

mod claims;
mod discovery;
mod handshake;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::guard::Guard;
use crate::keysets::KeySets;
use crate::outbound::{Client, Request, secret_header};

pub use claims::Person;
use discovery::{Discovered, Discovery};
pub use handshake::Handshake;

/// How long the provider may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connections for this belong to no team.
const NO_TEAM: i64 = 0;

/// Longer codes are not passed on.
const CODE_MAX: usize = 4096;

/// How an operator set it up.
#[derive(Clone)]
pub struct Settings {
    /// Whose word is believed: the `iss` of its tokens, and where its description is.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
    /// What we prove that with.
    pub client_secret: Zeroizing<String>,
    /// Where it sends people back to.
    pub redirect_uri: String,
}

/// Why somebody was not signed in. The text is for the log; whoever tried is told less.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// What the browser brought back is not what it was sent away with.
    #[error("the answer does not belong to this browser's request")]
    Stray,
    /// The provider did not let them in.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The provider cannot be reached, or makes no sense.
    #[error("{0}")]
    Provider(String),
}

/// Signs people in at one provider.
pub struct Oidc {
    settings: Settings,
    client: Client,
    guard: Arc<Guard>,
    keysets: Arc<KeySets>,
    clock: Arc<dyn Clock>,
    discovery: Discovery,
}

/// What the provider sends the browser back with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Returned {
    code: String,
    state: String,
    error: String,
}

/// The token endpoint's answer, as far as it matters.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

impl Oidc {
    /// For this provider.
    pub fn new(
        settings: Settings,
        client: Client,
        guard: Arc<Guard>,
        keysets: Arc<KeySets>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { settings, client, guard, keysets, clock, discovery: Discovery::default() }
    }

    /// Where a browser is sent that holds this handshake.
    pub async fn way_there(&self, handshake: &Handshake) -> Result<String, Failed> {
        let discovered = self.discovered().await?;
        let mut url = Url::parse(&discovered.authorization_endpoint)
            .map_err(|_| Failed::Provider("the authorization endpoint is no URL".to_owned()))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.settings.redirect_uri)
            .append_pair("scope", "openid email profile")
            .append_pair("state", &handshake.state())
            .append_pair("nonce", &handshake.nonce())
            .append_pair("code_challenge", &handshake.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Who came back.
    pub async fn arrived(&self, handshake: &Handshake, returned: &Returned) -> Result<Person, Failed> {
        if !handshake.is_state(&returned.state) {
            return Err(Failed::Stray);
        }
        if !returned.error.is_empty() {
            return Err(Failed::Refused(plain(&returned.error)));
        }
        if returned.code.is_empty() || returned.code.len() > CODE_MAX {
            return Err(Failed::Refused("no code".to_owned()));
        }
        let discovered = self.discovered().await?;
        let token = self.redeem(&discovered, handshake, &returned.code).await?;
        self.read(&discovered, handshake, &token).await
    }

    async fn discovered(&self) -> Result<Arc<Discovered>, Failed> {
        self.discovery.get(&self.settings.issuer, |url| async move { self.get(&url).await }).await
    }

    async fn get(&self, url: &str) -> Result<Bytes, Failed> {
        self.call(Method::GET, url, Vec::new(), None).await
    }

    /// Changes the code for a token.
    async fn redeem(&self, to: &Discovered, handshake: &Handshake, code: &str) -> Result<Zeroizing<String>, Failed> {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut headers = vec![(header::CONTENT_TYPE, form)];
        if to.takes_basic() {
            headers.push(self.basic()?);
        }
        let body = self.request(to, handshake, code);
        let answer = self.call(Method::POST, &to.token_endpoint, headers, Some(body)).await?;
        let tokens: Tokens = serde_json::from_slice(&answer)
            .map_err(|_| Failed::Provider("the token endpoint gave no id_token".to_owned()))?;
        Ok(Zeroizing::new(tokens.id_token))
    }

    fn request(&self, to: &Discovered, handshake: &Handshake, code: &str) -> Bytes {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.settings.redirect_uri)
            .append_pair("code_verifier", &handshake.verifier());
        if !to.takes_basic() {
            form.append_pair("client_id", &self.settings.client_id);
            form.append_pair("client_secret", &self.settings.client_secret);
        }
        Bytes::from(form.finish())
    }

    /// RFC 6749, 2.3.1: both parts are encoded as forms are before they are joined.
    fn basic(&self) -> Result<(HeaderName, HeaderValue), Failed> {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(&self.settings.client_id), encoded(&self.settings.client_secret));
        let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(Zeroizing::new(pair).as_bytes())));
        secret_header("authorization", value).map_err(|error| Failed::Provider(error.to_string()))
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Option<Bytes>,
    ) -> Result<Bytes, Failed> {
        let failed = |why: String| Failed::Provider(format!("{url}: {why}"));
        let target = self.guard.check_url(url).map_err(|refused| failed(refused.to_string()))?;
        let own = vec![(header::ACCEPT, HeaderValue::from_static("application/json"))];
        let request = Request { method, target, headers, body, timeout: TIMEOUT, own, signer: None };
        // What is told to the provider is told to no other host.
        let answer = self.client.tell(NO_TEAM, request, &CancellationToken::new()).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        match answer.status {
            200 => Ok(answer.body),
            // Its reason may quote what we sent.
            status => Err(failed(format!("HTTP {status}"))),
        }
    }

    async fn read(&self, to: &Discovered, handshake: &Handshake, token: &str) -> Result<Person, Failed> {
        let now = self.clock.now().unix_seconds();
        let expected = claims::Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &handshake.nonce(),
            now,
        };
        let keys = self.keysets.get(&to.jwks_uri).await;
        let keys = match keys {
            Some(keys) if claims::key_id(token).is_none_or(|id| keys.has(&id)) => Some(keys),
            // A key changes whenever it does.
            _ => self.keysets.refreshed(&to.jwks_uri).await,
        };
        let keys = keys.ok_or_else(|| Failed::Provider("its keys cannot be fetched".to_owned()))?;
        claims::read(token, &keys, &expected).map_err(|why| Failed::Provider(format!("the id_token {why}")))
    }
}

/// A word of the provider's as it may be logged.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(100).collect()
}
