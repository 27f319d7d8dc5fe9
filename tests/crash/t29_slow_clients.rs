//! T29: clients that owe the service something and take their time, hundreds of each kind at once. Each is let go when its
//! time is over, and nobody else waits for them.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::harness::world::World;
use crate::harness::{large, sized};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way of being slow.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// What is sent at first, and then again and again.
    start: &'static str,
    drip: &'static str,
    /// Which limit ends it.
    limit: Limit,
    /// The status of the last thing that the service says; 0 is nothing.
    said: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    FirstByte,
    Header,
    Body,
    Idle,
}

impl Limit {
    /// The flag, and its value in the small form; the large one takes the defaults.
    fn flag(self) -> (&'static str, &'static str) {
        match self {
            Self::FirstByte => ("--first-byte-timeout", "3s"),
            Self::Header => ("--header-timeout", "4s"),
            Self::Body => ("--body-timeout", "5s"),
            Self::Idle => ("--idle-timeout", "6s"),
        }
    }

    fn time(self) -> Duration {
        let seconds = match self {
            Self::FirstByte => sized(3, 5),
            Self::Header => sized(4, 10),
            Self::Body => sized(5, 15),
            Self::Idle => sized(6, 30),
        };
        Duration::from_secs(seconds as u64)
    }
}

const SIZED: &str = "POST /v1/signals/x HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n";
const NEW: &str = "POST /v1/tasks HTTP/1.1\r\nHost: a\r\n";

/// The signal's token is put in later: only for one that derives a body is read at all.
const CASES: [Case; 8] = [
    Case { name: "silent", start: "", drip: "", limit: Limit::FirstByte, said: 0 },
    Case { name: "one byte", start: "P", drip: "", limit: Limit::Header, said: 408 },
    Case { name: "partial line", start: "POST /v1/ta", drip: "", limit: Limit::Header, said: 408 },
    Case { name: "partial headers", start: NEW, drip: "", limit: Limit::Header, said: 408 },
    Case { name: "dripping headers", start: NEW, drip: "X: y\r\n", limit: Limit::Header, said: 408 },
    Case { name: "no body", start: SIZED, drip: "", limit: Limit::Body, said: 408 },
    Case { name: "a dripping body", start: SIZED, drip: " ", limit: Limit::Body, said: 408 },
    Case { name: "idle", start: "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", drip: "", limit: Limit::Idle, said: 200 },
];

/// How a slow client fared: what it heard last, and when it was let go.
struct Fate {
    said: u16,
    after: Duration,
}

/// Is slow until the service has enough, on a connection that was made no earlier than `began`.
async fn dawdle(mut stream: TcpStream, began: Instant, drip: &'static str) -> Fate {
    let mut tick = interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Vec::new();
    loop {
        tokio::select! {
            _ = tick.tick() => if !drip.is_empty() && stream.write_all(drip.as_bytes()).await.is_err() { break },
            read = stream.read_buf(&mut heard) => if !matches!(read, Ok(1..)) { break },
        }
    }
    let said = String::from_utf8_lossy(&heard).rsplit("HTTP/1.1 ").next().and_then(|rest| rest.get(..3)?.parse().ok());
    Fate { said: said.unwrap_or(0), after: began.elapsed() }
}

/// The path of a signal token whose task waits: for any other a body is not judged.
async fn signal_path(world: &World) -> String {
    let body = json!({"targetUrl": world.target.url("/call"), "waitForSignal": true, "maxWaitTime": 3600});
    let created = world.api().post("/v1/tasks", body.to_string()).await.json();
    while world.task(created["task"]["id"].as_str().expect("an id")).await["status"] != "waiting" {
        sleep(Duration::from_millis(10)).await;
    }
    format!("/v1/signals/{}", created["signalToken"].as_str().expect("a token"))
}

/// Asks until it is told to stop; gives how long each answer took, the quickest first.
async fn ask_meanwhile(client: Client, stop: CancellationToken) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let outcome = client.get("/v1/tasks?limit=1").await;
        // On a machine that is busy elsewhere, this client may itself be late with its first byte.
        if outcome.status() == 0 && began.elapsed() >= Limit::FirstByte.time() {
            continue;
        }
        assert_eq!(outcome.status(), 200, "{outcome:?} after {:?}", began.elapsed());
        took.push(began.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    took.sort_unstable();
    took
}

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).map_or(0, Iterator::count)
}

/// As many descriptors as this process may have: it holds one for each client.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let granted = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: granted, maximum: granted }).expect("up to the hard limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_slow_client_is_let_go_while_others_are_served() {
    raise_descriptors();
    let each = sized(25, 500);
    let mut world = World::new("t29").await;
    if !large() {
        let flags = [Limit::FirstByte, Limit::Header, Limit::Body, Limit::Idle].map(Limit::flag);
        world.site.arguments =
            flags.iter().flat_map(|(name, value)| [name, value]).map(|word| (*word).into()).collect();
    }
    let server = world.start().await;
    let path = signal_path(&world).await;
    let site = &world.site;
    let stop = CancellationToken::new();
    let asking = tokio::spawn(ask_meanwhile(Client::new(site.addr, Some(&site.key)), stop.clone()));
    let before = descriptors(&server);
    let mut dawdlers = JoinSet::new();
    for number in 0..each * CASES.len() {
        let case = CASES[number % CASES.len()];
        // The service's time runs from the connection on, however late this client comes to its next step.
        let began = Instant::now();
        let mut stream = TcpStream::connect(site.addr).await.expect("a connection");
        let start = case.start.replace("/v1/signals/x", &path);
        let _ = stream.write_all(start.as_bytes()).await;
        dawdlers.spawn(async move { (case, dawdle(stream, began, case.drip).await) });
    }
    let enough = each * CASES.len() / 2;
    // Those that are there for the system are soon there for the service.
    let (connected, mut most) = (Instant::now(), 0);
    while most < enough && connected.elapsed() < Limit::Idle.time() {
        most = most.max(descriptors(&server).saturating_sub(before));
        sleep(Duration::from_millis(5)).await;
    }
    while let Ok(Some(let_go)) = timeout(PATIENCE, dawdlers.join_next()).await {
        let (case, fate) = let_go.expect("no panic");
        judge(case, &fate);
    }
    stop.cancel();
    let took = asking.await.expect("everybody else was served");
    let p99 = took[took.len() * 99 / 100];
    println!(
        "T29: {} slow clients, {most} at once; {} requests meanwhile, p99 {p99:?}",
        each * CASES.len(),
        took.len()
    );
    assert!(dawdlers.is_empty(), "{} were never let go", dawdlers.len());
    assert!(most >= enough, "only {most} were there at once: too few to tell");
    assert!(!large() || p99 < Duration::from_millis(100), "{p99:?}");
    let after = Client::new(site.addr, None).without_keep_alive().get("/readyz").await;
    assert_eq!(after.status(), 200);
    server.stop().await;
}

fn judge(case: Case, fate: &Fate) {
    let Case { name, limit, said, .. } = case;
    assert_eq!(fate.said, said, "{name}, after {:?}", fate.after);
    assert!(fate.after >= limit.time(), "{name}: let go after {:?}", fate.after);
    // The small form runs beside others; there it counts that it ends, and in the large one when.
    let slack = if large() { Duration::from_secs(2) } else { PATIENCE };
    assert!(fate.after <= limit.time() + slack, "{name}: let go after {:?}", fate.after);
}
