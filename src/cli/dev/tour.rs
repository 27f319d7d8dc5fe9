//! One round trip before your eyes: what was sent, what came back, and how long each step took.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::provider::{client, request};
use crate::outbound::Client;

/// How long the round trip may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked at: a long poll that began while the task waits already would not show that it does.
const GLANCE: Duration = Duration::from_millis(10);

/// Ends that are not the one that is hoped for.
const ENDS: [&str; 3] = ["failed", "timeout", "cancelled"];

/// What the steps of a round trip have in common.
pub struct Tour<'a> {
    client: Client,
    /// Where the service is.
    pub base: &'a str,
    key: &'a str,
    start: Instant,
    patience: Duration,
}

/// Creates a task, follows it to its end, and prints each step.
pub async fn round_trip(base: &str, key: &str, provider: SocketAddr) -> Result<(), String> {
    let tour = Tour::new(base, key, PATIENCE)?;
    println!("AsyncQueue serves on {base}; a simulated AI provider on http://{provider}\n");

    let creation = creation(provider);
    println!("1. Create a task: POST {base}/v1/tasks\n{}", pretty(&creation));
    let created = tour.call(Method::POST, "/v1/tasks", Some(&creation)).await?;
    let task = &created["task"];
    tour.step(
        "created",
        &json!({
            "task": {"id": task["id"], "status": task["status"]}, "callbackUrl": created["callbackUrl"],
        }),
    );
    let id = task["id"].as_str().ok_or("the task was not created")?;

    println!("2. The service calls the provider, which answers that the job is queued; the task waits");
    let waiting = tour.until(id, &["waiting", "completed"]).await?;
    tour.step("waiting", &json!({"id": id, "status": waiting["status"], "startedAt": waiting["startedAt"]}));

    println!("3. The provider posts its native webhook to the callback URL; the task is resolved with it");
    let done = tour.until(id, &["completed"]).await?;
    tour.step(
        "resolved",
        &json!({
            "id": id, "status": done["status"], "result": done["result"], "completedAt": done["completedAt"],
        }),
    );

    println!("4. Everything the task went through: GET {base}/v1/tasks/{id}/events");
    let events = tour.call(Method::GET, &format!("/v1/tasks/{id}/events"), None).await?;
    for event in events["events"].as_array().into_iter().flatten() {
        println!("   {}  {}", event["at"].as_str().unwrap_or_default(), event["type"].as_str().unwrap_or_default());
    }
    println!();
    Ok(())
}

fn creation(provider: SocketAddr) -> Value {
    json!({
        "targetUrl": format!("http://{provider}/v1/images?webhook={{asyncqueue_callback_url}}"),
        "body": json!({"prompt": "a cat in the rain"}).to_string(),
        "maxWaitTime": 60,
    })
}

impl<'a> Tour<'a> {
    /// A tour that begins now.
    pub fn new(base: &'a str, key: &'a str, patience: Duration) -> Result<Self, String> {
        Ok(Self { client: client()?, base, key, start: Instant::now(), patience })
    }

    /// Asks the service.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let key = HeaderValue::try_from(format!("Bearer {}", self.key)).map_err(|error| error.to_string())?;
        let headers = vec![(HeaderName::from_static("authorization"), key)];
        let body = body.map(|body| Bytes::from(body.to_string()));
        let request = request(method, &format!("{}{path}", self.base), headers, body)?;
        let answer = self.client.call(0, request).await.map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        if answer.status >= 300 {
            return Err(format!("the service answered {}: {value}", answer.status));
        }
        Ok(value)
    }

    /// The task once it is in one of these statuses.
    async fn until(&self, id: &str, statuses: &[&str]) -> Result<Value, String> {
        let task = self.once(id, |status| statuses.contains(&status) || ENDS.contains(&status)).await?;
        let as_wished = statuses.contains(&task["status"].as_str().unwrap_or_default());
        if as_wished { Ok(task) } else { Err(format!("the task ended: {task}")) }
    }

    /// The task once it has ended.
    pub async fn ended(&self, id: &str) -> Result<Value, String> {
        self.once(id, |status| status == "completed" || ENDS.contains(&status)).await
    }

    async fn once(&self, id: &str, wished: impl Fn(&str) -> bool) -> Result<Value, String> {
        while self.start.elapsed() < self.patience {
            let now = self.call(Method::GET, &format!("/v1/tasks/{id}"), None).await?;
            if wished(now["task"]["status"].as_str().unwrap_or_default()) {
                return Ok(now["task"].clone());
            }
            tokio::time::sleep(GLANCE).await;
        }
        Err("the round trip took too long".to_owned())
    }

    /// Shows what a step led to.
    pub fn step(&self, name: &str, value: &Value) {
        println!("   → {name} after {:.1} ms\n{}\n", self.start.elapsed().as_secs_f64() * 1000.0, pretty(value));
    }
}

/// JSON as people read it.
pub fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
}

/// Prints what to paste next.
pub fn invite(base: &str, key: &str, provider: SocketAddr, scratch: &Path) {
    println!("It goes on serving; Ctrl-C ends it and removes {}. Paste these:\n", scratch.display());
    println!("  export KEY={key}");
    println!(
        "  curl -s {base}/v1/tasks -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' \\\n    \
         -d '{{\"targetUrl\":\"http://{provider}/v1/images?webhook={{asyncqueue_callback_url}}\",\"body\":\"{{\\\"prompt\\\":\\\"a boat\\\"}}\"}}'"
    );
    println!("  curl -s \"{base}/v1/tasks?limit=5\" -H \"Authorization: Bearer $KEY\"");
    println!("  curl -s \"{base}/v1/tasks/TASK_ID?wait=25\" -H \"Authorization: Bearer $KEY\"");
    println!("  curl -s {base}/metrics\n");
}
