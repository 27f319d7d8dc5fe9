//! What a creation may ask for, and what it shows of it.

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Reply, Service, Target};

#[tokio::test]
async fn each_field_is_checked_and_all_that_is_wrong_is_told_at_once() {
    let service = Service::start().await;
    let long = "x".repeat(5000);
    let poll = |config: Value| json!({"pollConfig": config});
    let cases = [
        (json!({"provider": "nobody"}), vec!["provider"]),
        (json!({"provider": 7}), vec!["provider"]),
        (json!({"pollConfig": "no"}), vec!["pollConfig"]),
        (
            poll(json!({})),
            vec!["pollConfig.urlTemplate", "pollConfig.statusPath", "pollConfig.doneValues", "pollConfig.failValues"],
        ),
        (json!({"provider": "fal", "pollConfig": {"interval": 0.5}}), vec!["pollConfig.interval"]),
        (json!({"provider": "fal", "pollConfig": {"interval": 3601}}), vec!["pollConfig.interval"]),
        (json!({"provider": "fal", "pollConfig": {"maxDuration": 2_592_001}}), vec!["pollConfig.maxDuration"]),
        (json!({"provider": "fal", "pollConfig": {"doneValues": []}}), vec!["pollConfig.doneValues"]),
        (json!({"provider": "fal", "pollConfig": {"doneValues": [1]}}), vec!["pollConfig.doneValues"]),
        (json!({"provider": "fal", "pollConfig": {"statusPath": "a..b"}}), vec!["pollConfig.statusPath"]),
        (json!({"provider": "fal", "pollConfig": {"resultPath": "a[0]"}}), vec!["pollConfig.resultPath"]),
        (json!({"provider": "fal", "pollConfig": {"unknown": 1}}), vec!["pollConfig.unknown"]),
        (json!({"provider": "fal", "pollConfig": {"urlTemplate": "ftp://x.example/"}}), vec!["pollConfig.urlTemplate"]),
        (
            json!({"provider": "fal", "pollConfig": {"urlTemplate": "https://{startResult.body.host}/"}}),
            vec!["pollConfig.urlTemplate"],
        ),
        (json!({"provider": "runpod"}), vec!["providerParams.endpoint_id"]),
        (json!({"provider": "fal", "providerParams": {"a": long}}), vec!["providerParams"]),
        (json!({"provider": "fal", "providerParams": {"a": 1}}), vec!["providerParams"]),
        (json!({"callbackConfig": {"statusPath": "@http.status"}}), vec!["callbackConfig.statusPath"]),
        (json!({"callbackConfig": {"nope": 1}}), vec!["callbackConfig.nope"]),
        (json!({"provider": "fal", "useCallback": "yes"}), vec!["useCallback"]),
        (json!({"provider": "replicate", "callbackSecret": "whsec_plain"}), vec!["callbackSecret"]),
        (json!({"provider": "replicate", "callbackSecret": "tok_nope"}), vec!["callbackSecret"]),
        (json!({"provider": "luma", "callbackSecret": "tok_nope"}), vec!["callbackSecret"]),
        (json!({"callbackSecret": "tok_nope"}), vec!["callbackSecret"]),
    ];
    for (more, fields) in cases {
        let asked = merged(json!({"targetUrl": "https://api.example.com/"}), more);
        let refused = service.try_create(&asked.to_string()).await.expect(400).json();
        let told: Vec<&str> =
            refused["details"].as_array().unwrap().iter().map(|detail| detail["field"].as_str().unwrap()).collect();
        assert_eq!(told, fields, "{asked}: {refused}");
        for detail in refused["details"].as_array().unwrap() {
            assert!(detail["message"].as_str().unwrap().len() > 10, "{refused}");
        }
    }
}

#[tokio::test]
async fn a_task_shows_where_the_api_that_it_calls_is_polled() {
    let service = Service::start().await;
    for url in ["https://api.shotstack.io/edit/v1/render", "https://api.shotstack.io/edit/stage/render"] {
        for poll in [json!(null), json!({"interval": 9})] {
            let asked = json!({
                "provider": "shotstack", "targetUrl": url, "pollConfig": poll, "delayUntil": "2027-01-01T00:00:00Z",
            });
            let created = service.try_create(&asked.to_string()).await.expect(201).json();
            assert_eq!(created["task"]["pollConfig"]["urlTemplate"], format!("{url}/{{id}}"));
        }
    }
}

