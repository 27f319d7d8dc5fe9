//! T47: the memory is limited, and many send the largest bodies that there are at once. The service stays within its limit and says
//! 503 to those it has no room for; and where the system ends it after all, nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::http::Outcome;
use crate::harness::random::hex;
use crate::harness::server::Server;
use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::harness::{PATIENCE, sized};
use crate::ledger::{Entry, Kind};

const MIB: usize = 1 << 20;

/// What the service may use.
const LIMIT: usize = 256 * MIB;

/// Who sends at once.
const CLIENTS: usize = 64;

/// A control group with a limit of its own; gone when dropped, and with it whatever is still in it.
struct Group(PathBuf);

impl Group {
    /// In the first version of control groups or the second, whichever has the memory.
    fn limited(bytes: usize) -> Self {
        let name = format!("asyncqueue-t47-{}", hex(4));
        let [first, second] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(PathBuf::from);
        let (root, file) = if first.is_dir() { (first, "memory.limit_in_bytes") } else { (second, "memory.max") };
        let group = Self(root.join(name));
        fs::create_dir(&group.0).unwrap_or_else(|why| panic!("this test limits memory, which needs root: {why}"));
        group.limit(file, bytes);
        group
    }

    fn limit(&self, file: &str, bytes: usize) {
        fs::write(self.0.join(file), bytes.to_string()).unwrap_or_else(|why| panic!("{file}: {why}"));
    }

    /// A command in front of the service that puts it into the group.
    fn wrapper(&self) -> [std::ffi::OsString; 4] {
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        ["sh".into(), "-c".into(), script.into(), "sh".into()]
    }

    /// How often the limit was hit: what could be given back was given back then.
    fn number(&self, files: [&str; 2]) -> u64 {
        let found = files.into_iter().find_map(|file| fs::read_to_string(self.0.join(file)).ok());
        found.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A world whose service has little memory, and clients that no limit by number stops.
async fn limited(label: &str) -> (Group, World, Server) {
    let group = Group::limited(LIMIT);
    let mut world = World::new(label).await;
    world.site.wrapper = group.wrapper().to_vec();
    let server = world.start().await;
    (group, world, server)
}

/// Tasks that wait, with their callback ids.
async fn waiting(world: &World, count: usize) -> Vec<(String, String)> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        let created = world.create(0, Kind::Signal, &json!({})).await.0.json();
        let text = |name: &str| created["task"][name].as_str().expect("a new task").to_owned();
        tasks.push((text("id"), text("callbackId")));
    }
    // Under load somebody may have told one's end before it is looked at.
    let is_on_its_way =
        |task: &serde_json::Value| ["pending", "processing"].iter().any(|status| task["status"] == *status);
    for (id, _) in &tasks {
        while is_on_its_way(&world.task(id).await) {
            sleep(Duration::from_millis(10)).await;
        }
    }
    tasks
}

/// Posts the largest body there is as a callback; says what came of it.
async fn post_largest(world: &World, callback: &str, body: String) -> Outcome {
    let client = world.api().at(world.site.addr).without_keep_alive();
    client.post(&format!("/v1/callbacks/{callback}"), body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_bodies_at_once_stay_within_the_limit() {
    let (group, world, mut server) = limited("t47").await;
    let tasks = waiting(&world, CLIENTS).await;
    let world = Arc::new(world);
    let body = format!("\"{}\"", "x".repeat(16 * MIB - 2));
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for _ in 0..sized(1, 10) {
        let mut posts = JoinSet::new();
        for (_, callback) in &tasks {
            let (world, callback, body) = (Arc::clone(&world), callback.clone(), body.clone());
            posts.spawn(async move { post_largest(&world, &callback, body).await.status() });
        }
        for status in posts.join_all().await {
            *answers.entry(status).or_default() += 1;
        }
        assert!(server.exited().is_none(), "it ended: {answers:?} {}", server.said());
    }
    let most = group.number(["memory.max_usage_in_bytes", "memory.peak"]) >> 20;
    println!("T47: {CLIENTS} bodies of 16 MiB at once, answered {answers:?}; at most {most} MiB of {}", LIMIT / MIB);
    assert!(answers.contains_key(&200), "nobody was served: {answers:?}");
    assert!(answers.contains_key(&503) || answers[&200] == CLIENTS, "{answers:?}");
    assert!(answers.keys().all(|status| [200, 404, 503, 0].contains(status)), "{answers:?}");
    // One after the other there is room for each.
    for (id, callback) in &tasks[..sized(6, CLIENTS)] {
        let began = Instant::now();
        // Reading it takes the same room, and may be refused for lack of it as well.
        let task = loop {
            let task = world.task(id).await;
            if task["status"] == "completed" {
                break task;
            }
            assert!(began.elapsed() < PATIENCE, "there is never room: {}", task["status"]);
            if task["status"] == "waiting" {
                post_largest(&world, callback, body.clone()).await;
            }
        };
        assert!(task["result"]["body"] == body[..], "the result of {id} is another one");
    }
    assert!(server.exited().is_none(), "it ended: {}", server.said());
    server.stop().await;
}

/// The limit is taken down below what it uses: the system kills it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_system_kills_for_its_memory_loses_nothing() {
    let (group, world, server) = limited("t47-killed").await;
    let world = Arc::new(world);
    let mut server = Some(server);
    let mut kills = 0;
    for _ in 0..sized(2, 20) {
        let load = crate::harness::load::Load::start(&world, crate::harness::random::Random::new("T47 load"));
        sleep(Duration::from_millis(600)).await;
        let mut running = server.take().expect("it runs");
        kills += usize::from(starve(&world, &group, &mut running).await);
        world.note_down();
        load.stop().await;
        drop(running);
        group.limit(limit_file(&group), LIMIT);
        server = Some(Server::start(&world.site).await);
        world.ledger.write(&Entry::Ready(wall_ms()));
    }
    println!("T47: killed {kills} times");
    assert!(kills > 0, "it was never killed: the window was missed");
    world.settle_and_check(server.expect("it runs")).await;
}

fn limit_file(group: &Group) -> &'static str {
    if group.0.join("memory.max").exists() { "memory.max" } else { "memory.limit_in_bytes" }
}

/// Takes the limit down until the service is gone, while large bodies come in; says whether the system killed it.
async fn starve(world: &Arc<World>, group: &Group, server: &mut Server) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let (_, callback) = waiting(world, 1).await.remove(0);
    let mut posts = JoinSet::new();
    for limit in [96, 64, 48, 32, 24, 16, 12, 8] {
        // Where more than that is in use it may be refused.
        let _ = fs::write(group.0.join(limit_file(group)), (limit * MIB).to_string());
        for _ in 0..8 {
            let (world, callback) = (Arc::clone(world), callback.clone());
            // No JSON, so that it is read and changes nothing.
            posts.spawn(async move { post_largest(&world, &callback, " ".repeat(16 * MIB)).await.status() });
        }
        if let Some(status) = server.ended(Duration::from_secs(2)).await {
            return status.signal() == Some(9);
        }
    }
    false
}
