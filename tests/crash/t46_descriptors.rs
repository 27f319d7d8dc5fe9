//! T46: no descriptors are left. The service says so, waits without spinning, and goes on once there are some again.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::PATIENCE;
use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::world::World;
use crate::ledger::Kind;

/// Processor time that a process has used, in ticks of a hundredth of a second.
fn ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id())).expect("a running process");
    // The name, in brackets, may hold anything; the times are the 14th and 15th fields, the state the 3rd.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.id())).map_or(0, Iterator::count)
}

/// Connections that ask for nothing and stay as long as they are let.
async fn flood(site: &Site, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        if let Ok(Ok(mut stream)) = timeout(Duration::from_secs(1), TcpStream::connect(site.addr)).await {
            // A head that is never finished.
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n").await;
            held.push(stream);
        }
    }
    held
}

fn with_few_descriptors(label: &str, arguments: &[&str]) -> Site {
    let mut site = Site::new(label);
    site.wrapper = ["prlimit", "--nofile=64:64"].map(Into::into).to_vec();
    site.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_waits_without_spinning_and_then_goes_on() {
    let flags = ["--max-connections", "200", "--header-timeout", "60s", "--idle-timeout", "60s"];
    let mut world = World::on(with_few_descriptors("t46", &flags)).await;
    let server = world.start().await;
    let mut before = Vec::new();
    for _ in 0..10 {
        before.extend(world.create(0, Kind::Callback, &json!({})).await.1);
    }
    assert_eq!(before.len(), 10);
    let held = flood(&world.site, 120).await;
    assert!(held.len() > 64, "the kernel's queue took only {}", held.len());
    let began = Instant::now();
    while open_files(&server) < 60 && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    assert!(open_files(&server) >= 60, "{} of 64 descriptors: the window was missed", open_files(&server));
    // Calls that are under way need descriptors, too, and webhooks.
    let used = ticks(&server);
    sleep(Duration::from_secs(2)).await;
    let used = ticks(&server) - used;
    println!("T46: {used} of 200 ticks used while no descriptor was left");
    assert!(used < 100, "{used} of 200 ticks: a busy loop");
    assert!(server.has_said("Could not accept a connection"), "nobody was told: {}", server.said());
    drop(held);
    let freed = Instant::now();
    world.create(0, Kind::Plain, &json!({})).await.1.expect("it goes on");
    println!("T46: served again after {:?}", freed.elapsed());
    world.settle_and_check(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_descriptors_are_made_one_after_the_other() {
    let mut world = World::on(with_few_descriptors("t46-calls", &[])).await;
    let server = world.start().await;
    let slow = json!({"targetUrl": world.target.url("/call?delay=300"), "maxRetries": 10, "retryBackoff": "linear"});
    let hook = json!({"onCompleteUrl": world.target.url("/hook")});
    for number in 0..120 {
        world.create(0, Kind::Plain, if number % 2 == 0 { &slow } else { &hook }).await.1.expect("a task");
    }
    world.settle_and_check(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_the_cap_are_told_and_others_are_served() {
    let mut world = World::on(with_few_descriptors("t46-cap", &["--header-timeout", "60s"])).await;
    let server = world.start().await;
    let held = flood(&world.site, 40).await;
    let mut refused = 0;
    for mut stream in held {
        let mut answer = [0; 12];
        // The first of them to be refused takes as long as it takes; those that are served never hear anything.
        if let Ok(Ok(_)) = timeout(Duration::from_millis(300), stream.read_exact(&mut answer)).await {
            assert_eq!(&answer, b"HTTP/1.1 503");
            refused += 1;
        }
    }
    assert!(refused > 0, "64 descriptors carried 40 connections beside the store");
    // Those that were held are gone now, which has to be noticed.
    let (freed, probe) = (Instant::now(), Client::new(world.site.addr, None).without_keep_alive());
    while probe.get("/healthz").await.status() != 200 {
        assert!(freed.elapsed() < PATIENCE, "nobody is served although all have left");
        sleep(Duration::from_millis(10)).await;
    }
    world.create(0, Kind::Plain, &json!({})).await.1.expect("it goes on");
    world.settle_and_check(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_soft_limit_is_raised_to_the_hard_one_and_no_core_is_dumped() {
    let mut site = Site::new("t46-limits");
    site.wrapper = ["prlimit", "--nofile=256:1024", "--core=unlimited:unlimited"].map(Into::into).to_vec();
    let server = Server::start(&site).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).expect("a running process");
    let of = |name: &str| -> Vec<String> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(of("Max open files"), ["1024", "1024"]);
    assert_eq!(of("Max core file size"), ["0", "0"]);
    server.stop().await;
}
