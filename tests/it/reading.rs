//! Reading tasks, who may, and what their owner may do with them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Service, Target};

#[tokio::test]
async fn only_the_owner_reads_a_task_and_only_with_a_key() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = service.create(&json!({"targetUrl": target.url("/")})).await;
    let path = format!("/v1/tasks/{}", task.id);
    service.send("GET", &path, &[], None).await.expect_error(401, "API key required");
    let wrong = [("x-api-key", "async_0123456789012345678901234567890123")];
    service.send("GET", &path, &wrong, None).await.expect_error(401, "Invalid or revoked API key");
    let other = service.another_team("other").await;
    let theirs = [("x-api-key", other.as_str())];
    for (method, path) in [("GET", path.clone()), ("POST", format!("{path}/cancel")), ("GET", format!("{path}/events"))]
    {
        service.send(method, &path, &theirs, None).await.expect_error(403, "Access denied");
    }
    for unknown in ["01999999-9999-7999-8999-999999999999", "x", "%30", ""] {
        let answer = service.ask("GET", &format!("/v1/tasks/{unknown}")).await;
        assert_eq!(answer.status, 404, "{unknown}");
    }
    service.ask("GET", "/v1/nothing").await.expect_error(404, "Not found");
    let answer = service.ask("PATCH", "/v1/tasks").await.expect(405);
    assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn a_long_poll_is_answered_when_the_status_changes() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    service.becomes(&task.id, "waiting").await;
    let path = format!("/v1/tasks/{}?wait=25", task.id);
    let started = tokio::time::Instant::now();
    let (held, resolved) = tokio::join!(service.ask("GET", &path), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        service.post(&task.callback_path(), "1").await.status
    });
    assert_eq!((resolved, &held.json()["task"]["status"]), (200, &json!("completed")));
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(20));
    // A final task is answered at once.
    assert_eq!(service.ask("GET", &path).await.expect(200).json()["task"]["status"], "completed");
    assert!(started.elapsed() < Duration::from_secs(20));
    for odd in ["-1", "abc", "1.5"] {
        assert_eq!(service.ask("GET", &format!("/v1/tasks/{}?wait={odd}", task.id)).await.status, 400, "{odd}");
    }
}

#[tokio::test]
async fn a_list_has_pages_filters_and_a_total() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await.id);
    }
    for id in &ids {
        service.becomes(id, "waiting").await;
    }
    service.ask("POST", &format!("/v1/tasks/{}/cancel", ids[0])).await.expect(200);
    let list = async |query: &str| service.ask("GET", &format!("/v1/tasks{query}")).await.expect(200).json();
    let shown = |list: &Value| -> Vec<String> {
        list["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = list("").await;
    assert_eq!(shown(&all), ids.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(all["pagination"], json!({"total": 5, "limit": 20, "offset": 0, "hasMore": false}));
    let page = list("?status=waiting&limit=2&offset=1").await;
    assert_eq!(shown(&page), [ids[3].clone(), ids[2].clone()]);
    assert_eq!(page["pagination"], json!({"total": 4, "limit": 2, "offset": 1, "hasMore": true}));
    assert_eq!(shown(&list("?status=cancelled").await), [ids[0].clone()]);
    for odd in
        ["limit=0", "limit=101", "limit=abc", "offset=-1", "offset=1000000000000", "status=done", "limit=1&limit=2"]
    {
        assert_eq!(service.ask("GET", &format!("/v1/tasks?{odd}")).await.status, 400, "{odd}");
    }
}

#[tokio::test]
async fn an_ended_task_can_be_retried_and_deleted_and_a_living_one_cannot() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = service.create(&json!({"targetUrl": target.url("/a"), "waitForSignal": true})).await;
    service.becomes(&task.id, "waiting").await;
    let path = format!("/v1/tasks/{}", task.id);
    service.ask("POST", &format!("{path}/retry")).await.expect_error(409, "Task has not ended (current: waiting)");
    service.ask("DELETE", &path).await.expect_error(409, "Task has not ended (current: waiting)");
    service.post(&task.signal_path(), r#"{"status":"completed"}"#).await.expect(200);
    service
        .ask("POST", &format!("{path}/cancel"))
        .await
        .expect_error(409, "Task cannot be cancelled (current: completed)");
    let again = service.ask("POST", &format!("{path}/retry")).await.expect(201).json();
    assert_eq!(again["task"]["retryOf"], task.id);
    assert_ne!(again["callbackUrl"], Value::Null);
    assert_ne!(again["signalToken"].as_str(), Some(task.signal_path().rsplit('/').next().unwrap()));
    service.becomes(again["task"]["id"].as_str().unwrap(), "waiting").await;
    service.ask("DELETE", &path).await.expect(200);
    service.ask("GET", &path).await.expect_error(404, "Task not found");
    service.post(&task.callback_path(), "1").await.expect_error(404, "Invalid or expired callback ID");
}

#[tokio::test]
async fn a_teams_requests_are_limited_and_it_is_told_how_far() {
    let service = Service::with(&["--team-rate-limit", "3"]).await;
    for left in ["2", "1", "0"] {
        let answer = service.ask("GET", "/v1/tasks").await.expect(200);
        assert_eq!(answer.header("x-ratelimit-limit"), Some("3"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
        assert!(answer.header("x-ratelimit-reset").is_some());
    }
    let refused = service.ask("GET", "/v1/tasks").await;
    refused.expect_error(429, "Rate limit exceeded");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() <= 60);
}

#[tokio::test]
async fn a_restart_keeps_tasks_and_their_callback_ids_and_the_service_shows_how_it_is() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    service.becomes(&task.id, "waiting").await;
    let service = service.restart(&[]).await;
    service.send("GET", "/healthz", &[], None).await.expect(200);
    service.send("GET", "/readyz", &[], None).await.expect(200);
    let metrics = service.send("GET", "/metrics", &[], None).await.expect(200);
    assert!(metrics.text().contains("asyncqueue_tasks{status=\"waiting\"} 1"), "{}", metrics.text());
    service.post(&task.callback_path(), "[]").await.expect(200);
    assert_eq!(service.task(&task.id).await["result"]["body"], "[]");
}
