//! What a provider refuses, whatever the status code, and what is left of answers and callbacks that change nothing.

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Reply, Service, Target};

fn minimax(target: &Target, more: Value) -> Value {
    merged(json!({"provider": "minimax", "targetUrl": target.url("/v1/video_generation"), "body": "{}"}), more)
}

#[tokio::test]
async fn a_refusal_inside_of_200_fails_the_task_with_the_providers_words() {
    let service = Service::start().await;
    let says = |code: u32, text: &str| json!({"task_id": "", "base_resp": {"status_code": code, "status_msg": text}});
    let body = says(1008, "insufficient balance").to_string();
    let target = Target::start(move |_, _| Reply::status(200, &body)).await;
    for more in [json!({}), json!({"useCallback": true})] {
        let created = service.create(&minimax(&target, more)).await;
        let task = service.becomes(&created.id, "failed").await;
        assert_eq!(task["error"], "Target rejected the request: 1008 - insufficient balance");
        assert_eq!((&task["result"]["statusCode"], &task["retryCount"]), (&json!(200), &json!(0)));
        assert!(task["result"]["body"].as_str().unwrap().contains("insufficient balance"));
    }
    assert_eq!(target.count(), 2);
    // One that asks to try again is a retry.
    let busy = says(1002, "rate limit").to_string();
    let fine = json!({"task_id": "7", "base_resp": {"status_code": 0, "status_msg": "success"}}).to_string();
    let target = Target::start(move |_, n| Reply::status(200, if n == 1 { &busy } else { &fine })).await;
    let created = service.create(&minimax(&target, json!({"useCallback": true}))).await;
    let task = service.once(&created.id, "taken", |task| task["status"] == "polling").await;
    assert_eq!((&task["retryCount"], target.count()), (&json!(1), 2));
    let events = service.events(&created.id).await;
    assert!(
        events.iter().any(|event| event["error"] == "Target rejected the request: 1002 - rate limit"),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_secret_that_such_a_refusal_echoes_is_masked() {
    let service = Service::start().await;
    let target = Target::start(|seen, _| {
        let key = seen.header("authorization").unwrap_or_default();
        Reply::status(200, &json!({"code": 401, "msg": format!("no such key: {key}")}).to_string())
    })
    .await;
    let reference = token(&service, "Bearer sk-canary-0123456789", json!({})).await;
    let body = json!({
        "provider": "sunoapi", "targetUrl": target.url("/"), "body": "{}", "headers": {"Authorization": reference},
    });
    let created = service.create(&body).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Target rejected the request: 401 - no such key: ***");
    assert!(!task.to_string().contains("sk-canary"));
}

#[tokio::test]
async fn a_callback_url_that_such_a_refusal_echoes_is_kept_as_the_placeholder() {
    let service = Service::start().await;
    let target = Target::start(|seen, _| {
        let text = format!("cannot reach {}", seen.json()["callback_url"].as_str().expect("a callback URL"));
        Reply::status(200, &json!({"base_resp": {"status_code": 2013, "status_msg": text}}).to_string())
    })
    .await;
    let created = service.create(&minimax(&target, json!({"useCallback": true}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Target rejected the request: 2013 - cannot reach {asyncqueue_callback_url}");
}

#[tokio::test]
async fn what_a_provider_said_instead_of_the_result_is_in_the_history() {
    let service = Service::start().await;
    let target = provider(|route, _, number| match route {
        "POST /jobs" => Reply::status(200, r#"{"id":7}"#),
        "GET /jobs/7" => Reply::status(200, r#"{"status":"done"}"#),
        _ if number == 1 => Reply::status(403, r#"{"error":"the link has expired"}"#),
        _ => Reply::status(200, "{}"),
    })
    .await;
    let created = service.create(&polled(&target, json!({"resultUrlTemplate": target.url("/result")}))).await;
    service.becomes(&created.id, "completed").await;
    let errors: Vec<Value> =
        service.events(&created.id).await.into_iter().map(|event| event["error"].clone()).collect();
    let told = r#"The result could not be fetched: HTTP 403 - Forbidden: {"error":"the link has expired"}"#;
    assert!(errors.contains(&json!(told)), "{errors:?}");
}

#[tokio::test]
async fn an_event_about_another_job_leaves_a_line_in_the_history() {
    let (service, target) =
        (Service::start().await, Target::start(|_, _| Reply::status(200, r#"{"id":"second"}"#)).await);
    let body = json!({
        "provider": "replicate", "targetUrl": target.url("/"), "useCallback": true, "body": "{}",
        "pollConfig": {"interval": 3600},
    });
    let created = service.following(&body).await;
    service.post(&created.callback_path(), r#"{"id":"first","status":"failed"}"#).await.expect(200);
    let events = service.events(&created.id).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "callback.received");
    assert_eq!(last["error"], "It is about another job than the one that the answer to the call named");
}

#[tokio::test]
async fn a_poll_follows_a_307_to_another_origin_and_takes_nothing_along() {
    let service = Service::start().await;
    let storage = Target::start(|_, _| Reply::status(200, r#"{"status":"done"}"#)).await;
    for code in [307, 308] {
        let elsewhere = storage.url("/moved");
        let target = provider(move |route, _, _| match route {
            "POST /jobs" => Reply::status(200, r#"{"id":7}"#),
            _ => Reply::with(code, &[("location", &elsewhere)], ""),
        })
        .await;
        let body = merged(polled(&target, json!({})), json!({"headers": {"Authorization": "Bearer canary"}}));
        let created = service.create(&body).await;
        service.becomes(&created.id, "completed").await;
        assert_eq!(seen_on(&target, "GET /jobs/7")[0].header("authorization"), Some("Bearer canary"));
    }
    let seen = storage.seen();
    assert!(seen.len() == 2 && seen.iter().all(|seen| seen.header("authorization").is_none()), "{seen:?}");
}

#[tokio::test]
async fn polls_that_are_sent_round_in_circles_end_after_three() {
    let service = Service::start().await;
    let target = provider(|route, _, _| match route {
        "POST /jobs" => Reply::status(200, r#"{"id":7}"#),
        _ => Reply::with(302, &[("location", "/jobs/7")], ""),
    })
    .await;
    let created = service.create(&polled(&target, json!({}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Poll refused: Forbidden redirect: more than 5 redirects");
    assert_eq!(seen_on(&target, "GET /jobs/7").len(), 18, "three polls of six hops");
    // The call itself keeps to the rule for calls.
    let elsewhere = target.url("/jobs");
    let away = Target::start(move |_, _| Reply::with(307, &[("location", &elsewhere)], "")).await;
    let created = service.create(&json!({"targetUrl": away.url("/"), "method": "GET"})).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Forbidden redirect: HTTP 307 to another origin");
}
