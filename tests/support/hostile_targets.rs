//! Targets that do their worst, for the tests of the service in this process and as one of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What a hostile target sends after it was called: these bytes, and then what else it does.
#[derive(Clone)]
pub struct Act {
    pub bytes: Vec<u8>,
    pub then: Then,
}

#[derive(Clone, Copy)]
pub enum Then {
    /// Sends this over and over, as fast as it is taken.
    Flood(&'static [u8]),
    /// Sends a byte now and then.
    Drip,
    /// Says nothing more and keeps the connection.
    Keep,
    Close,
    Reset,
}

/// A target that does this to everybody, before it has read anything if it is not `polite`.
pub async fn target(act: Act, polite: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let act = Arc::new(act);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(perform(stream, act.clone(), polite));
        }
    });
    address
}

/// Ends with the connection, whoever ends that.
async fn perform(mut stream: TcpStream, act: Arc<Act>, polite: bool) {
    if polite && stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
        return;
    }
    let _ = stream.write_all(&act.bytes).await;
    match act.then {
        Then::Flood(bytes) => {
            let block = bytes.repeat(8192_usize.div_ceil(bytes.len()));
            while stream.write_all(&block).await.is_ok() {}
        }
        Then::Drip => {
            while stream.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        }
        Then::Keep => while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {},
        Then::Close => {}
        Then::Reset => {
            sleep(Duration::from_millis(20)).await;
            stream.set_zero_linger().unwrap();
        }
    }
}

/// These bytes, and then this.
pub fn act(bytes: impl Into<Vec<u8>>, then: Then) -> Act {
    Act { bytes: bytes.into(), then }
}

/// How a task ends whose target takes too long.
pub const SLOW: &str = "Timeout after 1.5 s";

/// What it does, and how a task without retries ends by it.
pub fn zoo() -> Vec<(&'static str, Act, &'static str)> {
    const CLOSED: &str = "Network error: connection closed before the answer was complete";
    const LARGE: &str = "The answer was larger than 1048576 bytes; its body was dropped";
    const HEADS: &str = "Network error: answer headers are too large";
    const INTERIM: &str = "Network error: too many interim answers";
    const MALFORMED: &str = "Network error: malformed answer";
    let ok = "HTTP/1.1 200 OK\r\n";
    let interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let chunk: &[u8] =
        b"400\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    vec![
        ("no length, no end", act(format!("{ok}\r\n"), Then::Flood(chunk)), LARGE),
        ("a length of 1 TB", act(format!("{ok}content-length: 1099511627776\r\n\r\n"), Then::Flood(chunk)), LARGE),
        ("chunks without end", endless_chunks(ok), LARGE),
        ("a dripping body", act(format!("{ok}content-length: 100000\r\n\r\n"), Then::Drip), SLOW),
        ("a dripping head", act(ok, Then::Drip), SLOW),
        ("silence", act("", Then::Keep), SLOW),
        ("500 KB of header", act(format!("{ok}x: {}\r\n\r\n", "x".repeat(500_000)), Then::Keep), HEADS),
        ("101 headers", act(format!("{ok}{}\r\n", "x: y\r\n".repeat(101)), Then::Keep), HEADS),
        ("a header without end", act(ok, Then::Flood(b"x-endless: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")), HEADS),
        ("interim answers without end", act(interim, Then::Flood(interim)), INTERIM),
        (
            "status 999",
            act("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", Then::Keep),
            "Network error: the target answered with status 999",
        ),
        (
            "status 101",
            act("HTTP/1.1 101 Odd\r\n\r\n", Then::Keep),
            "Network error: the target answered with status 101",
        ),
        ("status 99", act("HTTP/1.1 99 Odd\r\n\r\n", Then::Close), MALFORMED),
        ("HTTP/0.9", act("hello\r\n", Then::Close), MALFORMED),
        ("two lengths", act(format!("{ok}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"), Then::Keep), MALFORMED),
        ("a length below zero", act(format!("{ok}content-length: -1\r\n\r\n"), Then::Keep), MALFORMED),
        ("closed at once", act("", Then::Close), CLOSED),
        ("closed midway", act(format!("{ok}content-length: 10\r\n\r\nshort"), Then::Close), CLOSED),
        ("closed in a chunk", act(format!("{ok}transfer-encoding: chunked\r\n\r\n5\r\nab"), Then::Close), CLOSED),
        (
            "reset midway",
            act(format!("{ok}content-length: 10\r\n\r\nshort"), Then::Reset),
            "Network error: connection reset",
        ),
    ]
}

fn endless_chunks(ok: &str) -> Act {
    act(format!("{ok}transfer-encoding: chunked\r\n\r\n"), Then::Flood(b"10\r\n0123456789abcdef\r\n"))
}
