//! Tasks that call the service that runs them: refused, and where the operator wants them, not without end.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::postgres::free_port;
use crate::support::{KEY, Names, Reply, Service, Target};

const OWN: &str = "targetUrl is not allowed: this service's own address is not allowed";

#[tokio::test]
async fn a_task_may_not_call_the_service_that_runs_it() {
    let loopback: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    let names = [("me.example.org".to_owned(), loopback)];
    let flags = ["--allow-target", "127.0.0.0/8", "--public-url", "https://queue.example.org"];
    let service = Service::among(&flags, Names(names.into())).await;
    let port = service.address.port();
    for url in [
        format!("http://127.0.0.1:{port}/v1/tasks"),
        format!("http://0x7f.1:{port}/healthz"),
        "https://queue.example.org/v1/tasks".to_owned(),
        "https://queue.example.org/{asyncqueue_callback_url}".to_owned(),
    ] {
        let refused = service.try_create(&json!({"targetUrl": url}).to_string()).await.expect(400);
        assert_eq!(refused.error(), OWN, "{url}");
        let body = json!({"targetUrl": "https://target.example/", "onCompleteUrl": url.replace(['{', '}'], "")});
        let refused = service.try_create(&body.to_string()).await.expect(400);
        assert_eq!(refused.error(), OWN.replace("targetUrl", "onCompleteUrl"), "{url}");
    }
    // By a name of ours, and by a redirect. After a look-up it is not said why.
    let service_at = format!("http://127.0.0.1:{port}/v1/tasks");
    let target = Target::start(move |_, _| Reply::with(302, &[("Location", &service_at)], "")).await;
    for (url, error) in [
        (format!("http://me.example.org:{port}/v1/tasks"), "Target refused: target address is not allowed"),
        (target.url("/"), "Target refused: this service's own address is not allowed"),
    ] {
        let task = service.create(&json!({"targetUrl": url, "maxRetries": 3})).await;
        let failed = service.becomes(&task.id, "failed").await;
        assert_eq!((&failed["error"], &failed["retryCount"]), (&json!(error), &json!(0)), "{url}");
    }
}

/// A task that creates a task that creates a task: each body holds the next one.
fn chain(url: &str, length: usize) -> Value {
    let headers = json!({"X-API-Key": KEY, "Content-Type": "application/json"});
    (0..length).fold(
        json!({"targetUrl": url, "headers": headers, "body": "{}"}),
        |inner, _| json!({"targetUrl": url, "headers": headers, "body": inner.to_string(), "maxRetries": 0}),
    )
}

#[tokio::test]
async fn where_it_is_opened_a_row_of_tasks_that_create_tasks_ends() {
    let address = format!("127.0.0.1:{}", free_port());
    let service = Service::with(&["--listen", &address, "--allow-target", &address]).await;
    let url = format!("http://{address}/v1/tasks");
    service.create(&chain(&url, 7)).await;
    let too_deep =
        |task: &Value| task["result"]["body"].as_str().is_some_and(|body| body.contains("X-AsyncQueue-Depth"));
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    let tasks = loop {
        let list = service.ask("GET", "/v1/tasks").await.expect(200).json();
        let tasks = list["tasks"].as_array().unwrap().clone();
        if tasks.iter().any(too_deep) {
            break tasks;
        }
        assert!(tokio::time::Instant::now() < deadline, "the row goes on: {}", tasks.len());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    // The first, and five that were created by the call of another.
    assert_eq!(tasks.len(), 6);
    assert_eq!(tasks[0]["result"]["statusCode"], 400);
    // A row that is said to be longer, or that says nothing that can be read, is none to go on with.
    for depth in ["6", "-1", "x", "", "99999999999"] {
        let headers = [("x-api-key", KEY), ("x-asyncqueue-depth", depth)];
        let body = json!({"targetUrl": "https://target.example/"}).to_string();
        service.send("POST", "/v1/tasks", &headers, Some(&body)).await.expect(400);
    }
}
