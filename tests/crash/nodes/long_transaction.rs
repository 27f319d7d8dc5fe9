//! T18: somebody holds a transaction open, so that nothing that is dead can be cleaned up meanwhile. Claims stay quick, and
//! afterwards the dead are cleaned up.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::cluster::Cluster;
use super::pooler::slowest_pick_up;
use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::{large, sized, until};
use crate::postgres;

/// Rows that are dead and those that live, after a clean-up.
fn dead_and_live(database: &str) -> (u64, u64) {
    postgres::shared().sql(database, "VACUUM");
    let sql = "SELECT pg_stat_force_next_flush(); \
        SELECT sum(n_dead_tup)::bigint, sum(n_live_tup)::bigint FROM pg_stat_user_tables";
    let said = postgres::shared().sql(database, sql);
    let line = said.lines().last().unwrap_or_default().to_owned();
    let (dead, live) = line.split_once('|').expect("two numbers");
    (dead.parse().expect("a number"), live.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stays_open_holds_nobody_up() {
    let url = postgres::shared().database();
    let database = url.rsplit('/').next().expect("its name").to_owned();
    let (cluster, world) = Cluster::start("t18", &url, 2).await;
    let world = Arc::new(world);
    let mut held = Command::new("psql");
    let open = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM task; SELECT pg_sleep(3600)";
    held.args(["-X", "-q", &url, "-c", open]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut held = held.spawn().expect("psql runs");
    let is_open =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND wait_event = 'PgSleep'";
    until("the transaction", || postgres::shared().sql(&database, is_open) == "1").await;
    let load = Load::start(&world, Random::new("T18 load"));
    sleep(Duration::from_secs(u64::try_from(sized(6, 600)).expect("a small number"))).await;
    until("enough calls to tell", || world.target.calls().len() > 200).await;
    load.stop().await;
    let (dead, live) = dead_and_live(&database);
    let pick_up = slowest_pick_up(&world).await;
    println!("T18: {dead} dead and {live} live rows while it was open; the slowest call was made after {pick_up} ms");
    assert!(dead > 100, "nothing was kept from being cleaned up: the window was missed");
    // On a busy machine the clock decides nothing.
    assert!(pick_up < if large() { 50 } else { 20_000 }, "a call was made only {pick_up} ms after its creation");
    let pid = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' \
        AND pid <> pg_backend_pid()";
    postgres::shared().sql(&database, pid);
    let _ = held.wait();
    assert_none(&world.settle_serving().await);
    // What other sessions have still to tell the statistics is added to what a clean-up found.
    until("the dead are cleaned up", || {
        let (dead, live) = dead_and_live(&database);
        println!("T18: {dead} dead and {live} live rows afterwards");
        dead * 10 < live
    })
    .await;
    cluster.stop().await;
}
