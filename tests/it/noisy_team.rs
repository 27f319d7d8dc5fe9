//! T40: a team with a mountain of due tasks holds up nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Connection, KEY, Reply, Service, Target, gate, large, open, until};

/// Connections that create at once.
const CREATORS: usize = 64;

/// Creates so many tasks, each at the next of `urls` in turn.
async fn pile_up(service: &Service, urls: &[String], count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut creators = JoinSet::new();
    for _ in 0..CREATORS {
        let (next, urls, address) = (next.clone(), urls.to_vec(), service.address);
        creators.spawn(async move {
            let mut connection = Connection::open(address).await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let body = json!({"targetUrl": urls[number % urls.len()], "priority": 10, "timeout": 3600}).to_string();
                let answer = connection.send("POST", "/v1/tasks", &[("x-api-key", KEY)], Some(body.as_bytes())).await;
                answer.expect(201);
            }
        });
    }
    creators.join_all().await;
}

async fn pending(service: &Service) -> u64 {
    let answer = service.ask("GET", "/v1/tasks?status=pending&limit=1").await.expect(200);
    answer.json()["pagination"]["total"].as_u64().unwrap()
}

/// Targets, each of which is a host of its own, that answer once the gate is open.
async fn held_targets(gate: &watch::Sender<bool>) -> Vec<Target> {
    let mut targets = Vec::new();
    for _ in 0..6 {
        let reply = Reply::behind(gate);
        targets.push(Target::start(move |_, _| reply.clone()).await);
    }
    targets
}

fn calls(targets: &[Target]) -> usize {
    targets.iter().map(Target::count).sum()
}

fn urls(targets: &[Target]) -> Vec<String> {
    targets.iter().map(|target| target.url("/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_hosts_of_one_team_do_not_hold_up_anothers_single_tasks() {
    let service = Service::with(&["--max-in-flight", "32", "--max-in-flight-per-host", "8"]).await;
    let (gate, quick) = (gate(), Target::ok().await);
    let slow = held_targets(&gate).await;
    let other = service.another_team("other").await;
    pile_up(&service, &urls(&slow), 60).await;
    // Six hosts could take 48 calls at once: what is left of the 32 is left for other teams.
    until("all places but an eighth are taken", || calls(&slow) == 28).await;
    for number in 0..10 {
        let body = json!({"targetUrl": quick.url(&format!("/{number}")), "priority": 1}).to_string();
        service.send("POST", "/v1/tasks", &[("x-api-key", &other)], Some(&body)).await.expect(201);
        quick.request(number + 1).await;
    }
    assert_eq!(calls(&slow), 28, "none of them ended, and no other was made in their place");
    open(&gate);
    until("the rest is called as places become free", || calls(&slow) == 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_is_alone_has_all_places() {
    let service = Service::with(&["--max-in-flight", "32", "--max-in-flight-per-host", "8"]).await;
    let gate = gate();
    let slow = held_targets(&gate).await;
    pile_up(&service, &urls(&slow), 60).await;
    until("all places are taken", || calls(&slow) == 32).await;
    open(&gate);
    until("the rest is called as places become free", || calls(&slow) == 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mountain_of_one_teams_tasks_does_not_hold_up_anothers_single_ones() {
    let large = large();
    let mountain = if large { 100_000 } else { 20_000 };
    let service = Service::with(&["--max-in-flight", "32", "--max-in-flight-per-host", "8"]).await;
    // Enough hosts to take every call that the service makes at once; they answer when the gate opens, and slowly then.
    let gate = gate();
    let mut slow = Vec::new();
    for _ in 0..6 {
        let held = gate.subscribe();
        let answer = Reply::bytes(200, &[], b"{}");
        let script = move |_: &_, _| {
            if *held.borrow() {
                Reply::Later(Duration::from_millis(20), answer.clone())
            } else {
                Reply::Behind(held.clone(), answer.clone())
            }
        };
        slow.push(Target::start(script).await);
    }
    pile_up(&service, &urls(&slow), mountain).await;
    let other = service.another_team("other").await;
    let quick = Target::ok().await;
    open(&gate);
    let mut dwells = Vec::new();
    for number in 0..20 {
        let body = json!({"targetUrl": quick.url(&format!("/{number}")), "priority": 1}).to_string();
        let created = Instant::now();
        service.send("POST", "/v1/tasks", &[("x-api-key", &other)], Some(&body)).await.expect(201);
        dwells.push(quick.request(number + 1).await.at - created);
    }
    // No clock decides: all of them were called while nearly all of the mountain still lay there.
    let left = pending(&service).await;
    let slowest = dwells.iter().max().unwrap();
    println!("T40: 20 tasks behind {mountain}, {left} of them left; slowest start after {slowest:?}");
    assert!(left > mountain as u64 * 3 / 4, "only {left} of {mountain} were left: too few to tell");
    assert!(!large || *slowest < Duration::from_secs(1), "{slowest:?}");
}
