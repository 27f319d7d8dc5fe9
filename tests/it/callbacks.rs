//! `POST /v1/callbacks/:callbackId`, word for word.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Created, KEY, PATIENCE, Reply, Service, Target, gate, open};

pub const GONE: &str = "Invalid or expired callback ID";
const INVALID: &str = "Request body must be valid JSON";

fn conflict(status: &str) -> String {
    format!("Task is not in waiting/polling state (current: {status})")
}

/// A task that waits for its callback.
pub async fn waiting(service: &Service, target: &Target) -> Created {
    let created = service.create(&json!({"targetUrl": target.url("/job"), "waitForSignal": true})).await;
    service.becomes(&created.id, "waiting").await;
    created
}

#[tokio::test]
async fn the_first_callback_completes_the_task_and_is_answered_to_the_letter() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let id = task.callback.clone().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{id}");

    let answer = service.post(&task.callback_path(), "{ \"b\": 1,\n\t\"a\": [ 2 ] }").await.expect(200);
    let shown = service.task(&task.id).await;
    let text = |name: &str| shown[name].as_str().unwrap().to_owned();
    let expected = format!(
        r#"{{"task":{{"id":"{}","status":"completed","result":{{"statusCode":200,"headers":{{}},"body":"{{\"b\":1,\"a\":[2]}}","duration":0}},"createdAt":"{}","completedAt":"{}"}}}}"#,
        task.id,
        text("createdAt"),
        text("completedAt")
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["result"]["body"], r#"{"b":1,"a":[2]}"#);
    assert_eq!(shown["error"], Value::Null);
    service.post(&task.callback_path(), "{}").await.expect_error(404, GONE);
}

#[tokio::test]
async fn the_body_is_kept_but_for_white_space_between_tokens() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        ("196619188014358660", "196619188014358660"),
        (" [ 1.0e2 , -0 , 1E400, 0.10 ]", "[1.0e2,-0,1E400,0.10]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (r#"{"a":1, "a":2}"#, r#"{"a":1,"a":2}"#),
        (r#""\u0041\/ \ud800 \u0000""#, r#""\u0041\/ \ud800 \u0000""#),
        ("\"tab: \\t,  two  spaces\"", "\"tab: \\t,  two  spaces\""),
        ("null", "null"),
        ("\r\n false\t", "false"),
        ("\"ä日本😀\"", "\"ä日本😀\""),
        (&deep, &deep),
    ];
    for (sent, kept) in cases {
        let task = waiting(&service, &target).await;
        service.post(&task.callback_path(), sent).await.expect(200);
        assert_eq!(service.task(&task.id).await["result"]["body"], *kept);
    }
}

#[tokio::test]
async fn ids_that_are_not_to_the_letter_are_gone_and_change_nothing() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let id = task.callback.clone().unwrap();
    let first = id.as_bytes()[0];
    let encoded = format!("%{first:02x}{}", &id[1..]);
    let altered = format!("{}{}", if first == b'0' { '1' } else { '0' }, &id[1..]);
    let odd = [
        encoded,
        altered,
        id.to_uppercase(),
        id[1..].to_owned(),
        format!("{id}0"),
        "0".repeat(64),
        "x".into(),
        format!("{id}%00"),
        format!("{id};a=1"),
        task.id.clone(),
        task.signal.clone().unwrap(),
    ];
    for odd in odd.iter().filter(|odd| **odd != id) {
        service.post(&format!("/v1/callbacks/{odd}"), "{}").await.expect_error(404, GONE);
    }
    for path in [format!("/v1/callbacks/{id}/"), "/v1/callbacks/".into(), format!("//v1/callbacks/{id}")] {
        let answer = service.post(&path, "{}").await.expect(404);
        assert_eq!(answer.header("location"), None);
    }
    assert_eq!(service.task(&task.id).await["status"], "waiting");
    service.post(&format!("/v1/callbacks/{id}?type=done&token=x"), "{}").await.expect(200);
}

