//! One round trip with a provider that is known by name: what your application would send, what the provider does, and
//! what came of it.

use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::tour::{Tour, pretty};
use crate::simulate::{Facts, Outcome, Plan, Simulator, texts};

/// How long the round trip may take beyond the work, before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stands for the provider's key.
const KEY: &str = "the-key-of-the-provider";

/// Creates a task, follows it to its end, and prints each step. Answers the creation, to be repeated.
pub async fn round_trip(
    base: &str,
    key: &str,
    simulator: &Simulator,
    facts: &Facts,
    plan: &Plan,
) -> Result<Value, String> {
    let tour = Tour::new(base, key, PATIENCE + plan.work)?;
    let name = facts["name"].as_str().unwrap_or_default();
    println!("AsyncQueue serves on {base}; a simulated {name} stands in for {}\n", facts.hosts().join(", "));

    let secret = keep_secret(&tour, facts, plan).await?;
    if facts.is_account_level() {
        register(&tour, simulator, facts, secret.as_deref()).await?;
    }
    let creation = creation(facts, secret.as_deref());
    println!("Create a task: POST {base}/v1/tasks\n{}", pretty(&creation));
    let created = tour.call(Method::POST, "/v1/tasks", Some(&creation)).await?;
    let id = created["task"]["id"].as_str().ok_or("the task was not created")?;
    tour.step("created", &json!({"id": id, "callbackUrl": created["callbackUrl"]}));

    println!("The service calls the provider, and follows the job until it has ended");
    let ended = tour.ended(id).await?;
    let shown = ["id", "status", "error", "progress", "result", "completedAt"];
    let shown: serde_json::Map<_, _> = shown.iter().map(|name| ((*name).to_owned(), ended[*name].clone())).collect();
    tour.step("ended", &shown.into());

    println!("Everything the task went through: GET {base}/v1/tasks/{id}/events");
    let events = tour.call(Method::GET, &format!("/v1/tasks/{id}/events"), None).await?;
    events["events"].as_array().into_iter().flatten().for_each(|event| println!("   {}", line(event)));
    println!();
    let wanted = if plan.outcome == Outcome::Failed { "failed" } else { "completed" };
    if ended["status"] == wanted { Ok(creation) } else { Err(format!("the task should have {wanted}: {ended}")) }
}

/// Puts the webhook secret into the vault, where the two sides share one.
async fn keep_secret(tour: &Tour<'_>, facts: &Facts, plan: &Plan) -> Result<Option<String>, String> {
    let signature = &facts["callback"]["signature"];
    if signature.is_null() || facts.keys_url().is_some() {
        return Ok(None);
    }
    let told = facts["callback"]["url"]["beside"].to_string().contains("{callbackSecret}");
    let token = json!({
        "name": "the provider's webhook secret", "value": plan.secret, "use": if told { "send" } else { "verify" },
    });
    println!("Keep the provider's webhook secret in the vault: POST {}/v1/tokens\n{}\n", tour.base, pretty(&token));
    let made = tour.call(Method::POST, "/v1/tokens", Some(&token)).await?;
    Ok(made["token"]["id"].as_str().map(str::to_owned))
}

/// Makes an endpoint, and registers its URL with the provider.
async fn register(tour: &Tour<'_>, simulator: &Simulator, facts: &Facts, secret: Option<&str>) -> Result<(), String> {
    let mut endpoint = json!({"provider": facts.id()});
    if let Some(secret) = secret {
        endpoint["secret"] = json!(secret);
    }
    println!("Make one URL for the webhooks of all jobs: POST {}/v1/endpoints\n{}", tour.base, pretty(&endpoint));
    let made = tour.call(Method::POST, "/v1/endpoints", Some(&endpoint)).await?;
    let url = made["endpoint"]["url"].as_str().ok_or("the endpoint has no URL")?;
    println!("   → {url}\n   Register it: {}\n", facts["callback"]["url"]["register"].as_str().unwrap_or_default());
    simulator.register(url.to_owned());
    Ok(())
}

/// The task as an application would ask for it; polled each second, so that nobody has to wait for the usual interval.
fn creation(facts: &Facts, secret: Option<&str>) -> Value {
    let (takes, polled) = (facts.takes_callback_url(), facts["pollConfig"].is_object());
    let mut task = json!({
        "provider": facts.id(),
        "targetUrl": facts.target_url(),
        "headers": {"Authorization": format!("Bearer {KEY}")},
        "body": json!({"prompt": "a cat in the rain"}).to_string(),
    });
    if takes {
        task["useCallback"] = json!(true);
    } else if !polled {
        task["targetUrl"] = json!(format!("{}?webhook={{asyncqueue_callback_url}}", facts.target_url()));
    }
    if let Some(secret) = secret.filter(|_| takes) {
        task["callbackSecret"] = json!(secret);
    }
    if polled {
        task["pollConfig"] = json!({"interval": 1});
    }
    if facts["params"].is_object() {
        task["providerParams"] = facts.params();
    }
    task
}

/// An event, in one line.
fn line(event: &Value) -> String {
    let text = |name: &str| texts(&event[name]).pop().unwrap_or_default();
    let more = ["attempt", "statusCode", "status", "error"].iter().filter(|name| !event[**name].is_null());
    let more: Vec<String> = more.map(|name| format!("{name} {}", event[*name])).collect();
    format!("{}  {:<18} {}", text("at"), text("type"), more.join(", ")).trim_end().to_owned()
}

/// Prints what to paste next.
pub fn invite(base: &str, key: &str, creation: &Value, scratch: &Path) {
    println!("It goes on serving; Ctrl-C ends it and removes {}. Paste these:\n", scratch.display());
    println!("  export KEY={key}");
    println!(
        "  curl -s {base}/v1/tasks -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -d '{creation}'"
    );
    println!("  curl -s \"{base}/v1/tasks?limit=5\" -H \"Authorization: Bearer $KEY\"");
    println!("  curl -s \"{base}/v1/tasks/TASK_ID/events\" -H \"Authorization: Bearer $KEY\"\n");
}
