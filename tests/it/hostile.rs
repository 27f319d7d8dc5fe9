//! T25: targets that do their worst. Every attempt ends, with the right state, and nothing of it reaches another task.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::hostile_targets::{SLOW, Then, act, target, zoo};
use crate::support::{Created, Service, Target, large};

async fn create(service: &Service, url: String, timeout: f64) -> Created {
    service.create(&json!({"targetUrl": url, "maxRetries": 0, "timeout": timeout, "body": "{}"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_ends_and_the_task_says_why() {
    let each = if large() { 100 } else { 2 };
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
