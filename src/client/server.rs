//! One server, and how it is asked: over kept connections, with the key in a header and nowhere else, and once more
//! where that does no harm.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::session::Session;
use crate::guard::{Guard, Target};
use crate::outbound::{Answer, CallError, Client, ClientConfig, Request};

/// Pauses before a request is made again.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// The longest wish of the server's (`Retry-After`) that is obeyed.
const RETRY_AFTER_MAX: u64 = 10;

/// A page of a hundred tasks with large bodies is large.
const ANSWER_MAX: usize = 512 * 1024 * 1024;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
pub struct Server {
    client: Client,
    guard: Arc<Guard>,
    base: String,
    key: Option<HeaderValue>,
}

/// One request.
pub struct Ask {
    method: Method,
    path: String,
    body: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether making it twice does what making it once does.
    repeatable: bool,
}

impl Ask {
    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, headers: Vec::new(), repeatable: true }
    }

    /// Does something, with or without a body.
    pub fn post(path: impl Into<String>, body: Option<String>) -> Self {
        Self { method: Method::POST, body, repeatable: false, ..Self::get(path) }
    }

    /// Removes something.
    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, repeatable: false, ..Self::get(path) }
    }

    /// With a key that makes it repeatable.
    pub fn idempotent(mut self, key: &str) -> Result<Self, Failure> {
        let value = HeaderValue::try_from(key).map_err(|_| Failure::usage("the idempotency key is no header value"))?;
        self.headers.push((HeaderName::from_static("idempotency-key"), value));
        self.repeatable = true;
        Ok(self)
    }
}

/// An error as the service words it.
#[derive(Deserialize)]
struct Problem {
    error: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    message: String,
}

impl Server {
    /// The server that a session names.
    pub fn connect(session: &Session) -> Result<Self, Failure> {
        let guard = Arc::new(Guard::trusting());
        let tls = session.ca_file.as_deref().map(trusting_only).transpose()?;
        let agent = concat!("AsyncQueue-CLI/", env!("CARGO_PKG_VERSION"));
        let client = Client::new(ClientConfig {
            max_answer_bytes: ANSWER_MAX,
            user_agent: HeaderValue::from_static(agent),
            tls,
            ..ClientConfig::new(guard.clone())
        });
        let server = Self { client, guard, base: session.url.trim_end_matches('/').to_owned(), key: key(session)? };
        server.target("/")?;
        Ok(server)
    }

    /// Whether the key would cross a network unencrypted.
    pub fn is_overheard(&self) -> bool {
        let is_here = |target: &Target| {
            target.host() == "localhost" || target.literal().is_some_and(|ip| ip.to_canonical().is_loopback())
        };
        self.key.is_some() && self.target("/").is_ok_and(|target| target.url().scheme() == "http" && !is_here(&target))
    }

    /// Asks, and asks again if the request did not get through; answers the body of a 2xx.
    pub async fn ask(&self, ask: Ask) -> Result<Bytes, Failure> {
        let mut pauses = PAUSES.iter();
        loop {
            let (failure, again) = match self.once(&ask).await {
                Ok(answer) => match judge(&answer, &self.base) {
                    Ok(()) => return Ok(answer.body),
                    Err(failure) => {
                        let again = comes_to_pass(answer.status, &failure, ask.repeatable);
                        (failure, again)
                    }
                },
                Err(error) => {
                    let again = matches!(error, CallError::NotSent(_)) || (ask.repeatable && may_pass(&error));
                    (Failure::of_call(&error, &self.base), again)
                }
            };
            let Some(pause) = pauses.next().filter(|_| again) else { return Err(failure) };
            let wish = failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
            tokio::time::sleep(Duration::from_secs(wish).max(*pause)).await;
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Answer, CallError> {
        let target = self.target(&ask.path).map_err(|failure| CallError::Forbidden(failure.text))?;
        let mut headers = ask.headers.clone();
        headers.extend(self.key.clone().map(|key| (header::AUTHORIZATION, key)));
        if ask.body.is_some() {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        let request = Request {
            method: ask.method.clone(),
            target,
            headers,
            body: ask.body.clone().map(Bytes::from),
            timeout: PATIENCE,
            own: Vec::new(),
            signer: None,
        };
        // A redirect is told, not followed: the key is for the server that was named.
        Box::pin(self.client.tell(0, request, &CancellationToken::new())).await
    }

    fn target(&self, path: &str) -> Result<Target, Failure> {
        let url = format!("{}{path}", self.base);
        self.guard
            .check_url(&url)
            .map_err(|refused| Failure::usage(format!("{} is no server's URL: {refused}", self.base)))
    }
}

fn key(session: &Session) -> Result<Option<HeaderValue>, Failure> {
    let Some(key) = &session.key else { return Ok(None) };
    let value = HeaderValue::try_from(format!("Bearer {}", key.trim()));
    let mut value = value.map_err(|_| Failure::usage("the API key holds a character that no key has"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// TLS that trusts the certificates of this file, and no others.
fn trusting_only(path: &Path) -> Result<rustls::ClientConfig, Failure> {
    let unusable = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| unusable(error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn may_pass(error: &CallError) -> bool {
    matches!(error, CallError::Broken(_) | CallError::TimedOut { .. })
}

/// Whether a refusal may be another answer in a moment. A 503 says that nothing was done.
fn comes_to_pass(status: u16, failure: &Failure, repeatable: bool) -> bool {
    match status {
        503 => true,
        502 | 504 => repeatable,
        409 => repeatable && failure.text.contains("in flight"),
        _ => false,
    }
}

/// What a status means to a script, and the server's words for people.
fn judge(answer: &Answer, base: &str) -> Result<(), Failure> {
    let header = |name: &str| answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let exit = match answer.status {
        200..=299 => return Ok(()),
        300..=399 => {
            let to = header("location").unwrap_or("another place");
            return Err(Failure::new(Exit::Unreachable, format!("{base} redirects to {to}; name the server itself")));
        }
        401 | 403 => Exit::Denied,
        404 => Exit::NotFound,
        400..=499 => Exit::Refused,
        _ => Exit::Unreachable,
    };
    let mut failure = match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => Failure::new(exit, in_words(problem)),
        // Something between us and the service speaks.
        Err(_) => Failure::new(exit, format!("{base} answers with HTTP {}, and not as AsyncQueue does", answer.status)),
    };
    failure.retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    Err(failure)
}

fn in_words(problem: Problem) -> String {
    let mut lines = vec![problem.error];
    for Detail { message } in problem.details {
        if !lines.contains(&message) {
            lines.push(message);
        }
    }
    lines.join("\n  ")
}
