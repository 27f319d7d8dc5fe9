//! The whole schedule of a completion webhook, as the task shows it, and its end.

use serde_json::{Value, json};

use crate::support::{Reply, Service, Target};

fn millis(value: &Value) -> i64 {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The history's attempts at the webhook.
async fn attempts(service: &Service, id: &str) -> Vec<Value> {
    let events = service.events(id).await;
    events.into_iter().filter(|event| event["type"] == "webhook.attempted").collect()
}

/// Lets each attempt fail and jumps to the next, until nothing is planned any more; gives the task as it is then.
async fn run_out(service: &Service, id: &str, retries: usize) -> Value {
    for number in 1..=retries {
        let made = |task: &Value| task["onComplete"]["attempts"] == number;
        let task = service.once(id, "another attempt", made).await;
        assert_eq!(task["onComplete"]["status"], "pending");
        let event = attempts(service, id).await.pop().unwrap();
        assert_eq!(event["nextAttemptAt"], task["onComplete"]["nextAttemptAt"]);
        let wait = millis(&event["nextAttemptAt"]) - millis(&event["at"]);
        service.clock.advance(wait / 1000);
    }
    service.once(id, "given up", |task| task["onComplete"]["status"] == "failed").await
}

/// The planned delays, seconds; an attempt before its time fails the test.
async fn delays(service: &Service, id: &str) -> Vec<i64> {
    let events = attempts(service, id).await;
    for pair in events.windows(2) {
        assert!(millis(&pair[1]["at"]) >= millis(&pair[0]["nextAttemptAt"]), "too early: {pair:?}");
    }
    let numbers: Vec<_> = events.iter().map(|event| event["attempt"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let planned = events.iter().filter(|event| event["nextAttemptAt"].is_string());
    planned.map(|event| (millis(&event["nextAttemptAt"]) - millis(&event["at"])) / 1000).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn six_attempts_at_five_intervals_and_then_it_has_failed_for_good() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let receiver = Target::start(|_, number| match number {
        1 => Reply::Cut,
        2 => Reply::status(429, ""),
        3 => Reply::status(404, ""),
        4 => Reply::with(307, &[("Location", "/elsewhere")], ""),
        _ => Reply::status(502, ""),
    })
    .await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/hook")})).await;
    let ended = run_out(&service, &task.id, 5).await;
    let expected = json!({"status": "failed", "attempts": 6, "lastStatusCode": 502, "nextAttemptAt": null});
    assert_eq!((&ended["onComplete"], &ended["status"]), (&expected, &json!("completed")));
    assert_eq!(delays(&service, &task.id).await, [5, 15, 60, 180, 340]);
    let codes: Vec<_> = attempts(&service, &task.id).await.iter().map(|event| event["statusCode"].clone()).collect();
    assert_eq!(json!(codes), json!([null, 429, 404, 307, 502, 502]));
    let seen = receiver.seen();
    assert!(seen.iter().all(|seen| seen.path == "/hook"), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0].body == pair[1].body), "the message changed");

    // Nothing is tried again, however late it gets: a later webhook has come and gone.
    service.clock.advance(86_400);
    let later = service.create(&json!({"targetUrl": target.url("/"), "onCompleteUrl": target.url("/later")})).await;
    service.once(&later.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
    assert_eq!(receiver.count(), 6);
    // By hand it begins anew, with the whole schedule before it.
    service.ask("POST", &format!("/v1/tasks/{}/webhook/resend", task.id)).await.expect(200);
    let again = |task: &Value| task["onComplete"]["attempts"] == 1 && task["onComplete"]["status"] == "pending";
    service.once(&task.id, "tried anew", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ten_retries_the_last_interval_repeats_and_a_failed_task_is_told_the_same_way() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::status(500, "")).await;
    let gone = format!("127.0.0.1:{}", crate::postgres::free_port());
    let body = json!({
        "targetUrl": target.url("/"), "maxRetries": 0,
        "onCompleteUrl": format!("http://{gone}/"), "onCompleteMaxRetries": 10,
    });
    let task = service.create(&body).await;
    let ended = run_out(&service, &task.id, 10).await;
    let expected = json!({"status": "failed", "attempts": 11, "lastStatusCode": null, "nextAttemptAt": null});
    assert_eq!((&ended["onComplete"], &ended["status"]), (&expected, &json!("failed")));
    assert_eq!(delays(&service, &task.id).await, [5, 15, 60, 180, 340, 340, 340, 340, 340, 340]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_schedule_was() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let receiver = Target::start(|_, number| Reply::status(if number < 3 { 500 } else { 200 }, "")).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/")})).await;
    service.once(&task.id, "tried", |task| task["onComplete"]["attempts"] == 1).await;
    service.clock.advance(5);
    let before = service.once(&task.id, "tried again", |task| task["onComplete"]["attempts"] == 2).await;
    let service = service.restart(&[]).await;
    assert_eq!(service.task(&task.id).await["onComplete"], before["onComplete"]);
    service.clock.advance(15);
    let done = service.once(&task.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
    assert_eq!(done["onComplete"]["attempts"], 3);
    assert_eq!(delays(&service, &task.id).await, [5, 15]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_nothing_has_ten_seconds() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let receiver = Target::start(|_, number| if number == 1 { Reply::Hang } else { Reply::status(200, "") }).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/")})).await;
    let seen = receiver.request(1).await;
    service.once(&task.id, "given up on", |task| task["onComplete"]["attempts"] == 1).await;
    assert!(seen.at.elapsed() >= std::time::Duration::from_secs(9), "{:?}", seen.at.elapsed());
    service.clock.advance(5);
    service.once(&task.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
}
