//! One address for the webhooks of all jobs of an account, and what needs no key.

use serde_json::{Value, json};

use crate::support::{KEY, Reply, Service, Target};

async fn endpoint(service: &Service, provider: &str) -> (String, String) {
    let body = json!({"provider": provider}).to_string();
    let made = service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(&body)).await.expect(201).json();
    let url = made["endpoint"]["url"].as_str().unwrap();
    let path = &url[url.find("/v1/").unwrap()..];
    (made["endpoint"]["id"].as_str().unwrap().to_owned(), path.to_owned())
}

#[tokio::test]
async fn a_provider_without_a_key_tells_of_a_job_by_its_id() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::with(200, &[], r#"{"result":"job-1"}"#)).await;
    let (id, path) = endpoint(&service, "meshy").await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "provider": "meshy"})).await;
    service.becomes(&task.id, "polling").await;
    let event = r#"{"id":"job-1","status":"SUCCEEDED"}"#;
    assert_eq!(service.post(&path, event).await.expect(200).json(), json!({"ok": true}));
    let task = service.becomes(&task.id, "completed").await;
    assert_eq!(task["result"]["body"], event);
    service.post(&path, r#"{"id":"of nobody","status":"SUCCEEDED"}"#).await.expect(200);
    service.ask("DELETE", &format!("/v1/endpoints/{id}")).await.expect(200);
    service.post(&path, event).await.expect_error(404, "Invalid endpoint");
}

#[tokio::test]
async fn the_list_of_providers_is_for_everybody() {
    let service = Service::start().await;
    let list = service.send("GET", "/v1/providers", &[], None).await.expect(200).json();
    assert_eq!(list["providers"][0]["id"], Value::from("fal"));
}
