//! The n-th write or sync of the store fails: nothing is acknowledged that is not on disk, and nothing is lost.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::large;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::server::Server;
use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::ledger::{Entry, Verdict};

const CALLS: &str = "fdatasync,fsync,pwrite64,ftruncate";
/// How SQLite may sync, which depends on how it was built.
const SYNCS: &str = "fdatasync,fsync";

/// A call that fails: the n-th of each thread, or (`n+`) that and all after it.
struct Case {
    call: &'static str,
    when: String,
}

fn cases() -> Vec<Case> {
    let case = |(call, when): (&'static str, &str)| Case { call, when: when.to_owned() };
    if large() {
        let every = |n: usize| [SYNCS, "pwrite64", "ftruncate"].map(|call| Case { call, when: n.to_string() });
        let onwards = (1..=200).step_by(10).map(|n| Case { call: SYNCS, when: format!("{n}+") });
        return (1..=200).flat_map(every).chain(onwards).collect();
    }
    let syncs = ["1", "2", "5", "20", "80", "3+", "40+"].map(|when| case((SYNCS, when)));
    let writes = ["1", "10", "150", "300+"].map(|when| case(("pwrite64", when)));
    syncs.into_iter().chain(writes).chain([case(("ftruncate", "1"))]).collect()
}

/// What the failures hit.
#[derive(Default)]
struct Hits {
    injected: usize,
    /// Hits while the service was under load, and not just starting.
    under_load: usize,
    ended: usize,
    /// Cases in which no commit could succeed any more and the load went on.
    hopeless: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_write_loses_nothing_that_was_acknowledged() {
    let mut world = World::new("t05").await;
    let mut server = world.start().await;
    let (cases, mut hits) = (cases(), Hits::default());
    for case in &cases {
        world.note_down();
        server.stop().await;
        (world, server) = with_failures(world, case, &mut hits).await;
    }
    let Hits { injected, under_load, ended, hopeless } = hits;
    println!("T05: {} cases, {injected} hit, {under_load} of them under load", cases.len());
    println!("T05: {ended} ended the process; {hopeless} left no commit possible");
    assert!(injected * 2 >= cases.len(), "{injected} of {} cases hit: the window was missed", cases.len());
    assert!(under_load > 0, "no case hit under load: the window was missed");
    assert!(hopeless > 0, "no case made all commits fail: the window was missed");
    world.settle_and_check(server).await;
}

/// One life of the server with a failing call, and the start after it.
async fn with_failures(mut world: World, case: &Case, hits: &mut Hits) -> (World, Server) {
    let trace = world.site.dir.join(format!("{}-{}.strace", case.call, case.when));
    world.site.wrapper = strace(&trace, case);
    let started = Server::try_start(&world.site).await;
    world.site.wrapper.clear();
    let ready = started.is_ok();
    match started {
        Ok(server) => world = under_load(world, server, &trace, hits).await,
        Err(ended) => {
            assert!(!ended.status.success(), "{}: ended with code 0 although its store failed", case.call);
            hits.ended += 1;
        }
    }
    judge_trace(&world, &trace, case, hits, ready);
    let server = Server::start(&world.site).await;
    world.ledger.write(&Entry::Ready(wall_ms()));
    (world, server)
}

/// Goes on for a while, and on a slow machine until a call has failed; most of those that are ever hit are hit within that time.
async fn failed_under_load(server: &mut Server, trace: &Path) -> Option<ExitStatus> {
    let began = Instant::now();
    let failed = || std::fs::read_to_string(trace).is_ok_and(|traced| traced.contains("(INJECTED)"));
    let mut status = server.ended(Duration::from_millis(1_200)).await;
    while status.is_none() && !failed() && began.elapsed() < Duration::from_secs(6) {
        status = server.ended(Duration::from_millis(300)).await;
    }
    status
}

async fn under_load(world: World, mut server: Server, trace: &Path, hits: &mut Hits) -> World {
    world.ledger.write(&Entry::Ready(wall_ms()));
    let world = Arc::new(world);
    let load = Load::start(&world, Random::new("T05 load"));
    let status = failed_under_load(&mut server, trace).await;
    world.note_down();
    if let Some(status) = status {
        assert!(!status.success(), "ended with code 0 although its store failed");
        hits.ended += 1;
    }
    server.kill();
    load.stop().await;
    Arc::into_inner(world).expect("the load has ended")
}

/// Counts what was hit. Once every commit fails, nothing may be acknowledged, although the page cache would show it
/// to a later start as if it had been safe.
fn judge_trace(world: &World, trace: &Path, case: &Case, hits: &mut Hits, ready: bool) {
    let traced = std::fs::read_to_string(trace).unwrap_or_default();
    let injected = traced.contains("(INJECTED)");
    hits.injected += usize::from(injected);
    hits.under_load += usize::from(injected && ready);
    let Some(since) = first_failure_of_the_writer(&traced).filter(|_| case.when.ends_with('+')) else {
        return;
    };
    hits.hopeless += 1;
    let entries = world.ledger.read();
    let last_start = entries.iter().rposition(|entry| matches!(entry, Entry::Ready(_))).unwrap_or(0);
    let acknowledged = entries[last_start..].iter().filter(|entry| {
        matches!(entry, Entry::Create(create) if create.verdict == Verdict::Acknowledged && create.sent > since)
    });
    let count = acknowledged.count();
    assert_eq!(count, 0, "creations acknowledged while {} failed from the {} on", case.call, case.when);
}

/// When, in milliseconds, the thread that syncs most often had its first injected failure.
fn first_failure_of_the_writer(traced: &str) -> Option<i64> {
    let thread = |line: &'_ str| line.split_whitespace().next().unwrap_or("").to_owned();
    let mut syncs: HashMap<String, usize> = HashMap::new();
    for line in traced.lines().filter(|line| line.contains("sync(") || line.contains("pwrite64(")) {
        *syncs.entry(thread(line)).or_default() += 1;
    }
    let (writer, _) = syncs.into_iter().max_by_key(|(_, count)| *count)?;
    let failure = traced.lines().find(|line| thread(line) == writer && line.contains("(INJECTED)"))?;
    let (seconds, fraction) = failure.split_whitespace().nth(1)?.split_once('.')?;
    Some(seconds.parse::<i64>().ok()? * 1000 + fraction.get(..3)?.parse::<i64>().ok()?)
}

/// `-D` leaves the service the direct child, so that signals and exit codes are its own.
fn strace(trace: &Path, case: &Case) -> Vec<OsString> {
    let failure = format!("inject={}:error=EIO:when={}", case.call, case.when);
    let options = ["strace", "-D", "-f", "-q", "-ttt", "--seccomp-bpf", "-e"];
    let what = [format!("trace={CALLS}"), "-e".to_owned(), failure, "-o".to_owned()];
    options.into_iter().map(OsString::from).chain(what.map(OsString::from)).chain([trace.into()]).collect()
}

#[test]
fn the_writers_first_failure_is_read_from_a_trace() {
    let traced = "7 1700000000.100000 fdatasync(9) = -1 EIO (Input/output error) (INJECTED)\n\
        8 1700000001.250000 pwrite64(9, \"\", 1, 0) = 1\n8 1700000001.250900 fdatasync(9) = 0\n\
        8 1700000002.250900 fdatasync(9) = -1 EIO (Input/output error) (INJECTED)\n";
    assert_eq!(first_failure_of_the_writer(traced), Some(1_700_000_002_250));
}
