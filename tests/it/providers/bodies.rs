//! Callbacks that are not JSON, or too much of it.

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Connection, Created, Reply, Service, Target};

async fn waiting(service: &Service, provider: &str, more: Value) -> (Created, Target) {
    let target = Target::start(|_, _| Reply::status(200, r#"{"id":"r6sr3jlzjj","request_id":"d1"}"#)).await;
    let body = json!({"provider": provider, "targetUrl": target.url("/"), "useCallback": true, "body": "{}"});
    (service.following(&merged(body, more)).await, target)
}

#[tokio::test]
async fn the_state_may_be_in_the_query_and_the_body_text_or_nothing() {
    let service = Service::start().await;
    for (body, kind, kept) in [
        ("", None, r#""""#),
        ("Hello, \"world\".\n", Some("text/plain"), r#""Hello, \"world\".\n""#),
        (r#"{ "results": [] }"#, Some("application/json"), r#"{"results":[]}"#),
        ("1\n00:00 --> 00:01\nHi\n", None, r#""1\n00:00 --> 00:01\nHi\n""#),
    ] {
        let (created, _target) = waiting(&service, "speechmatics", json!({})).await;
        let path = format!("{}?id=r6sr3jlzjj&status=", created.callback_path());
        service.post(&format!("{path}running"), body).await.expect(200);
        assert_eq!(service.task(&created.id).await["status"], "polling");
        let headers: Vec<(&str, &str)> = kind.iter().map(|kind| ("content-type", *kind)).collect();
        service.send("PUT", &format!("{path}success"), &headers, Some(body)).await.expect(200);
        let task = service.task(&created.id).await;
        assert_eq!((&task["status"], &task["result"]["body"]), (&json!("completed"), &json!(kept)));
    }
    let (created, _target) = waiting(&service, "speechmatics", json!({})).await;
    service.post(&format!("{}?id=r6sr3jlzjj&status=fetch_error", created.callback_path()), "").await.expect(200);
    let task = service.task(&created.id).await;
    assert_eq!((&task["status"], &task["error"]), (&json!("failed"), &json!("The provider reported: fetch_error")));
}

#[tokio::test]
async fn audio_is_a_result_in_base64_with_its_content_type() {
    let service = Service::start().await;
    let (created, _target) = waiting(&service, "deepgram", json!({})).await;
    let mut connection = Connection::open(service.address).await;
    let audio = [("content-type", "audio/mpeg")];
    let answer = connection.send("POST", &created.callback_path(), &audio, Some(&[0xff, 0xfb, 0x90])).await.expect(200);
    let task = service.task(&created.id).await;
    assert_eq!(task["result"], answer.json()["task"]["result"]);
    assert_eq!((&task["result"]["body"], &task["result"]["bodyEncoding"]), (&json!("//uQ"), &json!("base64")));
    assert_eq!(task["result"]["headers"]["content-type"], "audio/mpeg");
    // Text, where audio is expected, is no result.
    let (created, _target) = waiting(&service, "deepgram", json!({})).await;
    service.post(&created.callback_path(), "oops").await.expect_error(400, "Request body must be valid JSON");
    assert_eq!(service.task(&created.id).await["status"], "waiting");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_where_the_template_takes_no_other() {
    let service = Service::start().await;
    let (created, _target) = waiting(&service, "luma", json!({})).await;
    for webhook in Webhook::all().iter().filter(|one| one.name.starts_with("edge.")) {
        let answer = webhook.send(&service, &created.callback_path(), &[]).await;
        let json = serde_json::from_slice::<Value>(&webhook.body).is_ok();
        assert_eq!(answer.status, if json { 200 } else { 400 }, "{}", webhook.name);
        assert_eq!(service.task(&created.id).await["status"], "polling", "{}", webhook.name);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_written_down_and_asked_for() {
    let service = Service::with(&["--max-callback-bytes", "1000"]).await;
    let target = provider(|route, _, _| match route {
        "POST /jobs" => Reply::status(200, r#"{"id":"l"}"#),
        _ => Reply::status(200, r#"{"state":"completed","assets":{"video":"https://cdn.example/v.mp4"}}"#),
    })
    .await;
    // The next poll is an hour away.
    let poll = json!({"urlTemplate": target.url("/jobs/{startResult.body.id}"), "interval": 3600});
    let body = json!({"provider": "luma", "targetUrl": target.url("/jobs"), "useCallback": true, "body": "{}", "pollConfig": poll});
    let created = service.following(&body).await;
    let large = json!({"state": "completed", "pad": "x".repeat(1000)}).to_string();
    service.post(&created.callback_path(), &large).await.expect_error(413, "Request body too large");
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["result"]["body"], r#""https://cdn.example/v.mp4""#);
    let events = service.events(&created.id).await;
    let heard = events.iter().find(|event| event["type"] == "callback.received").unwrap();
    assert_eq!(heard["error"], "The body is larger than 1000 bytes");
    service.post(&created.callback_path(), &large).await.expect(409);
    // A template may know that its provider sends more.
    let (created, _target) = waiting(&service, "deepgram", json!({})).await;
    let large = json!({"results": {}, "pad": "x".repeat(1000)}).to_string();
    service.post(&created.callback_path(), &large).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
}
