//! Where a task's credentials go with a poll, and where they never do (T24, T36, T37).

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Reply, Seen, Service, Target};

const CANARY: &str = "Bearer sk-canary-0123456789abcdef";

/// A task of `job_7` with something of everything in its headers.
fn with_headers(mut body: Value, authorization: &str) -> Value {
    body["headers"] = json!({
        "Authorization": authorization,
        "X-Mine": "canary",
        "Content-Type": "application/json",
        "X-Call-Me": "{asyncqueue_callback_url}",
    });
    body["body"] = json!("{}");
    body
}

fn carries_nothing(seen: &Seen) -> bool {
    seen.headers.iter().all(|(_, value)| !value.contains("canary"))
}

async fn done() -> Target {
    provider(|_, _, _| Reply::status(200, r#"{"status":"done"}"#)).await
}

/// A provider whose answer says where to ask.
async fn points_to(url: String) -> Target {
    provider(move |route, _, _| match route {
        "POST /jobs" => Reply::status(200, &json!({"id": 7, "url": url}).to_string()),
        _ => Reply::with(302, &[("location", &url)], ""),
    })
    .await
}

#[tokio::test]
async fn headers_go_along_to_the_targets_own_origin() {
    let service = Service::start().await;
    let target = job_7(vec![Reply::status(200, r#"{"status":"done"}"#)]).await;
    let created = service.create(&with_headers(polled(&target, json!({})), CANARY)).await;
    service.becomes(&created.id, "completed").await;
    let poll = &seen_on(&target, "GET /jobs/7")[0];
    assert_eq!((poll.header("authorization"), poll.header("x-mine")), (Some(CANARY), Some("canary")));
    assert_eq!((poll.header("content-type"), poll.header("x-call-me")), (None, None));
    let without = with_headers(polled(&target, json!({"forwardAuth": false})), CANARY);
    let created = service.create(&without).await;
    service.becomes(&created.id, "completed").await;
    let polls = seen_on(&target, "GET /jobs/7");
    assert!(polls.len() == 2 && carries_nothing(&polls[1]), "{polls:?}");
}

#[tokio::test]
async fn a_host_that_only_an_answer_named_is_told_nothing() {
    let service = Service::start().await;
    let (asked, redirected, fetched, written) = (done().await, done().await, done().await, done().await);
    let by_answer = points_to(asked.url("/steal")).await;
    let by_redirect = points_to(redirected.url("/steal")).await;
    let url = fetched.url("/result");
    let by_result = job_7(vec![Reply::status(200, &json!({"status": "done", "url": url}).to_string())]).await;
    let cases = [
        (&by_answer, json!({"urlTemplate": "{startResult.body.url}"})),
        (&by_redirect, json!({})),
        (&by_result, json!({"resultUrlTemplate": "{pollResult.body.url}"})),
        // One that the user wrote out is told.
        (&by_answer, json!({"urlTemplate": written.url("/jobs/{startResult.body.id}")})),
    ];
    let mut tasks = Vec::new();
    for (target, more) in cases {
        tasks.push(service.create(&with_headers(polled(target, more), CANARY)).await);
    }
    for task in &tasks {
        service.becomes(&task.id, "completed").await;
    }
    for target in [&by_answer, &by_redirect, &by_result] {
        assert!(target.seen().iter().all(|seen| seen.header("authorization") == Some(CANARY)), "{:?}", target.seen());
    }
    assert_eq!((seen_on(&by_redirect, "GET /jobs/7").len(), seen_on(&by_result, "GET /jobs/7").len()), (1, 1));
    for thief in [&asked, &redirected, &fetched] {
        assert!(thief.count() == 1 && carries_nothing(&thief.seen()[0]), "{:?}", thief.seen());
    }
    assert_eq!(written.request(1).await.header("authorization"), Some(CANARY));
}

#[tokio::test]
async fn an_answer_cannot_make_the_service_call_where_nobody_may() {
    let service = Service::start().await;
    let mut asked = Vec::new();
    for url in ["http://169.254.169.254/latest/meta-data/", "http://[fd00::1]/", "http://10.0.0.1/", "ftp://127.0.0.1/"]
    {
        let target = points_to(url.to_owned()).await;
        let created = service.create(&polled(&target, json!({"urlTemplate": "{startResult.body.url}"}))).await;
        asked.push((target, created));
    }
    for (target, created) in asked {
        let task = service.becomes(&created.id, "failed").await;
        let error = task["error"].as_str().unwrap();
        assert!(error.starts_with("The URL to poll was refused") || error.starts_with("The URL cannot be"), "{error}");
        assert_eq!(target.count(), 1);
    }
}

#[tokio::test]
async fn a_reference_is_resolved_at_each_poll_and_its_value_is_masked_in_what_comes_back() {
    let service = Service::start().await;
    let echo = provider(|route, seen, number| {
        let key = seen.header("authorization").unwrap_or_default().to_owned();
        match (route, number) {
            ("POST /jobs", _) => Reply::status(200, &json!({"id": 7, "you": key}).to_string()),
            (_, 1) => Reply::status(200, r#"{"status":"working"}"#),
            _ => Reply::status(200, &json!({"status": "failed", "error": format!("bad key {key}")}).to_string()),
        }
    })
    .await;
    let reference = token(&service, CANARY, json!({})).await;
    let body = with_headers(polled(&echo, json!({"errorPath": "error"})), &reference);
    let created = service.create(&body).await;
    let task = service.becomes(&created.id, "failed").await;
    assert!(seen_on(&echo, "GET /jobs/7").iter().all(|seen| seen.header("authorization") == Some(CANARY)));
    assert_eq!((&task["error"], seen_on(&echo, "GET /jobs/7").len()), (&json!("bad key ***"), 2));
    assert_eq!(task["result"]["body"], r#"{"error":"bad key ***","status":"failed"}"#);
    let events = format!("{:?}", service.events(&created.id).await);
    assert!(!events.contains("sk-canary") && events.contains("bad key ***"), "{events}");
    let locked = job_7(vec![Reply::status(401, &format!("no such key: {}", &CANARY[7..]))]).await;
    // It alone: where a webhook is expected too, refused polls do not end the task.
    let alone = merged(polled(&locked, json!({})), json!({"headers": {"Authorization": reference}}));
    let created = service.create(&alone).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Poll refused: HTTP 401 - Unauthorized: no such key: ***");
}

#[tokio::test]
async fn a_reference_that_is_revoked_ends_the_polling() {
    let service = Service::start().await;
    let target = job_7(vec![Reply::status(200, r#"{"status":"working"}"#)]).await;
    let reference = token(&service, CANARY, json!({})).await;
    let mut body = polled(&target, json!({}));
    body["headers"] = json!({"Authorization": reference});
    let created = service.following(&body).await;
    service.ask("DELETE", &format!("/v1/tokens/{reference}")).await.expect(200);
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], format!("Token not found: {reference}"));
}
