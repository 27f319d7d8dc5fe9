//! The server against real sockets, because what matters here is what goes over the wire.

mod requests;
mod slow;
mod smuggling;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Limits, Peer, body, serve};

const CAP: usize = 100_000;
const BODY_DEADLINE: Duration = Duration::from_millis(1200);

/// The longest that anything is waited for. Nothing is decided by how long it took.
const PATIENCE: Duration = Duration::from_secs(40);

/// Small enough for a test to wait for them, and large enough for its clients to be in time on a busy machine.
fn short() -> Limits {
    Limits {
        first_byte: Duration::from_secs(1),
        header: Duration::from_millis(1200),
        idle: Duration::from_millis(1500),
        write_stall: Duration::from_millis(500),
        linger: Duration::from_millis(200),
        grace: Duration::from_secs(2),
        connections: 200,
        ..Limits::default()
    }
}

/// What a server's handlers are at.
#[derive(Default)]
struct Work {
    /// Requests that were begun and take their time.
    begun: AtomicUsize,
    /// How many of them are held just now.
    held: AtomicUsize,
}

struct Server {
    address: SocketAddr,
    work: Arc<Work>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    _stop_on_drop: DropGuard,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let work = Arc::new(Work::default());
        let ended = tokio::spawn(serve(listener, router(&work), limits, stop.clone()));
        Self { address, work, ended, _stop_on_drop: stop.clone().drop_guard(), stop }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that the server says to `bytes` before it closes or falls silent.
    async fn tell(&self, bytes: &[u8]) -> String {
        let mut client = self.connect().await;
        // The server may have refused and closed before it got everything.
        let _ = client.write_all(bytes).await;
        hear(&mut client).await
    }
}

fn router(work: &Arc<Work>) -> Router {
    let (late, held) = (Arc::clone(work), Arc::clone(work));
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(echo))
        .route("/peer", get(peer))
        .route("/panic", get(panics))
        .route("/late", get(move || be_late(Arc::clone(&late))))
        .route("/held", get(move || hold(Arc::clone(&held))))
        .route("/large", get(|| async { vec![b'x'; 32 << 20] }))
}

async fn echo(request: Request) -> Response {
    let (head, incoming) = request.into_parts();
    match body::read(incoming, &head.headers, CAP, BODY_DEADLINE).await {
        Ok(bytes) => Body::from(bytes).into_response(),
        Err(error) => {
            let json = [(CONTENT_TYPE, "application/json")];
            (error.status(), json, format!(r#"{{"error":"{error}"}}"#)).into_response()
        }
    }
}

async fn peer(request: Request) -> String {
    request.extensions().get::<Peer>().unwrap().0.to_string()
}

async fn panics() -> StatusCode {
    panic!("as asked")
}

/// Takes longer than any limit of [`short`].
async fn be_late(work: Arc<Work>) -> &'static str {
    work.begun.fetch_add(1, Relaxed);
    sleep(Duration::from_secs(2)).await;
    "late"
}

async fn hold(work: Arc<Work>) {
    struct Guard(Arc<Work>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.held.fetch_sub(1, Relaxed);
        }
    }
    work.held.fetch_add(1, Relaxed);
    work.begun.fetch_add(1, Relaxed);
    let _guard = Guard(work);
    std::future::pending::<()>().await;
}

/// What is said until the connection closes, or until there is a whole answer and then silence.
async fn hear(client: &mut TcpStream) -> String {
    hear_until(client, ends_whole).await
}

/// The same with another end.
async fn hear_until(client: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
    let mut heard = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let enough = is_enough(&String::from_utf8_lossy(&heard));
        let patience = if enough { Duration::from_millis(150) } else { PATIENCE };
        match timeout(patience, client.read(&mut bytes)).await {
            Ok(Ok(count @ 1..)) => heard.extend_from_slice(&bytes[..count]),
            _ => return String::from_utf8_lossy(&heard).into_owned(),
        }
    }
}

/// Whether these are answers, the last of them final and with all of its body. A body that holds a head would be misread;
/// none here does.
fn ends_whole(heard: &str) -> bool {
    let last = heard.rfind("HTTP/1.").map_or("", |at| &heard[at..]);
    let Some((head, body)) = last.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    !head.contains(" 100 ") && body.len() >= length.unwrap_or(0)
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it comes to that");
}

/// The answers' status codes. A body that holds an answer would be miscounted; none here does.
fn statuses(heard: &str) -> Vec<u16> {
    let starts = heard.match_indices("HTTP/1.");
    starts.filter_map(|(at, _)| heard.get(at + 9..at + 12)?.parse().ok()).collect()
}

async fn is_closed(client: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut rest)).await.is_ok()
}
