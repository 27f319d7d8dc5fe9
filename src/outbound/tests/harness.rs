//! Scripted targets, a resolver that says what it is told to, and a client that may call loopback.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use crate::guard::{AllowList, AllowTarget, Guard};
use crate::outbound::{Answer, CallError, Client, ClientConfig, Request, Resolver, Signer};
use crate::task::Timestamp;

/// A request as a target saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// What a target does once it has read a request.
pub enum Reply {
    /// Answers, and reads on.
    Send(Vec<u8>),
    /// Answers, and closes.
    Close(Vec<u8>),
    /// Answers, then says the other thing again and again.
    Repeat(Vec<u8>, Vec<u8>, Duration),
    /// Says nothing.
    Hang,
}

impl Reply {
    pub fn send(text: impl Into<String>) -> Self {
        Self::Send(text.into().into_bytes())
    }

    pub fn close(text: impl Into<String>) -> Self {
        Self::Close(text.into().into_bytes())
    }

    pub fn ok(body: &str) -> Self {
        Self::send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A target on loopback that remembers what it saw.
#[derive(Clone)]
pub struct Server {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
    /// How many of them were closed.
    closed: Arc<AtomicUsize>,
    script: Script,
}

impl Server {
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", false, script).await
    }

    /// A target whose every close is a reset.
    pub async fn resetting(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", true, script).await
    }

    pub async fn start_at(at: &str, reset: bool, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let server = Self::unbound(listener.local_addr().unwrap(), script);
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if reset {
                    stream.set_zero_linger().unwrap();
                }
                let server = accepting.clone();
                let connection = server.count();
                tokio::spawn(async move {
                    server.serve(stream, connection).await;
                    server.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    /// A target whose connections are accepted elsewhere.
    pub fn unbound(addr: SocketAddr, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self { addr, seen: Arc::default(), accepted: Arc::default(), closed: Arc::default(), script: Arc::new(script) }
    }

    pub fn count(&self) -> usize {
        self.accepted.fetch_add(1, Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits until this target has closed so many connections.
    pub async fn closed(&self, number: usize) {
        while self.closed.load(Ordering::SeqCst) < number {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.addr.port())
    }

    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, connection: usize) {
        while let Some((head, body)) = read_request(&mut stream).await {
            let seen = Seen { connection, head, body };
            let reply = (self.script)(&seen);
            self.seen.lock().unwrap().push(seen);
            if act(&mut stream, reply).await.is_err() {
                return;
            }
        }
    }
}

async fn act<S: AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Send(bytes) => stream.write_all(&bytes).await,
        Reply::Close(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            // The answer should be read before a reset overtakes it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Reply::Repeat(first, again, every) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&again).await?;
                stream.flush().await?;
                tokio::time::sleep(every).await;
            }
        }
        Reply::Hang => std::future::pending().await,
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// Answers each name with its answers in turn, round and round.
#[derive(Default)]
pub struct Names {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    pub asked: AtomicUsize,
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        let answers = self.answers.get(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(answers[turn % answers.len()].clone())
    }
}

/// A client with its guard and its names.
pub struct Caller {
    pub guard: Arc<Guard>,
    pub names: Arc<Names>,
    pub client: Client,
}

/// May call 127.0.0.1 and nothing else on loopback; `names` are written `name=ip,ip;ip` with `;` between look-ups.
pub fn caller(names: &[&str]) -> Caller {
    caller_with(names, |_| {})
}

pub fn caller_with(names: &[&str], change: impl FnOnce(&mut ClientConfig)) -> Caller {
    let guard = Arc::new(Guard::new(AllowList(vec![AllowTarget::parse("127.0.0.1").unwrap()])));
    let answers = names.iter().map(|line| parse_answers(line)).collect();
    let names = Arc::new(Names { answers, asked: AtomicUsize::new(0) });
    let mut config = ClientConfig::new(Arc::clone(&guard));
    config.resolver = Arc::clone(&names) as Arc<dyn Resolver>;
    change(&mut config);
    Caller { guard, names, client: Client::new(config) }
}

fn parse_answers(line: &str) -> (String, Vec<Vec<IpAddr>>) {
    let (name, answers) = line.split_once('=').unwrap();
    let lookup = |list: &str| list.split(',').filter(|ip| !ip.is_empty()).map(|ip| ip.parse().unwrap()).collect();
    (name.to_owned(), answers.split(';').map(lookup).collect())
}

impl Caller {
    pub fn get(&self, url: &str) -> Request {
        Request {
            method: Method::GET,
            target: self.guard.check_url(url).unwrap(),
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(10),
            own: Vec::new(),
            signer: None,
        }
    }

    /// A POST with something secret in every part.
    pub fn canary(&self, url: &str) -> Request {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        Request {
            method: Method::POST,
            headers: vec![header("authorization", "Bearer canary"), header("x-vault", "canary")],
            body: Some(Bytes::from_static(b"canary body")),
            own: vec![header("x-asyncqueue-task-id", "canary")],
            signer: Some(Signer {
                secrets: vec![Zeroizing::new("canary".to_owned())],
                at: Timestamp(1_700_000_000_000),
                standard_webhooks_id: None,
            }),
            ..self.get(url)
        }
    }

    pub async fn fetch(&self, url: &str) -> Result<Answer, CallError> {
        self.client.call(1, self.get(url)).await
    }
}

/// A plain TCP listener that only counts who knocks.
pub async fn recording_listener(at: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let knocks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&knocks);
    tokio::spawn(async move {
        while let Ok((_stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (addr, knocks)
}

/// Proves that a listener is alive and counts, by knocking once.
pub async fn knock(addr: SocketAddr, knocks: &AtomicUsize) {
    let before = knocks.load(Ordering::SeqCst);
    let _stream = TcpStream::connect(addr).await.unwrap();
    while knocks.load(Ordering::SeqCst) == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
