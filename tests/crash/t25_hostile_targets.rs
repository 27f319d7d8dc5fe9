//! T25 as a process: fifty targets that do their worst, each called by many tasks at once. Every attempt ends in its time
//! and with the right state, and what the service takes of memory for all of it is little.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::server::Server;
use crate::harness::sized;
use crate::harness::world::World;
use crate::hostile_targets::{Act, SLOW, Then, act, target, zoo};

const SERVERS: usize = 50;
const MIB: u64 = 1024;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(240);

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(server: &Server, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a running process");
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

/// 10 GiB of zeros, as 10 MB of gzip: a thousand members of 10 MiB each, made by another's hand.
fn bomb() -> Act {
    let script = "import gzip, base64; print(base64.b64encode(gzip.compress(bytes(10 << 20))).decode())";
    let made = std::process::Command::new("python3").args(["-c", script]).output().expect("python3 runs");
    let member = STANDARD.decode(String::from_utf8_lossy(&made.stdout).trim()).expect("base64");
    let bytes = member.repeat(1000);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bytes.len());
    act([head.into_bytes(), bytes].concat(), Then::Keep)
}

/// What each of the servers does, and how a task without retries ends by it.
fn all() -> Vec<(&'static str, Act, &'static str)> {
    const LARGE: &str = "The answer was larger than 1048576 bytes; its body was dropped";
    let mut servers = zoo();
    servers.push(("a bomb", bomb(), LARGE));
    let kinds = servers.len();
    for number in kinds..SERVERS {
        let again = servers[number % kinds].clone();
        servers.push(again);
    }
    servers
}

async fn create(world: &World, address: SocketAddr, error: &str) -> String {
    let timeout = if error == SLOW { 1.5 } else { 60.0 };
    let body = json!({"targetUrl": format!("http://{address}/"), "maxRetries": 0, "timeout": timeout, "body": "{}"});
    let created = world.api().post("/v1/tasks", body.to_string()).await;
    assert_eq!(created.status(), 201, "{created:?}");
    created.json()["task"]["id"].as_str().expect("an id").to_owned()
}

async fn end_of(world: &World, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let task = world.task(id).await;
        if ["completed", "failed"].contains(&task["status"].as_str().unwrap_or_default()) {
            return task;
        }
        assert!(Instant::now() < deadline, "never ended: {task}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_hostile_targets_cost_little_and_every_attempt_ends() {
    let each = sized(4, 100);
    let mut world = World::new("t25").await;
    world.site.arguments = ["--max-answer-bytes", "1MiB"].map(Into::into).to_vec();
    let server = world.start().await;
    let world = Arc::new(world);
    let before = memory(&server, "VmRSS");
    let mut tasks = Vec::new();
    for (what, does, error) in all() {
        let address = target(does, true).await;
        for _ in 0..each {
            tasks.push((what, error, create(&world, address, error).await));
        }
    }
    let (mut slow, mut latest) = (0, 0);
    for (what, error, id) in &tasks {
        let task = end_of(&world, id).await;
        assert_eq!((&task["status"], &task["error"]), (&json!("failed"), &json!(error)), "{what}");
        let events = world.api().get(&format!("/v1/tasks/{id}/events")).await.json();
        let finished =
            events["events"].as_array().into_iter().flatten().find(|event| event["type"] == "attempt.finished");
        let took = finished.and_then(|event| event["duration"].as_i64()).expect("an attempt that ended");
        if *error == SLOW {
            slow += 1;
            latest = latest.max(took);
            assert!(took >= 1500, "{what}: gave up after {took} ms");
        }
    }
    let grown = memory(&server, "VmHWM").saturating_sub(before) / MIB;
    println!(
        "T25: {} tasks at {SERVERS} hostile targets; {slow} timed out, the last {latest} ms after its start; {grown} MiB",
        tasks.len()
    );
    assert!(slow > 0, "nothing was slow: the window was missed");
    assert!(latest < 1500 + 1000 || each < 100, "an attempt of 1.5 s took {latest} ms");
    assert!(grown < 100, "{grown} MiB");
    server.stop().await;
}
