//! The server against real sockets, because what matters here is what goes over the wire.

mod requests;
mod slow;
mod smuggling;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
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
const BODY_DEADLINE: Duration = Duration::from_millis(400);

/// Small enough for a test to wait for them.
fn short() -> Limits {
    Limits {
        first_byte: Duration::from_millis(300),
        header: Duration::from_millis(400),
        idle: Duration::from_millis(500),
        write_stall: Duration::from_millis(500),
        linger: Duration::from_millis(200),
        grace: Duration::from_secs(2),
        connections: 200,
        ..Limits::default()
    }
}

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    _stop_on_drop: DropGuard,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let ended = tokio::spawn(serve(listener, router(), limits, stop.clone()));
        Self { address, ended, _stop_on_drop: stop.clone().drop_guard(), stop }
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

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(echo))
        .route("/peer", get(peer))
        .route("/panic", get(panics))
        .route("/late", get(late))
        .route("/held", get(held))
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

async fn late() -> &'static str {
    sleep(Duration::from_millis(700)).await;
    "late"
}

/// How many requests are held just now.
static HELD: AtomicUsize = AtomicUsize::new(0);

async fn held() {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            HELD.fetch_sub(1, Relaxed);
        }
    }
    HELD.fetch_add(1, Relaxed);
    let _guard = Guard;
    std::future::pending::<()>().await;
}

async fn hear(client: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(Ok(count @ 1..)) = timeout(Duration::from_millis(250), client.read(&mut bytes)).await {
        heard.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// The answers' status codes. A body that holds an answer would be miscounted; none here does.
fn statuses(heard: &str) -> Vec<u16> {
    let starts = heard.match_indices("HTTP/1.");
    starts.filter_map(|(at, _)| heard.get(at + 9..at + 12)?.parse().ok()).collect()
}

async fn is_closed_within(client: &mut TcpStream, time: Duration) -> bool {
    let mut rest = Vec::new();
    timeout(time, client.read_to_end(&mut rest)).await.is_ok()
}
