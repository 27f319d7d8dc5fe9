//! Completion webhooks: delivered, not attempted.

use serde_json::{Value, json};

use crate::support::{Reply, Seen, Service, Target, hex, hmac_sha256, until};

fn verify(seen: &Seen, secret: &str) {
    use base64::Engine as _;
    let signature = seen.header("x-asyncqueue-signature").unwrap();
    let (t, v1) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let signed = [t.as_bytes(), b".", &seen.body].concat();
    assert!(v1.split(",v1=").any(|v1| v1 == hex(&hmac_sha256(secret.as_bytes(), &signed))), "{signature}");

    let key = base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, at) = (seen.header("webhook-id").unwrap(), seen.header("webhook-timestamp").unwrap());
    let signed = [id.as_bytes(), b".", at.as_bytes(), b".", &seen.body].concat();
    let expected = base64::engine::general_purpose::STANDARD.encode(hmac_sha256(&key, &signed));
    let standard = seen.header("webhook-signature").unwrap();
    assert!(standard.split(' ').any(|one| one == format!("v1,{expected}")), "{standard}");
}

#[tokio::test]
async fn the_end_is_told_once_signed_in_both_ways() {
    let (service, target, receiver) = (Service::start().await, Target::ok().await, Target::ok().await);
    let body = json!({
        "targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/done"), "metadata": {"order": "7", "a": "b"},
    });
    let task = service.create(&body).await;
    let shown = service.once(&task.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
    let seen = receiver.request(1).await;
    let expected = json!({"event": "task.completed", "task": {
        "id": task.id, "status": "completed", "result": shown["result"], "error": null, "retryCount": 0,
        "createdAt": shown["createdAt"], "completedAt": shown["completedAt"], "metadata": {"order": "7", "a": "b"},
    }});
    assert_eq!(seen.json(), expected);
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/done"));
    verify(&seen, &service.secret().await);
    let delivered = json!({"status": "delivered", "attempts": 1, "lastStatusCode": 200, "nextAttemptAt": null});
    assert_eq!(shown["onComplete"], delivered);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn what_is_not_2xx_is_tried_again_and_a_redirect_is_not_followed() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let elsewhere = Target::ok().await;
    let away = elsewhere.url("/");
    let receiver = Target::start(move |_, number| match number {
        1 => Reply::status(500, ""),
        2 => Reply::with(302, &[("location", &away)], ""),
        _ => Reply::status(204, ""),
    })
    .await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/")})).await;
    let first = service.once(&task.id, "one attempt", |task| task["onComplete"]["attempts"] == 1).await;
    assert_eq!(first["onComplete"]["lastStatusCode"], 500);
    assert_eq!(first["onComplete"]["status"], "pending");
    service.clock.advance(5);
    service.once(&task.id, "two attempts", |task| task["onComplete"]["attempts"] == 2).await;
    service.clock.advance(15);
    service.once(&task.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
    assert_eq!((receiver.count(), elsewhere.count()), (3, 0));
    let ids: Vec<_> = (0..3).map(|n| receiver.seen()[n].header("webhook-id").unwrap().to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the same message on every attempt: {ids:?}");
    let types = service.event_types(&task.id).await;
    assert_eq!(types.iter().filter(|kind| *kind == "webhook.attempted").count(), 3);
}

#[tokio::test]
async fn fire_and_forget_is_tried_once_and_can_be_sent_again_by_hand() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let receiver = Target::start(|_, number| Reply::status(if number == 1 { 503 } else { 200 }, "")).await;
    let body = json!({"targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/"), "onCompleteMaxRetries": 0});
    let task = service.create(&body).await;
    service.once(&task.id, "failed", |task| task["onComplete"]["status"] == "failed").await;
    service.ask("POST", &format!("/v1/tasks/{}/webhook/resend", task.id)).await.expect(200);
    service.once(&task.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn a_cancelled_task_is_not_told_of_and_has_nothing_to_resend() {
    let (service, target, receiver) = (Service::start().await, Target::ok().await, Target::ok().await);
    let body = json!({"targetUrl": target.url("/"), "waitForSignal": true, "onCompleteUrl": receiver.url("/")});
    let task = service.create(&body).await;
    service.becomes(&task.id, "waiting").await;
    let resend = format!("/v1/tasks/{}/webhook/resend", task.id);
    service.ask("POST", &resend).await.expect_error(409, "Task has not ended (current: waiting)");
    service.ask("POST", &format!("/v1/tasks/{}/cancel", task.id)).await.expect(200);
    service.ask("POST", &resend).await.expect_error(409, "Task has no completion webhook");
    assert_eq!(service.task(&task.id).await["onComplete"], Value::Null);
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_timeout_is_told_and_the_old_secret_signs_too() {
    let (service, target, receiver) = (Service::start().await, Target::ok().await, Target::ok().await);
    let old = service.secret().await;
    let rotate = asyncqueue::admin::Act::RotateSecret { team: "default".to_owned() };
    service.act(rotate).await;
    let new = service.secret().await;
    assert_ne!(old, new);
    let body = json!({
        "targetUrl": target.url("/"), "waitForSignal": true, "maxWaitTime": 30, "onCompleteUrl": receiver.url("/"),
    });
    let task = service.create(&body).await;
    service.becomes(&task.id, "waiting").await;
    service.clock.advance(31);
    service.becomes(&task.id, "timeout").await;
    until("the timeout is told", || receiver.count() == 1).await;
    let seen = receiver.request(1).await;
    assert_eq!(seen.json()["event"], "task.timeout");
    assert_eq!(seen.json()["task"]["result"], Value::Null);
    assert_eq!(seen.header("x-asyncqueue-signature").unwrap().matches("v1=").count(), 2);
    verify(&seen, &old);
    verify(&seen, &new);
}
