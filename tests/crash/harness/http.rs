//! A small HTTP client that never guesses: a request was answered, was never sent, or nobody knows.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(90);

/// An answer that arrived whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    Answered(Answer),
    /// Not a byte of it was sent.
    NotSent(String),
    /// Sent, at least in part, and no whole answer came.
    Unknown(Broken),
}

/// How an exchange broke.
#[derive(Clone, Debug)]
pub struct Broken {
    pub why: String,
    /// The connection had served a request before, so the server may have closed it between two.
    pub reused: bool,
    pub connected: Instant,
}

impl Outcome {
    /// The status code; 0 where no answer came.
    pub fn status(&self) -> u16 {
        self.answer().map_or(0, |answer| answer.status)
    }

    /// Why nothing could be sent, where nothing could.
    pub fn refusal(&self) -> Option<&str> {
        if let Self::NotSent(why) = self { Some(why) } else { None }
    }

    pub fn answer(&self) -> Option<&Answer> {
        if let Self::Answered(answer) = self { Some(answer) } else { None }
    }

    pub fn json(&self) -> Value {
        self.answer().map_or(Value::Null, Answer::json)
    }
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    reused: bool,
    connected: Instant,
}

/// A client of one server, for one key, that keeps its connections.
pub struct Client {
    addr: SocketAddr,
    key: Option<String>,
    idle: Mutex<Vec<Connection>>,
    keep_alive: bool,
    unanswered: AtomicUsize,
    refusals: Mutex<Vec<Bytes>>,
}

impl Client {
    pub fn new(addr: SocketAddr, key: Option<&str>) -> Self {
        Self {
            addr,
            key: key.map(str::to_owned),
            idle: Mutex::default(),
            keep_alive: true,
            unanswered: AtomicUsize::new(0),
            refusals: Mutex::default(),
        }
    }

    /// The same, with a new connection for every request.
    pub fn without_keep_alive(self) -> Self {
        Self { keep_alive: false, ..self }
    }

    /// A client of another server with the same key.
    pub fn at(&self, addr: SocketAddr) -> Self {
        Self::new(addr, self.key.as_deref())
    }

    /// Requests sent and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// The bodies of all answers of 400 and above so far.
    pub fn refusals(&self) -> Vec<Bytes> {
        self.refusals.lock().unwrap().clone()
    }

    pub async fn get(&self, path: &str) -> Outcome {
        self.send(Method::GET, path, String::new()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<String>) -> Outcome {
        self.send(Method::POST, path, body.into()).await
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Outcome {
        let started = Instant::now();
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let outcome = timeout(PATIENCE, self.exchange(self.request(method, path, body))).await;
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        let outcome = outcome.unwrap_or_else(|_| broken("no answer in 90 s", true, started));
        if let Outcome::Answered(answer) = &outcome
            && answer.status >= 400
        {
            self.refusals.lock().unwrap().push(answer.body.clone());
        }
        outcome
    }

    fn request(&self, method: Method, path: &str, body: String) -> Request<Full<Bytes>> {
        let mut builder = Request::builder().method(method).uri(path).header("host", self.addr.to_string());
        if let Some(key) = &self.key {
            builder = builder.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() {
            builder = builder.header("content-type", "application/json");
        }
        if !self.keep_alive {
            builder = builder.header("connection", "close");
        }
        builder.body(Full::new(Bytes::from(body))).expect("a well-formed request")
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Outcome {
        loop {
            let mut connection = match self.connection().await {
                Ok(connection) => connection,
                Err(why) => return Outcome::NotSent(why),
            };
            let (reused, connected) = (connection.reused, connection.connected);
            match connection.sender.try_send_request(request).await {
                Ok(response) => return self.read(connection, response).await,
                Err(mut error) => match error.take_message() {
                    // The server closed it between two requests, before a byte of this one was written.
                    Some(unsent) if reused => request = unsent,
                    _ => return broken(&format!("{:?}", error.into_error()), reused, connected),
                },
            }
        }
    }

    async fn connection(&self) -> Result<Connection, String> {
        loop {
            let Some(mut idle) = self.idle.lock().unwrap().pop() else {
                break;
            };
            if idle.sender.ready().await.is_ok() {
                return Ok(Connection { reused: true, ..idle });
            }
        }
        let stream = TcpStream::connect(self.addr).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let connected = Instant::now();
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        Ok(Connection { sender, reused: false, connected })
    }

    async fn read(&self, connection: Connection, response: Response<Incoming>) -> Outcome {
        let status = response.status().as_u16();
        match response.into_body().collect().await {
            Ok(body) => {
                if self.keep_alive {
                    self.idle.lock().unwrap().push(connection);
                }
                Outcome::Answered(Answer { status, body: body.to_bytes() })
            }
            Err(error) => broken(&format!("{error:?}"), false, connection.connected),
        }
    }
}

fn broken(why: &str, reused: bool, connected: Instant) -> Outcome {
    Outcome::Unknown(Broken { why: why.to_owned(), reused, connected })
}
