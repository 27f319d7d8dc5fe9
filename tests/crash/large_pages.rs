//! Many large pages at once: what the service takes of memory for them is bounded, and so is what slow readers hold.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::harness::world::World;
use crate::harness::{PATIENCE, sized};

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(server: &Server, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a running process");
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_pages_at_once_take_bounded_memory() {
    let (tasks, pages, mib) = (sized(5, 12), sized(6, 24), 16);
    let mut world = World::new("large-pages").await;
    let server = world.start().await;
    let result = format!("\"{}\"", "x".repeat((mib << 20) - 2));
    for _ in 0..tasks {
        let body = json!({"targetUrl": world.target.url("/call"), "waitForSignal": true, "maxWaitTime": 600});
        let created = world.api().post("/v1/tasks", body.to_string()).await.json();
        let path = format!("/v1/callbacks/{}", created["task"]["callbackId"].as_str().expect("an id"));
        while world.api().post(&path, result.clone()).await.status() != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    let before = memory(&server, "VmRSS");
    // Readers that take nothing of what they asked for.
    let mut stuck = Vec::new();
    for _ in 0..pages {
        let mut stream = TcpStream::connect(world.site.addr).await.unwrap();
        let head = format!("GET /v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\r\n", world.site.key);
        stream.write_all(head.as_bytes()).await.unwrap();
        stuck.push(stream);
    }
    sleep(Duration::from_secs(2)).await;
    let while_stuck = memory(&server, "VmHWM").saturating_sub(before) >> 10;
    // One who took the start of an answer has a place; the others are told that there is none just now.
    // All of them stay until the last was told, or those that come late would find the places of those that left.
    let mut told = Vec::new();
    for stream in &mut stuck {
        let mut start = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut start)).await;
        read.expect("an answer").expect("an answer");
        told.push(String::from_utf8_lossy(&start[9..]).into_owned());
    }
    drop(stuck);
    let with_a_place = told.iter().filter(|status| *status == "200").count();
    assert!(with_a_place > 0 && told.iter().all(|status| status == "200" || status == "503"), "{told:?}");
    assert!(with_a_place < pages, "all {pages} pages fitted at once: the bound was not reached");
    // Those who read get their pages whole.
    for (status, length) in read_whole(&world).await {
        assert!(status == 200 && length > tasks * (mib << 20), "{status}: {length} bytes");
    }
    let most = memory(&server, "VmHWM").saturating_sub(before) >> 10;
    println!(
        "Large pages: {pages} pages of {tasks} tasks of {mib} MiB took {while_stuck} MiB while stuck, {most} MiB in all"
    );
    // The room that there is for them, and as much again for the allocator and the store's own copies.
    assert!(most < 512, "{most} MiB");
    server.stop().await;
}

/// Two readers, who ask again until there is room: each one's status and bytes.
async fn read_whole(world: &World) -> Vec<(u16, usize)> {
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let client = Client::new(world.site.addr, Some(&world.site.key));
        readers.spawn(async move {
            loop {
                let outcome = client.get("/v1/tasks").await;
                match outcome.status() {
                    503 => sleep(Duration::from_millis(200)).await,
                    status => break (status, outcome.answer().map_or(0, |answer| answer.body.len())),
                }
            }
        });
    }
    readers.join_all().await
}
