//! The callback URL and what belongs to it are put where the provider wants them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Reply, Service, Target};

const SECRET: &str = "a-secret-of-the-callbacks";

/// A task of this provider at this target, with the callback URL put in.
fn task(provider: &str, url: String, body: &str) -> Value {
    json!({"provider": provider, "targetUrl": url, "useCallback": true, "body": body})
}

#[tokio::test]
async fn into_the_query_and_into_bodies() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let fal = service.following(&task("fal", target.url("/m?x=1&fal_webhook=mine#f"), "not json")).await;
    let url = fal.json["callbackUrl"].as_str().unwrap().to_owned();
    assert!(url.ends_with(&fal.callback_path()) && url.len() < 200);
    let seen = target.request(1).await;
    let encoded = url.replace(':', "%3A").replace('/', "%2F");
    assert_eq!((&*seen.path, seen.text()), (&*format!("/m?x=1&fal_webhook={encoded}"), "not json"));

    let apify = service.following(&task("apify", target.url("/runs"), "{}")).await;
    let seen = target.request(2).await;
    let (_, packed) = seen.path.split_once("webhooks=").unwrap();
    let packed = STANDARD.decode(packed.replace("%3D", "=").replace("%2F", "/").replace("%2B", "+")).unwrap();
    let packed: Value = serde_json::from_slice(&packed).unwrap();
    assert_eq!(packed[0]["requestUrl"], apify.json["callbackUrl"]);

    let created = service.following(&task("replicate", target.url("/p"), r#"{ "input": {"seed": 1.0e2} }"#)).await;
    let expected = format!(
        r#"{{ "input": {{"seed": 1.0e2}},"webhook":{},"webhook_events_filter":["completed"] }}"#,
        created.json["callbackUrl"]
    );
    assert_eq!(target.request(3).await.text(), expected);
    let created = service.following(&task("gemini-batch", target.url("/b"), r#"{"batch":{"model":"m"}}"#)).await;
    assert_eq!(target.request(4).await.json()["batch"]["webhookConfig"]["uris"][0], created.json["callbackUrl"]);
}

#[tokio::test]
async fn a_users_own_choice_beside_the_url_stays() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let body = r#"{"webhook":"https://mine.example/","webhook_events_filter":["start","completed"]}"#;
    let created = service.following(&task("replicate", target.url("/p"), body)).await;
    let seen = target.request(1).await.json();
    assert_eq!(seen["webhook"], created.json["callbackUrl"]);
    assert_eq!(seen["webhook_events_filter"], json!(["start", "completed"]));
    // What the user wrote is what is shown.
    assert_eq!(service.task(&created.id).await["body"], body);
}

#[tokio::test]
async fn a_form_is_a_body_too() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let form = "--b\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n{\"type\":\"transcription\"}\r\n\
                --b\r\nContent-Disposition: form-data; name=\"data_file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    let headers = json!({"headers": {"Content-Type": "multipart/form-data; boundary=b"}});
    let created = service.following(&merged(task("speechmatics", target.url("/v2/jobs"), form), headers)).await;
    let seen = target.request(1).await;
    let config = format!(r#""notification_config":[{{"url":{}}}]"#, created.json["callbackUrl"]);
    assert!(seen.text().contains(&config) && seen.text().ends_with("RIFF\r\n--b--\r\n"), "{}", seen.text());
}

#[tokio::test]
async fn where_it_cannot_be_put_the_creation_says_what_to_do() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let cases = [
        ("replicate", json!("prompt=a cat"), "the body must be JSON"),
        ("replicate", Value::Null, "the body must be JSON"),
        (
            "replicate",
            json!("[1]"),
            "the callback URL belongs into the body's field webhook, but the body is of another type",
        ),
        ("novita", json!(r#"{"extra":"none"}"#), "but the body's extra is of another type"),
        ("openai-videos", json!("{}"), "make one with POST /v1/endpoints"),
        ("runwayml", json!("{}"), "has no callbacks; leave useCallback out"),
    ];
    for (provider, body, says) in cases {
        let mut asked = task(provider, target.url("/"), "");
        asked["body"] = body;
        let refused = service.try_create(&asked.to_string()).await.expect(400).json();
        let detail = &refused["details"][0];
        assert_eq!((&detail["field"], &detail["message"]), (&json!("useCallback"), &refused["error"]));
        assert!(refused["error"].as_str().unwrap().contains(says), "{refused}");
    }
    let unnamed = json!({"targetUrl": target.url("/"), "useCallback": true});
    let refused = service.try_create(&unnamed.to_string()).await.expect(400).error();
    assert_eq!(refused, "useCallback needs a provider, which says where the callback URL belongs");
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn the_providers_secret_is_told_and_masked_where_it_is_echoed() {
    let service = Service::start().await;
    let echo =
        provider(|_, seen, _| Reply::status(200, &json!({"you sent": seen.text(), "data": {}}).to_string())).await;
    let secret = token(&service, SECRET, json!({"allowedHosts": ["127.0.0.1"]})).await;
    let body = merged(
        task("piapi", echo.url("/task"), "{}"),
        json!({"callbackSecret": secret, "pollConfig": {"urlTemplate": echo.url("/{startResult.body.data.x}")}}),
    );
    let created = service.following(&body).await;
    assert_eq!(echo.request(1).await.json()["config"]["webhook_config"]["secret"], SECRET);
    let answer = service.ask("GET", &format!("/v1/tasks/{}", created.id)).await;
    assert!(!answer.text().contains(SECRET));
    service.ask("POST", &format!("/v1/tasks/{}/cancel", created.id)).await.expect(200);
    for file in std::fs::read_dir(&service.folder.0).unwrap() {
        let Ok(bytes) = std::fs::read(file.unwrap().path()) else { continue };
        assert!(memchr::memmem::find(&bytes, SECRET.as_bytes()).is_none());
    }
}

#[tokio::test]
async fn a_secret_for_verifying_is_never_told_and_another_hosts_is_refused() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let verify = token(&service, SECRET, json!({"use": "verify"})).await;
    let asked = task("assemblyai", target.url("/"), "{}");
    service.following(&merged(asked.clone(), json!({"callbackSecret": verify}))).await;
    let seen = target.request(1).await;
    assert!(seen.json()["webhook_url"].is_string() && !seen.text().contains(SECRET), "{}", seen.text());
    let elsewhere = token(&service, SECRET, json!({"allowedHosts": ["api.example.com"]})).await;
    let refused = merged(asked, json!({"callbackSecret": elsewhere}));
    let refused = service.try_create(&refused.to_string()).await.expect(400).json();
    assert_eq!(refused["details"][0]["field"], "callbackSecret");
    assert_eq!(refused["error"], format!("{elsewhere} must not be sent to 127.0.0.1"));
}
