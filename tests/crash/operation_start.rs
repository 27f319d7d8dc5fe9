//! What a start gives to whom: the first key, private files, and the pages that say how the service is.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::harness::http::Client;
use crate::harness::server::{Server, refused};
use crate::harness::site::{Site, files_below, word_with_prefix};
use crate::harness::world::World;
use crate::ledger::Kind;

async fn status(site: &Site, key: &str) -> u16 {
    Client::new(site.addr, Some(key)).without_keep_alive().get("/v1/tasks").await.status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_prints_a_key_once_and_the_log_never_holds_it() {
    let mut site = Site::new("op-first-key");
    site.key.clear();
    let server = Server::start(&site).await;
    let said = server.said();
    let key = word_with_prefix(&said, "async_");
    assert_eq!(said.matches("async_").count(), 1, "the key is shown twice: {said}");
    let line = said.lines().find(|line| line.contains(&key)).unwrap();
    assert!(line.starts_with("The first API key") && !line.contains('{'), "a log line shows the key");
    assert_eq!(status(&site, &key).await, 200);
    server.stop().await;
    let server = Server::start(&site).await;
    assert!(!server.said().contains("async_"), "a later start shows a key");
    assert_eq!(status(&site, &key).await, 200);
    server.stop().await;
    for file in files_below(&site.store) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(memchr::memmem::find(&bytes, key.as_bytes()).is_none(), "{} holds the key", file.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_key_counts_only_where_there_is_none() {
    let mut site = Site::new("op-bootstrap");
    let first = site.key.clone();
    let server = Server::start(&site).await;
    assert!(!server.said().contains("async_"), "a given key is printed");
    assert_eq!(status(&site, &first).await, 200);
    server.stop().await;
    site.key = format!("async_{}", "x".repeat(40));
    let server = Server::start(&site).await;
    assert_eq!((status(&site, &site.key).await, status(&site, &first).await), (401, 200));
    // Revoked or not, it is the store's first key: another start gives nobody a new one.
    let listed = site.command(&["key", "list"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    site.command(&["key", "revoke", listed.split('\t').next().unwrap()]);
    server.stop().await;
    let server = Server::start(&site).await;
    assert_eq!((status(&site, &site.key).await, status(&site, &first).await), (401, 401));
    server.stop().await;
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_private_whatever_the_umask() {
    let mut site = Site::new("op-modes");
    // A folder that the service has to make.
    site.store = site.store.join("made");
    site.wrapper = ["sh", "-c", "umask 000; exec \"$@\"", "sh"].map(Into::into).to_vec();
    let server = Server::start(&site).await;
    Client::new(site.addr, Some(&site.key))
        .post("/v1/tasks", json!({"targetUrl": "http://127.0.0.1:9/"}).to_string())
        .await;
    assert_eq!(mode(&site.store), 0o700);
    let names: Vec<_> =
        files_below(&site.store).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    for file in ["asyncqueue.db", "asyncqueue.db-wal", "asyncqueue.db.key", "asyncqueue.db.sock"] {
        assert!(names.iter().any(|name| name == file), "no {file} among {names:?}");
    }
    for file in files_below(&site.store) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let copy = site.dir.join("copy.db");
    site.command(&["backup", copy.to_str().unwrap()]);
    assert_eq!(mode(&copy), 0o600);
    server.stop().await;
    assert!(!site.store.join("asyncqueue.db.sock").exists(), "a stop leaves its socket behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_to_the_world_says_how_it_calls_back() {
    let mut site = Site::new("op-listen");
    site.addr.set_ip([0, 0, 0, 0].into());
    let said = refused(&site, "an open address without a public URL").await;
    assert!(said.contains("is not a loopback address") && said.contains("--public-url"), "{said}");
    assert!(!site.database().exists(), "a refused start made a store");
    site.arguments = ["--public-url", "https://queue.example/base/"].map(str::to_owned).to_vec();
    let mut world = World::on(site).await;
    let server = world.start().await;
    let (outcome, _) = world.create(0, Kind::Callback, &json!({})).await;
    let url = outcome.json()["callbackUrl"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://queue.example/base/v1/callbacks/"), "{}", &url[..40]);
    world.settle_and_check(server).await;
}

/// Hits the time between the listener and the end of the start, which a signal once ended out of order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_comes_with_the_first_connection_is_in_order() {
    let site = Site::new("op-early-stop");
    for _ in 0..5 {
        let mut child = site.serve().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while std::net::TcpStream::connect(site.addr).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()));
        let status = child.wait().unwrap();
        assert!(status.success(), "SIGTERM during the start: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_and_the_store_is_left_in_order() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut site = Site::new("op-port");
    let free = site.addr;
    site.addr = taken.local_addr().unwrap();
    let output = site.serve().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&site.addr.to_string()) && said.contains("cannot be listened on"), "{said}");
    site.addr = free;
    let server = Server::start(&site).await;
    assert_eq!(status(&site, &site.key).await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_for_operators_need_no_key_and_show_how_it_is() {
    let mut world = World::new("op-pages").await;
    let server = world.start().await;
    let (_, id) = world.create(0, Kind::Plain, &json!({"onCompleteUrl": world.target.url("/hook")})).await;
    let path = format!("/v1/tasks/{}?wait=25", id.unwrap());
    while world.api().get(&path).await.json()["task"]["onComplete"]["status"] != "delivered" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let anyone = Client::new(world.site.addr, None);
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(anyone.get(page).await.status(), 200, "{page}");
        assert_eq!(anyone.post(page, "").await.status(), 405, "{page}");
    }
    let metrics = anyone.get("/metrics").await.answer().map(|answer| answer.body.clone()).unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    for line in [
        "asyncqueue_tasks{status=\"completed\"} 1",
        "asyncqueue_tasks{status=\"failed\"} 0",
        "asyncqueue_calls_in_flight 0",
        "asyncqueue_store_errors_total 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "no `{line}` in {metrics}");
    }
    let documented = include_str!("../../docs/operations.md").split('`').filter(|word| word.starts_with("asyncqueue_"));
    let missing: Vec<_> = documented.filter(|name| !metrics.contains(*name)).collect();
    assert!(missing.is_empty(), "documented and not there: {missing:?}");
    world.settle_and_check(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_from_the_terminal_ends_it_in_order_too() {
    let site = Site::new("op-interrupt");
    let mut server = Server::start(&site).await;
    server.signal("INT");
    let ended = server.ended(Duration::from_secs(40)).await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?} {}", server.said());
    assert!(server.said().contains("\"SIGINT\"") && server.said().contains("Stopped"), "{}", server.said());
}
