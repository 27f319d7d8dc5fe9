//! A provider's connection breaks at any byte of its webhook, or before the answer was read: the id is used up if and
//! only if the result is stored.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::random::Random;
use crate::harness::sized;
use crate::harness::world::World;
use crate::ledger::Kind;

/// What the cuts hit.
#[derive(Default)]
struct Hits {
    cuts: usize,
    within: usize,
    whole_and_stored: usize,
    whole_and_not_stored: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_callback_is_stored_or_its_id_lives_on() {
    let mut world = World::new("t11").await;
    let server = world.start().await;
    let mut random = Random::new("T11");
    let (cuts, mut hits) = (sized(150, 2_000), Hits::default());
    for done in (0..cuts).step_by(50) {
        for (task, id) in waiting_tasks(&world, 50.min(cuts - done)).await {
            hits.cuts += 1;
            cut_and_repeat(&world, &mut random, &task, &id, &mut hits).await;
        }
    }
    let Hits { cuts, within, whole_and_stored, whole_and_not_stored } = hits;
    println!(
        "T11: {cuts} connections, {within} cut within, {whole_and_stored} whole and stored, {whole_and_not_stored} whole and not"
    );
    assert!(within > 0, "no request was cut: the window was missed");
    assert!(whole_and_stored > 0, "no unread answer was that of a stored result: the window was missed");
    world.settle_and_check(server).await;
}

/// Tasks that wait, with their callback ids.
async fn waiting_tasks(world: &World, count: usize) -> Vec<(String, String)> {
    for _ in 0..count {
        world.create(0, Kind::Callback, &json!({})).await.1.expect("a task");
    }
    let mut ready = Vec::new();
    while ready.len() < count {
        match world.target.take_callback(|_| 0) {
            Some((task, id)) => ready.push((task, id)),
            None => sleep(Duration::from_millis(10)).await,
        }
    }
    for (task, _) in &ready {
        while world.task(task).await["status"] != "waiting" {
            sleep(Duration::from_millis(10)).await;
        }
    }
    ready
}

async fn cut_and_repeat(world: &World, random: &mut Random, task: &str, id: &str, hits: &mut Hits) {
    let body = format!(r#"{{"cut":"{}"}}"#, world.marker());
    let request = format!(
        "POST /v1/callbacks/{id} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        world.site.addr,
        body.len()
    );
    let whole = random.chance(40);
    if whole {
        world.note_unread_callback(task, id, &body);
    }
    // A stride that meets every byte once there have been enough cuts.
    let sent = if whole { request.len() } else { hits.cuts * 97 % request.len() };
    send_and_leave(world, random, &request.as_bytes()[..sent]).await;
    // The result that stands once the cut request has had its chance.
    sleep(Duration::from_millis(random.between(0, 15))).await;
    let repeated = world.callback(task, id).await;
    let stored = world.task(task).await;
    let first_won = stored["result"]["body"] == body.as_str();
    hits.within += usize::from(!whole);
    hits.whole_and_stored += usize::from(whole && first_won);
    hits.whole_and_not_stored += usize::from(whole && !first_won);
    assert!(whole || !first_won, "{sent} of {} bytes used the id up", request.len());
    assert_eq!(
        repeated.status(),
        if first_won { 404 } else { 200 },
        "{task} after {sent} bytes: {repeated:?} {stored}"
    );
    never_a_second_change(world, task, id, &stored).await;
}

/// Leaves with a FIN, or with a reset.
async fn send_and_leave(world: &World, random: &mut Random, bytes: &[u8]) {
    let mut stream = TcpStream::connect(world.site.addr).await.expect("a connection");
    stream.write_all(bytes).await.expect("bytes sent");
    if random.chance(50) {
        stream.set_zero_linger().expect("a reset at the end");
        // Else the reset may overtake the bytes.
        sleep(Duration::from_millis(random.between(0, 5))).await;
    }
}

async fn never_a_second_change(world: &World, task: &str, id: &str, stored: &Value) {
    let again = world.callback(task, id).await;
    assert_eq!(again.status(), 404, "a used id: {again:?}");
    assert_eq!(&world.task(task).await, stored, "a second change of {task}");
}
