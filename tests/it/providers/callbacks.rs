//! Callbacks that are understood: by a provider's rule, or by the task's own.

use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::{Created, Reply, Service, Target, gate, open};

const GONE: &str = "Invalid or expired callback ID";

/// A task of this provider that waits for its callback, the answer to its call naming this job.
async fn waiting(service: &Service, provider: &str, job: &Value) -> (Created, Target) {
    let job = job.to_string();
    let target = Target::start(move |_, _| Reply::status(200, &job)).await;
    let body = json!({"provider": provider, "targetUrl": target.url("/"), "useCallback": true, "body": "{}"});
    (service.following(&body).await, target)
}

#[tokio::test]
async fn news_is_kept_as_progress_and_the_end_still_counts() {
    let service = Service::start().await;
    let (dreaming, completed) = (Webhook::named("luma.dreaming"), Webhook::named("luma.completed"));
    let (created, _target) = waiting(&service, "luma", &json!({"id": dreaming.job})).await;
    let answer = dreaming.send(&service, &created.callback_path(), &[]).await.expect(200);
    let before = service.task(&created.id).await;
    let expected = json!({"task": {
        "id": created.id, "status": "polling", "result": null, "createdAt": before["createdAt"], "completedAt": null,
    }});
    assert_eq!(answer.json(), expected);
    assert_eq!(before["progress"]["state"], "dreaming");
    // What nobody documented is news, too.
    service.post(&created.callback_path(), r#"{"state":"paused"}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["progress"], json!({"state": "paused"}));
    completed.send(&service, &created.callback_path(), &[]).await.expect(200);
    let task = service.task(&created.id).await;
    assert_eq!((&task["status"], &task["result"]["body"]), (&json!("completed"), &json!(completed.compact())));
    assert_eq!(task["result"]["headers"], json!({}));
    let types = service.event_types(&created.id).await;
    let heard = ["callback.received", "progress", "callback.received", "progress", "callback.received", "completed"];
    assert_eq!(types[types.len() - 6..], heard);
    completed.send(&service, &created.callback_path(), &[]).await.expect_error(404, GONE);
}

#[tokio::test]
async fn news_shows_neither_the_callback_url_nor_secrets() {
    let service = Service::start().await;
    let (created, _target) = waiting(&service, "replicate", &json!({"id": "r1"})).await;
    let url = created.json["callbackUrl"].as_str().unwrap();
    let news = json!({"id": "r1", "status": "processing", "webhook": url, "logs": format!("posting to {url}")});
    service.post(&created.callback_path(), &news.to_string()).await.expect(200);
    let task = service.task(&created.id).await;
    assert_eq!(task["progress"]["webhook"], "[redacted]");
    assert_eq!(task["progress"]["logs"], "posting to {asyncqueue_callback_url}");
    let events = format!("{:?}", service.events(&created.id).await);
    assert!(!events.contains(created.callback.as_deref().unwrap()));
}

#[tokio::test]
async fn a_failure_fails_the_task_with_the_providers_words_and_the_whole_body() {
    let service = Service::start().await;
    for (webhook, error) in [
        ("replicate.failed", None),
        ("assemblyai.error", None),
        ("revai.failed", None),
        ("apify.run.failed", None),
        ("deepgram.listen.error", Some("The remote server hosting the media returned a client error: 404 Not Found.")),
    ] {
        let webhook = Webhook::named(webhook);
        let provider = webhook.template.clone().unwrap();
        let (created, _target) = waiting(&service, &provider, &json!({"unread": true})).await;
        let answer = webhook.send(&service, &created.callback_path(), &[]).await.expect(200).json();
        let task = service.task(&created.id).await;
        assert_eq!((&task["status"], &answer["task"]["status"]), (&json!("failed"), &json!("failed")), "{provider}");
        assert_eq!((&task["result"]["body"], &answer["task"]["error"]), (&json!(webhook.compact()), &task["error"]));
        let told = task["error"].as_str().unwrap();
        assert!(error.map_or(!told.is_empty(), |error| told == error), "{provider}: {told}");
    }
}

#[tokio::test]
async fn a_task_may_bring_its_own_rule() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let rule = json!({
        "statusPath": "state", "doneValues": ["ok", "true"], "failValues": ["bad"], "interimValues": ["on"],
        "idPath": "id", "errorPath": "why",
    });
    let body = json!({"targetUrl": target.url("/"), "body": "{asyncqueue_callback_url}", "callbackConfig": rule});
    for (end, status, error) in [
        (r#"{"state":"ok"}"#, "completed", Value::Null),
        (r#"{"state":true}"#, "completed", Value::Null),
        (r#"{"state":"bad","why":"no"}"#, "failed", json!("no")),
        (r#"{"state":"bad"}"#, "failed", json!("The provider reported: bad")),
    ] {
        let created = service.following(&body).await;
        assert_eq!(created.json["task"]["maxWaitTime"], 3600);
        assert_eq!(created.json["task"]["callbackConfig"]["doneValues"], json!(["ok", "true"]));
        for news in [r#"{"state":"on"}"#, r#"{"state":"OK"}"#, "[1]", "\"ok\"", "{}"] {
            service.post(&created.callback_path(), news).await.expect(200);
            assert_eq!(service.task(&created.id).await["status"], "waiting", "{news}");
        }
        service.post(&created.callback_path(), "state=ok").await.expect_error(400, "Request body must be valid JSON");
        service.post(&created.callback_path(), end).await.expect(200);
        let task = service.task(&created.id).await;
        assert_eq!((&task["status"], &task["error"]), (&json!(status), &error));
    }
    let presence = json!({"doneWhenPresent": ["data.url"], "failWhenPresent": "error"});
    let body = merged(body, json!({"callbackConfig": presence}));
    let created = service.following(&body).await;
    service.post(&created.callback_path(), r#"{"error":null,"data":{"url":null}}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "waiting");
    service.post(&created.callback_path(), r#"{"error":null,"data":{"url":"u"}}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
}

#[tokio::test]
async fn other_jobs_news_and_failures_are_left_and_their_success_is_taken() {
    let service = Service::start().await;
    let (created, _target) = waiting(&service, "replicate", &json!({"id": "second"})).await;
    let said = |id: &str, status: &str| json!({"id": id, "status": status, "error": "e"}).to_string();
    for status in ["failed", "processing"] {
        let answer = service.post(&created.callback_path(), &said("first", status)).await.expect(200);
        assert_eq!(answer.json()["task"]["status"], "polling");
    }
    let task = service.task(&created.id).await;
    assert_eq!((&task["status"], &task["progress"]), (&json!("polling"), &Value::Null));
    service.post(&created.callback_path(), &said("first", "succeeded")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
    service.post(&created.callback_path(), &said("first", "failed")).await.expect_error(404, GONE);
    let (created, _target) = waiting(&service, "replicate", &json!({"id": "second"})).await;
    service.post(&created.callback_path(), &said("second", "failed")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "failed");
}

#[tokio::test]
async fn a_rule_of_the_tasks_own_tells_an_earlier_attempts_job_by_its_id_path() {
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::status(200, r#"{"job":{"id":"second"}}"#)).await;
    let rule = json!({
        "statusPath": "state", "doneValues": ["ok"], "failValues": ["bad"], "idPath": ["job.id", "?job"],
    });
    let body = json!({"targetUrl": target.url("/"), "body": "{asyncqueue_callback_url}", "callbackConfig": rule});
    let created = service.following(&body).await;
    let said = |id: &str, state: &str| json!({"job": {"id": id}, "state": state}).to_string();
    for state in ["bad", "on"] {
        let answer = service.post(&created.callback_path(), &said("first", state)).await.expect(200);
        assert_eq!(answer.json()["task"]["status"], "waiting");
    }
    // The id may come with the URL instead.
    let path = format!("{}?job=first", created.callback_path());
    service.post(&path, r#"{"state":"bad"}"#).await.expect(200);
    let task = service.task(&created.id).await;
    assert_eq!((&task["status"], &task["progress"]), (&json!("waiting"), &Value::Null));
    service.post(&created.callback_path(), &said("second", "on")).await.expect(200);
    assert_eq!(service.task(&created.id).await["progress"]["job"]["id"], "second");
    service.post(&created.callback_path(), &said("first", "ok")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
    // What comes after the end is refused whosever it is, and kept.
    let created = service.following(&body).await;
    service.ask("POST", &format!("/v1/tasks/{}/cancel", created.id)).await.expect(200);
    service.post(&created.callback_path(), &said("first", "bad")).await.expect(409);
    assert_eq!(service.events(&created.id).await.last().unwrap()["body"], said("first", "bad"));
    let created = service.following(&body).await;
    service.post(&created.callback_path(), &said("second", "bad")).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "failed");
}

#[tokio::test]
async fn a_challenge_is_answered_and_uses_nothing_up() {
    let service = Service::start().await;
    let closed = gate();
    let gated = closed.subscribe();
    let target =
        Target::start(move |_, _| Reply::Behind(gated.clone(), Reply::bytes(200, &[], b"{\"task_id\":\"t\"}"))).await;
    let body = json!({"provider": "minimax", "targetUrl": target.url("/"), "useCallback": true, "body": "{}"});
    let created = service.create(&body).await;
    target.request(1).await;
    let challenge = Webhook::named("minimax.challenge");
    let answer = challenge.send(&service, &created.callback_path(), &[]).await.expect(200);
    assert_eq!(answer.json(), json!({"challenge": "a1b2c3d4e5f6"}));
    open(&closed);
    service.becomes(&created.id, "polling").await;
    challenge.send(&service, &created.callback_path(), &[]).await.expect(200);
    assert_eq!(service.task(&created.id).await["progress"], Value::Null);
    service.post(&created.callback_path(), r#"{"task_id":"t","status":"success"}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "completed");
}

#[tokio::test]
async fn a_callback_may_come_before_the_answer_to_the_call() {
    let service = Service::start().await;
    let held = |status: u16| {
        let closed = gate();
        let gated = closed.subscribe();
        (closed, Target::start(move |_, _| Reply::Behind(gated.clone(), Reply::bytes(status, &[], b"{\"id\":\"x\"}"))))
    };
    let asked = |target: &Target, provider: &str| {
        json!({
            "provider": provider, "targetUrl": target.url("/"), "useCallback": true, "body": "{}", "maxRetries": 3,
            "pollConfig": {"urlTemplate": target.url("/{startResult.body.id}"), "interval": 3600},
        })
    };
    // The end, before the answer.
    let (closed, target) = held(200);
    let target = target.await;
    let created = service.create(&asked(&target, "replicate")).await;
    target.request(1).await;
    service.post(&created.callback_path(), r#"{"id":"x","status":"failed","error":"e"}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["error"], "e");
    open(&closed);
    // News, before an answer that is a failure: the job was taken, so it is not submitted again.
    let (closed, target) = held(500);
    let target = target.await;
    let created = service.create(&asked(&target, "luma")).await;
    target.request(1).await;
    service.post(&created.callback_path(), r#"{"id":"x","state":"dreaming"}"#).await.expect(200);
    assert_eq!(service.task(&created.id).await["status"], "processing");
    open(&closed);
    service.becomes(&created.id, "waiting").await;
    service.post(&created.callback_path(), r#"{"id":"x","state":"completed"}"#).await.expect(200);
    assert_eq!((target.count(), &service.task(&created.id).await["status"]), (1, &json!("completed")));
}

#[tokio::test]
async fn methods_are_those_of_the_template() {
    let service = Service::start().await;
    let (luma, _one) = waiting(&service, "luma", &json!({"id": "l"})).await;
    let (deepgram, _two) = waiting(&service, "deepgram", &json!({"request_id": "d"})).await;
    let own = json!({"callbackConfig": {"idPath": "request_id"}});
    let target = Target::start(|_, _| Reply::status(200, r#"{"request_id":"d"}"#)).await;
    let asked = json!({"provider": "deepgram", "targetUrl": target.url("/"), "useCallback": true, "body": "{}"});
    let ruled = service.following(&merged(asked, own)).await;
    for (task, method, allow) in [
        (&ruled, "GET", "POST, PUT"),
        (&luma, "PUT", "POST"),
        (&luma, "OPTIONS", "POST"),
        (&luma, "GET", "POST"),
        (&deepgram, "OPTIONS", "POST, PUT"),
        (&deepgram, "DELETE", "POST, PUT"),
    ] {
        let refused = service.send(method, &task.callback_path(), &[], Some("{}")).await.expect(405);
        assert_eq!(refused.header("allow"), Some(allow), "{method}");
    }
    let done = Webhook::named("deepgram.listen.ok");
    service.send("PUT", &deepgram.callback_path(), &[], Some(done.text())).await.expect(200);
    assert_eq!(service.task(&deepgram.id).await["status"], "completed");
    assert_eq!(service.task(&luma.id).await["status"], "polling");
}

#[tokio::test]
async fn a_provider_without_a_template_for_webhooks_is_taken_at_its_first_word() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let body = json!({"provider": "modal", "targetUrl": target.url("/?w={asyncqueue_callback_url}")});
    let created = service.following(&body).await;
    service.post(&created.callback_path(), "[]").await.expect(200);
    assert_eq!(service.task(&created.id).await["result"]["body"], "[]");
}