#[tokio::test]
async fn a_task_shows_what_it_follows_expanded() {
    let (service, target) = (Service::start().await, Target::start(|_, _| Reply::Hang).await);
    let body = json!({
        "provider": "replicate", "targetUrl": target.url("/"), "body": "{}", "useCallback": true, "retryOn": [409],
        "pollConfig": {"interval": 1.5, "errorPath": "error"}, "providerParams": {"region": "eu"},
    });
    let created = service.create(&body).await;
    let expected = r#"{"urlTemplate":"https://api.replicate.com/v1/predictions/{startResult.body.id}","interval":1.5,"statusPath":"status","doneValues":["succeeded"],"failValues":["failed","canceled"],"resultPath":"output","errorPath":"error","forwardAuth":true,"maxDuration":600}"#;
    let answer = service.ask("GET", &format!("/v1/tasks/{}", created.id)).await.expect(200);
    assert!(answer.text().contains(&format!("\"pollConfig\":{expected},")), "{}", answer.text());
    let task = &answer.json()["task"];
    assert_eq!((&task["provider"], &task["useCallback"]), (&json!("replicate"), &json!(true)));
    assert_eq!((&task["providerParams"], &task["retryOn"]), (&json!({"region": "eu"}), &json!([409, 429])));
    assert_eq!((&task["callbackConfig"], &task["callbackId"]), (&Value::Null, &Value::Null));
    assert_eq!(created.json["task"]["pollConfig"], task["pollConfig"]);
    assert_eq!(task["maxWaitTime"], 600);
    let plain = service.create(&json!({"targetUrl": target.url("/")})).await;
    let nothing = json!({"provider": null, "pollConfig": null, "callbackConfig": null, "callbackSecret": null});
    for (name, value) in nothing.as_object().unwrap() {
        assert_eq!(&plain.json["task"][name], value, "{name}");
    }
    assert_eq!(
        (&plain.json["task"]["useCallback"], &plain.json["task"]["providerParams"]),
        (&json!(false), &json!({}))
    );
}

#[tokio::test]
async fn a_retry_by_hand_follows_as_the_first_did() {
    let service = Service::start().await;
    let target = job_7(vec![Reply::status(200, r#"{"status":"failed"}"#)]).await;
    let body = merged(polled(&target, json!({})), json!({"callbackConfig": {"statusPath": "s", "doneValues": ["x"]}}));
    let created = service.create(&body).await;
    let first = service.becomes(&created.id, "failed").await;
    let again = service.ask("POST", &format!("/v1/tasks/{}/retry", created.id)).await.expect(201).json();
    let task = &again["task"];
    assert_eq!((&task["pollConfig"], &task["callbackConfig"]), (&first["pollConfig"], &first["callbackConfig"]));
    assert_eq!((&task["retryOf"], again["callbackUrl"].is_string()), (&json!(created.id), true));
    service.becomes(task["id"].as_str().unwrap(), "failed").await;
}

#[tokio::test]
async fn what_a_template_says_to_retry_is_retried() {
    let service = Service::start().await;
    let target = provider(|_, _, number| match number {
        1 => Reply::with(429, &[("retry-after", "1")], "{}"),
        _ => Reply::status(200, r#"{"id":"l"}"#),
    })
    .await;
    let created = service.create(&json!({"provider": "luma", "targetUrl": target.url("/"), "body": "{}"})).await;
    let task = service.becomes(&created.id, "polling").await;
    assert_eq!((&task["retryCount"], target.count()), (&json!(1), 2));
}

#[tokio::test]
async fn the_list_of_providers_is_for_everybody_and_the_six_come_first() {
    let service = Service::start().await;
    let answer = service.send("GET", "/v1/providers", &[], None).await.expect(200);
    let public: Vec<Value> = serde_json::from_str(include_str!("../../data/public_providers.json")).unwrap();
    let listed = answer.json()["providers"].as_array().unwrap().clone();
    assert_eq!((listed.len(), public.len()), (58, 6));
    for (shown, public) in listed.iter().zip(&public) {
        let mut shown = shown.clone();
        assert!(shown.as_object_mut().unwrap().remove("callback").is_some());
        assert_eq!(shown, *public);
    }
    let keys: Vec<&String> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["callback", "description", "id", "name", "pollConfig"]);
    let replicate = &listed[1]["callback"];
    assert_eq!((&replicate["url"]["at"], &replicate["signature"]), (&json!("webhook"), &json!("standard-webhooks")));
    service.send("POST", "/v1/providers", &[], None).await.expect(405);
}
