//! The wall clock is set by an hour and by a day, both ways, while tasks wait, back off and are delayed.
//!
//! The service may keep its times as stored times or as spans, so a backoff or a wait counts as kept when either the
//! real clock or the service's says so. A clock set back may hold a stored time up until the clock is right again.
//! Nothing else may change: no attempt more than due, and whatever is created after a jump goes its normal way.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::http::Client;
use crate::harness::large;
use crate::harness::random::hex;
use crate::harness::server::Server;
use crate::harness::site::{Site, files_below, succeeded};
use crate::harness::time::{iso, parse_ms, wall_ms};
use crate::harness::world::World;
use crate::ledger::Kind;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A clock for the service that is the real one plus an offset.
struct FakeClock {
    file: PathBuf,
    offset: i64,
}

impl FakeClock {
    fn install(site: &mut Site) -> Self {
        let clock = Self { file: site.dir.join("clock"), offset: 0 };
        std::fs::write(&clock.file, "+0").expect("the clock file");
        let library = library().display().to_string();
        let pairs = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.to_str().expect("a path in UTF-8")),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ];
        site.environment.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        clock
    }

    /// Sets the clock, and makes sure that a process does see it.
    fn set(&mut self, site: &Site, offset: i64) {
        std::fs::write(&self.file, format!("{offset:+}")).expect("the clock file");
        self.offset = offset;
        let output = Command::new("date").arg("+%s").envs(site.environment.iter().cloned()).output();
        let shown = succeeded("date", &output.expect("date runs"));
        let shown: i64 = shown.trim().parse().expect("a number of seconds");
        let off = (shown - wall_ms() / 1000 - offset).abs();
        assert!(off <= 2, "libfaketime shows {shown}, {off} s from what was set: the window was missed");
    }

    fn now(&self) -> i64 {
        wall_ms() + self.offset * 1000
    }
}

/// Where Debian and its kin put libfaketime.
pub fn library() -> PathBuf {
    let roots = ["/usr/lib", "/usr/local/lib", "/usr/lib64"].map(PathBuf::from);
    let folders = roots.iter().flat_map(|root| {
        let inner = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        inner.chain([root.clone()]).collect::<Vec<_>>()
    });
    let mut files = folders.flat_map(|folder| files_below(&folder.join("faketime")));
    let found = files.find(|file| file.file_name().is_some_and(|name| name == "libfaketimeMT.so.1"));
    found.expect("libfaketimeMT.so.1: install the package `faketime`")
}

fn uses_the_library(server: &Server) {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.id())).expect("a process of ours");
    assert!(maps.contains("libfaketime"), "the service runs without libfaketime: the window was missed");
}

/// Tasks of every timed sort, with when they were made.
struct Flock {
    made: i64,
    short: Vec<String>,
    flaky: Vec<String>,
    delayed: Vec<String>,
    waiting: Vec<String>,
}

impl Flock {
    async fn create(world: &World, clock: &FakeClock) -> Self {
        let made = wall_ms();
        let soon = json!({"delayUntil": iso(clock.now() + 1_500)});
        let long = json!({"maxWaitTime": 10 * DAY});
        Self {
            made,
            short: several(world, Kind::Short, &json!({})).await,
            flaky: several(world, Kind::Flaky, &json!({})).await,
            delayed: several(world, Kind::Delayed, &soon).await,
            waiting: several(world, Kind::Callback, &long).await,
        }
    }

    fn timed(&self) -> impl Iterator<Item = &String> {
        self.short.iter().chain(&self.flaky).chain(&self.delayed)
    }

    /// How many are not final yet, though their time is over.
    async fn open(&self, world: &World) -> usize {
        let mut open = 0;
        for id in self.timed() {
            open += usize::from(world.task(id).await["completedAt"].is_null());
        }
        open
    }

    /// Waits until all timed tasks are final, or 6 s since their creation are over: 2 s of their own, 2 s of lateness
    /// that are allowed, and as much again. Those that must end have what a busy machine may take.
    async fn finish(&self, world: &World, must: bool) -> usize {
        self.finish_within(world, self.made + if must && !large() { 60_000 } else { 6_000 }).await
    }

