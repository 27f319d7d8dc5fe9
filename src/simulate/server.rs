//! The simulated provider: one address for all of its hosts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::facts::Facts;
use super::jobs::{Job, Outcome, Plan};
use super::route::{self, Act};
use super::sign::Signing;
use super::told::receivers;
use crate::clock::Clock;
use crate::guard::{AllowList, AllowTarget, Guard};
use crate::net::{self, Limits};
use crate::outbound::{Client, ClientConfig, Detours};

/// The largest submission.
const BODY_MAX: usize = 64 << 20;

/// Hears what a simulated provider does, in words that complete “the provider …”.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&str) + Send + Sync>);

impl Listener {
    /// One that calls this.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(super) fn hear(&self, what: &str) {
        (self.0)(what);
    }
}

/// A simulated provider that runs, until it is dropped.
pub struct Simulator {
    /// Where.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What its requests and its jobs have in common.
pub(super) struct Shared {
    pub facts: Facts,
    pub plan: Plan,
    pub signing: Signing,
    pub clock: Arc<dyn Clock>,
    pub listener: Listener,
    pub guard: Arc<Guard>,
    pub client: Client,
    pub stop: CancellationToken,
    /// The URL for the webhooks of all jobs.
    pub registered: Mutex<Option<String>>,
    /// Webhooks that are still to get lost.
    pub lost: AtomicU32,
    /// Webhooks so far.
    pub events: AtomicU32,
    busy: AtomicU32,
    jobs: Mutex<Vec<Job>>,
}

impl Simulator {
    /// Starts it on a free port of loopback. It calls loopback and nobody else.
    pub async fn start(facts: Facts, plan: Plan, clock: Arc<dyn Clock>, listener: Listener) -> Result<Self, String> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let guard = Arc::new(Guard::new(AllowList(vec![AllowTarget::parse("127.0.0.0/8")?])));
        let shared = Arc::new(Shared {
            lost: AtomicU32::new(plan.lost),
            busy: AtomicU32::new(plan.busy),
            facts,
            plan,
            signing: Signing::default(),
            clock,
            listener,
            client: Client::new(ClientConfig::new(guard.clone())),
            guard,
            stop: CancellationToken::new(),
            registered: Mutex::default(),
            events: AtomicU32::new(0),
            jobs: Mutex::default(),
        });
        let router = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(net::serve(socket, router, Limits::default(), shared.stop.clone()));
        Ok(Self { address, shared })
    }

    /// Leads its hosts to it.
    pub fn lead(&self, detours: &mut Detours) {
        for host in self.shared.facts.hosts() {
            detours.add(host, self.address);
        }
    }

    /// Registers the URL for the webhooks of all jobs.
    pub fn register(&self, url: String) {
        *self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    match to_bytes(body, BODY_MAX).await {
        Ok(body) => shared.answer(&head, &body),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}

impl Shared {
    fn answer(self: &Arc<Self>, head: &Parts, body: &Bytes) -> Response {
        let path = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
        if self.facts.keys_url().is_some_and(|url| url.ends_with(path)) && head.method == Method::GET {
            return json_answer(200, &self.signing.jwks());
        }
        match self.named(path, body) {
            Some(job) => self.about(&job, head, path),
            None => self.take(head, path, body),
        }
    }

    /// The job that a request names.
    fn named(&self, path: &str, body: &Bytes) -> Option<Job> {
        let path = route::decoded(path);
        let asks_in_body = self.facts["poll"]["method"] == "POST";
        let names = |job: &&Job| {
            path.contains(&job.id) || asks_in_body && memchr::memmem::find(body, job.id.as_bytes()).is_some()
        };
        self.jobs().iter().find(names).cloned()
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_called_off(&self, id: &str) -> bool {
        self.jobs().iter().any(|job| job.id == id && job.cancelled)
    }

    /// Takes a job.
    fn take(self: &Arc<Self>, head: &Parts, path: &str, body: &Bytes) -> Response {
        if self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            self.listener.hear("is busy: answers 503");
            return json_answer(503, &json!({"error": "try again"}));
        }
        let text = |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default().to_owned();
        let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
        let receivers = receivers(&self.facts, path, content_type, body);
        let job = self.add(receivers);
        self.listener.hear(&format!(
            "takes the job: {} https://{host}{}",
            head.method,
            path.split('?').next().unwrap_or_default()
        ));
        let link = |place: &str| format!("https://{host}{}", route::link(&job.id, place));
        let answer = self.facts.submitted(&job.id, &link);
        tokio::spawn(self.clone().work(job));
        json_answer(200, &answer)
    }

    fn add(&self, receivers: Vec<super::told::Receiver>) -> Job {
        let mut jobs = self.jobs();
        let prefix = if self.facts["poll"]["keepSlashes"] == true { "operations/" } else { "" };
        let id = format!("{prefix}job-{}-of-{}", jobs.len() + 1, self.facts.id());
        let job = Job { id, taken: Instant::now(), receivers, cancelled: false };
        jobs.push(job.clone());
        job
    }

    fn about(&self, job: &Job, head: &Parts, path: &str) -> Response {
        match route::act(&self.facts, &head.method, path) {
            Act::CallOff => {
                self.jobs().iter_mut().filter(|known| known.id == job.id).for_each(|known| known.cancelled = true);
                self.listener.hear("calls the job off");
                json_answer(200, &json!({}))
            }
            Act::Fetch => {
                self.listener.hear("hands the result out");
                json_answer(200, &json!({"made": true, "job": job.id}))
            }
            Act::Poll => self.polled(job),
        }
    }

    fn polled(&self, job: &Job) -> Response {
        let share = job.share(self.plan.work);
        let (code, answer) = match self.plan.outcome {
            _ if share < 1.0 => self.facts.pending(&job.id, share),
            Outcome::Done => self.facts.done(&job.id),
            Outcome::Failed => self.facts.failed(&job.id).unwrap_or_else(|| self.facts.pending(&job.id, 1.0)),
        };
        let state = if share < 1.0 { "goes on" } else { "has ended" };
        self.listener.hear(&format!("answers a poll: the job {state}"));
        json_answer(code, &answer)
    }
}

fn json_answer(code: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
