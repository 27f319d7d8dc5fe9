//! Simulated targets and webhook receivers, which remember what they saw.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// A request as a target saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a target does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Answers.
    Send(Vec<u8>),
    /// Answers once the gate is open.
    Behind(watch::Receiver<bool>, Vec<u8>),
    /// Waits, then answers.
    Later(Duration, Vec<u8>),
    /// Says nothing, for ever.
    Hang,
    /// Cuts the connection.
    Cut,
}

impl Reply {
    /// This status with this body.
    pub fn status(status: u16, body: &str) -> Self {
        Self::with(status, &[], body)
    }

    /// This status with these headers and this body.
    pub fn with(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self::Send(Self::bytes(status, headers, body.as_bytes()))
    }

    /// An answer's bytes.
    pub fn bytes(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// 200 once the gate is open.
    pub fn behind(gate: &watch::Sender<bool>) -> Self {
        Self::Behind(gate.subscribe(), Self::bytes(200, &[], b"{}"))
    }
}

/// A gate that is closed.
pub fn gate() -> watch::Sender<bool> {
    watch::channel(false).0
}

/// Opens a gate for good.
pub fn open(gate: &watch::Sender<bool>) {
    gate.send_replace(true);
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// A target on loopback.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    script: Arc<Script>,
}

impl Target {
    /// A target that answers what the script says to a request and its number, from 1.
    pub async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", script).await
    }

    /// The same at an address.
    pub async fn start_at(at: &str, script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Self { address, seen: Arc::default(), connections: Arc::default(), script: Arc::new(script) };
        let accepting = target.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *accepting.connections.lock().unwrap() += 1;
                let target = accepting.clone();
                tokio::spawn(async move { target.serve(stream).await });
            }
        });
        target
    }

    /// A target that answers 200 to everything.
    pub async fn ok() -> Self {
        Self::start(|_, _| Reply::status(200, "{\"queued\":true}")).await
    }

    /// A URL of this target.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it saw so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests it saw.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits for the `number`th request, from 1.
    pub async fn request(&self, number: usize) -> Seen {
        super::until("a request to the target", || self.count() >= number).await;
        self.seen()[number - 1].clone()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = read(&mut stream).await {
            let number = {
                let mut all = self.seen.lock().unwrap();
                all.push(seen.clone());
                all.len()
            };
            match (self.script)(&seen, number) {
                Reply::Send(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
                Reply::Behind(mut gate, bytes) => {
                    let _ = gate.wait_for(|open| *open).await;
                    stream.write_all(&bytes).await.unwrap_or_default();
                }
                Reply::Later(time, bytes) => {
                    sleep(time).await;
                    stream.write_all(&bytes).await.unwrap_or_default();
                }
                Reply::Hang => std::future::pending().await,
                Reply::Cut => return,
            }
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end_matches(['\r', '\n']).split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut seen = Seen { method, path, headers, body: Vec::new(), at: Instant::now() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}
