//! `kill -9` at random moments under a mixed load: what was acknowledged is there after the next start.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::server::Server;

use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::harness::{sized, until_soon};
use crate::ledger::Entry;

/// What the kills hit.
#[derive(Default)]
struct Hits {
    with_requests: usize,
    with_calls: usize,
    slowest_start: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let mut random = Random::new("T01");
    let mut world = World::new("t01").await;
    let mut server = world.start().await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T01 load"));
    let (kills, mut hits) = (sized(6, 40), Hits::default());
    for _ in 0..kills {
        sleep(Duration::from_millis(random.between(50, 1_500))).await;
        server = kill_and_start(&world, server, &mut hits).await;
    }
    // Some work after the last start, so that it is checked too.
    sleep(Duration::from_millis(500)).await;
    load.stop().await;
    report(kills, &hits);
    world.settle_and_check(server).await;
}

async fn kill_and_start(world: &World, server: Server, hits: &mut Hits) -> Server {
    until_soon(|| world.unanswered() > 0 && world.target.in_flight() > 0).await;
    hits.with_requests += usize::from(world.unanswered() > 0);
    hits.with_calls += usize::from(world.target.in_flight() > 0);
    world.note_down();
    server.kill();
    let server = Server::start(&world.site).await;
    world.ledger.write(&Entry::Ready(wall_ms()));
    hits.slowest_start = hits.slowest_start.max(server.ready_after);
    server
}

fn report(kills: usize, hits: &Hits) {
    let Hits { with_requests, with_calls, slowest_start } = hits;
    println!("T01: {kills} kills, {with_requests} with requests open, {with_calls} with calls in flight");
    println!("T01: slowest start {slowest_start:?}, to be under 2 s on an idle machine");
    assert!(*with_requests > 0, "no kill hit an unacknowledged request: the window was missed");
    assert!(*with_calls > 0, "no kill hit a call in flight: the window was missed");
}
