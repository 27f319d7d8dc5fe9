//! The redirect matrix: what is followed, what goes along, and what is refused.

use std::sync::atomic::Ordering;

use http::Method;

use super::harness::*;
use crate::guard::Refused;
use crate::outbound::{CallError, sign_v1};

const CODES: [u16; 5] = [301, 302, 303, 307, 308];
const NAMES: [&str; 3] = ["a.example.com=127.0.0.1", "b.example.com=127.0.0.1", "bad.example.com=127.0.0.2"];

fn moved(code: u16, location: &str) -> Reply {
    Reply::send(format!("HTTP/1.1 {code} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"))
}

/// Sends everyone who asks for `/` to `location`, and answers the rest.
async fn start(code: u16, location: impl Into<String>) -> Server {
    let location = location.into();
    Server::start(move |seen| match seen.line().split(' ').nth(1) {
        Some("/") => moved(code, &location),
        _ => Reply::ok("arrived"),
    })
    .await
}

fn assert_bare(seen: &Seen) {
    assert!(!seen.head.contains("canary") && !seen.head.contains("x-asyncqueue"), "{}", seen.head);
    assert!(seen.header("authorization").is_none() && seen.body.is_empty());
    assert!(seen.header("user-agent").unwrap().starts_with("AsyncQueue/"));
}

#[tokio::test]
async fn within_one_origin_everything_goes_along() {
    let caller = caller(&NAMES);
    for code in CODES {
        let server = start(code, "y?z").await;
        let answer = caller.client.call(1, caller.canary(&server.url("a.example.com", "/"))).await.unwrap();
        assert_eq!(answer.body, "arrived");
        let seen = server.seen();
        let keeps = code >= 307;
        assert_eq!(seen[1].line(), if keeps { "POST /y?z HTTP/1.1" } else { "GET /y?z HTTP/1.1" }, "{code}");
        let body: &[u8] = if keeps { b"canary body" } else { b"" };
        assert_eq!(seen[1].body, body);
        assert_eq!(seen[1].header("authorization"), Some("Bearer canary"));
        assert_eq!(seen[1].header("x-asyncqueue-task-id"), Some("canary"));
        let signature = sign_v1(&["canary"], 1_700_000_000, body);
        assert_eq!(seen[1].header("x-asyncqueue-signature"), Some(signature.as_str()), "signed as sent");
    }
}

#[tokio::test]
async fn another_spelling_of_the_origin_is_the_same_origin() {
    let caller = caller(&NAMES);
    let server = Server::start(|seen| match seen.line().split(' ').nth(1) {
        Some("/") => {
            moved(307, &format!("http://A.EXAMPLE.com.:{}/y", seen.header("host").unwrap().split(':').nth(1).unwrap()))
        }
        _ => Reply::ok("arrived"),
    })
    .await;
    caller.client.call(1, caller.canary(&server.url("a.example.com", "/"))).await.unwrap();
    assert_eq!(server.seen()[1].body, b"canary body");
}

#[tokio::test]
async fn to_another_origin_nothing_of_the_users_goes_along() {
    let caller = caller(&NAMES);
    for code in CODES {
        let other = Server::start(|_| Reply::ok("arrived")).await;
        // Another host, and the same host on another port.
        for host in ["b.example.com", "a.example.com"] {
            let server = start(code, other.url(host, "/y")).await;
            let before = other.seen().len();
            let outcome = caller.client.call(1, caller.canary(&server.url("a.example.com", "/"))).await;
            if code >= 307 {
                let expected = CallError::ForbiddenRedirect(format!("HTTP {code} to another origin"));
                assert_eq!(outcome.unwrap_err(), expected);
                assert_eq!(other.seen().len(), before);
            } else {
                assert_eq!(outcome.unwrap().body, "arrived");
                let seen = other.seen();
                assert_eq!(seen[before].line(), "GET /y HTTP/1.1");
                assert_bare(&seen[before]);
            }
        }
    }
}

#[tokio::test]
async fn what_was_left_behind_does_not_come_back() {
    let caller = caller(&NAMES);
    let other = Server::start(|seen| {
        let back = seen.line().split("back=").nth(1).unwrap().split(' ').next().unwrap();
        moved(302, &format!("http://a.example.com:{back}/home"))
    })
    .await;
    let away = other.url("b.example.com", "/?back=");
    let server = Server::start(move |seen| match seen.line().split(' ').nth(1) {
        Some("/") => moved(302, &format!("{away}{}", seen.header("host").unwrap().split(':').nth(1).unwrap())),
        _ => Reply::ok("home"),
    })
    .await;
    let answer = caller.client.call(1, caller.canary(&server.url("a.example.com", "/"))).await.unwrap();
    assert_eq!(answer.body, "home");
    assert_bare(&other.seen()[0]);
    assert_bare(&server.seen()[1]);
}

