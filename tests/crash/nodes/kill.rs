//! T13: nodes are killed at random under load. Nothing is lost, nothing ends twice, and the others take the calls up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::{sized, until_soon};
use crate::ledger::Kind;
use crate::postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_killed_lose_nothing() {
    let mut random = Random::new("T13");
    let (mut cluster, world) = Cluster::start("t13", &postgres::shared().database(), 3).await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T13 load"));
    let (kills, mut with_calls) = (sized(4, 120), 0);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.between(300, 1_500))).await;
        // Calls that outlast the moment, a few on each node.
        for _ in 0..15 {
            let slow = json!({"targetUrl": world.target.url("/call?delay=600"), "priority": 10});
            world.create(0, Kind::Plain, &slow).await;
        }
        until_soon(|| world.unanswered() > 0 && world.target.in_flight() > 0).await;
        with_calls += usize::from(world.target.in_flight() > 0);
        let node = random.index(cluster.nodes.len());
        cluster.kill(node, &world);
        sleep(Duration::from_millis(random.between(100, 4_000))).await;
        cluster.start_again(node).await;
    }
    sleep(Duration::from_millis(500)).await;
    load.stop().await;
    let began = Instant::now();
    assert_none(&world.settle_serving().await);
    let taken_back: usize = (0..3).map(|node| cluster.said(node, "Took back the calls of nodes that are gone")).sum();
    println!(
        "T13: {kills} kills, {with_calls} with calls in flight, {taken_back} rescues; settled in {:?}",
        began.elapsed()
    );
    assert!(with_calls > 0, "no kill hit a call in flight: the window was missed");
    assert!(taken_back > 0, "nothing was ever taken back: the window was missed");
    cluster.stop().await;
}
