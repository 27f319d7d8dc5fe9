//! `POST /v1/signals/:token`.

use serde_json::{Value, json};

use crate::support::{Created, Service, Target};

const GONE: &str = "Invalid or expired signal token";

async fn waiting(service: &Service, target: &Target) -> Created {
    let created = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    service.becomes(&created.id, "waiting").await;
    created
}

#[tokio::test]
async fn a_signal_completes_with_its_own_result() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = waiting(&service, &target).await;
    let body = r#"{"status": "completed", "result": { "n": 1.0e2 , "n": 2 }}"#;
    let answer = service.post(&created.signal_path(), body).await.expect(200).json();
    let task = service.task(&created.id).await;
    let result = json!({"statusCode": 200, "headers": {}, "body": r#"{"n":1.0e2,"n":2}"#, "duration": 0});
    assert_eq!(task["result"], result);
    let expected = json!({"task": {
        "id": created.id, "status": "completed", "result": result, "createdAt": task["createdAt"], "completedAt": task["completedAt"],
    }});
    assert_eq!(answer, expected);
    service.post(&created.signal_path(), body).await.expect_error(404, GONE);
    assert!(service.event_types(&created.id).await.contains(&"signal.received".to_owned()));
}

#[tokio::test]
async fn without_a_result_the_answer_to_the_call_is_it() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = waiting(&service, &target).await;
    let answer = service.post(&created.signal_path(), r#"{"status":"completed"}"#).await.expect(200).json();
    assert_eq!(answer["task"]["result"]["body"], r#"{"queued":true}"#);
    assert_eq!(service.task(&created.id).await["result"], answer["task"]["result"]);
    let created = waiting(&service, &target).await;
    service.post(&created.signal_path(), r#"{"status":"completed","result":null}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["result"]["body"], "null", "null is a result too");
}

#[tokio::test]
async fn a_signal_may_fail_the_task() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = waiting(&service, &target).await;
    let body = r#"{"status":"failed","error":"GPU on fire","result":[1]}"#;
    let answer = service.post(&created.signal_path(), body).await.expect(200).json();
    assert_eq!(answer["task"]["status"], "failed");
    let task = service.task(&created.id).await;
    assert_eq!(
        (&task["status"], &task["error"], &task["result"]["body"]),
        (&json!("failed"), &json!("GPU on fire"), &json!("[1]"))
    );
    let created = waiting(&service, &target).await;
    service.post(&created.signal_path(), r#"{"status":"failed"}"#).await.expect(200);
    assert!(service.task(&created.id).await["error"].is_string());
}

#[tokio::test]
async fn what_is_no_signal_leaves_the_token_live() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = waiting(&service, &target).await;
    for body in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"status":"done"}"#,
        r#"{"status":"COMPLETED"}"#,
        r#"{"status":null}"#,
        r#"{"status":"failed","error":1}"#,
        r#"{"status":"failed","x":1}"#,
        r#"{"status":"failed","status":"completed"}"#,
        "{",
    ] {
        service.post(&created.signal_path(), body).await.expect(400);
    }
    assert_eq!(service.task(&created.id).await["status"], "waiting");
    for method in ["GET", "PUT", "DELETE"] {
        let answer = service.send(method, &created.signal_path(), &[], None).await.expect(405);
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    service.post(&created.signal_path(), r#"{"status":"completed"}"#).await.expect(200);
}

#[tokio::test]
async fn other_tokens_are_gone() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = waiting(&service, &target).await;
    let body = r#"{"status":"completed"}"#;
    let token = created.signal.clone().unwrap();
    for odd in
        [created.callback.clone().unwrap(), token.to_uppercase(), format!("{token}0"), "x".into(), "0".repeat(64)]
    {
        if odd != token {
            service.post(&format!("/v1/signals/{odd}"), body).await.expect_error(404, GONE);
        }
    }
    assert_eq!(service.task(&created.id).await["result"], Value::Null);
}

#[tokio::test]
async fn signals_have_a_limit_of_their_own() {
    let service = Service::with(&["--signal-rate-limit", "2/60"]).await;
    for status in [404, 404, 429] {
        let answer = service.post("/v1/signals/x", "{}").await.expect(status);
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    service.post("/v1/callbacks/x", "{}").await.expect(404);
}
