//! What targets receive, and what becomes of a task by what they answer.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres::free_port;
use crate::support::{Reply, Service, Target, gate, hex, hmac_sha256, open};

/// The `v1` signatures of a header `t=…,v1=…`, checked against `secrets`, in their order.
pub fn check_signature(header: &str, secrets: &[&str], body: &[u8]) {
    let mut parts = header.split(',');
    let t = parts.next().and_then(|part| part.strip_prefix("t=")).expect("a time");
    let message = [t.as_bytes(), b".", body].concat();
    let expected: Vec<_> =
        secrets.iter().map(|key| format!("v1={}", hex(&hmac_sha256(key.as_bytes(), &message)))).collect();
    assert_eq!(parts.collect::<Vec<_>>(), expected);
    let age = asyncqueue::clock::Clock::now(&asyncqueue::clock::SystemClock).unix_seconds() - t.parse::<i64>().unwrap();
    assert!((-86_400..=300).contains(&age), "{age}");
}

#[test]
fn our_own_hmac_is_the_one_of_rfc_4231() {
    let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[tokio::test]
async fn a_target_receives_the_request_and_our_signature() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let secret = service.secret().await;
    let body = json!({
        "targetUrl": target.url("/a%20b?c=d"), "method": "PUT", "body": "{\"ä\": 1}",
        "headers": {"Authorization": "Bearer sk", "Content-Type": "application/json", "X-Multi": "a, b"},
    });
    let created = service.create(&body).await;
    let seen = target.request(1).await;
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/a%20b?c=d"));
    assert_eq!(seen.text(), "{\"ä\": 1}");
    assert_eq!(seen.header("authorization"), Some("Bearer sk"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-multi"), Some("a, b"));
    assert_eq!(seen.header("content-length"), Some("9"));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.header("x-asyncqueue-task-id"), Some(created.id.as_str()));
    assert_eq!(seen.header("x-asyncqueue-attempt"), Some("1"));
    assert!(seen.header("user-agent").unwrap().to_lowercase().contains("asyncqueue"));
    assert_eq!(seen.header("host"), Some(target.address.to_string().as_str()));
    assert!(seen.header("cookie").is_none() && seen.header("accept-encoding").is_none_or(|value| value == "identity"));
    check_signature(seen.header("x-asyncqueue-signature").unwrap(), &[&secret], &seen.body);
}

#[tokio::test]
async fn an_absent_body_signs_as_empty_and_get_sends_none() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let secret = service.secret().await;
    for body in [
        json!({"targetUrl": target.url("/"), "method": "GET", "body": "ignored"}),
        json!({"targetUrl": target.url("/"), "method": "POST"}),
        json!({"targetUrl": target.url("/"), "method": "DELETE"}),
        json!({"targetUrl": target.url("/"), "method": "POST", "body": ""}),
    ] {
        service.create(&body).await;
    }
    target.request(4).await;
    for seen in target.seen() {
        assert!(seen.body.is_empty(), "{seen:?}");
        assert_eq!(seen.header("transfer-encoding"), None);
        if seen.method == "POST" {
            assert_eq!(seen.header("content-length"), Some("0"));
        }
        check_signature(seen.header("x-asyncqueue-signature").unwrap(), &[&secret], b"");
    }
}

#[tokio::test]
async fn a_plain_answer_completes_the_task_with_it() {
    let service = Service::start().await;
    let target = Target::start(|seen, _| {
        let status = seen.path[1..].parse().unwrap();
        Reply::with(
            status,
            &[("X-Two", "a"), ("x-two", "b"), ("Set-Cookie", "c=d")],
            if status == 204 { "" } else { "said" },
        )
    })
    .await;
    for status in [200, 201, 204, 299, 304, 302, 400, 404, 429, 499] {
        let created = service.create(&json!({"targetUrl": target.url(&format!("/{status}"))})).await;
        let task = service.becomes(&created.id, "completed").await;
        let result = &task["result"];
        assert_eq!(result["statusCode"], status);
        assert_eq!(result["headers"]["x-two"], "a, b");
        if status != 204 && status != 304 {
            assert_eq!(result["body"], "said");
        }
        assert!(result["duration"].is_u64());
        assert_eq!((&task["error"], &task["retryCount"]), (&Value::Null, &json!(0)), "{status}");
    }
}

#[tokio::test]
async fn binary_answers_are_base64_and_say_so() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::Send(Reply::bytes(200, &[], &[0xff, 0x00, 0x10]))).await;
    let created = service.create(&json!({"targetUrl": target.url("/")})).await;
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["result"]["body"], "/wAQ");
    assert_eq!(task["result"]["bodyEncoding"], "base64");
}