#[tokio::test]
async fn a_faulty_body_leaves_task_and_id_as_they_were() {
    let service = Service::with(&["--max-callback-bytes", "1000"]).await;
    let target = Target::ok().await;
    let task = waiting(&service, &target).await;
    let large = format!("\"{}\"", "x".repeat(1000));
    for body in ["", " ", "{", "{}x", "NaN", "{'a':1}", "[1,]", "\u{feff}{}", "a=1&b=2"] {
        service.post(&task.callback_path(), body).await.expect_error(400, INVALID);
    }
    service.post(&task.callback_path(), &large).await.expect_error(413, "Request body too large");
    assert_eq!(service.task(&task.id).await["status"], "waiting");
    assert!(!service.event_types(&task.id).await.contains(&"callback.received".to_owned()));
    let fits = format!("\"{}\"", "x".repeat(998));
    service.post(&task.callback_path(), &fits).await.expect(200);
    // Gone comes before any fault of the body.
    for body in ["{", &large] {
        service.post(&task.callback_path(), body).await.expect_error(404, GONE);
    }
}

/// Sends what is wrong in every way that is left, and takes one fault after the other away.
#[tokio::test]
async fn what_is_wrong_is_told_in_the_contracts_order() {
    const CODED: &str = "Content-Encoding is not supported";
    let service = Service::with(&["--callback-rate-limit", "8/60", "--max-callback-bytes", "1000"]).await;
    let target = Target::ok().await;
    let rule = json!({"statusPath": "state", "doneValues": ["ok"]});
    let body = json!({"targetUrl": target.url("/"), "waitForSignal": true, "callbackConfig": rule});
    let (plain, ruled, over) = (
        waiting(&service, &target).await,
        service.create(&body).await,
        service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await,
    );
    service.becomes(&ruled.id, "waiting").await;
    service.becomes(&over.id, "waiting").await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", over.id)).await.expect(200);
    let coded = [("content-encoding", "gzip")];
    let large = format!("{{{}", "x".repeat(1000));
    let post = async |path: &str, body: &str| service.send("POST", path, &coded, Some(body)).await;
    post("/v1/callbacks/x", &large).await.expect_error(404, GONE);
    post(&over.callback_path(), &large).await.expect_error(409, &conflict("cancelled"));
    for task in [&plain, &ruled] {
        post(&task.callback_path(), &large).await.expect_error(413, "Request body too large");
        post(&task.callback_path(), "{").await.expect_error(415, CODED);
        service.post(&task.callback_path(), "{").await.expect_error(400, INVALID);
    }
    // Eight were admitted: what no longer is, is told before anything but the method.
    for task in [&plain, &ruled, &over] {
        post(&task.callback_path(), &large).await.expect_error(429, "Rate limit exceeded");
        for method in ["GET", "PUT", "OPTIONS", "post"] {
            let refused = service.send(method, &task.callback_path(), &coded, Some(&large)).await;
            refused.expect_error(405, "Method not allowed");
            assert_eq!(refused.header("allow"), Some("POST"));
        }
    }
    assert_eq!(service.task(&plain.id).await["status"], "waiting");
}

#[tokio::test]
async fn sixteen_mebibytes_fit_and_no_more() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let mut body = format!("\"{}\"", "x".repeat(16 * 1024 * 1024 - 2));
    body.push(' ');
    service.post(&task.callback_path(), &body).await.expect_error(413, "Request body too large");
    body.pop();
    service.post(&task.callback_path(), &body).await.expect(200);
    assert_eq!(service.task(&task.id).await["result"]["body"].as_str().unwrap().len(), body.len());
}

#[tokio::test]
async fn no_content_type_is_looked_at() {
    let (service, target) = (Service::start().await, Target::ok().await);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "nonsense", "multipart/form-data"] {
        let task = waiting(&service, &target).await;
        service.send("POST", &task.callback_path(), &[("content-type", kind)], Some("{}")).await.expect(200);
    }
}

