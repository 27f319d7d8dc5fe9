//! Unique strings in every place that is somebody's secret; afterwards they are looked for where none may be.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::PATIENCE;
use crate::harness::http::Client;
use crate::harness::random::hex;
use crate::harness::site::{files_below, free_address};
use crate::harness::world::World;

/// The secrets of one run.
#[derive(Default)]
struct Canaries {
    /// What a user or a provider sends: kept for them, and shown in no log, metric or error.
    payloads: Vec<(&'static str, String)>,
    /// What opens something: not in the store either.
    credentials: Vec<(&'static str, String)>,
}

impl Canaries {
    /// A new payload canary.
    fn payload(&mut self, name: &'static str) -> String {
        let canary = format!("canary{}", hex(12));
        self.payloads.push((name, canary.clone()));
        canary
    }

    fn all(&self) -> impl Iterator<Item = &(&'static str, String)> + Clone {
        self.payloads.iter().chain(&self.credentials)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_found_nowhere() {
    let mut world = World::new("t36").await;
    world.site.arguments = vec!["--log-level".into(), "trace".into()];
    let server = world.start().await;
    let mut canaries = Canaries::default();
    canaries.credentials.push(("key", world.site.key.clone()));
    canaries.credentials.push(("webhook secret", world.secrets[0].clone()));
    resolve_by_callback(&world, &mut canaries).await;
    resolve_by_signal(&world, &mut canaries).await;
    fail_at_the_network(&world, &mut canaries).await;
    let unkeyed = provoke_errors(&world, &mut canaries).await;
    sleep(Duration::from_millis(500)).await;
    let metrics = Client::new(world.site.addr, None).get("/metrics").await;
    assert_eq!(metrics.status(), 200, "/metrics: {metrics:?}");
    let mut found = in_files(&store_files(&world), &&canaries.credentials);
    server.stop().await;
    found.extend(in_files(&store_files(&world), &&canaries.credentials));
    found.extend(in_files(&logs(&world), &canaries.all()));
    found.extend(in_bytes("/metrics", &metrics.answer().expect("metrics").body, canaries.all()));
    for refusal in world.api().refusals().iter().chain(&unkeyed.refusals()) {
        found.extend(in_bytes(&format!("answer {}", String::from_utf8_lossy(refusal)), refusal, canaries.all()));
    }
    the_scan_can_find(&world, &canaries);
    assert!(found.is_empty(), "secrets in the wrong place:\n{}", found.join("\n"));
}

/// A whole round trip; the target's answer echoes the callback URL.
async fn resolve_by_callback(world: &World, canaries: &mut Canaries) {
    let (body, header) = (canaries.payload("task body"), canaries.payload("header value"));
    let request = json!({
        "targetUrl": world.target.url("/call?echo=1"),
        "headers": {"X-Api-Token": header},
        "body": json!({"secret": body, "callback": "{asyncqueue_callback_url}"}).to_string(),
        "onCompleteUrl": world.target.url("/hook"),
        "maxWaitTime": 600,
    });
    let created = create(world, &request).await;
    let id = created["task"]["callbackId"].as_str().expect("a callback id").to_owned();
    canaries.credentials.push(("callback id", id.clone()));
    until(world, &created, "waiting").await;
    let path = format!("/v1/callbacks/{id}");
    // Not JSON, then right, then used up.
    let broken = format!("{{\"broken\": {}", canaries.payload("broken callback body"));
    assert_eq!(world.api().post(&path, broken).await.status(), 400);
    let payload = json!({"output": canaries.payload("callback body")}).to_string();
    assert_eq!(world.api().post(&path, payload).await.status(), 200);
    let late = json!({"output": canaries.payload("late callback body")}).to_string();
    assert_eq!(world.api().post(&path, late).await.status(), 404);
}

async fn resolve_by_signal(world: &World, canaries: &mut Canaries) {
    let request = json!({"targetUrl": world.target.url("/call"), "waitForSignal": true, "maxWaitTime": 600});
    let created = create(world, &request).await;
    let token = created["signalToken"].as_str().expect("a signal token").to_owned();
    canaries.credentials.push(("signal token", token.clone()));
    canaries
        .credentials
        .push(("signal task's callback id", created["task"]["callbackId"].as_str().expect("an id").into()));
    until(world, &created, "waiting").await;
    let path = format!("/v1/signals/{token}");
    let unfit = json!({"status": canaries.payload("signal status")}).to_string();
    assert_eq!(world.api().post(&path, unfit).await.status(), 400);
    let signal = json!({"status": "failed", "error": canaries.payload("signal error")}).to_string();
    assert_eq!(world.api().post(&path, signal).await.status(), 200);
}

/// A target that nobody listens for, and one that refuses.
async fn fail_at_the_network(world: &World, canaries: &mut Canaries) {
    for target in [format!("http://{}/", free_address()), world.target.url("/call?fail=5")] {
        let (body, header) = (canaries.payload("unsent body"), canaries.payload("unsent header"));
        let headers = json!({"Authorization": format!("Bearer {header}")});
        let request = json!({"targetUrl": target, "headers": headers, "body": body, "maxRetries": 0});
        until(world, &create(world, &request).await, "failed").await;
    }
}

/// Requests that are refused, each with a secret in it. Gives the client that has no good key.
async fn provoke_errors(world: &World, canaries: &mut Canaries) -> Client {
    let target = world.target.url("/call");
    let value = canaries.payload("refused header value");
    let bodies = [
        json!({"targetUrl": target, "headers": {"X-A": format!("{value}\r\nX-B: 1")}}),
        json!({"targetUrl": target, "nonsense": canaries.payload("unknown field's value")}),
        json!({"targetUrl": target, "body": {"not": canaries.payload("body of a wrong type")}}),
        json!({"targetUrl": target, "method": 1, "body": canaries.payload("body beside a wrong method")}),
        json!({"targetUrl": target, "timeout": -1, "headers": {"X-A": canaries.payload("header beside a wrong timeout")}}),
    ];
    for body in bodies {
        let outcome = world.api().post("/v1/tasks", body.to_string()).await;
        assert_eq!(outcome.status(), 400, "{body}: {outcome:?}");
    }
    let key = format!("async_{}", canaries.payload("unknown key"));
    let client = Client::new(world.site.addr, Some(&key));
    assert_eq!(client.get("/v1/tasks").await.status(), 401);
    client
}

async fn create(world: &World, request: &Value) -> Value {
    let outcome = world.api().post("/v1/tasks", request.to_string()).await;
    assert_eq!(outcome.status(), 201, "{outcome:?}");
    outcome.json()
}

async fn until(world: &World, created: &Value, status: &str) {
    let id = created["task"]["id"].as_str().expect("an id");
    let deadline = Instant::now() + PATIENCE;
    while world.task(id).await["status"] != status {
        assert!(Instant::now() < deadline, "never {status}: {}", world.task(id).await);
        sleep(Duration::from_millis(20)).await;
    }
}

/// The database and its companions; the service's own secret has its private file beside them, and is none of these.
fn store_files(world: &World) -> Vec<PathBuf> {
    let files = files_below(&world.site.store).into_iter();
    files
        .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("asyncqueue.db")))
        .collect()
}

fn logs(world: &World) -> Vec<PathBuf> {
    files_below(&world.site.dir).into_iter().filter(|file| file.extension().is_some_and(|it| it == "log")).collect()
}

fn in_files<'a>(
    files: &[PathBuf],
    canaries: &(impl IntoIterator<Item = &'a (&'static str, String)> + Clone),
) -> Vec<String> {
    let read = |file: &PathBuf| (file.display().to_string(), std::fs::read(file).unwrap_or_default());
    files.iter().map(read).flat_map(|(name, bytes)| in_bytes(&name, &bytes, canaries.clone())).collect()
}

