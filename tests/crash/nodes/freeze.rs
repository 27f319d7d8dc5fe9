//! T14: a node is frozen beyond its lease and goes on. What it says late about calls that are no longer its own changes
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::cluster::{Cluster, LEASE, note_loss};
use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::sized;
use crate::ledger::Kind;
use crate::postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_beyond_its_lease_spoils_nothing() {
    let (cluster, world) = Cluster::start("t14", &postgres::shared().database(), 2).await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T14 load"));
    let (freezes, mut with_calls) = (sized(2, 50), 0);
    for number in 0..freezes {
        let node = number % 2;
        // Calls that outlast the moment, so that some are under way when the node freezes.
        for _ in 0..20 {
            let slow = json!({"targetUrl": world.target.url("/call?delay=400"), "priority": 10});
            world.create(0, Kind::Plain, &slow).await;
        }
        sleep(Duration::from_millis(100)).await;
        with_calls += usize::from(world.target.in_flight() > 0);
        cluster.balancer.set(cluster.addr(node), false);
        cluster.server(node).signal("STOP");
        note_loss(&world);
        // What was on its way when the node froze arrives a little later.
        sleep(Duration::from_millis(300)).await;
        note_loss(&world);
        sleep(LEASE * 2 + Duration::from_secs(1)).await;
        note_loss(&world);
        cluster.server(node).signal("CONT");
        sleep(Duration::from_millis(1_500)).await;
        cluster.balancer.set(cluster.addr(node), true);
    }
    load.stop().await;
    assert_none(&world.settle_serving().await);
    let found_dead: usize = (0..2).map(|node| cluster.said(node, "took this one for dead")).sum();
    let rescues: usize = (0..2).map(|node| cluster.said(node, "Took back the calls of nodes that are gone")).sum();
    println!("T14: {freezes} freezes, {with_calls} with calls in flight, {found_dead} noticed, {rescues} rescues");
    // A busy machine may add to them.
    assert!(found_dead >= freezes, "{found_dead}: a freeze was shorter than the lease");
    assert!(with_calls > 0 && rescues > 0, "no freeze hit a call in flight: the window was missed");
    cluster.stop().await;
}
