//! What well-behaved clients may count on.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{CAP, Limits, PATIENCE, Server, Work, hear, hear_until, is_closed, router, short, statuses, until};
use crate::net::serve;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_connection_carries_many_requests_whatever_their_framing() {
    let server = Server::start(short()).await;
    let mut client = server.connect().await;
    let requests: [&[u8]; 4] = [
        GET,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ];
    for request in requests {
        client.write_all(request).await.unwrap();
        assert_eq!(*statuses(&hear(&mut client).await).last().unwrap(), 200, "{}", String::from_utf8_lossy(request));
    }
    client.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let heard = hear_until(&mut client, |heard| heard.ends_with("\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 200") && heard.contains("content-length: 5\r\n"), "{heard}");
    client.write_all(&requests[..3].concat().repeat(10)).await.unwrap();
    let all = |heard: &str| statuses(heard).len() == 30 && heard.ends_with("abc");
    assert_eq!(statuses(&hear_until(&mut client, all).await), [200; 30]);
}

#[tokio::test]
async fn a_body_is_read_up_to_the_cap_and_not_beyond() {
    let server = Server::start(short()).await;
    let full =
        [format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {CAP}\r\n\r\n").into_bytes(), vec![b'x'; CAP]];
    let heard = server.tell(&full.concat()).await;
    assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with(&"x".repeat(CAP)));

    let declared = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", CAP + 1);
    let heard = server.tell(declared.as_bytes()).await;
    assert_eq!(statuses(&heard), [413]);
    assert!(heard.contains("connection: close\r\n"), "{heard}");

    let start = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"2710\r\n".to_vec(), vec![b'x'; 10_000], b"\r\n".to_vec()].concat();
    let streamed = [start, chunk.repeat(100), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(statuses(&server.tell(&streamed).await), [413], "heard though the client was still sending");
}

#[tokio::test]
async fn a_coded_body_is_read_and_refused_and_the_connection_stays() {
    let server = Server::start(short()).await;
    let mut client = server.connect().await;
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    for lines in ["Content-Encoding: gzip\r\n", "Content-Encoding: identity\r\nContent-Encoding: br\r\n"] {
        client.write_all(format!("{post}{lines}Content-Length: 3\r\n\r\nabc").as_bytes()).await.unwrap();
        let heard = hear(&mut client).await;
        assert_eq!(statuses(&heard), [415]);
        assert!(heard.ends_with(r#"{"error":"Content-Encoding is not supported"}"#), "{heard}");
    }
    let plain = format!("{post}Content-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc");
    client.write_all(plain.as_bytes()).await.unwrap();
    assert_eq!(statuses(&hear(&mut client).await), [200]);
    // Its size is asked after first.
    let large = format!("{post}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", CAP + 1);
    assert_eq!(statuses(&server.tell(large.as_bytes()).await), [413]);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = Server::start(short()).await;
    let heard = server.tell(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&heard), [500]);
    assert!(heard.ends_with(r#"{"error":"Internal error"}"#), "{heard}");
    assert_eq!(statuses(&server.tell(GET).await), [200]);
}

#[tokio::test]
async fn a_held_request_ends_when_its_client_hangs_up() {
    let server = Server::start(short()).await;
    let request = b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let mut client = server.connect().await;
    client.write_all(request).await.unwrap();
    until(|| server.work.held.load(Relaxed) == 1).await;
    drop(client);
    until(|| server.work.held.load(Relaxed) == 0).await;
}

/// Asks until there is a place.
async fn a_place_comes_free(server: &Server) {
    let began = Instant::now();
    loop {
        match statuses(&server.tell(GET).await)[..] {
            [200] => return,
            [503] => assert!(began.elapsed() < PATIENCE, "no place came free"),
            ref other => panic!("{other:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_handler_sees_its_peer() {
    let server = Server::start(short()).await;
    let mut client = server.connect().await;
    client.write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(hear(&mut client).await.ends_with(&client.local_addr().unwrap().to_string()));
}

#[tokio::test]
async fn connections_above_the_cap_are_told_and_closed() {
    let server = Server::start(Limits { connections: 2, first_byte: PATIENCE, ..short() }).await;
    let (mut one, _two) = (server.connect().await, server.connect().await);
    let heard = hear(&mut server.connect().await).await;
    assert_eq!(statuses(&heard), [503]);
    one.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(statuses(&hear(&mut one).await), [200]);
    a_place_comes_free(&server).await;
}

#[tokio::test]
async fn one_source_can_be_kept_from_taking_all_connections() {
    let server = Server::start(Limits { connections_per_source: 1, first_byte: PATIENCE, ..short() }).await;
    let one = server.connect().await;
    assert_eq!(statuses(&hear(&mut server.connect().await).await), [503]);
    drop(one);
    a_place_comes_free(&server).await;
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_the_rest() {
    let long = Duration::from_secs(3600);
    let server = Server::start(Limits { idle: long, first_byte: long, grace: long, ..short() }).await;
    let (mut busy, mut idle, mut fresh) = (server.connect().await, server.connect().await, server.connect().await);
    idle.write_all(GET).await.unwrap();
    assert_eq!(statuses(&hear(&mut idle).await), [200]);
    busy.write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| server.work.begun.load(Relaxed) == 1).await;
    server.stop.cancel();
    assert!(is_closed(&mut idle).await);
    assert!(is_closed(&mut fresh).await);
    assert_eq!(statuses(&hear(&mut busy).await), [200]);
    assert!(timeout(PATIENCE, server.ended).await.is_ok());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_rest_of_a_head() {
    let long = Duration::from_secs(3600);
    let server = Server::start(Limits { header: long, grace: long, ..short() }).await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    // Nothing tells that it was read; on this runtime's one thread that takes no time.
    sleep(Duration::from_secs(1)).await;
    server.stop.cancel();
    server.ended.await.unwrap();
    assert_eq!(statuses(&hear(&mut half).await), [408]);
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_grace() {
    let server = Server::start(Limits { grace: Duration::from_millis(100), ..short() }).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| server.work.begun.load(Relaxed) == 1).await;
    server.stop.cancel();
    timeout(PATIENCE, server.ended).await.expect("it ends although a request is held").unwrap();
    assert_eq!(hear(&mut busy).await, "");
}

#[tokio::test]
async fn a_stop_answers_who_waits_in_the_listener_s_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut queued = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    queued.write_all(GET).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    serve(listener, router(&Arc::new(Work::default())), short(), stop).await;
    assert_eq!(statuses(&hear(&mut queued).await), [200]);
}