/// The delays between attempts as the task's history tells them, milliseconds.
async fn delays(service: &Service, id: &str) -> Vec<i64> {
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let events = service.events(id).await;
    let planned = events.iter().filter(|event| event["nextAttemptAt"].is_string());
    planned.map(|event| at(&event["nextAttemptAt"]) - at(&event["at"])).collect()
}

async fn exhaust(service: &Service, body: &Value, attempts: usize, target: &Target) -> Value {
    let created = service.create(body).await;
    for number in 1..=attempts {
        target.request(number).await;
        if number < attempts {
            let task = service.once(&created.id, "delayed", |task| task["status"] == "delayed").await;
            assert_eq!(task["retryCount"], number);
            assert!(task["nextAttemptAt"].is_string());
            service.clock.advance(3600);
        }
    }
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["retryCount"], attempts - 1);
    task
}

#[tokio::test]
async fn a_5xx_is_retried_with_exact_backoff_and_then_fails_the_task() {
    let service = Service::start().await;
    for (backoff, expected) in
        [("exponential", [1000, 2000, 4000, 8000, 16_000]), ("linear", [1000, 2000, 3000, 4000, 5000])]
    {
        let target = Target::start(|_, _| Reply::status(500, "broken")).await;
        let body = json!({"targetUrl": target.url("/"), "maxRetries": 5, "retryBackoff": backoff});
        let task = exhaust(&service, &body, 6, &target).await;
        assert_eq!(task["error"], "Server error: HTTP 500 - Internal Server Error");
        assert_eq!((&task["result"]["statusCode"], &task["result"]["body"]), (&json!(500), &json!("broken")));
        assert_eq!(delays(&service, task["id"].as_str().unwrap()).await, expected);
        let attempts: Vec<_> =
            target.seen().iter().map(|seen| seen.header("x-asyncqueue-attempt").unwrap().to_owned()).collect();
        assert_eq!(attempts, ["1", "2", "3", "4", "5", "6"]);
    }
}

#[tokio::test]
async fn a_retry_comes_when_its_backoff_is_over_and_not_before() {
    let service = Service::start().await;
    let target = Target::start(|_, number| Reply::status(if number < 3 { 503 } else { 200 }, "")).await;
    let created = service.create(&json!({"targetUrl": target.url("/")})).await;
    service.becomes(&created.id, "completed").await;
    let seen = target.seen();
    assert_eq!(seen.len(), 3);
    // But for what two clocks make of a millisecond.
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(990));
    assert!(seen[2].at - seen[1].at >= Duration::from_millis(1990));
}

#[tokio::test]
async fn no_retries_means_one_attempt() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::status(503, "")).await;
    let body = json!({"targetUrl": target.url("/"), "maxRetries": 0});
    let task = exhaust(&service, &body, 1, &target).await;
    assert_eq!(task["error"], "Server error: HTTP 503 - Service Unavailable");
}

#[tokio::test]
async fn retry_after_is_obeyed_where_it_is_longer_than_the_backoff() {
    let service = Service::start().await;
    let cases = [
        ("503", "7", "[]", 7000),
        ("503", "0", "[]", 1000),
        ("503", "999999", "[]", 3_600_000),
        ("429", "30", "[429]", 30_000),
        ("429", "soon", "[429]", 1000),
    ];
    for (status, after, retry_on, delay) in cases {
        let status = status.parse().unwrap();
        let target = Target::start(move |_, _| Reply::with(status, &[("Retry-After", after)], "")).await;
        let retry_on: Value = serde_json::from_str(retry_on).unwrap();
        let created = service.create(&json!({"targetUrl": target.url("/"), "retryOn": retry_on})).await;
        service.once(&created.id, "delayed", |task| task["status"] == "delayed").await;
        assert_eq!(delays(&service, &created.id).await, [delay], "{status} {after}");
    }
}

#[tokio::test]
async fn a_status_in_retry_on_is_retried_and_its_last_one_told() {
    let service = Service::start().await;
    let target = Target::start(|_, number| Reply::status(if number == 1 { 429 } else { 200 }, "")).await;
    let created = service.create(&json!({"targetUrl": target.url("/"), "retryOn": [429]})).await;
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["retryCount"], 1);
    let target = Target::start(|_, _| Reply::status(409, "no")).await;
    let body = json!({"targetUrl": target.url("/"), "retryOn": [409], "maxRetries": 1});
    let task = exhaust(&service, &body, 2, &target).await;
    assert_eq!(task["error"], "Target rejected the request: HTTP 409 - Conflict");
}