    /// Waits until all timed tasks are final, or until a time; gives how many are not.
    async fn finish_within(&self, world: &World, end: i64) -> usize {
        loop {
            let open = self.open(world).await;
            if open == 0 || wall_ms() > end {
                return open;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn several(world: &World, kind: Kind, changes: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(world.create(0, kind, changes).await.1.expect("a task"));
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_breaks_no_promise() {
    let mut site = Site::new("t45");
    let mut clock = FakeClock::install(&mut site);
    let mut world = World::on(site).await;
    world.clock_is_set = true;
    let server = world.start().await;
    uses_the_library(&server);
    let mut held = Vec::new();
    for offset in [HOUR, 0, -DAY, 0] {
        held.extend(jump(&world, &mut clock, offset).await);
        waits_go_on(&world).await;
    }
    // A clock that was fast and set right holds stored times up by what it was fast: now that time has passed, too.
    clock.set(&world.site, 2 * HOUR);
    for flock in &held {
        assert_eq!(
            flock.finish_within(&world, wall_ms() + 60_000).await,
            0,
            "tasks are stuck after the clock moved on"
        );
    }
    times_were_kept(&world, &held).await;
    world.settle_and_check(server).await;
    no_burst(&world);
}

/// Sets the clock under way; gives the tasks from before and after.
async fn jump(world: &World, clock: &mut FakeClock, offset: i64) -> [Flock; 2] {
    let before = Flock::create(world, clock).await;
    sleep(Duration::from_millis(300)).await;
    let back = offset < clock.offset;
    let far = several(world, Kind::Delayed, &json!({"delayUntil": iso(clock.now() + 60 * DAY * 1000)})).await;
    clock.set(&world.site, offset);
    let after = Flock::create(world, clock).await;
    let held_up = before.finish(world, !back).await;
    println!("T45: clock at {offset:+} s: {held_up} of {} tasks held up", before.timed().count());
    assert!(back || held_up == 0, "{held_up} tasks are late although the clock went forward");
    assert_eq!(after.finish(world, true).await, 0, "tasks made after the clock was set to {offset:+} s are late");
    let now = world.task(&after.waiting[0]).await["createdAt"].as_str().and_then(parse_ms).unwrap_or(0);
    println!("T45: the service dates a new task {} s from the real time", (now - after.made) / 1000);
    for id in far {
        assert_eq!(world.task(&id).await["status"], "delayed", "a task that is due in 60 days");
        world.cancel(0, &id).await;
    }
    [before, after]
}

/// Waits with a deadline far off are still open, and are resolved.
async fn waits_go_on(world: &World) {
    let mut resolved = 0;
    while let Some((task, id)) = world.target.take_callback(|_| 0) {
        let outcome = world.callback(&task, &id).await;
        assert_eq!(outcome.status(), 200, "a callback after the clock was set: {outcome:?}");
        resolved += 1;
    }
    assert!(resolved > 0, "nothing waited: the window was missed");
}

/// I7 and I9 for the tasks that saw no jump; how many of the others were cut short is told.
async fn times_were_kept(world: &World, flocks: &[Flock]) {
    let (mut spanning, mut others) = (0, 0);
    for (index, flock) in flocks.iter().enumerate() {
        let count = if index % 2 == 0 { &mut spanning } else { &mut others };
        *count += early_backoffs(world, flock);
        for id in &flock.short {
            let task = world.task(id).await;
            assert_eq!(task["status"], "timeout", "I9: {task}");
            assert!(index % 2 == 0 || waited_right(world, &task).await, "I9: {task}");
        }
    }
    println!("T45: {spanning} backoffs with a jump within were cut short");
    assert_eq!(others, 0, "I7: backoffs without a jump within were cut short");
}

fn early_backoffs(world: &World, flock: &Flock) -> usize {
    let mut calls = world.target.calls();
    calls.retain(|call| flock.flaky.contains(&call.task));
    calls.sort_by(|a, b| (&a.task, a.attempt).cmp(&(&b.task, b.attempt)));
    let early = calls.windows(2).filter(|pair| {
        pair[0].task == pair[1].task && pair[0].answered.is_some_and(|answered| pair[1].at + 5 < answered + 1_000)
    });
    early.count()
}

/// Whether a wait of two seconds lasted that long, by the service's own clock.
async fn waited_right(world: &World, task: &Value) -> bool {
    let path = format!("/v1/tasks/{}/events", task["id"].as_str().unwrap_or(""));
    let events = world.api().get(&path).await.json()["events"].clone();
    let at = |kind: &str| {
        let event = events.as_array()?.iter().rfind(|event| event["type"] == kind)?;
        parse_ms(event["at"].as_str()?)
    };
    at("waiting")
        .zip(at("timeout"))
        .is_some_and(|(since, end)| (1_950..=if large() { 4_050 } else { 30_000 }).contains(&(end - since)))
}

/// Every task was called as often as its sort says, whatever the clock did.
fn no_burst(world: &World) {
    let calls = world.target.calls();
    for call in &calls {
        let all = calls.iter().filter(|other| other.task == call.task).count();
        let failed = calls.iter().filter(|other| other.task == call.task && other.status == 500).count();
        assert_eq!(all, failed + 1, "{} was called {all} times after {failed} failures", call.task);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_window_ignores_the_wall_clock() {
    let mut site = Site::new("t45-rate");
    let mut clock = FakeClock::install(&mut site);
    site.callback_limit = 5;
    let server = Server::start(&site).await;
    uses_the_library(&server);
    let started = Instant::now();
    let client = Client::new(site.addr, None);
    let post = async || client.post(&format!("/v1/callbacks/{}", hex(32)), "{}").await.status();
    for _ in 0..5 {
        assert_eq!(post().await, 404);
    }
    for offset in [0, HOUR, 0, -DAY, DAY] {
        clock.set(&site, offset);
        assert_eq!(post().await, 429, "with the clock at {offset:+} s");
    }
    assert!(started.elapsed() < Duration::from_secs(55), "too slow for a window of a minute: the window was missed");
    clock.set(&site, 0);
    server.stop().await;
}