/// What is found in some bytes: each canary as it is, and decoded where it is hexadecimal or base64.
fn in_bytes<'a>(
    place: &str,
    bytes: &[u8],
    canaries: impl IntoIterator<Item = &'a (&'static str, String)>,
) -> Vec<String> {
    let hit = canaries.into_iter().filter(|(_, canary)| forms(canary).iter().any(|form| contains(bytes, form)));
    hit.map(|(name, _)| format!("{name} in {place}")).collect()
}

fn forms(canary: &str) -> Vec<Vec<u8>> {
    let bare = canary.trim_start_matches("whsec_").trim_start_matches("async_");
    let decoded = STANDARD.decode(bare).ok().filter(|_| canary.starts_with("whsec_"));
    let hex = (bare.len() == 64).then(|| from_hex(bare)).flatten();
    [Some(bare.as_bytes().to_vec()), decoded, hex].into_iter().flatten().collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == part[0]);
    starts.into_iter().any(|(at, _)| bytes[at..].starts_with(part))
}

/// The window: payloads are in the store, and the log does go below `info`.
fn the_scan_can_find(world: &World, canaries: &Canaries) {
    let stored = in_files(&store_files(world), &&canaries.payloads);
    for name in ["task body", "header value", "callback body"] {
        assert!(stored.iter().any(|hit| hit.starts_with(&format!("{name} in"))), "the scan does not see the {name}");
    }
    let lines: Vec<u8> = logs(world).iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect();
    let fine = contains(&lines, b"\"DEBUG\"") || contains(&lines, b"\"TRACE\"");
    assert!(fine, "nothing was logged below level info: the window was missed");
}

#[test]
fn every_form_of_a_credential_is_found() {
    let id = "00ff".repeat(16);
    let all = [("id", id.clone()), ("secret", format!("whsec_{}", STANDARD.encode([7; 32])))];
    assert_eq!(in_bytes("p", format!("GET /{id}").as_bytes(), &all), ["id in p"]);
    assert_eq!(in_bytes("p", &[0, 255].repeat(16), &all), ["id in p"]);
    assert_eq!(in_bytes("p", &[7; 40], &all), ["secret in p"]);
    assert!(in_bytes("p", b"nothing", &all).is_empty());
}
