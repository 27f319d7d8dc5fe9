//! Polling by a task's own configuration.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Reply, Service, Target};

fn said(status: &str) -> Reply {
    Reply::status(200, &json!({"status": status}).to_string())
}

/// The polls of job 7 that were made.
fn polls(target: &Target) -> usize {
    seen_on(target, "GET /jobs/7").len()
}

#[tokio::test]
async fn a_job_is_polled_until_it_is_done_and_its_result_is_raw() {
    let service = Service::start().await;
    let done = r#"{"status": "done", "output": { "seed": 196619188014358660, "n": 1.0e2, "a": 1, "a": [ ] } }"#;
    let target = job_7(vec![said("working"), said("working"), Reply::status(200, done)]).await;
    let created = service.create(&polled(&target, json!({"resultPath": "output"}))).await;
    assert!(created.callback.is_some() && created.json["callbackUrl"].is_string());
    let polling = service.becomes(&created.id, "polling").await;
    assert_eq!((&polling["result"], &polling["provider"]), (&Value::Null, &Value::Null));
    let task = service.becomes(&created.id, "completed").await;
    let raw = r#"{ "seed": 196619188014358660, "n": 1.0e2, "a": 1, "a": [ ] }"#;
    assert_eq!((&task["result"]["body"], &task["result"]["statusCode"]), (&json!(raw), &json!(200)));
    assert_eq!((&task["error"], &task["nextAttemptAt"]), (&Value::Null, &Value::Null));
    // The second poll said what the first one did, which is not worth a line.
    let types = service.event_types(&created.id).await;
    let expected = ["created", "attempt.started", "attempt.finished", "polling", "poll.finished", "poll.finished"];
    assert_eq!(types, [&expected[..], &["completed"]].concat());
    let events = service.events(&created.id).await;
    assert_eq!((&events[4]["status"], &events[5]["attempt"]), (&json!("working"), &json!(3)));
    let late = service.post(&created.callback_path(), "{}").await;
    late.expect_error(409, "Task is not in waiting/polling state (current: completed)");
}

