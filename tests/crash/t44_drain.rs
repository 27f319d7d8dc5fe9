//! SIGTERM under load: every request that got in is answered, no call is made twice, and the process ends in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::check::{Violation, assert_none};
use crate::harness::http::{Client, Outcome};
use crate::harness::server::Server;

use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::harness::{large, sized, until, until_soon};
use crate::ledger::{Entry, Kind, Verdict};

/// The grace, and what a busy machine may add to it.
const GRACE: Duration = Duration::from_secs(60);
/// A connection made this shortly before the first refusal was noticed may still have been in the kernel's queue, unaccepted. On a
/// busy machine it is noticed late; what was read and not answered is found in any case, by its work.
fn queued() -> Duration {
    Duration::from_millis(if large() { 100 } else { 3_000 })
}

/// What the stops hit, and what broke.
#[derive(Default)]
struct Tally {
    requests: usize,
    with_requests: usize,
    with_calls: usize,
    polls: usize,
    queued: usize,
    slowest: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_fails_nobody() {
    let mut world = Arc::new(World::new("t44").await);
    let mut tally = Tally::default();
    for _ in 0..sized(5, 50) {
        let server = Arc::get_mut(&mut world).expect("no load is running").start().await;
        stop_under_load(&world, server, &mut tally).await;
    }
    let Tally { requests, with_requests, with_calls, polls, queued, slowest } = tally;
    println!("T44: {requests} requests; requests open at {with_requests} stops, calls in flight at {with_calls}");
    println!("T44: {polls} long polls answered, {queued} connections never accepted; slowest stop {slowest:?}");
    assert!(with_requests > 0 && with_calls > 0 && polls > 0, "no stop hit anything under way: the window was missed");
    let world = Arc::get_mut(&mut world).expect("no load is running");
    let server = world.start().await;
    assert_none(&unanswered_and_done(world).await);
    let found = world.settle(server).await;
    assert_none(&found);
    called_once(world);
}

async fn stop_under_load(world: &Arc<World>, mut server: Server, tally: &mut Tally) {
    let keeping = Arc::new(Client::new(world.site.addr, Some(&world.site.key)));
    let leaving = Arc::new(Client::new(world.site.addr, Some(&world.site.key)).without_keep_alive());
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        workers.spawn(create_until_refused(Arc::clone(world), Arc::clone(&keeping)));
        workers.spawn(create_until_refused(Arc::clone(world), Arc::clone(&leaving)));
    }
    let mut polls = JoinSet::new();
    let (created, mut all_created) = mpsc::channel(4);
    for _ in 0..4 {
        polls.spawn(poll(Arc::clone(world), created.clone()));
    }
    drop(created);
    while all_created.recv().await.is_some() {}
    sleep(Duration::from_millis(700)).await;
    let slow = json!({"targetUrl": world.target.url("/call?delay=1500"), "priority": 10});
    let (_, id) = world.create(0, Kind::Plain, &slow).await;
    let called = || world.target.calls().iter().any(|call| id.as_ref() == Some(&call.task));
    until("the slow call", called).await;
    until_soon(|| keeping.unanswered() + leaving.unanswered() > 0).await;
    tally.with_requests += usize::from(keeping.unanswered() + leaving.unanswered() > 0);
    tally.with_calls += usize::from(world.target.in_flight() > 0);
    ends_in_order(world, &mut server, tally).await;
    tally.polls += polls.join_all().await.len();
    judge(workers.join_all().await.concat(), tally);
}

/// Sends SIGTERM, watches readiness, and waits for exit code 0.
async fn ends_in_order(world: &World, server: &mut Server, tally: &mut Tally) {
    let signalled = Instant::now();
    world.note_down();
    server.signal("TERM");
    let probe = Client::new(world.site.addr, None).without_keep_alive();
    let mut unready = 0;
    loop {
        match probe.get("/readyz").await {
            Outcome::Answered(answer) if answer.status == 503 => unready += 1,
            // The signal has its handler to reach first.
            Outcome::Answered(answer) => assert_eq!((answer.status, unready), (200, 0), "ready while it drains"),
            Outcome::NotSent(_) | Outcome::Unknown(_) => break,
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(unready > 0, "nobody can have seen that it was not ready");
    let status = server.ended(GRACE).await;
    assert!(status.is_some_and(|status| status.success()), "SIGTERM ended in {status:?}: {}", server.said());
    tally.slowest = tally.slowest.max(signalled.elapsed());
}

/// One request after the other until the listener is closed.
async fn create_until_refused(world: Arc<World>, client: Arc<Client>) -> Vec<(Outcome, Instant)> {
    let slow = json!({"targetUrl": world.target.url("/call?delay=60")});
    let mut outcomes = Vec::new();
    loop {
        let (outcome, _) = world.create_with(&client, 0, Kind::Plain, &slow).await;
        let closed = outcome.refusal().is_some();
        outcomes.push((outcome, Instant::now()));
        if closed {
            return outcomes;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// A long poll that the stop finds open: it is answered, too.
async fn poll(world: Arc<World>, created: mpsc::Sender<()>) {
    let (outcome, id) = world.create(0, Kind::Victim, &json!({})).await;
    drop(created);
    let id = id.unwrap_or_else(|| panic!("a task: {outcome:?}"));
    let client = Client::new(world.site.addr, Some(&world.site.key)).without_keep_alive();
    let outcome = client.get(&format!("/v1/tasks/{id}?wait=25")).await;
    assert_eq!(outcome.status(), 200, "a long poll while the service stops: {outcome:?}");
    assert_eq!(outcome.json()["task"]["status"], "delayed");
}

/// Every request was answered, but those that the server cannot have read.
fn judge(outcomes: Vec<(Outcome, Instant)>, tally: &mut Tally) {
    let refusals = outcomes.iter().filter(|(outcome, _)| outcome.refusal().is_some());
    let closed = refusals.map(|(_, at)| *at).min().expect("the listener closed");
    tally.requests += outcomes.len();
    for (outcome, _) in outcomes {
        match outcome {
            Outcome::NotSent(_) => {}
            Outcome::Answered(answer) => assert_eq!(answer.status, 201, "while stopping: {answer:?}"),
            Outcome::Unknown(broken) if broken.reused => {}
            Outcome::Unknown(broken) if broken.connected + queued() >= closed => tally.queued += 1,
            Outcome::Unknown(broken) => panic!("a request failed: {}", broken.why),
        }
    }
}

/// Requests without an answer whose work was done: the client was failed after all.
async fn unanswered_and_done(world: &World) -> Vec<Violation> {
    let tasks = world.list(0, "").await;
    let there: HashSet<&str> = tasks.iter().filter_map(|task| task["metadata"]["marker"].as_str()).collect();
    let entries = world.ledger.read();
    let unknown = entries.iter().filter_map(|entry| match entry {
        Entry::Create(create) if create.verdict == Verdict::Unknown => Some(create.marker.as_str()),
        _ => None,
    });
    let tell = |marker: &str| Violation {
        rule: "T44",
        task: marker.into(),
        what: format!("created unanswered, {}", wall_ms()),
    };
    unknown.filter(|marker| there.contains(marker)).map(tell).collect()
}

/// The target always said 200, so one call is all that any task may have made.
fn called_once(world: &World) {
    let mut calls: HashMap<String, usize> = HashMap::new();
    for call in world.target.calls() {
        *calls.entry(call.task).or_default() += 1;
    }
    let twice: Vec<_> = calls.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "called more than once: {twice:?}");
}
