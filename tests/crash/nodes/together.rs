//! What one node does holds on the others within a second: ends, cancellations, keys; and each serves what its roles say.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use crate::harness::http::Client;
use crate::harness::large;
use crate::harness::site::word_with_prefix;
use crate::ledger::Kind;
use crate::postgres;

const SOON: Duration = Duration::from_secs(1);
/// The same where other tests run beside this one.
const BUSY: Duration = Duration::from_secs(18);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_does_holds_on_the_others_within_a_second() {
    let (cluster, world) = Cluster::start("together", &postgres::shared().database(), 2).await;
    let [one, two] = [0, 1].map(|node| Client::new(cluster.addr(node), Some(&world.site.key)));
    for end in ["callback", "cancel"] {
        let (_, id) = world.create_with(&one, 0, Kind::Callback, &json!({})).await;
        let id = id.expect("created");
        let callback = loop {
            if let Some((_, callback)) = world.target.take_callback(|_| 0) {
                break callback;
            }
            sleep(Duration::from_millis(5)).await;
        };
        while world.task(&id).await["status"] != "waiting" {
            sleep(Duration::from_millis(5)).await;
        }
        let path = format!("/v1/tasks/{id}?wait=20");
        let held = tokio::spawn({
            let two = Client::new(cluster.addr(1), Some(&world.site.key));
            async move { (two.get(&path).await, Instant::now()) }
        });
        sleep(Duration::from_millis(700)).await;
        let acted = Instant::now();
        let answer = match end {
            "callback" => one.post(&format!("/v1/callbacks/{callback}"), "{}").await,
            _ => one.post(&format!("/v1/tasks/{id}/cancel"), "").await,
        };
        assert_eq!(answer.status(), 200, "{answer:?}");
        let (seen, at) = held.await.unwrap();
        assert!(["completed", "cancelled"].contains(&seen.json()["task"]["status"].as_str().unwrap_or("")), "{seen:?}");
        println!("{end}: told on the other node after {:?}", at - acted);
        assert!(at - acted < if large() { SOON } else { BUSY }, "{end}: told after {:?}", at - acted);
        assert_eq!(two.get(&format!("/v1/tasks/{id}")).await.json()["task"], seen.json()["task"]);
    }
    let shown = world.site.command(&["key", "create"]);
    let key = word_with_prefix(&shown, "async_");
    let listed = world.site.command(&["key", "list"]);
    let line = listed.lines().find(|line| line.contains(&key[..10])).expect("it is listed").to_owned();
    let uid = line.split_whitespace().find(|word| word.len() == 36).expect("its id").to_owned();
    let [a, b] = [0, 1].map(|node| Client::new(cluster.addr(node), Some(&key)));
    assert_eq!((a.get("/v1/tasks").await.status(), b.get("/v1/tasks").await.status()), (200, 200));
    world.site.command(&["key", "revoke", &uid]);
    let revoked = Instant::now();
    while (a.get("/v1/tasks").await.status(), b.get("/v1/tasks").await.status()) != (401, 401) {
        assert!(revoked.elapsed() < if large() { SOON } else { BUSY }, "a revoked key works on");
        sleep(Duration::from_millis(20)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_what_its_roles_say_and_nothing_else() {
    let url = postgres::shared().database();
    let roles = ["api,dispatch,deliver,poll", "callbacks"];
    let (cluster, world) = Cluster::with("roles", &[url.clone(), url], |node, site| {
        site.arguments.extend(["--role".to_owned(), roles[node].to_owned()]);
    })
    .await;
    cluster.balancer.set(cluster.addr(1), false);
    let [private, public] = [0, 1].map(|node| Client::new(cluster.addr(node), Some(&world.site.key)));
    let (_, id) = world.create(0, Kind::Callback, &json!({})).await;
    let id = id.expect("created");
    let callback = loop {
        if let Some((_, callback)) = world.target.take_callback(|_| 0) {
            break callback;
        }
        sleep(Duration::from_millis(5)).await;
    };
    while private.get(&format!("/v1/tasks/{id}")).await.json()["task"]["status"] != "waiting" {
        sleep(Duration::from_millis(5)).await;
    }
    for path in ["/v1/tasks", "/v1/providers", "/metrics", "/", "/docs", "/openapi.json", "/login", "/teams"] {
        assert_eq!(public.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(public.post("/v1/tasks", "{}").await.status(), 404);
    assert_eq!((public.get("/healthz").await.status(), public.get("/readyz").await.status()), (200, 200));
    assert_eq!(private.post(&format!("/v1/callbacks/{callback}"), "{}").await.status(), 404);
    assert_eq!(public.post(&format!("/v1/callbacks/{callback}"), "{}").await.status(), 200);
    assert_eq!(private.get(&format!("/v1/tasks/{id}")).await.json()["task"]["status"], "completed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_over_all_nodes() {
    let url = postgres::shared().database();
    let (cluster, world) = Cluster::with("limits", &[url.clone(), url], |_, site| {
        site.arguments.extend(["--team-rate-limit", "100"].map(str::to_owned));
        site.callback_limit = 20;
    })
    .await;
    let [one, two] = [0, 1].map(|node| Client::new(cluster.addr(node), Some(&world.site.key)));
    let mut admitted = 0;
    for _ in 0..100 {
        admitted += usize::from(one.get("/v1/tasks").await.status() == 200);
    }
    assert!((90..=100).contains(&admitted), "{admitted}");
    // What the other has admitted is known soon: long before this one would have admitted as many itself.
    assert!(refuses_soon(async || two.get("/v1/tasks").await.status()).await);
    let unknown = format!("/v1/callbacks/{}", "0".repeat(64));
    for _ in 0..20 {
        assert_eq!(one.post(&unknown, "{}").await.status(), 404);
    }
    assert!(refuses_soon(async || two.post(&unknown, "{}").await.status()).await);
    cluster.stop().await;
}

/// Whether one of ten requests, a second apart, is refused.
async fn refuses_soon(ask: impl AsyncFn() -> u16) -> bool {
    for _ in 0..10 {
        sleep(SOON).await;
        if ask().await == 429 {
            return true;
        }
    }
    false
}