#[tokio::test]
async fn errors_of_the_network_are_told_in_words() {
    let service = Service::start().await;
    let cut = Target::start(|_, _| Reply::Cut).await;
    let hang = Target::start(|_, _| Reply::Hang).await;
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let odd = Target::start(|_, _| Reply::Send(b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n".to_vec())).await;
    let cases = [
        (cut.url("/"), "Network error: connection closed before the answer was complete"),
        (format!("http://{closed}/"), "Network error: connection refused"),
        (hang.url("/"), "Timeout after 0.5 s"),
        ("http://nowhere.example/".to_owned(), "Network error: "),
        (odd.url("/"), "Network error: "),
    ];
    for (url, error) in cases {
        let created = service.create(&json!({"targetUrl": url, "maxRetries": 0, "timeout": 0.5})).await;
        let task = service.becomes(&created.id, "failed").await;
        let told = task["error"].as_str().unwrap();
        assert!(told.starts_with(error), "{url}: {told}");
        assert!(!told.contains("127.0.0.1"), "{told}");
        assert_eq!(task["result"], Value::Null);
    }
    let slow = Target::start(|_, _| Reply::Hang).await;
    let created = service.create(&json!({"targetUrl": slow.url("/"), "maxRetries": 0, "timeout": 1})).await;
    assert_eq!(service.becomes(&created.id, "failed").await["error"], "Timeout after 1 s");
}

#[tokio::test]
async fn an_unknown_outcome_waits_where_somebody_could_still_tell() {
    let service = Service::start().await;
    let cut = Target::start(|_, _| Reply::Cut).await;
    let hang = Target::start(|_, _| Reply::Hang).await;
    for url in [cut.url("/"), hang.url("/")] {
        let body = json!({"targetUrl": url, "maxRetries": 0, "timeout": 0.5, "waitForSignal": true});
        let created = service.create(&body).await;
        service.becomes(&created.id, "waiting").await;
        service.post(&created.callback_path(), "1").await.expect(200);
    }
    // Nothing was sent: nobody could tell.
    let body =
        json!({"targetUrl": format!("http://127.0.0.1:{}/", free_port()), "maxRetries": 0, "waitForSignal": true});
    let created = service.create(&body).await;
    assert_eq!(service.becomes(&created.id, "failed").await["error"], "Network error: connection refused");
    // A 5xx is an answer.
    let broken = Target::start(|_, _| Reply::status(500, "")).await;
    let created = service.create(&json!({"targetUrl": broken.url("/"), "maxRetries": 0, "waitForSignal": true})).await;
    service.becomes(&created.id, "failed").await;
}

#[tokio::test]
async fn an_answer_over_the_cap_is_refused() {
    let service = Service::with(&["--max-answer-bytes", "1000"]).await;
    let target = Target::start(|seen, _| Reply::status(200, &"x".repeat(seen.path[1..].parse().unwrap()))).await;
    let fits = service.create(&json!({"targetUrl": target.url("/1000")})).await;
    service.becomes(&fits.id, "completed").await;
    let plain = service.create(&json!({"targetUrl": target.url("/1001")})).await;
    let task = service.becomes(&plain.id, "failed").await;
    assert_eq!(task["error"], "The answer was larger than 1000 bytes; its body was dropped");
    let waits = service.create(&json!({"targetUrl": target.url("/1001"), "waitForSignal": true})).await;
    service.becomes(&waits.id, "waiting").await;
    let events = service.events(&waits.id).await;
    let finished = events.iter().find(|event| event["type"] == "attempt.finished").unwrap();
    assert_eq!(finished["error"], "The answer was larger than 1000 bytes; its body was dropped");
}

#[tokio::test]
async fn the_answer_is_the_result_once_a_signal_without_one_comes_and_null_while_waiting() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    let task = service.becomes(&created.id, "waiting").await;
    assert_eq!(task["result"], Value::Null);
    service.clock.advance(31);
    let task = service.becomes(&created.id, "timeout").await;
    assert_eq!((&task["result"], task["completedAt"].is_string()), (&Value::Null, true));
}

#[tokio::test]
async fn redirects_are_followed_five_times_and_turn_a_post_into_a_get() {
    let service = Service::start().await;
    let target = Target::start(|seen, _| {
        let left: u32 = seen.path.trim_start_matches("/302/").parse().unwrap_or(0);
        if left == 0 {
            Reply::status(200, "there")
        } else {
            Reply::with(302, &[("Location", &format!("/302/{}", left - 1))], "")
        }
    })
    .await;
    let body =
        |hops: u32| json!({"targetUrl": target.url(&format!("/302/{hops}")), "body": "b", "headers": {"X-Key": "k"}});
    let created = service.create(&body(5)).await;
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["result"]["body"], "there");
    let seen = target.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].text()), ("POST", "b"));
    assert_eq!((seen[5].method.as_str(), seen[5].text()), ("GET", ""));
    assert_eq!(seen[5].header("x-key"), Some("k"), "the same origin is sent the same headers");
    let created = service.create(&body(6)).await;
    let task = service.becomes(&created.id, "failed").await;
    assert!(task["error"].as_str().unwrap().starts_with("Forbidden redirect"), "{task}");
    assert_eq!(task["retryCount"], 0);
}