#[tokio::test]
async fn a_value_that_is_not_there_is_null_and_values_are_compared_as_they_are_written() {
    let service = Service::start().await;
    let answers = [r#"{"status":"Done"}"#, r#"{"status":"true"}"#, r#"{"status":true}"#];
    let target = job_7(answers.map(|answer| Reply::status(200, answer)).to_vec()).await;
    let more = json!({"doneValues": ["done", "true"], "resultPath": "output.video"});
    let created = service.create(&polled(&target, more)).await;
    let task = service.becomes(&created.id, "completed").await;
    // The string "true" and the scalar true are one and the same value; "Done" is not "done".
    assert_eq!((&task["result"]["body"], polls(&target)), (&json!("null"), 2));
}

#[tokio::test]
async fn a_job_that_failed_fails_the_task_with_the_providers_words() {
    let service = Service::start().await;
    let whole = r#"{"status":"failed","error":{"message":"no such prompt"}}"#;
    let target = job_7(vec![Reply::status(200, whole)]).await;
    let created = service.create(&polled(&target, json!({"errorPath": "error.message"}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!((&task["error"], &task["result"]["body"]), (&json!("no such prompt"), &json!(whole)));
    let mute = job_7(vec![said("failed")]).await;
    let created = service.create(&polled(&mute, json!({"errorPath": "error.message"}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "The provider reported: failed");
}

#[tokio::test]
async fn a_result_elsewhere_is_fetched_and_fetched_again_when_that_goes_wrong() {
    let service = Service::start().await;
    let target = provider(|route, _, number| match (route, number) {
        ("POST /jobs", _) => Reply::status(200, r#"{"id":7}"#),
        ("GET /jobs/7", _) => Reply::status(200, r#"{"status":"done","file":"f 1/2"}"#),
        ("GET /files/f%201%2F2", 1) => Reply::status(500, "{}"),
        ("GET /files/f%201%2F2", 2) => Reply::Cut,
        ("GET /files/f%201%2F2", _) => {
            Reply::Send(Reply::bytes(200, &[("content-type", "video/mp4")], &[0xff, 0x00, 0xfe]))
        }
        _ => Reply::status(404, "{}"),
    })
    .await;
    let more = json!({"resultUrlTemplate": target.url("/files/{pollResult.body.file}")});
    let created = service.create(&polled(&target, more)).await;
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!((&task["result"]["body"], &task["result"]["bodyEncoding"]), (&json!("/wD+"), &json!("base64")));
    assert_eq!(task["result"]["headers"]["content-type"], "video/mp4");
    let errors: Vec<Value> =
        service.events(&created.id).await.into_iter().map(|event| event["error"].clone()).collect();
    let told = "The result could not be fetched: HTTP 500 - Internal Server Error: {}";
    assert!(errors.contains(&json!(told)), "{errors:?}");
}

#[tokio::test]
async fn the_status_code_may_be_the_status() {
    let service = Service::start().await;
    let by_code = json!({"statusPath": "@http.status", "doneValues": ["200"], "failValues": ["409"]});
    let target = job_7(vec![Reply::status(202, "{}"), Reply::status(200, "the film")]).await;
    let film = service.create(&polled(&target, by_code.clone())).await;
    let failing = job_7(vec![Reply::status(409, r#"{"errors":["moderated"]}"#)]).await;
    let moderated = service.create(&polled(&failing, merged(by_code.clone(), json!({"errorPath": "errors"})))).await;
    let locked = job_7(vec![Reply::status(401, "who are you?")]).await;
    let refused = service.create(&polled(&locked, by_code)).await;
    let task = service.becomes(&film.id, "completed").await;
    assert_eq!((&task["result"]["body"], polls(&target)), (&json!("the film"), 2));
    assert_eq!(service.becomes(&moderated.id, "failed").await["error"], r#"["moderated"]"#);
    let task = service.becomes(&refused.id, "failed").await;
    assert_eq!(task["error"], "Poll refused: HTTP 401 - Unauthorized: who are you?");
}

#[tokio::test]
async fn trouble_is_waited_out_and_retry_after_is_obeyed() {
    let service = Service::start().await;
    let busy = Reply::with(429, &[("retry-after", "3")], r#"{"status":"failed"}"#);
    let target = job_7(vec![busy, Reply::status(503, "{}"), Reply::Cut, said("done")]).await;
    let created = service.create(&polled(&target, json!({}))).await;
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["error"], Value::Null);
    let seen = seen_on(&target, "GET /jobs/7");
    assert!(seen[1].at - seen[0].at > Duration::from_millis(2900), "{:?}", seen[1].at - seen[0].at);
    let events = service.events(&created.id).await;
    let told =
        |error: &str| events.iter().any(|event| event["error"].as_str().is_some_and(|text| text.contains(error)));
    assert!(told("HTTP 429") && told("HTTP 503") && told("Poll failed"), "{events:?}");
}

#[tokio::test]
async fn three_refusals_in_a_row_fail_the_task_and_fewer_do_not() {
    let service = Service::start().await;
    let gone = || Reply::status(404, "no such job");
    let target = job_7(vec![gone(), said("working"), gone(), Reply::status(403, "{}"), gone()]).await;
    let created = service.create(&polled(&target, json!({}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Poll refused: HTTP 404 - Not Found: no such job");
    assert_eq!((polls(&target), &task["result"]["statusCode"]), (5, &json!(404)));
}

#[tokio::test]
async fn polling_ends_at_max_duration() {
    let (service, target) = (Service::start().await, job_7(vec![said("working")]).await);
    let created = service.following(&polled(&target, json!({"maxDuration": 120}))).await;
    service.clock.advance(121);
    let task = service.becomes(&created.id, "timeout").await;
    assert_eq!((&task["result"], &task["error"]), (&Value::Null, &Value::Null));
    service.post(&created.callback_path(), "{}").await.expect_error(404, "Invalid or expired callback ID");
}

#[tokio::test]
async fn a_url_that_cannot_be_filled_in_fails_the_task() {
    let service = Service::start().await;
    let target = Target::ok().await;
    let created = service.create(&polled(&target, json!({}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "The URL cannot be filled in: the answer to the submission holds no id");
    assert_eq!(target.count(), 1);
}

#[tokio::test]
async fn where_a_callback_is_expected_only_the_polling_stops() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let body = merged(polled(&target, json!({})), json!({"body": "{asyncqueue_callback_url}"}));
    let created = service.following(&body).await;
    let stopped = |events: &[Value]| events.iter().any(|event| event["type"] == "poll.finished");
    while !stopped(&service.events(&created.id).await) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(service.task(&created.id).await["status"], "polling");
    service.post(&created.callback_path(), r#"{"any":"thing"}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["result"]["body"], r#"{"any":"thing"}"#);
    assert_eq!(target.count(), 1);
}

#[tokio::test]
async fn a_polling_task_may_wait_for_a_signal_too() {
    let (service, target) = (Service::start().await, job_7(vec![said("working")]).await);
    let body = merged(polled(&target, json!({"interval": 60})), json!({"waitForSignal": true}));
    let created = service.following(&body).await;
    assert_eq!(service.task(&created.id).await["status"], "polling");
    service.post(&created.signal_path(), r#"{"status":"failed","error":"never mind"}"#).await.expect(200);
    let task = service.task(&created.id).await;
    assert_eq!((&task["status"], &task["error"]), (&json!("failed"), &json!("never mind")));
}

#[tokio::test]
async fn a_refused_submission_is_not_polled() {
    let service = Service::start().await;
    let target = provider(|_, _, _| Reply::status(422, r#"{"detail":"no prompt"}"#)).await;
    let created = service.create(&polled(&target, json!({}))).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Target rejected the request: HTTP 422 - Unprocessable Entity");
    assert_eq!(task["result"]["body"], r#"{"detail":"no prompt"}"#);
    assert_eq!(target.count(), 1);
}

#[tokio::test]
async fn polls_go_on_after_a_restart() {
    let service = Service::start().await;
    let target = job_7(vec![said("working"), said("done")]).await;
    let created = service.following(&polled(&target, json!({}))).await;
    let service = service.restart(&[]).await;
    service.becomes(&created.id, "completed").await;
    assert_eq!(seen_on(&target, "POST /jobs").len(), 1);
}

#[tokio::test]
async fn cancelling_calls_the_providers_cancel_endpoint() {
    // A node does so for what it cancels, even if it does not poll.
    let without_poll = ["--role", "api,callbacks,dispatch,deliver"];
    let service = Service::with(if crate::support::service::is_shared() { &without_poll } else { &[] }).await;
    let target = provider(|route, seen, _| match route {
        "POST /fal-ai/flux" => Reply::status(200, &fal_job(&base(seen))),
        "PUT /cancel" => Reply::status(202, "{}"),
        _ => Reply::status(200, r#"{"id":"g1","status":"IN_QUEUE","state":"dreaming"}"#),
    })
    .await;
    let headers = json!({"Authorization": "Key secret"});
    let fal = json!({"provider": "fal", "targetUrl": target.url("/fal-ai/flux"), "headers": headers, "body": "{}"});
    let created = service.following(&fal).await;
    let answer = service.ask("POST", &format!("/v1/tasks/{}/cancel", created.id)).await.expect(200);
    assert_eq!(answer.json()["task"]["status"], "cancelled");
    crate::support::until("a cancellation", || !seen_on(&target, "PUT /cancel").is_empty()).await;
    assert_eq!(seen_on(&target, "PUT /cancel")[0].header("authorization"), Some("Key secret"));
    // At a host of the user's own, the job is called off where it is polled.
    let poll = json!({"urlTemplate": target.url("/eu/generations/{startResult.body.id}")});
    let luma =
        json!({"provider": "luma", "targetUrl": target.url("/eu/generations"), "body": "{}", "pollConfig": poll});
    let created = service.following(&luma).await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", created.id)).await.expect(200);
    let cancel = "DELETE /dream-machine/v1/generations/g1";
    crate::support::until("a cancellation", || !seen_on(&target, cancel).is_empty()).await;
}

/// What fal answers to a submission.
pub fn fal_job(base: &str) -> String {
    let urls = json!({
        "request_id": "123e4567-e89b-12d3-a456-426614174000",
        "status": "IN_QUEUE",
        "status_url": format!("{base}/status"),
        "response_url": format!("{base}/response"),
        "cancel_url": format!("{base}/cancel"),
    });
    urls.to_string()
}

#[tokio::test]
async fn done_with_an_error_is_a_failure() {
    let service = Service::start().await;
    let target = provider(|route, seen, number| match (route, number) {
        ("POST /fal-ai/flux", _) => Reply::status(200, &fal_job(&base(seen))),
        ("GET /status", 1) => Reply::status(202, r#"{"status":"IN_PROGRESS","error":null}"#),
        _ => Reply::status(200, r#"{"status":"COMPLETED","error":"out of memory","error_type":"oom"}"#),
    })
    .await;
    let body = json!({
        "provider": "fal", "targetUrl": target.url("/fal-ai/flux"), "body": "{}", "pollConfig": {"interval": 1},
    });
    let created = service.create(&body).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "out of memory");
    assert!(seen_on(&target, "GET /response").is_empty());
}
