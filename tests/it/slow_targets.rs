//! T28: hundreds of targets that take their time hold up no other team, as long as there are places left for calls.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{Reply, Service, Target, gate, large, open, until};

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_take_their_time_hold_up_no_other_team() {
    let (slow_ones, teams) = if large() { (1_000, 100) } else { (200, 5) };
    // The last eighth of the places is not for a team with so many calls.
    let places = (slow_ones + slow_ones / 4).to_string();
    let service = Service::with(&["--max-in-flight", &places]).await;
    let gate = gate();
    let held = gate.subscribe();
    let answer = Reply::bytes(200, &[], b"{}");
    // One listener at all of loopback's addresses, each of which is a host of its own.
    let slow = Target::start_at("0.0.0.0:0", move |_, _| Reply::Behind(held.clone(), answer.clone())).await;
    let fast = Target::ok().await;
    for number in 0..slow_ones {
        let url = format!("http://127.1.{}.{}:{}/", number / 200, number % 200 + 1, slow.address.port());
        service.create(&json!({"targetUrl": url, "timeout": 3600, "priority": 10})).await;
    }
    let mut keys = Vec::new();
    for number in 0..teams {
        keys.push(service.another_team(&format!("team {number}")).await);
    }
    until("every slow target is called", || slow.count() == slow_ones).await;
    let mut delays = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let body = json!({"targetUrl": fast.url(&format!("/{number}")), "priority": 1}).to_string();
        let created = Instant::now();
        service.send("POST", "/v1/tasks", &[("x-api-key", key)], Some(&body)).await.expect(201);
        delays.push(fast.request(number + 1).await.at - created);
    }
    // No clock decides: each was called while every slow one was still under way.
    assert_eq!(slow.count(), slow_ones, "a slow call ended");
    delays.sort_unstable();
    let p99 = delays[delays.len() * 99 / 100];
    println!("T28: {teams} teams beside {slow_ones} slow targets; p99 of the start {p99:?}");
    assert!(!large() || p99 < Duration::from_secs(1), "{p99:?}");
    open(&gate);
}
