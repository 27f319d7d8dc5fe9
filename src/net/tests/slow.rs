//! Clients that owe us something and take their time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, sleep},
};

use super::{Limits, PATIENCE, Server, hear, is_closed, short, statuses};

/// A name, what is sent at first and then again and again, and the statuses that come back.
type Case = (&'static str, &'static [u8], &'static [u8], &'static [u16]);

/// Sends `start`, then `drip` again and again, and tells what it heard and how long it was let.
async fn dawdle(mut client: TcpStream, start: &'static [u8], drip: &'static [u8]) -> (String, Duration) {
    let began = Instant::now();
    client.write_all(start).await.unwrap();
    let mut tick = interval(Duration::from_millis(50));
    let mut heard = Vec::new();
    loop {
        tokio::select! {
            _ = tick.tick() => if !drip.is_empty() && client.write_all(drip).await.is_err() { break },
            read = client.read_buf(&mut heard) => if !matches!(read, Ok(1..)) { break },
        }
    }
    (String::from_utf8_lossy(&heard).into_owned(), began.elapsed())
}

#[tokio::test]
async fn every_kind_of_slow_client_is_let_go_while_others_are_served() {
    const PARTIAL: &[u8] = b"POST /echo HTTP/1.1\r\nHost: a\r\n";
    const SIZED: &[u8] = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n";
    let cases: [Case; 9] = [
        ("silent", b"", b"", &[]),
        ("one byte", b"P", b"", &[408]),
        ("partial line", b"POST /ec", b"", &[408]),
        ("partial headers", PARTIAL, b"", &[408]),
        ("drip headers", PARTIAL, b"X: y\r\n", &[408]),
        ("no body", SIZED, b"", &[408]),
        ("drip body", SIZED, b"x", &[408]),
        ("idle keep-alive", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", &[200]),
        ("half a second request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT", b"", &[200, 408]),
    ];
    let server = Server::start(short()).await;
    let mut dawdlers = Vec::new();
    for (name, start, drip, expected) in cases {
        for _ in 0..10 {
            let client = server.connect().await;
            dawdlers.push((name, expected, tokio::spawn(dawdle(client, start, drip))));
        }
    }
    for asked in 0..20 {
        assert_eq!(statuses(&server.tell(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await), [200]);
        assert!(
            asked > 0 || dawdlers.iter().any(|(.., dawdler)| !dawdler.is_finished()),
            "served after the others only"
        );
    }
    for (name, expected, dawdler) in dawdlers {
        let (heard, lasted) = dawdler.await.unwrap();
        assert!(lasted < PATIENCE, "{name} lasted {lasted:?}");
        assert_eq!(statuses(&heard), expected, "{name}: {heard}");
        if expected.contains(&408) {
            assert!(heard.contains("connection: close\r\n"), "{name}: {heard}");
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_let_go() {
    let server = Server::start(Limits { write_stall: Duration::from_millis(500), ..short() }).await;
    let mut client = server.connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let mut heard = Vec::new();
    let _ = client.read_to_end(&mut heard).await;
    assert!(heard.len() < 32 << 20, "cut off half way");
}

#[tokio::test]
async fn a_handler_may_take_longer_than_any_limit() {
    let server = Server::start(short()).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&hear(&mut client).await), [200]);
    }
}

#[tokio::test]
async fn a_busy_connection_is_kept_and_then_let_go_on_time() {
    let server = Server::start(short()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&hear(&mut client).await), [200]);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(is_closed(&mut client).await);
}
