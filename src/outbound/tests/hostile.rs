//! Targets that answer too much, too slowly, or not in HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::harness::*;
use crate::outbound::CallError;
use crate::outbound::room::Rooms;

const HOST: &str = "127.0.0.1";

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(60);

async fn outcome(reply: impl Into<String>) -> Result<crate::outbound::Answer, CallError> {
    let reply = reply.into();
    let server = Server::start(move |_| Reply::close(reply.clone())).await;
    caller(&[]).fetch(&server.url(HOST, "/")).await
}

/// Calls a target that repeats itself, for so long.
async fn against(
    first: &str,
    again: &str,
    every: Duration,
    time: Duration,
) -> Result<crate::outbound::Answer, CallError> {
    let (first, again) = (first.as_bytes().to_vec(), again.as_bytes().to_vec());
    let server = Server::start(move |_| Reply::Repeat(first.clone(), again.clone(), every)).await;
    let caller = caller_with(&[], |config| config.max_answer_bytes = 256 * 1024);
    let mut request = caller.get(&server.url(HOST, "/"));
    request.timeout = time;
    caller.client.call(1, request).await
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let piece = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for first in [chunked, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"] {
        let outcome = against(first, &piece, Duration::ZERO, LONG).await;
        assert_eq!(outcome.unwrap_err(), CallError::TooLarge { status: 200, limit: 256 * 1024 }, "{first}");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let server = Server::start(|_| Reply::ok("12345678")).await;
    for (limit, fits) in [(8, true), (7, false)] {
        let caller = caller_with(&[], |config| config.max_answer_bytes = limit);
        assert_eq!(caller.fetch(&server.url(HOST, "/")).await.is_ok(), fits);
    }
}

#[tokio::test]
async fn a_drip_ends_at_the_deadline() {
    let drips = ["HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "HTTP/1.1 200 OK\r\nx-", ""];
    for first in drips {
        let outcome = against(first, "x", Duration::from_millis(20), Duration::from_secs(1)).await;
        let error = outcome.unwrap_err();
        let malformed = CallError::Broken("malformed answer".to_owned());
        assert!(error == CallError::TimedOut { sent: true } || (first.is_empty() && error == malformed), "{error:?}");
    }
}

/// An answer without a length that has begun may become 1 MiB, so that two take all that one team may have of the 4 MiB for such.
#[tokio::test]
async fn targets_that_keep_large_answers_going_hold_up_no_other_team() {
    let begun = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000)).into_bytes();
    let endless = Server::start(move |_| Reply::Repeat(begun.clone(), vec![b'x'], Duration::from_millis(20))).await;
    let quick = Server::start(|_| Reply::ok(&"y".repeat(100_000))).await;
    let rooms = Rooms::of(12 << 20);
    let mut caller = caller(&[]);
    Arc::get_mut(&mut caller.client.shared).expect("one client").rooms = rooms.clone();
    let call = |team, server: &Server, timeout| {
        let mut request = caller.get(&server.url(HOST, "/"));
        request.timeout = timeout;
        let client = caller.client.clone();
        async move { client.call(team, request).await }
    };
    let mut kept_going = tokio::task::JoinSet::new();
    for _ in 0..3 {
        kept_going.spawn(call(1, &endless, LONG));
    }
    while rooms.held() < 2 << 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = call(1, &quick, Duration::from_millis(300)).await;
    assert!(matches!(late.unwrap_err(), CallError::TimedOut { .. }));
    let answer = call(2, &quick, LONG).await.unwrap();
    assert_eq!((answer.body.len(), rooms.held()), (100_000, (2 << 20) + 100_000));
    drop(answer);
    kept_going.shutdown().await;
    assert_eq!(rooms.held(), 0);
    assert!(call(1, &quick, LONG).await.is_ok());
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = Server::start(|_| Reply::Hang).await;
    let caller = caller(&[]);
    let mut request = caller.get(&server.url(HOST, "/"));
    request.timeout = Duration::from_secs(1);
    assert_eq!(caller.client.call(1, request).await.unwrap_err(), CallError::TimedOut { sent: true });
}

#[tokio::test]
async fn interim_answers_are_skipped_but_not_for_ever() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let few = format!("{}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", interim.repeat(100));
    assert_eq!(outcome(few).await.unwrap().body, "x");
    let endless = against("", &interim.repeat(1000), Duration::ZERO, LONG).await;
    assert_eq!(endless.unwrap_err(), CallError::Broken("too many interim answers".to_owned()));
}

#[tokio::test]
async fn heads_have_a_limit() {
    let too_large = CallError::Broken("answer headers are too large".to_owned());
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(500_000));
    assert_eq!(outcome(huge).await.unwrap_err(), too_large);
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(count - 1));
    assert!(outcome(fields(100)).await.is_ok());
    assert_eq!(outcome(fields(101)).await.unwrap_err(), too_large);
}

#[tokio::test]
async fn what_is_not_http_is_a_broken_answer() {
    let malformed = [
        "HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 99 Odd\r\ncontent-length: 0\r\n\r\n",
        "hello, this is HTTP/0.9\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ];
    for reply in malformed {
        let error = outcome(reply).await.unwrap_err();
        assert!(matches!(&error, CallError::Broken(text) if text == "malformed answer"), "{reply}: {error:?}");
    }
}

#[tokio::test]
async fn a_status_outside_http_is_a_broken_answer() {
    for code in ["600", "999", "101"] {
        let error = outcome(format!("HTTP/1.1 {code} Odd\r\ncontent-length: 0\r\n\r\n")).await.unwrap_err();
        assert_eq!(error, CallError::Broken(format!("the target answered with status {code}")));
    }
}

#[tokio::test]
async fn an_answer_that_stops_short_is_broken() {
    let closed = CallError::Broken("connection closed before the answer was complete".to_owned());
    for reply in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    ] {
        assert_eq!(outcome(reply).await.unwrap_err(), closed, "{reply}");
    }
    let reset = Server::resetting(|_| Reply::close("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort")).await;
    let error = caller(&[]).fetch(&reset.url(HOST, "/")).await.unwrap_err();
    assert_eq!(error, CallError::Broken("connection reset".to_owned()));
}

#[tokio::test]
async fn after_an_answer_of_doubtful_length_nothing_more_is_believed() {
    let two_lengths = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let body_after_204 = "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";
    for (reply, body) in [(two_lengths, "ab"), (body_after_204, "")] {
        let server = Server::start(move |_| Reply::send(reply)).await;
        let caller = caller(&[]);
        for _ in 0..3 {
            assert_eq!(caller.fetch(&server.url(HOST, "/")).await.unwrap().body, body);
        }
        assert_eq!(server.connections(), 3, "no connection is used twice");
    }
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_is_an_answer() {
    let server = Server::start(|_| Reply::ok("")).await;
    let caller = caller(&[]);
    let mut request = caller.canary(&server.url(HOST, "/"));
    request.body = Some(Bytes::from(vec![b'x'; 8 * 1024 * 1024]));
    assert_eq!(caller.client.call(1, request).await.unwrap().status, 200);
    assert_eq!(server.seen()[0].body.len(), 8 * 1024 * 1024);
}
