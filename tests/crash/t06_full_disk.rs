//! The disk fills up: creations are refused in order, reading goes on, and work resumes once there is space.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::http::Outcome;
use crate::harness::mount::Mount;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::world::World;
use crate::harness::{PATIENCE, large, sized};
use crate::ledger::Kind;

const MIB: u64 = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_creations_and_loses_nothing() {
    let site = Site::new("t06");
    let mount = Mount::small(&site.store, MIB);
    let mut world = World::on(site).await;
    let mut server = world.start().await;
    let (used_task, used) = a_used_callback(&world).await;
    for kind in [Kind::Plain, Kind::Signal, Kind::Victim, Kind::Flaky] {
        world.create(0, kind, &json!({})).await.1.expect("room for a task");
    }
    let filler = fill(&world);
    until_refused(&world).await;
    full(&world, &mut server, &used_task, &used).await;
    std::fs::remove_file(filler).expect("the filler goes");
    resumes(&world).await;
    world.settle_and_check(server).await;
    // In this order: the site can only be removed once nothing is mounted in it.
    drop(mount);
    drop(world);
}

/// The log has its room from the start on, and with it the index that tells where its pages are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_behind_the_log_s_back_stops_nothing() {
    let site = Site::new("t06-small");
    let mount = Mount::small(&site.store, 3 * MIB);
    let mut world = World::on(site).await;
    let server = world.start().await;
    let filler = fill_to(&world, 0);
    for _ in 0..100 {
        assert_eq!(
            world.create(0, Kind::Signal, &json!({})).await.0.status(),
            201,
            "a creation while the log has room"
        );
    }
    world.note_down();
    server.kill();
    let mut server = world.start().await;
    for _ in 0..sized(1_500, 10_000) {
        let status = world.create(0, Kind::Signal, &json!({})).await.0.status();
        assert!(matches!(status, 201 | 503), "a creation on a full disk: {status}");
        assert!(server.exited().is_none(), "a full disk ended the service: {}", server.said());
    }
    std::fs::remove_file(filler).expect("the filler goes");
    resumes(&world).await;
    world.settle_and_check(server).await;
    drop(mount);
    drop(world);
}

/// A task that is done, and its used callback id.
async fn a_used_callback(world: &World) -> (String, String) {
    let task = world.create(0, Kind::Callback, &json!({})).await.1.expect("room for a task");
    loop {
        if let Some((called, id)) = world.target.take_callback(|_| 0) {
            assert_eq!(world.callback(&called, &id).await.status(), 200);
            // The first late callback is kept; a further one is a look-up and nothing else.
            assert_eq!(world.callback(&called, &id).await.status(), 404);
            return (task, id);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Takes all the space that is left, but for what a few dozen tasks need.
fn fill(world: &World) -> PathBuf {
    fill_to(world, 256 << 10)
}

/// Takes all the space there is but for the last bytes.
fn fill_to(world: &World, free: u64) -> PathBuf {
    let path = world.site.store.join("filler");
    let mut file = File::create(&path).expect("a file on the small disk");
    let mut written = 0_u64;
    while file.write_all(&[0xA5; 16 << 10]).is_ok() && file.sync_data().is_ok() {
        written += 16 << 10;
    }
    assert!(written > 0 && written < (3 * MIB) << 20, "the disk did not fill up");
    file.set_len(written.saturating_sub(free)).expect("a shorter filler");
    path
}

/// A creation that takes 32 KiB and stays for an hour.
async fn create_large(world: &World) -> Outcome {
    let body = "x".repeat(32 << 10);
    world.create(0, Kind::Victim, &json!({"body": body})).await.0
}

async fn until_refused(world: &World) {
    let started = Instant::now();
    while create_large(world).await.status() == 201 {
        assert!(started.elapsed() < PATIENCE, "creations fit on a disk that is full");
    }
}

/// While the disk is full: creations get 503, and what only reads is answered.
async fn full(world: &World, server: &mut Server, used_task: &str, used: &str) {
    let (started, mut refused) = (Instant::now(), 0);
    let lasting = Duration::from_secs(sized(5, 60) as u64);
    while started.elapsed() < lasting || refused < 10 {
        let outcome = create_large(world).await;
        assert_eq!(outcome.status(), 503, "a creation on a full disk: {outcome:?}");
        assert!(outcome.json()["error"].is_string(), "503 without a JSON error: {outcome:?}");
        refused += 1;
        assert_eq!(world.task(used_task).await["status"], "completed", "a read while the disk is full");
        let unknown = world.api().get("/v1/tasks/01890000-0000-7000-8000-000000000000").await;
        assert_eq!(unknown.status(), 404, "a look-up while the disk is full: {unknown:?}");
        assert_eq!(world.callback(used_task, used).await.status(), 404, "a used callback id while the disk is full");
        assert!(server.exited().is_none(), "a full disk ended the service: {}", server.said());
        sleep(Duration::from_millis(50)).await;
    }
    println!("T06: {refused} creations refused in {:?}", started.elapsed());
}

async fn resumes(world: &World) {
    let limit = if large() { Duration::from_secs(5) } else { PATIENCE };
    let freed = Instant::now();
    while create_large(world).await.status() != 201 {
        assert!(freed.elapsed() < limit, "no creation {limit:?} after there was space again");
        sleep(Duration::from_millis(50)).await;
    }
    println!("T06: resumed {:?} after there was space", freed.elapsed());
}