#[tokio::test]
async fn after_each_kind_of_end_it_is_gone_or_a_conflict() {
    let (service, target) = (Service::start().await, Target::ok().await);
    // The same credential: gone.
    let task = waiting(&service, &target).await;
    service.post(&task.callback_path(), "1").await.expect(200);
    service.post(&task.callback_path(), "1").await.expect_error(404, GONE);
    service.post(&task.signal_path(), r#"{"status":"completed"}"#).await.expect_error(409, &conflict("completed"));
    // A signal: a conflict.
    for status in ["completed", "failed"] {
        let task = waiting(&service, &target).await;
        service.post(&task.signal_path(), &json!({"status": status}).to_string()).await.expect(200);
        service.post(&task.callback_path(), "1").await.expect_error(409, &conflict(status));
        service.post(&task.callback_path(), "{").await.expect_error(409, &conflict(status));
    }
    // Cancellation, before and after the call.
    let task = waiting(&service, &target).await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", task.id)).await.expect(200);
    service.post(&task.callback_path(), "1").await.expect_error(409, &conflict("cancelled"));
    // Deletion: gone.
    service.ask("DELETE", &format!("/v1/tasks/{}", task.id)).await.expect(200);
    service.post(&task.callback_path(), "1").await.expect_error(404, GONE);
    service.post(&task.signal_path(), "1").await.expect_error(404, "Invalid or expired signal token");
    // The wait ran out: gone.
    let task = waiting(&service, &target).await;
    service.clock.advance(31);
    service.becomes(&task.id, "timeout").await;
    service.post(&task.callback_path(), "1").await.expect_error(404, GONE);
    let signal = service.post(&task.signal_path(), r#"{"status":"completed"}"#).await;
    signal.expect_error(404, "Invalid or expired signal token");
}

#[tokio::test]
async fn after_a_failed_call_it_is_a_conflict() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::status(422, "no")).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    let failed = service.becomes(&task.id, "failed").await;
    assert_eq!(failed["error"], "Target rejected the request: HTTP 422 - Unprocessable Entity");
    assert_eq!(failed["result"]["body"], "no");
    service.post(&task.callback_path(), r#"{"late":true}"#).await.expect_error(409, &conflict("failed"));
}

#[tokio::test]
async fn before_any_attempt_it_is_a_conflict() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let later = asyncqueue::wire::iso(now(&service).plus_millis(3_600_000));
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true, "delayUntil": later})).await;
    assert_eq!(service.task(&task.id).await["status"], "delayed");
    service.post(&task.callback_path(), "1").await.expect_error(409, &conflict("delayed"));
    service.post(&task.signal_path(), r#"{"status":"completed"}"#).await.expect_error(409, &conflict("delayed"));
    service.ask("POST", &format!("/v1/tasks/{}/cancel", task.id)).await.expect(200);
    service.post(&task.callback_path(), "1").await.expect_error(409, &conflict("cancelled"));
}

fn now(service: &Service) -> asyncqueue::task::Timestamp {
    asyncqueue::clock::Clock::now(&*service.clock)
}

