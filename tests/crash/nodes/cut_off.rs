//! T17: the way from a node to the database swallows everything for longer than the lease. The node lets go of its calls
//! before the others take them up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::balancer::Balancer;
use super::cluster::{Cluster, LEASE, note_loss};
use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::until;
use crate::ledger::Kind;
use crate::postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_reach_the_database_lets_go_of_its_calls_in_time() {
    let url = postgres::shared().database();
    let server = ([127, 0, 0, 1], postgres::shared().port).into();
    let link = Balancer::before(&[server]).await;
    let through = url.replace(&format!(":{}/", postgres::shared().port), &format!(":{}/", link.addr.port()));
    let (cluster, world) = Cluster::with("t17", &[url, through], |_, _| {}).await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T17 load"));
    sleep(Duration::from_secs(1)).await;
    // Calls that would outlast the lease.
    let slow =
        json!({"targetUrl": world.target.url("/call?delay=6000"), "priority": 10, "timeout": 20, "maxRetries": 5});
    for _ in 0..12 {
        world.create(0, Kind::Plain, &slow).await;
    }
    until("calls under way", || world.target.in_flight() >= 6).await;
    note_loss(&world);
    cluster.balancer.set(cluster.addr(1), false);
    link.black_hole(true);
    sleep(LEASE * 3).await;
    link.black_hole(false);
    sleep(Duration::from_secs(1)).await;
    cluster.balancer.set(cluster.addr(1), true);
    load.stop().await;
    note_loss(&world);
    assert_none(&world.settle_serving().await);
    let let_go = cluster.said(1, "lets go of its calls");
    println!("T17: let go {let_go} times");
    assert!(let_go > 0, "the node went on with calls that were no longer its own");
    assert_calls_did_not_overlap(&world);
    cluster.stop().await;
}

/// No two attempts of a task were under way at once: each was answered, or cut off, before the next began. A call that was
/// cut off has no answer, so only answered ones can overlap.
fn assert_calls_did_not_overlap(world: &crate::harness::world::World) {
    let calls = world.target.calls();
    for call in &calls {
        let next = calls.iter().find(|next| next.task == call.task && next.attempt == call.attempt + 1);
        if let (Some(answered), Some(next)) = (call.answered, next)
            && call.status == 200
        {
            let (task, attempt, began, next) = (&call.task, call.attempt, call.at, next.at);
            assert!(
                answered <= next + 50,
                "attempt {attempt} of {task}, {began} to {answered}, overlaps the next, which began at {next}"
            );
        }
    }
}
