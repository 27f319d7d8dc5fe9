//! `asyncqueue nodes`, `migrate` and `copy`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::cluster::Cluster;
use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::server::Server;
use crate::harness::site::{Site, refusal, succeeded};
use crate::harness::time::wall_ms;
use crate::harness::until;
use crate::harness::world::World;
use crate::ledger::{Entry, Kind};
use crate::postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_shown_as_long_as_they_are_alive_and_then_as_gone() {
    let (mut cluster, world) = Cluster::start("nodes", &postgres::shared().database(), 2).await;
    let shown = |world: &World| -> Value {
        serde_json::from_str(&world.site.command(&["nodes", "--json"])).expect("it is JSON")
    };
    let nodes = shown(&world)["nodes"].clone();
    let named: Vec<_> = nodes.as_array().unwrap().iter().map(|node| (&node["name"], &node["alive"])).collect();
    assert_eq!(named, [(&json!("node-0"), &json!(true)), (&json!("node-1"), &json!(true))]);
    assert_eq!(nodes[0]["roles"], json!(["api", "callbacks", "dispatch", "deliver", "poll"]));
    cluster.kill(0, &world);
    let alive = |nodes: &Value| [0, 1].map(|node| nodes["nodes"][node]["alive"] == true);
    until("the killed node is gone for the others", || alive(&shown(&world)) == [false, true]).await;
    cluster.nodes[1].server.take().unwrap().stop().await;
    let nodes = shown(&world)["nodes"].clone();
    assert_eq!(nodes.as_array().map(Vec::len), Some(1), "who leaves in order is gone at once: {nodes}");
}

#[tokio::test]
async fn a_database_is_brought_up_to_date_once_and_a_newer_one_is_left_alone() {
    let mut site = Site::new("migrate");
    let url = postgres::shared().database();
    site.shared = Some(url.clone());
    site.environment.push(("ASYNCQUEUE_SECRET_KEY".into(), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into()));
    assert!(site.command(&["migrate"]).contains("was empty"));
    assert!(site.command(&["migrate"]).contains("is up to date"));
    let database = url.rsplit('/').next().unwrap();
    postgres::shared().sql(database, "UPDATE schema_version SET version = 999");
    assert!(refusal(&site.attempt(&["migrate"])).contains("newer version"));
    let said = crate::harness::server::refused(&site, "a newer database").await;
    assert!(said.contains("newer version"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_moved_goes_on_with_its_callback_ids() {
    let mut world = World::new("copy").await;
    let server = world.start().await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("copy load"));
    sleep(Duration::from_secs(2)).await;
    load.stop().await;
    for _ in 0..5 {
        world.create(0, Kind::Callback, &json!({})).await;
    }
    until("some calls", || world.target.in_flight() == 0).await;
    // Killed, so that calls are under way.
    for _ in 0..5 {
        let slow = json!({"targetUrl": world.target.url("/call?delay=8000"), "priority": 10});
        let (_, id) = world.create(0, Kind::Plain, &slow).await;
        until("a slow call", || world.target.calls().iter().any(|call| id.as_ref() == Some(&call.task))).await;
    }
    let mut world = Arc::into_inner(world).expect("the load has stopped");
    world.note_down();
    server.kill();
    let url = postgres::shared().database();
    let from = format!("sqlite:{}", world.site.database().display());
    let words = ["copy", "--from", &from, "--to", &url];
    let said = succeeded("copy", &world.site.bare(&words));
    println!("{said}");
    assert!(said.contains("are the same in both") && said.contains("were under way"), "{said}");
    // Run again, it finds everything there but for what the move itself changed.
    succeeded("copy", &world.site.bare(&words));
    let key = std::fs::read_to_string(format!("{}.key", world.site.database().display())).unwrap();
    world.site.shared = Some(url);
    world.site.environment.push(("ASYNCQUEUE_SECRET_KEY".to_owned(), key.trim().to_owned()));
    let server = Server::start(&world.site).await;
    world.ledger.write(&Entry::Ready(wall_ms()));
    assert_none(&world.settle_serving().await);
    server.stop().await;
}