#[tokio::test]
async fn another_origin_gets_nothing_of_the_users() {
    let service = Service::start().await;
    let other = Target::ok().await;
    let elsewhere = other.url("/next");
    let target =
        Target::start(move |seen, _| Reply::with(seen.path[1..].parse().unwrap(), &[("Location", &elsewhere)], ""))
            .await;
    for (index, status) in [301, 302, 303].into_iter().enumerate() {
        let body = json!({"targetUrl": target.url(&format!("/{status}")), "body": "secret-body", "headers": {"X-Key": "secret-key"}});
        let created = service.create(&body).await;
        service.becomes(&created.id, "completed").await;
        let seen = other.request(index + 1).await;
        assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.text()), ("GET", "/next", ""));
        assert!(
            seen.headers
                .iter()
                .all(|(name, value)| !value.contains("secret") && !name.to_lowercase().contains("signature")),
            "{seen:?}"
        );
    }
    for status in [307, 308] {
        let created = service.create(&json!({"targetUrl": target.url(&format!("/{status}")), "body": "b"})).await;
        let task = service.becomes(&created.id, "failed").await;
        assert!(task["error"].as_str().unwrap().starts_with("Forbidden redirect"), "{task}");
        assert_eq!(task["retryCount"], 0, "no retry would help");
    }
    assert_eq!(other.count(), 3);
}

#[tokio::test]
async fn the_timeout_covers_the_answers_body() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec())).await;
    let created = service.create(&json!({"targetUrl": target.url("/"), "maxRetries": 0, "timeout": 0.5})).await;
    assert_eq!(service.becomes(&created.id, "failed").await["error"], "Timeout after 0.5 s");
}

#[tokio::test]
async fn a_delayed_task_is_called_when_its_time_comes_and_not_before() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let now = asyncqueue::clock::Clock::now(&*service.clock);
    let soon = asyncqueue::wire::iso(now.plus_millis(700));
    let created = service.create(&json!({"targetUrl": target.url("/"), "delayUntil": soon})).await;
    assert_eq!(created.json["task"]["status"], "delayed");
    assert_eq!(created.json["task"]["nextAttemptAt"], soon);
    let task = service.becomes(&created.id, "completed").await;
    assert!(task["startedAt"].as_str().unwrap() >= soon.as_str(), "{task}");
    let past = service.create(&json!({"targetUrl": target.url("/"), "delayUntil": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(past.json["task"]["status"], "pending");
    service.becomes(&past.id, "completed").await;
}

#[tokio::test]
async fn a_team_with_many_due_tasks_does_not_hold_up_anothers_single_one() {
    let service = Service::with(&["--max-in-flight", "16", "--max-in-flight-per-host", "8"]).await;
    let slow = Target::start(|_, _| Reply::Hang).await;
    let fast = Target::ok().await;
    let other = service.another_team("other").await;
    for number in 0..200 {
        service.create(&json!({"targetUrl": slow.url(&format!("/{number}")), "timeout": 3600})).await;
    }
    crate::support::until("the slow host to be full", || slow.count() == 8).await;
    let body = json!({"targetUrl": fast.url("/")}).to_string();
    service.send("POST", "/v1/tasks", &[("x-api-key", &other)], Some(&body)).await.expect(201);
    fast.request(1).await;
    // Nor does one slow host hold up the same team's others, nor take more than its share.
    service.create(&json!({"targetUrl": fast.url("/mine")})).await;
    fast.request(2).await;
    assert_eq!(slow.count(), 8);
}

#[tokio::test]
async fn teams_take_turns() {
    let service = Service::with(&["--max-in-flight", "1"]).await;
    let gate = gate();
    let held = gate.subscribe();
    let target = Target::start(move |_, number| {
        let bytes = Reply::bytes(200, &[], b"");
        if number == 1 { Reply::Behind(held.clone(), bytes) } else { Reply::Send(bytes) }
    })
    .await;
    let other = service.another_team("other").await;
    for number in 0..50 {
        service.create(&json!({"targetUrl": target.url(&format!("/a{number}")), "priority": 10})).await;
    }
    let body = json!({"targetUrl": target.url("/b"), "priority": 1}).to_string();
    service.send("POST", "/v1/tasks", &[("x-api-key", &other)], Some(&body)).await.expect(201);
    open(&gate);
    target.request(51).await;
    let place = target.seen().iter().position(|seen| seen.path == "/b").unwrap();
    assert!(place <= 3, "the other team's task came as number {place}");
}
