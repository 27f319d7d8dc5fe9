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

#[tokio::test]
async fn a_callback_url_of_a_provider_that_is_tested_with_options_answers() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let body = json!({"targetUrl": target.url("/"), "provider": "luma", "useCallback": true, "body": "{}"});
    let task = service.create(&body).await;
    service.send("OPTIONS", &task.callback_path(), &[], None).await.expect(200);
    service.send("PUT", &task.callback_path(), &[], Some("{}")).await.expect_error(405, "Method not allowed");
    let plain = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    service.send("OPTIONS", &plain.callback_path(), &[], None).await.expect_error(405, "Method not allowed");
}
