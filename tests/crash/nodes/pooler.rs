//! T19: behind `PgBouncer` in transaction mode, where no session state holds and nothing listens; and T20: nodes whose clocks
//! are an hour apart.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::time::parse_ms;
use crate::harness::{PATIENCE, large, until};
use crate::postgres::{self, free_port};

/// `PgBouncer`, ended when dropped.
struct Pooler {
    child: std::process::Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Pooler {
    fn start(server: u16) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("asyncqueue-pooler-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let users = folder.join("users");
        std::fs::write(&users, "\"aq\" \"\"\n").unwrap();
        let config = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=aq\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\nauth_file = {}\npool_mode = transaction\n\
             max_client_conn = 400\ndefault_pool_size = 20\n",
            users.display()
        );
        std::fs::write(&config, text).unwrap();
        // It refuses to run as root.
        let mut command = std::process::Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--init-groups",
            "pgbouncer",
        ]);
        command.arg(&config).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let child = command.spawn().expect("these tests need PgBouncer: install the package pgbouncer");
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "PgBouncer does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_in_transaction_mode_everything_works() {
    let url = postgres::shared().database();
    let pooler = Pooler::start(postgres::shared().port);
    let through = url.replace(&format!(":{}/", postgres::shared().port), &format!(":{}/", pooler.port));
    // One node takes requests, the other makes the calls: they meet in the database only.
    let roles = ["api,callbacks", "dispatch,deliver,poll"];
    let (cluster, world) = Cluster::with("t19", &[through.clone(), through], |node, site| {
        site.arguments.extend(["--role".to_owned(), roles[node].to_owned()]);
    })
    .await;
    cluster.balancer.set(cluster.addr(1), false);
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T19 load"));
    sleep(Duration::from_secs(3)).await;
    until("enough calls to tell", || world.target.calls().len() > 200).await;
    load.stop().await;
    assert_none(&world.settle_serving().await);
    let pick_up = slowest_pick_up(&world).await;
    assert!((0..2).all(|node| keeps_statements(&cluster, node) == Some(false)), "the pooler was not noticed");
    println!("T19: the slowest of a hundred calls was made {pick_up} ms after its creation");
    // On a busy machine the clock decides nothing.
    let limit = if large() { 1_500 } else { 20_000 };
    assert!(pick_up < limit, "a call was made only {pick_up} ms after its creation");
    cluster.stop().await;
}

/// Whether the node found that its sessions are its own; none if it did not say.
fn keeps_statements(cluster: &Cluster, node: usize) -> Option<bool> {
    let (own, shared) =
        (cluster.said(node, "sessions keep statements"), cluster.said(node, "sessions keep no statements"));
    (own + shared > 0).then_some(own > 0)
}

/// How long after its creation the slowest of the first calls came, but for one in a hundred.
pub async fn slowest_pick_up(world: &crate::harness::world::World) -> i64 {
    let calls = world.target.calls();
    let created = world.list(0, "").await;
    let mut waits: Vec<i64> = created
        .iter()
        .filter(|task| task["delayUntil"].is_null())
        .filter_map(|task| {
            let call = calls.iter().find(|call| task["id"] == *call.task && call.attempt == 1)?;
            Some(call.at - parse_ms(task["createdAt"].as_str()?)?)
        })
        .collect();
    waits.sort_unstable();
    assert!(waits.len() > 100, "only {} calls were made", waits.len());
    waits[waits.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_are_an_hour_apart_go_by_the_databases_time() {
    let url = postgres::shared().database();
    let (cluster, world) = Cluster::with("t20", &[url.clone(), url], |node, site| {
        // A busy node may be late to say that it is alive, but not by as much as that.
        site.arguments.iter_mut().filter(|word| **word == "3s").for_each(|lease| "60s".clone_into(lease));
        if node == 1 {
            let library = crate::t45_clock_jumps::library().display().to_string();
            let ahead = [
                ("LD_PRELOAD", library),
                ("FAKETIME", "+3600s".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ];
            site.environment.extend(ahead.map(|(name, value)| (name.to_owned(), value)));
        }
    })
    .await;
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T20 load"));
    sleep(Duration::from_secs(6)).await;
    load.stop().await;
    // No attempt before its time, no wait that ends early or late, by the clock of whoever looks from outside.
    assert_none(&world.settle_serving().await);
    let dead: usize = (0..2).map(|node| cluster.said(node, "took this one for dead")).sum();
    assert!((0..2).all(|node| keeps_statements(&cluster, node) == Some(true)), "a session of its own was not noticed");
    assert_eq!(dead, 0, "a node was taken for dead because of its clock");
    cluster.stop().await;
}