#[tokio::test]
async fn a_callback_may_overtake_the_answer_to_the_call() {
    let service = Service::start().await;
    let gate = gate();
    let reply = Reply::behind(&gate);
    let target = Target::start(move |_, _| reply.clone()).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    target.request(1).await;
    assert_eq!(service.task(&task.id).await["status"], "processing");
    // A signal may not.
    service.post(&task.signal_path(), r#"{"status":"completed"}"#).await.expect_error(409, &conflict("processing"));
    service.post(&task.callback_path(), r#"{"early":1}"#).await.expect(200);
    open(&gate);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !service.event_types(&task.id).await.contains(&"attempt.finished".to_owned()) {
        assert!(tokio::time::Instant::now() < deadline, "the late answer is an event");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let shown = service.task(&task.id).await;
    assert_eq!((&shown["status"], &shown["result"]["body"]), (&json!("completed"), &json!(r#"{"early":1}"#)));
}

#[tokio::test]
async fn a_callback_between_attempts_ends_them() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::status(500, "")).await;
    let body = json!({"targetUrl": target.url("/"), "waitForSignal": true, "maxRetries": 10});
    let task = service.create(&body).await;
    service.once(&task.id, "delayed", |task| task["status"] == "delayed").await;
    service.post(&task.callback_path(), "7").await.expect(200);
    let seen = target.count();
    service.clock.advance(3600);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(target.count(), seen);
    assert_eq!(service.task(&task.id).await["status"], "completed");
}

#[tokio::test]
async fn early_callbacks_can_be_refused() {
    let service = Service::with(&["--callback-early", "reject"]).await;
    let gate = gate();
    let reply = Reply::behind(&gate);
    let target = Target::start(move |_, _| reply.clone()).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    target.request(1).await;
    service.post(&task.callback_path(), "1").await.expect_error(409, &conflict("processing"));
    open(&gate);
    service.becomes(&task.id, "waiting").await;
    service.post(&task.callback_path(), "1").await.expect(200);
}

#[tokio::test]
async fn a_late_body_is_kept_once() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", task.id)).await.expect(200);
    let huge = format!("\"{}\"", "x".repeat(1024 * 1024));
    service.post(&task.callback_path(), &huge).await.expect(409);
    for body in [r#"{ "paid": 1 }"#, r#"{"paid":2}"#] {
        service.post(&task.callback_path(), body).await.expect_error(409, &conflict("cancelled"));
    }
    let events = service.events(&task.id).await;
    let late: Vec<_> = events.iter().filter(|event| event["type"] == "callback.late").collect();
    assert_eq!(late.len(), 1, "{late:?}");
    assert_eq!(late[0]["body"], r#"{"paid":1}"#);
    assert_eq!(service.task(&task.id).await["result"], Value::Null);
}

#[tokio::test]
async fn late_news_and_what_no_rule_knows_are_kept_until_the_end_comes() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let rule = json!({"statusPath": "state", "doneValues": ["ok"], "interimValues": ["on"], "idPath": "id"});
    let body = json!({"targetUrl": target.url("/"), "waitForSignal": true, "callbackConfig": rule});
    let task = service.create(&body).await;
    service.becomes(&task.id, "waiting").await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", task.id)).await.expect(200);
    for (said, kept) in [
        (r#"{"state":"unheard of"}"#, r#"{"state":"unheard of"}"#),
        (r#"{"state":"on"}"#, r#"{"state":"unheard of"}"#),
        (r#"{"state":"ok","paid":1}"#, r#"{"state":"ok","paid":1}"#),
        (r#"{"state":"ok","paid":2}"#, r#"{"state":"ok","paid":1}"#),
    ] {
        service.post(&task.callback_path(), said).await.expect_error(409, &conflict("cancelled"));
        let events = service.events(&task.id).await;
        let late: Vec<_> = events.iter().filter(|event| event["type"] == "callback.late").collect();
        assert_eq!(late.iter().map(|event| event["body"].as_str().unwrap()).collect::<Vec<_>>(), [kept], "{said}");
        let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(1..=events.len() as u64), "{numbers:?}");
    }
}

#[tokio::test]
async fn retention_takes_the_id_along() {
    let (service, target) = (Service::with(&["--retention", "10s"]).await, Target::ok().await);
    let task = waiting(&service, &target).await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", task.id)).await.expect(200);
    service.post(&task.callback_path(), "1").await.expect(409);
    service.clock.advance(60);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while service.post(&task.callback_path(), "1").await.status != 404 {
        assert!(tokio::time::Instant::now() < deadline, "never purged");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.ask("GET", &format!("/v1/tasks/{}", task.id)).await.expect_error(404, "Task not found");
}

#[tokio::test]
async fn a_callback_id_outlives_a_restart() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let service = service.restart(&[]).await;
    service.post(&task.callback_path(), "1").await.expect(200);
    let list = service.send("GET", "/v1/tasks", &[("x-api-key", KEY)], None).await.expect(200);
    assert_eq!(list.json()["tasks"][0]["status"], "completed");
}
