//! The world outside: a target that is called, and a receiver of completion webhooks. Both keep a record of all they
//! see, and do what the query of their URL says.
//!
//! `/call?delay=MS&fail=N&echo=1`: answers after a delay, refuses the first N attempts with 500, sends the body back.
//! `/hook?fail=N`: refuses the first N deliveries of each task.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::time::wall_ms;

/// A call that reached the target.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub task: String,
    pub attempt: u32,
    pub at: i64,
    /// When the whole answer was handed to the connection; none where it broke first.
    pub answered: Option<i64>,
    pub status: u16,
    pub body: Vec<u8>,
    pub signature: String,
}

/// A completion webhook that arrived.
#[derive(Clone, Debug, Default)]
pub struct Hook {
    pub task: String,
    pub event: String,
    pub status: u16,
    pub body: Vec<u8>,
    pub signature: String,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    pub standard: [String; 3],
}

#[derive(Default)]
struct Record {
    calls: Mutex<Vec<Call>>,
    hooks: Mutex<Vec<Hook>>,
    /// Callback ids as the calls' bodies carried them, with their tasks, until somebody takes them.
    callbacks: Mutex<Vec<(String, String)>>,
    in_flight: AtomicUsize,
}

/// The running target.
#[derive(Clone)]
pub struct Target {
    pub addr: SocketAddr,
    record: Arc<Record>,
}

impl Target {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = Self { addr: listener.local_addr().expect("an address"), record: Arc::default() };
        let serving = target.clone();
        tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serving.clone().serve(stream));
                }
            }
        });
        target
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.record.calls.lock().unwrap().clone()
    }

    pub fn hooks(&self) -> Vec<Hook> {
        self.record.hooks.lock().unwrap().clone()
    }

    /// Calls that arrived and are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.record.in_flight.load(Ordering::Relaxed)
    }

    /// Takes one of the callback ids that calls have brought: (task, callback id).
    pub fn take_callback(&self, choose: impl FnOnce(usize) -> usize) -> Option<(String, String)> {
        let mut all = self.record.callbacks.lock().unwrap();
        if all.is_empty() {
            return None;
        }
        let index = choose(all.len()) % all.len();
        Some(all.swap_remove(index))
    }

    async fn serve(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let target = self.clone();
            async move { Ok::<_, Infallible>(target.answer(request).await) }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let query = request.uri().query().unwrap_or("").as_bytes();
        let asked: HashMap<String, String> = url::form_urlencoded::parse(query).into_owned().collect();
        if request.uri().path() == "/hook" {
            self.hook(request, &asked).await
        } else {
            self.call(request, &asked).await
        }
    }

    async fn call(&self, request: Request<Incoming>, asked: &HashMap<String, String>) -> Response<Full<Bytes>> {
        let at = wall_ms();
        let attempt = header(&request, "x-asyncqueue-attempt").parse().unwrap_or(0);
        let (task, signature) = (header(&request, "x-asyncqueue-task-id"), header(&request, "x-asyncqueue-signature"));
        let body = collect(request).await;
        let status = if attempt <= number(asked, "fail") { 500 } else { 200 };
        let call = Call { task: task.clone(), attempt, at, answered: None, status, body: body.to_vec(), signature };
        let index = push(&self.record.calls, call);
        self.offer_callback(task, &body);
        let gauge = Gauge::enter(&self.record);
        tokio::time::sleep(Duration::from_millis(number(asked, "delay").into())).await;
        drop(gauge);
        self.record.calls.lock().unwrap()[index].answered = Some(wall_ms());
        respond(status, if asked.contains_key("echo") { body } else { Bytes::from_static(br#"{"accepted":true}"#) })
    }

    fn offer_callback(&self, task: String, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(id) = body["callback"].as_str().and_then(|url| url.rsplit('/').next()) {
            self.record.callbacks.lock().unwrap().push((task, id.to_owned()));
        }
    }

    async fn hook(&self, request: Request<Incoming>, asked: &HashMap<String, String>) -> Response<Full<Bytes>> {
        let signature = header(&request, "x-asyncqueue-signature");
        let standard = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| header(&request, name));
        let body = collect(request).await.to_vec();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let task = said["task"]["id"].as_str().unwrap_or("").to_owned();
        let earlier = self.hooks().iter().filter(|hook| hook.task == task).count();
        let status = if earlier < number(asked, "fail") as usize { 500 } else { 200 };
        let event = said["event"].as_str().unwrap_or("").to_owned();
        push(&self.record.hooks, Hook { task, event, status, body, signature, standard });
        respond(status, Bytes::new())
    }
}

/// Counts a call as in flight until it is dropped, also where the connection breaks.
struct Gauge<'a>(&'a Record);

impl<'a> Gauge<'a> {
    fn enter(record: &'a Record) -> Self {
        record.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(record)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) -> usize {
    let mut list = list.lock().unwrap();
    list.push(item);
    list.len() - 1
}

fn header(request: &Request<Incoming>, name: &str) -> String {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn number(asked: &HashMap<String, String>, name: &str) -> u32 {
    asked.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

async fn collect(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

fn respond(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body)).expect("a well-formed answer")
}
