//! A webhook and a poll: whichever is first counts, and either makes up for the other.

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Reply, Service, Target, gate, open, until};

const DONE: &str = r#"{"id":"g","state":"completed","assets":{"video":"by callback"}}"#;
const POLLED: &str = r#"{"id":"g","state":"completed","assets":{"video":"by poll"}}"#;

fn luma(target: &Target) -> Value {
    json!({
        "provider": "luma", "targetUrl": target.url("/jobs"), "useCallback": true, "body": "{}",
        "pollConfig": {"urlTemplate": target.url("/jobs/{startResult.body.id}"), "interval": 1},
    })
}

#[tokio::test]
async fn a_lost_webhook_is_healed_by_the_poll() {
    let service = Service::start().await;
    let target = provider(|route, _, number| match (route, number) {
        ("POST /jobs", _) => Reply::status(200, r#"{"id":"g","state":"queued"}"#),
        (_, 1) => Reply::status(200, r#"{"id":"g","state":"dreaming"}"#),
        _ => Reply::status(200, POLLED),
    })
    .await;
    let created = service.create(&luma(&target)).await;
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["result"]["body"], r#""by poll""#);
    // The webhook that comes after all is kept, so that nothing is lost; news make room for it.
    service.post(&created.callback_path(), r#"{"id":"g","state":"dreaming"}"#).await.expect(409);
    service.post(&created.callback_path(), DONE).await.expect(409);
    service.post(&created.callback_path(), DONE).await.expect(409);
    let events = service.events(&created.id).await;
    let late: Vec<&Value> = events.iter().filter(|event| event["type"] == "callback.late").collect();
    assert_eq!((late.len(), &late[0]["body"]), (1, &json!(DONE)));
}

#[tokio::test]
async fn a_callback_beats_the_poll_that_is_under_way() {
    let service = Service::start().await;
    let closed = gate();
    let gated = closed.subscribe();
    let target = provider(move |route, _, _| match route {
        "POST /jobs" => Reply::status(200, r#"{"id":"g","state":"queued"}"#),
        _ => Reply::Behind(gated.clone(), Reply::bytes(200, &[], POLLED.as_bytes())),
    })
    .await;
    let created = service.create(&luma(&target)).await;
    until("a poll", || seen_on(&target, "GET /jobs/g").len() == 1).await;
    service.post(&created.callback_path(), DONE).await.expect(200);
    let before = service.task(&created.id).await;
    open(&closed);
    // A second task's poll is answered after the first one's answer had its chance to do harm.
    let other = service.create(&luma(&target)).await;
    service.becomes(&other.id, "completed").await;
    assert_eq!(service.task(&created.id).await, before);
    assert_eq!(before["result"]["body"], DONE);
    assert!(!service.event_types(&created.id).await.contains(&"poll.finished".to_owned()));
}

#[tokio::test]
async fn polls_ease_off_while_a_webhook_is_expected() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::status(200, r#"{"id":"g","state":"queued"}"#)).await;
    let created = service.create(&luma(&target)).await;
    until("two polls", || seen_on(&target, "GET /jobs/g").len() == 2).await;
    let at: Vec<_> = seen_on(&target, "GET /jobs/g").iter().map(|seen| seen.at).collect();
    // After a second, then after two, and so on, within a tenth.
    assert!(at[1] - at[0] > std::time::Duration::from_millis(1700), "{:?}", at[1] - at[0]);
    service.post(&created.callback_path(), DONE).await.expect(200);
}

#[tokio::test]
async fn a_poll_that_knows_no_result_leaves_the_webhook_time() {
    let service = Service::start().await;
    let target = provider(|route, _, _| match route {
        "POST /jobs" => Reply::status(200, r#"{"request_id":"b"}"#),
        _ => Reply::status(200, r#"{"request_id":"b","status":"SUCCEEDED"}"#),
    })
    .await;
    let poll = json!({"urlTemplate": target.url("/jobs/{startResult.body.request_id}"), "interval": 1});
    let body = json!({
        "provider": "baseten", "targetUrl": target.url("/jobs"), "useCallback": true, "body": "{}", "pollConfig": poll,
    });
    let created = service.create(&body).await;
    until("a poll", || seen_on(&target, "GET /jobs/b").len() == 1).await;
    let task = service.task(&created.id).await;
    assert_eq!(task["status"], "polling");
    service.post(&created.callback_path(), r#"{"request_id":"b","data":{"n":1}}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["result"]["body"], r#"{"request_id":"b","data":{"n":1}}"#);
    let lost = service.create(&body).await;
    assert_eq!(
        service.becomes(&lost.id, "completed").await["result"]["body"],
        r#"{"request_id":"b","status":"SUCCEEDED"}"#
    );
}
