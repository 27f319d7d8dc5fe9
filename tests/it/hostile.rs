//! T25: targets that do their worst. Every attempt ends, with the right state, and nothing of it reaches another task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Created, Service, Target};

/// What a hostile target sends after it was called: these bytes, and then what else it does.
#[derive(Clone)]
struct Act {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
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
async fn target(act: Act, polite: bool) -> SocketAddr {
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

fn act(bytes: impl Into<Vec<u8>>, then: Then) -> Act {
    Act { bytes: bytes.into(), then }
}

/// How a task ends whose target takes too long.
const SLOW: &str = "Timeout after 1.5 s";

/// What it does, and how a task without retries ends by it.
fn zoo() -> Vec<(&'static str, Act, &'static str)> {
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

async fn create(service: &Service, url: String, timeout: f64) -> Created {
    service.create(&json!({"targetUrl": url, "maxRetries": 0, "timeout": timeout, "body": "{}"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_ends_and_the_task_says_why() {
    let each = if std::env::var_os("AQ_TEST_LARGE").is_some() { 100 } else { 2 };
    let service = Arc::new(Service::with(&["--max-answer-bytes", "1MiB"]).await);
    let (mut tasks, mut ended) = (JoinSet::new(), 0);
    for (what, act, error) in zoo() {
        // Many of one kind at a time: this machine also has to ask how they are.
        if tasks.len() >= 100 {
            ended += std::mem::take(&mut tasks).join_all().await.len();
        }
        let address = target(act, true).await;
        for _ in 0..each {
            let service = service.clone();
            tasks.spawn(async move {
                // Only what is slow by design is to end by the time it takes.
                let timeout = if error == SLOW { 1.5 } else { 60.0 };
                let task = create(&service, format!("http://{address}/"), timeout).await;
                let failed = service.becomes(&task.id, "failed").await;
                assert_eq!(failed["error"], error, "{what}");
                let events = service.event_types(&task.id).await;
                assert_eq!(events, ["created", "attempt.started", "attempt.finished", "failed"], "{what}");
            });
        }
    }
    ended += tasks.join_all().await.len();
    assert_eq!(ended, zoo().len() * each);
    // Nothing of it was left behind that would hold up an ordinary call.
    let friendly = Target::ok().await;
    let task = create(&service, friendly.url("/"), 60.0).await;
    service.becomes(&task.id, "completed").await;
}

#[tokio::test]
async fn a_compressed_answer_is_kept_as_it_came() {
    let service = Service::start().await;
    // Its trailer claims 4 GiB, and what is before it cannot be inflated: whoever tries finds it broken.
    let bomb = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(), &[0x5a; 2048], &[0xff; 8]].concat();
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len()).into_bytes();
    bytes.extend_from_slice(&bomb);
    let address = target(act(bytes, Then::Keep), true).await;
    let task = create(&service, format!("http://{address}/"), 60.0).await;
    let ended = service.becomes(&task.id, "completed").await;
    assert_eq!(ended["result"]["body"], base64::engine::general_purpose::STANDARD.encode(&bomb));
    assert_eq!(ended["result"]["bodyEncoding"], "base64");
    assert_eq!(ended["result"]["headers"]["content-encoding"], "gzip");
}

#[tokio::test]
async fn of_doubtful_answers_one_is_taken_and_nothing_before_or_after_it() {
    let service = Service::start().await;
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let two_lengths = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n";
    let answers = [
        (format!("{interim}HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"), "ok"),
        (format!("{two_lengths}2\r\nok\r\n0\r\n\r\n{smuggled}"), "ok"),
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{smuggled}"), "ok"),
        (format!("HTTP/1.1 204 No Content\r\n\r\n{smuggled}"), ""),
    ];
    for (bytes, body) in answers {
        let address = target(act(bytes.clone(), Then::Keep), true).await;
        for _ in 0..5 {
            let task = create(&service, format!("http://{address}/"), 60.0).await;
            let ended = service.becomes(&task.id, "completed").await;
            assert_eq!(ended["result"]["body"], body, "{bytes}");
        }
    }
}

#[tokio::test]
async fn what_is_no_tls_is_a_network_error_before_anything_is_sent() {
    let service = Service::start().await;
    let garbage: [&[u8]; 3] =
        [b"220 mail.example.com ESMTP\r\n", &[0x16, 0x03, 0x03, 0xff, 0xff, 0, 1, 2], &[0xff; 512]];
    for bytes in garbage {
        let address = target(act(bytes, Then::Close), false).await;
        let body = json!({"targetUrl": format!("https://{address}/"), "maxRetries": 1, "waitForSignal": true});
        let task = service.create(&body).await;
        let delayed = service.once(&task.id, "delayed", |task| task["status"] == "delayed").await;
        assert_eq!(delayed["retryCount"], 1);
        service.clock.advance(2);
        // It waits for nobody: as nothing was sent, nobody can have taken the job.
        let failed: Value = service.becomes(&task.id, "failed").await;
        let error = failed["error"].as_str().unwrap();
        assert!(error.starts_with("Network error: "), "{error}");
    }
}
