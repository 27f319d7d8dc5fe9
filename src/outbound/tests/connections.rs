//! Who may use which connection, and where none is made at all.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::harness::*;
use crate::guard::Refused;
use crate::outbound::CallError;

#[tokio::test]
async fn one_team_reuses_a_connection_and_another_team_never_does() {
    let server = Server::start(|_| Reply::ok("x")).await;
    let caller = caller(&[]);
    for team in [1, 1, 2, 1, 2] {
        caller.client.call(team, caller.get(&server.url("127.0.0.1", "/"))).await.unwrap();
    }
    let used: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(used, [0, 0, 1, 0, 1]);
}

#[tokio::test]
async fn two_names_of_one_address_share_no_connection() {
    let server = Server::start(|_| Reply::ok("x")).await;
    let caller = caller(&["a.example.com=127.0.0.1", "b.example.com=127.0.0.1"]);
    for host in ["a.example.com", "b.example.com", "a.example.com"] {
        caller.fetch(&server.url(host, "/")).await.unwrap();
    }
    let used: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(used, [0, 1, 0]);
}

#[tokio::test]
async fn a_refused_address_sees_no_connection() {
    let (addr, knocks) = recording_listener("127.0.0.2:0").await;
    let port = addr.port();
    let caller = caller(&["bad.example.com=127.0.0.2", "mixed.example.com=127.0.0.1,127.0.0.2"]);
    for host in ["bad.example.com", "mixed.example.com"] {
        let error = caller.fetch(&format!("http://{host}:{port}/")).await.unwrap_err();
        assert_eq!(error, CallError::Refused(Refused::Resolved));
        assert_eq!(error.to_string(), "target address is not allowed");
    }
    assert_eq!(caller.guard.check_url(&format!("http://127.0.0.2:{port}/")).unwrap_err().rule(), "loopback");
    knock(addr, &knocks).await;
    assert_eq!(knocks.load(Ordering::SeqCst), 1, "only our own knock");
}

#[tokio::test]
async fn a_rebinding_name_never_reaches_the_bad_address() {
    let good =
        Server::start(|_| Reply::close("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")).await;
    let (addr, knocks) = recording_listener(&format!("127.0.0.2:{}", good.addr.port())).await;
    let caller = caller(&["rebind.example.com=127.0.0.1;127.0.0.2"]);
    let mut outcomes = [0, 0];
    for _ in 0..40 {
        match caller.fetch(&good.url("rebind.example.com", "/")).await {
            Ok(_) => outcomes[0] += 1,
            Err(error) => {
                assert_eq!(error, CallError::Refused(Refused::Resolved));
                outcomes[1] += 1;
            }
        }
    }
    assert_eq!(outcomes, [20, 20]);
    assert_eq!(caller.names.asked.load(Ordering::SeqCst), 40, "one look-up for each attempt");
    knock(addr, &knocks).await;
    assert_eq!(knocks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_resolver_error_is_a_network_error_and_nothing_was_sent() {
    let caller = caller(&["empty.example.com="]);
    for host in ["unknown.example.com", "empty.example.com"] {
        let error = caller.fetch(&format!("http://{host}/")).await.unwrap_err();
        assert_eq!(error, CallError::NotSent("name could not be resolved".to_owned()));
    }
}

#[tokio::test]
async fn a_refused_connection_was_certainly_not_sent() {
    let (addr, _) = recording_listener("127.0.0.1:0").await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_ne!(addr, free);
    let error = caller(&[]).fetch(&format!("http://{free}/")).await.unwrap_err();
    assert_eq!(error, CallError::NotSent("connection refused".to_owned()));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let server = Server::start(|_| Reply::ok("x")).await;
    // `::1` is open along with 127.0.0.1, and nobody listens there.
    let caller = caller(&["two.example.com=::1,127.0.0.1"]);
    assert!(caller.fetch(&server.url("two.example.com", "/")).await.is_ok());
}

#[tokio::test]
async fn a_kept_connection_that_the_target_closed_is_replaced_unnoticed() {
    let server = Server::start(|_| Reply::close("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")).await;
    let caller = caller(&[]);
    for number in 1..=3 {
        caller.client.call(1, caller.canary(&server.url("127.0.0.1", "/"))).await.unwrap();
        server.closed(number).await;
    }
    assert_eq!(server.seen().len(), 3, "each request was seen exactly once");
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn an_unasked_answer_reaches_no_other_request() {
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";
    for pause in [Duration::ZERO, Duration::from_millis(5)] {
        let asked = |seen: &Seen| seen.line().split('/').nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let server = Server::start(move |seen| {
            let body = asked(seen);
            let wanted = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            match pause {
                Duration::ZERO => Reply::send(format!("{wanted}{stray}")),
                _ => Reply::Repeat(wanted.into_bytes(), stray.as_bytes().to_vec(), pause),
            }
        })
        .await;
        let caller = caller(&[]);
        for number in 0..20 {
            let answer = caller.fetch(&server.url("127.0.0.1", &format!("/{number}"))).await.unwrap();
            assert_eq!(answer.body, number.to_string());
            tokio::time::sleep(pause).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_answer_reaches_its_own_request_and_its_own_team() {
    let server = Server::start(|seen| Reply::ok(seen.line())).await;
    let caller = std::sync::Arc::new(caller(&[]));
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..400 {
        let (caller, url) =
            (std::sync::Arc::clone(&caller), server.url("127.0.0.1", &format!("/{}/{number}", number % 4)));
        calls.spawn(async move {
            let answer = caller.client.call(number % 4, caller.get(&url)).await.unwrap();
            assert_eq!(answer.body, format!("GET /{}/{number} HTTP/1.1", number % 4));
        });
        if number % 20 == 19 {
            while let Some(call) = calls.join_next().await {
                call.unwrap();
            }
        }
    }
    let mut teams = std::collections::HashMap::new();
    for seen in server.seen() {
        let team = seen.line().split('/').nth(1).unwrap().to_owned();
        assert_eq!(teams.entry(seen.connection).or_insert_with(|| team.clone()), &team);
    }
    assert_eq!(server.seen().len(), 400);
    assert!(server.connections() < 100, "connections are reused: {}", server.connections());
}

/// A target on threads of its own, which goes on while the test's only thread stands still. Each connection answers
/// one request with the connection's number; a little later it says `stray` and, if that is nothing, hangs up. Tells when it
/// has.
fn target_with_an_afterthought(stray: &'static [u8]) -> (String, std::sync::mpsc::Receiver<()>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (said, hear) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}").unwrap();
                std::thread::sleep(Duration::from_millis(20));
                stream.write_all(stray).unwrap();
                if stray.is_empty() {
                    drop(stream);
                    let _ = said.send(());
                    return;
                }
                let _ = said.send(());
                // With something said, stays open until the client leaves.
                while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    (url, hear)
}

#[tokio::test]
async fn a_kept_connection_is_asked_even_when_the_runtime_has_not_heard_yet() {
    for stray in [&b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nS"[..], b""] {
        let (url, said) = target_with_an_afterthought(stray);
        let caller = caller(&[]);
        for number in 0..3 {
            let answer = caller.client.call(1, caller.canary(&url)).await.unwrap();
            assert_eq!(answer.body, number.to_string());
            // Blocks on purpose: no task of this runtime can notice what the target says meanwhile.
            said.recv().unwrap();
        }
    }
}
