//! T15: PostgreSQL is killed, stopped and started again. Meanwhile every route says 503 quickly; afterwards all goes on
//! without a restart of ours, and nothing that was acknowledged is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use crate::check::assert_none;
use crate::harness::http::{Client, Outcome};
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::harness::{PATIENCE, large, sized, until_soon};
use crate::ledger::Entry;
use crate::postgres::{Server, Stop};

/// How long the server stays away: longer than a deadline of the load's short tasks has to hit it.
const AWAY: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_and_goes_loses_nothing() {
    let mut database = Server::start();
    let (cluster, world) = Cluster::start("t15", &database.database(), 2).await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T15 load"));
    let (mut with_requests, mut slowest) = (0, Duration::ZERO);
    for round in 0..sized(3, 50) {
        sleep(Duration::from_millis(1_200)).await;
        until_soon(|| world.unanswered() > 0 && world.target.in_flight() > 0).await;
        with_requests += usize::from(world.unanswered() > 0);
        world.note_down();
        match round % 3 {
            0 => database.kill(),
            1 => database.stop(Stop::Immediate),
            _ => database.stop(Stop::Fast),
        }
        slowest = slowest.max(refused_quickly(&cluster, &world).await);
        sleep(AWAY).await;
        database.run();
        world.ledger.write(&Entry::Ready(back(&cluster, &world).await));
    }
    sleep(Duration::from_millis(500)).await;
    load.stop().await;
    assert_none(&world.settle_serving().await);
    println!("T15: requests open at {with_requests} ends; the slowest refusal took {slowest:?}");
    assert!(with_requests > 0, "no end hit a request: the window was missed");
    cluster.stop().await;
}

/// Asks every kind of route of each node while the database is away.
async fn refused_quickly(cluster: &Cluster, world: &World) -> Duration {
    let mut slowest = Duration::ZERO;
    for node in 0..2 {
        let client = Client::new(cluster.addr(node), Some(&world.site.key));
        let id = "019a0000-0000-7000-8000-000000000000";
        let began = Instant::now();
        let list = client.get("/v1/tasks").await.status();
        let one = client.get(&format!("/v1/tasks/{id}")).await.status();
        let create =
            client.post("/v1/tasks", format!(r#"{{"targetUrl": "{}"}}"#, world.target.url("/call"))).await.status();
        let ready = client.get("/readyz").await.status();
        assert_eq!((list, one, create, ready), (503, 503, 503, 503), "node {node}");
        assert_eq!(client.get("/healthz").await.status(), 200);
        slowest = slowest.max(began.elapsed() / 4);
    }
    let limit = Duration::from_secs(if large() { 1 } else { 20 });
    assert!(slowest < limit, "a refusal took {slowest:?}");
    slowest
}

/// Waits until both nodes are ready again; answers when that was.
pub async fn back(cluster: &Cluster, world: &World) -> i64 {
    let began = Instant::now();
    for node in 0..2 {
        let client = Client::new(cluster.addr(node), Some(&world.site.key));
        while !matches!(client.get("/readyz").await, Outcome::Answered(answer) if answer.status == 200) {
            assert!(began.elapsed() < PATIENCE, "node {node} is not back");
            sleep(Duration::from_millis(20)).await;
        }
    }
    println!("back after {:?}", began.elapsed());
    let limit = if large() { 10 } else { 180 };
    assert!(began.elapsed() < Duration::from_secs(limit), "back only after {:?}", began.elapsed());
    wall_ms()
}