#[tokio::test]
async fn methods_change_only_where_they_must() {
    let caller = caller(&NAMES);
    let table = [
        ("PUT", 302, "PUT"),
        ("DELETE", 301, "DELETE"),
        ("PUT", 303, "GET"),
        ("GET", 307, "GET"),
        ("POST", 302, "GET"),
    ];
    for (method, code, after) in table {
        let server = start(code, "/y").await;
        let mut request = caller.canary(&server.url("a.example.com", "/"));
        request.method = Method::from_bytes(method.as_bytes()).unwrap();
        caller.client.call(1, request).await.unwrap();
        assert_eq!(server.seen()[1].line(), format!("{after} /y HTTP/1.1"), "{method} {code}");
    }
    let other = Server::start(|_| Reply::ok("arrived")).await;
    let server = start(302, other.url("b.example.com", "/")).await;
    let mut request = caller.canary(&server.url("a.example.com", "/"));
    request.method = Method::PUT;
    let outcome = caller.client.call(1, request.clone()).await;
    assert_eq!(outcome.unwrap_err(), CallError::ForbiddenRedirect("HTTP 302 to another origin".to_owned()));
    assert_eq!(other.connections(), 0);
    request.body = None;
    caller.client.call(1, request).await.unwrap();
    assert_eq!(other.seen()[0].line(), "PUT / HTTP/1.1");
    assert_bare(&other.seen()[0]);
}

#[tokio::test]
async fn every_hop_is_vetted() {
    let caller = caller(&NAMES);
    let (addr, knocks) = recording_listener("127.0.0.2:0").await;
    let literal = format!("http://127.0.0.2:{}/", addr.port());
    let named = format!("http://bad.example.com:{}/", addr.port());
    for code in CODES {
        let post_over = code >= 307;
        for (location, rule) in [
            (literal.as_str(), "loopback"),
            ("http://169.254.169.254/latest/meta-data/", "metadata"),
            ("//10.0.0.1/", "private"),
            ("http://metadata.google.internal/", "local_name"),
            ("file:///etc/passwd", "scheme"),
            ("http://example.com:25/", "port"),
            ("http://u:p@a.example.com/", "userinfo"),
            ("http:\\\\127.0.0.1\\", "character"),
        ] {
            let server = start(code, location).await;
            let error = caller.client.call(1, caller.canary(&server.url("a.example.com", "/"))).await.unwrap_err();
            assert!(matches!(&error, CallError::Refused(refused) if refused.rule() == rule), "{location}: {error:?}");
        }
        let server = start(code, named.as_str()).await;
        let error = caller.client.call(1, caller.canary(&server.url("a.example.com", "/"))).await.unwrap_err();
        let expected = CallError::ForbiddenRedirect(format!("HTTP {code} to another origin"));
        assert_eq!(error, if post_over { expected } else { CallError::Refused(Refused::Resolved) });
    }
    knock(addr, &knocks).await;
    assert_eq!(knocks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn five_redirects_are_followed_and_a_sixth_is_not() {
    let caller = caller(&NAMES);
    for (length, fine) in [(5, true), (6, false)] {
        let server = Server::start(move |seen| {
            let step: usize = seen.line().split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            if step == length { Reply::ok("arrived") } else { moved(302, &format!("/{}", step + 1)) }
        })
        .await;
        let outcome = caller.fetch(&server.url("a.example.com", "/0")).await;
        assert_eq!(outcome.is_ok(), fine, "{outcome:?}");
        assert_eq!(server.seen().len(), 6);
        assert_eq!(server.connections(), 1, "an empty redirect gives its connection back");
        if !fine {
            assert_eq!(outcome.unwrap_err(), CallError::ForbiddenRedirect("more than 5 redirects".to_owned()));
        }
    }
}

#[tokio::test]
async fn odd_redirects_are_answers_or_refused() {
    let caller = caller(&NAMES);
    for head in ["302 Found", "304 Not Modified", "300 Choices\r\nlocation: /y", "201 Made\r\nlocation: /y"] {
        let server = Server::start(move |_| Reply::send(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"))).await;
        let answer = caller.fetch(&server.url("a.example.com", "/")).await.unwrap();
        assert_eq!(answer.status.to_string(), head[..3]);
    }
    let server = start(302, "/y\r\nlocation: /z").await;
    let error = caller.fetch(&server.url("a.example.com", "/")).await.unwrap_err();
    assert_eq!(error, CallError::ForbiddenRedirect("two Location headers".to_owned()));
    let server = start(302, format!("/{}", "a".repeat(10_000))).await;
    let error = caller.fetch(&server.url("a.example.com", "/")).await.unwrap_err();
    assert_eq!(error, CallError::Refused(Refused::TooLong));
}

#[tokio::test]
async fn a_connection_refused_after_a_redirect_does_not_say_that_nothing_was_sent() {
    let caller = caller(&NAMES);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = start(302, format!("http://b.example.com:{}/", free.port())).await;
    let error = caller.fetch(&server.url("a.example.com", "/")).await.unwrap_err();
    assert_eq!(error, CallError::Broken("connection refused".to_owned()));
}
