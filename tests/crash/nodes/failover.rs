//! T16: the primary dies and a streaming standby takes over. With a synchronous one nothing is lost; with an asynchronous
//! one acknowledged work is, which is counted here and told in docs/scaling.md.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::cluster::Cluster;
use super::restart::back;
use crate::check::{Violation, assert_none};
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::until_soon;
use crate::ledger::Entry;
use crate::postgres::Server;

/// Both servers, in one URL.
fn both(primary: &Server, standby: &Server, database: &str) -> String {
    let (one, two) = (primary.port, standby.port);
    format!("postgres://aq@127.0.0.1:{one},127.0.0.1:{two}/{database}?target_session_attrs=read-write")
}

async fn fail_over(label: &'static str, synchronous: bool, more: &[&str]) -> Vec<Violation> {
    let mut primary = Server::start();
    primary.sql("postgres", "CREATE DATABASE queue");
    let standby = primary.standby();
    if synchronous {
        primary.configure("synchronous_standby_names = 'standby'");
        primary.reload();
    }
    let urls = vec![both(&primary, &standby, "queue"); 2];
    let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
    let (cluster, world) = Cluster::with(label, &urls, |_, site| site.arguments.extend(more.clone())).await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new(label));
    sleep(Duration::from_secs(2)).await;
    until_soon(|| world.unanswered() > 0).await;
    assert!(world.unanswered() > 0, "the failover hit no request: the window was missed");
    world.note_down();
    primary.kill();
    standby.promote();
    world.ledger.write(&Entry::Ready(back(&cluster, &world).await));
    sleep(Duration::from_secs(3)).await;
    load.stop().await;
    let found = world.settle_serving().await;
    cluster.stop().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over_and_nothing_is_lost() {
    assert_none(&fail_over("t16-sync", true, &["--require-sync=true"]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_takes_over_and_the_service_goes_on() {
    let found = fail_over("t16-async", false, &[]).await;
    println!("T16: an asynchronous failover broke {} promises", found.len());
    for violation in found.iter().take(5) {
        println!("T16: {violation}");
    }
    let other: Vec<_> = found.iter().filter(|violation| violation.rule == "I8").collect();
    assert!(other.is_empty(), "what is there must still come to its end: {other:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_synchronous_standby_require_sync_refuses_to_start() {
    let mut site = crate::harness::site::Site::new("t16-refuse");
    site.shared = Some(crate::postgres::shared().database());
    site.environment.push(("ASYNCQUEUE_SECRET_KEY".into(), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into()));
    site.arguments = vec!["--require-sync=true".to_owned()];
    let said = crate::harness::server::refused(&site, "no standby").await;
    assert!(said.contains("synchronous_standby_names is empty"), "{said}");
}
