//! One URL for all of a team's jobs at a provider: an event finds its task by the job's id.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::signatures::standard;
use crate::support::provider::*;
use crate::support::{Answer, KEY, Reply, Service, Target, gate, open};

struct Endpoint {
    id: String,
    path: String,
    secret: String,
}

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode([5; 32]))
}

async fn endpoint(service: &Service, key: &str, provider: &str) -> Endpoint {
    let made = json!({"name": "s", "value": secret(), "use": "verify"}).to_string();
    let made = service.send("POST", "/v1/tokens", &[("x-api-key", key)], Some(&made)).await.expect(201).json();
    let body = json!({"provider": provider, "secret": made["token"]["id"]}).to_string();
    let answer = service.send("POST", "/v1/endpoints", &[("x-api-key", key)], Some(&body)).await.expect(201).json();
    let made = &answer["endpoint"];
    Endpoint {
        id: made["id"].as_str().unwrap().to_owned(),
        path: path_of(made["url"].as_str().unwrap()),
        secret: secret(),
    }
}

impl Endpoint {
    async fn hears(&self, service: &Service, body: &str) -> Answer {
        let at = asyncqueue::clock::Clock::now(&*service.clock).unix_seconds();
        let headers = standard(&self.secret, "wh_1", at, body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        service.send("POST", &self.path, &headers, Some(body)).await
    }
}

fn event(kind: &str, job: &str) -> String {
    json!({"id": "evt_1", "type": kind, "data": {"id": job}}).to_string()
}

/// A task whose provider calls the job by this name, and which is polled once an hour.
fn video(target: &Target) -> Value {
    json!({
        "provider": "openai-videos", "targetUrl": target.url("/"), "body": "{}", "pollConfig": {"interval": 3600},
    })
}

async fn takes(job: &str) -> Target {
    let answer = json!({"id": job, "status": "queued"}).to_string();
    Target::start(move |_, _| Reply::status(200, &answer)).await
}

#[tokio::test]
async fn an_endpoint_is_made_listed_rotated_and_removed() {
    let service = Service::start().await;
    let made = endpoint(&service, KEY, "openai-videos").await;
    let token = made.path.strip_prefix("/v1/callbacks/endpoints/").unwrap();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    let list = service.ask("GET", "/v1/endpoints").await.expect(200);
    assert_eq!(list.json()["endpoints"][0]["id"], made.id);
    assert_eq!(list.json()["endpoints"][0]["provider"], "openai");
    assert!(!list.text().contains(token));
    let rotated = service.ask("POST", &format!("/v1/endpoints/{}/rotate", made.id)).await.expect(200).json();
    let path = path_of(rotated["endpoint"]["url"].as_str().unwrap());
    assert_eq!((path == made.path, &rotated["endpoint"]["id"]), (false, &json!(made.id)));
    made.hears(&service, &event("video.completed", "v")).await.expect_error(404, "Invalid endpoint");
    let anew = Endpoint { path, ..made };
    anew.hears(&service, &event("video.completed", "v")).await.expect(200);
    let other = service.another_team("other").await;
    let foreign = service.send("DELETE", &format!("/v1/endpoints/{}", anew.id), &[("x-api-key", &other)], None).await;
    foreign.expect_error(404, "Endpoint not found");
    service.ask("DELETE", &format!("/v1/endpoints/{}", anew.id)).await.expect(200);
    service.ask("DELETE", &format!("/v1/endpoints/{}", anew.id)).await.expect_error(404, "Endpoint not found");
    anew.hears(&service, &event("video.completed", "v")).await.expect_error(404, "Invalid endpoint");
    service
        .post(&format!("/v1/callbacks/endpoints/{}", "0".repeat(64)), "{}")
        .await
        .expect_error(404, "Invalid endpoint");
    assert_eq!(service.ask("GET", "/v1/endpoints").await.json(), json!({"endpoints": []}));
}

#[tokio::test]
async fn an_endpoints_secret_is_changed_and_its_url_stays() {
    let service = Service::start().await;
    let made = endpoint(&service, KEY, "openai").await;
    let path = format!("/v1/endpoints/{}", made.id);
    let change = async |body: &str| service.send("PATCH", &path, &[("x-api-key", KEY)], Some(body)).await;
    let secret = format!("whsec_{}", STANDARD.encode([6; 32]));
    let reference = token(&service, &secret, json!({"use": "verify"})).await;
    let changed = change(&json!({"secret": reference}).to_string()).await.expect(200).json();
    assert_eq!((&changed["endpoint"]["secret"], &changed["endpoint"]["id"]), (&json!(reference), &json!(made.id)));
    let ping = event("video.completed", "v");
    made.hears(&service, &ping).await.expect_error(401, "Invalid provider signature");
    let made = Endpoint { secret, ..made };
    made.hears(&service, &ping).await.expect(200);
    // What is no secret changes nothing.
    for (body, error) in [
        ("{}", "secret must be the vault reference of the provider's webhook secret (tok_…)"),
        (r#"{"secret":"tok_none"}"#, "Token not found: tok_none"),
        (r#"{"secret":null,"provider":"mux"}"#, "Unknown field: provider"),
    ] {
        assert_eq!(change(body).await.expect(400).error(), error);
    }
    made.hears(&service, &ping).await.expect(200);
    let unknown = format!("/v1/endpoints/{}", uuid::Uuid::nil());
    let asked = service.send("PATCH", &unknown, &[("x-api-key", KEY)], Some(r#"{"secret":"tok_x"}"#)).await;
    asked.expect_error(404, "Endpoint not found");
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_by_field() {
    let service = Service::start().await;
    let refused = async |body: Value| {
        let body = body.to_string();
        let answer = service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(&body)).await.expect(400).json();
        (answer["details"][0]["field"].clone(), answer["error"].as_str().unwrap().to_owned())
    };
    let (field, error) = refused(json!({"provider": "luma"})).await;
    assert_eq!(
        (field, &*error),
        (json!("provider"), "Luma AI takes a callback URL with each job; use provider and useCallback")
    );
    assert_eq!(refused(json!({"provider": "nobody"})).await.0, "provider");
    assert_eq!(refused(json!({"provider": "mux"})).await.0, "secret");
    assert_eq!(refused(json!({"provider": "mux", "secret": "tok_nope"})).await.0, "secret");
    let unknown = service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(r#"{"x":1}"#)).await.expect(400);
    assert!(unknown.error().contains('x'));
    service.send("POST", "/v1/endpoints", &[], Some("{}")).await.expect(401);
}

#[tokio::test]
async fn a_tasks_own_rule_holds_for_events_early_ones_too() {
    let service = Service::start().await;
    let made = endpoint(&service, KEY, "openai").await;
    let target = takes("resp_7").await;
    let asked = merged(
        video(&target),
        json!({
            "provider": "openai-responses",
            "callbackConfig": {"doneValues": ["response.completed", "response.incomplete"]},
        }),
    );
    let created = service.following(&asked).await;
    made.hears(&service, &event("response.incomplete", "resp_7")).await.expect(200);
    service.becomes(&created.id, "completed").await;
    let late = takes("resp_8").await;
    made.hears(&service, &event("response.incomplete", "resp_8")).await.expect(200);
    let created = service.create(&merged(asked, json!({"targetUrl": late.url("/")}))).await;
    service.becomes(&created.id, "completed").await;
}

#[tokio::test]
async fn a_poll_that_cannot_be_made_leaves_the_task_to_its_event() {
    let service = Service::start().await;
    let made = endpoint(&service, KEY, "openai").await;
    let target = takes("video_7").await;
    let poll = json!({"interval": 1, "urlTemplate": target.url("/{startResult.body.nothing}")});
    let created = service.following(&merged(video(&target), json!({"pollConfig": poll}))).await;
    service.once(&created.id, "asked", |task| task["status"] == "polling").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
    assert_eq!(service.task(&created.id).await["status"], "polling");
    made.hears(&service, &event("video.completed", "video_7")).await.expect(200);
    service.becomes(&created.id, "completed").await;
}

#[tokio::test]
async fn an_event_finds_its_task_by_the_jobs_id() {
    let service = Service::start().await;
    let hook = endpoint(&service, KEY, "openai-videos").await;
    let (one, two) = (takes("video_1").await, takes("video_2").await);
    let (done, failed) = (service.following(&video(&one)).await, service.following(&video(&two)).await);
    let body = event("video.completed", "video_1");
    hook.hears(&service, &body).await.expect(200);
    let task = service.task(&done.id).await;
    assert_eq!((&task["status"], &task["result"]["body"]), (&json!("completed"), &json!(body)));
    assert_eq!(service.task(&failed.id).await["status"], "polling");
    hook.hears(&service, &event("video.started", "video_2")).await.expect(200);
    assert_eq!(service.task(&failed.id).await["progress"]["type"], "video.started");
    hook.hears(&service, &event("video.failed", "video_2")).await.expect(200);
    assert_eq!(service.task(&failed.id).await["status"], "failed");
    // Repeated, of nobody, and without a job: the provider cannot know better.
    for body in [body, event("video.completed", "stranger"), json!({"type": "ping"}).to_string()] {
        hook.hears(&service, &body).await.expect(200);
    }
    assert_eq!(service.task(&done.id).await, task);
}

#[tokio::test]
async fn an_event_that_comes_before_the_answer_waits_for_it() {
    let service = Service::start().await;
    let hook = endpoint(&service, KEY, "openai-videos").await;
    let closed = gate();
    let gated = closed.subscribe();
    let target =
        Target::start(move |_, _| Reply::Behind(gated.clone(), Reply::bytes(200, &[], b"{\"id\":\"early\"}"))).await;
    let created = service.create(&video(&target)).await;
    target.request(1).await;
    hook.hears(&service, &event("video.progress", "early")).await.expect(200);
    hook.hears(&service, &event("video.completed", "early")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "processing");
    open(&closed);
    let task = service.becomes(&created.id, "completed").await;
    assert_eq!(task["result"]["body"], event("video.completed", "early"));
    assert_eq!(task["progress"]["type"], "video.progress");
}

#[tokio::test]
async fn events_are_signed_or_refused() {
    let service = Service::start().await;
    let hook = endpoint(&service, KEY, "openai-videos").await;
    let target = takes("v").await;
    let created = service.following(&video(&target)).await;
    let body = event("video.completed", "v");
    let at = asyncqueue::clock::Clock::now(&*service.clock).unix_seconds();
    let signed = |at: i64| standard(&secret(), "wh", at, &body);
    for headers in [vec![], signed(at - 900), standard("whsec_AAAA", "wh", at, &body)] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let refused = service.send("POST", &hook.path, &headers, Some(&body)).await;
        refused.expect_error(401, "Invalid provider signature");
    }
    assert_eq!(service.task(&created.id).await["status"], "polling");
    let broken = hook.hears(&service, "no json").await;
    broken.expect_error(400, "Request body must be valid JSON");
    assert_eq!(service.send("PUT", &hook.path, &[], None).await.expect(405).header("allow"), Some("POST"));
    service.send("OPTIONS", &hook.path, &[], None).await.expect(200);
    hook.hears(&service, &body).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
}

#[tokio::test]
async fn another_teams_job_is_not_found() {
    let service = Service::start().await;
    let other = service.another_team("other").await;
    let (ours, theirs) =
        (endpoint(&service, KEY, "openai-videos").await, endpoint(&service, &other, "openai-videos").await);
    let batches = endpoint(&service, KEY, "openai-batch").await;
    let target = takes("shared").await;
    let created = service.following(&video(&target)).await;
    theirs.hears(&service, &event("video.completed", "shared")).await.expect(200);
    batches.hears(&service, &event("batch.completed", "shared")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "polling");
    ours.hears(&service, &event("video.completed", "shared")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
}

#[tokio::test]
async fn many_events_of_one_address_are_no_reason_to_refuse_any() {
    let service = Service::with(&["--callback-rate-limit", "3/60"]).await;
    let hook = endpoint(&service, KEY, "openai-videos").await;
    for _ in 0..10 {
        hook.hears(&service, &event("video.completed", "stranger")).await.expect(200);
    }
}
