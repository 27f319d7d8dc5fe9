//! Whoever comes at once: one wins, and everyone is told the same.

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Connection, KEY, Reply, Service, Target, gate, large, open};

async fn post(service: &Service, path: &str, body: &str) -> u16 {
    Connection::open(service.address).await.send("POST", path, &[], Some(body.as_bytes())).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callbacks_at_once_exactly_one_is_taken() {
    let tasks = if large() { 1000 } else { 20 };
    let service = std::sync::Arc::new(Service::with(&["--callback-rate-limit", "0"]).await);
    let target = Target::ok().await;
    for _ in 0..tasks {
        let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
        service.becomes(&task.id, "waiting").await;
        let mut posts = JoinSet::new();
        for number in 0..64 {
            let (service, path) = (service.clone(), task.callback_path());
            posts.spawn(async move { (number, post(&service, &path, &number.to_string()).await) });
        }
        let answers = posts.join_all().await;
        let winners: Vec<i32> =
            answers.iter().filter(|(_, status)| *status == 200).map(|(number, _)| *number).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(_, status)| [200, 404].contains(status)), "{answers:?}");
        assert_eq!(service.task(&task.id).await["result"]["body"], winners[0].to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callback_signal_and_cancellation_race_to_one_end() {
    let tasks = if large() { 5000 } else { 60 };
    let flags = ["--callback-rate-limit", "0", "--signal-rate-limit", "0"];
    let service = std::sync::Arc::new(Service::with(&flags).await);
    let (target, receiver) = (Target::ok().await, Target::ok().await);
    let mut told = 0;
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..tasks {
        let body = json!({
            "targetUrl": target.url("/"), "waitForSignal": true, "onCompleteUrl": receiver.url(&format!("/{round}")),
        });
        let task = service.create(&body).await;
        service.becomes(&task.id, "waiting").await;
        let cancelling = {
            let (service, path) = (service.clone(), format!("/v1/tasks/{}/cancel", task.id));
            async move {
                let headers = [("authorization", format!("Bearer {KEY}"))];
                let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
                Connection::open(service.address).await.send("POST", &path, &headers, None).await.status
            }
        };
        let (callback_path, signal_path) = (task.callback_path(), task.signal_path());
        let (callback, signal, cancel) = tokio::join!(
            post(&service, &callback_path, "\"callback\""),
            post(&service, &signal_path, r#"{"status":"failed","error":"signal"}"#),
            cancelling,
        );
        let status = service.task(&task.id).await["status"].as_str().unwrap().to_owned();
        let expected = match status.as_str() {
            "completed" => (200, 409, 409),
            "failed" => (409, 200, 409),
            "cancelled" => (409, 409, 200),
            other => panic!("{other}"),
        };
        assert_eq!((callback, signal, cancel), expected, "{status}");
        told += usize::from(status != "cancelled");
        *ends.entry(status).or_default() += 1;
    }
    crate::support::until("one webhook for each end that is told", || receiver.count() >= told).await;
    assert_eq!(receiver.count(), told);
    assert!(ends.len() > 1, "the race was never close: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_host_and_a_busy_team_hold_up_nobody_else() {
    let service = Service::with(&["--max-in-flight", "80"]).await;
    let gate = gate();
    let held = gate.subscribe();
    let slow = Target::start(move |_, _| Reply::Behind(held.clone(), Reply::bytes(200, &[], b"{}"))).await;
    let quick = Target::ok().await;
    for _ in 0..120 {
        service.create(&json!({"targetUrl": slow.url("/")})).await;
    }
    crate::support::until("the slow host has its share of calls", || slow.count() == 64).await;
    let mine = service.create(&json!({"targetUrl": quick.url("/"), "priority": 1})).await;
    service.becomes(&mine.id, "completed").await;
    let key = service.another_team("other").await;
    let headers = [("authorization", format!("Bearer {key}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = json!({"targetUrl": quick.url("/theirs")}).to_string();
    service.send("POST", "/v1/tasks", &headers, Some(&body)).await.expect(201);
    crate::support::until("the other team's task was called", || quick.count() == 2).await;
    assert_eq!(slow.count(), 64, "no more calls than a host may have");
    open(&gate);
    crate::support::until("the slow host's rest was called", || slow.count() == 120).await;
}
