//! What a client sees of a stop: the service is not ready any longer, and answers all the same.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Connection, Created, KEY, PATIENCE, Reply, Service, Target, gate, open};

/// A request to a service that is stopping; it may not be asked by way of [`Service`] any longer.
async fn send(address: SocketAddr, method: &str, path: &str, body: Option<&str>) -> Answer {
    let mut connection = Connection::open(address).await;
    connection.send(method, path, &[("x-api-key", KEY)], body.map(str::as_bytes)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn until_its_calls_have_ended_it_is_not_ready_and_loses_nothing_that_comes() {
    let service = Service::with(&["--shutdown-grace", "60s"]).await;
    let closed = gate();
    let held = closed.subscribe();
    let target = Target::start(move |seen, _| match seen.path.as_str() {
        "/held" => Reply::Behind(held.clone(), Reply::bytes(200, &[], b"{}")),
        _ => Reply::status(200, "{}"),
    })
    .await;
    let waiting = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    service.becomes(&waiting.id, "waiting").await;
    let called = service.create(&json!({"targetUrl": target.url("/held")})).await;
    target.request(2).await;
    send(service.address, "GET", "/readyz", None).await.expect(200);

    let (address, folder, clock) = (service.address, service.folder.clone(), service.clock.clone());
    let stopping = tokio::spawn(service.stop());
    let deadline = Instant::now() + PATIENCE;
    while send(address, "GET", "/readyz", None).await.status != 503 {
        assert!(Instant::now() < deadline, "ready for ever");
        sleep(Duration::from_millis(5)).await;
    }
    send(address, "GET", "/healthz", None).await.expect(200);
    send(address, "POST", &waiting.callback_path(), Some("\"paid\"")).await.expect(200);
    let body = json!({"targetUrl": target.url("/later")}).to_string();
    let later = Created::of(&send(address, "POST", "/v1/tasks", Some(&body)).await.expect(201));
    // A long poll is not held by a service that is about to leave.
    let path = format!("/v1/tasks/{}?wait=25", later.id);
    let polled = send(address, "GET", &path, None).await.expect(200);
    assert_eq!(polled.json()["task"]["status"], "pending");
    assert_eq!(target.count(), 2, "nothing new is begun");
    open(&closed);
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any longer");

    let service = Service::again(folder, clock, &[]).await;
    service.becomes(&called.id, "completed").await;
    service.becomes(&later.id, "completed").await;
    assert_eq!(service.task(&waiting.id).await["result"]["body"], "\"paid\"");
    assert_eq!(target.count(), 3, "the call that was under way is not made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_under_way_it_listens_for_as_long_as_it_gives_notice() {
    const NOTICE: Duration = Duration::from_millis(700);
    let service = Service::with(&["--shutdown-notice", "700ms"]).await;
    let address = service.address;
    let began = Instant::now();
    let stopping = tokio::spawn(service.stop());
    while TcpStream::connect(address).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= NOTICE, "{:?}", began.elapsed());
    stopping.await.unwrap();
}
