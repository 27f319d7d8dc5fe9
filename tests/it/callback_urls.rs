//! T27: the callback URL in what is sent. It is the same on every attempt, encoded where it has to be, and kept nowhere.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::support::{Reply, Service, Target, large};

#[tokio::test]
async fn the_id_is_the_same_on_each_attempt_and_the_database_holds_it_nowhere() {
    let service = Service::start().await;
    let target = Target::start(|seen, number| {
        let echo = format!(r#"{{"you said":{}}}"#, String::from_utf8_lossy(&seen.body));
        Reply::with(if number < 3 { 500 } else { 200 }, &[("x-echo", seen.header("x-hook").unwrap())], &echo)
    })
    .await;
    let body = json!({
        "targetUrl": target.url("/{asyncqueue_callback_url}/x?hook={asyncqueue_callback_url}"),
        "headers": {"X-Hook": "<{asyncqueue_callback_url}>"},
        "body": r#"{"webhook":"{asyncqueue_callback_url}"}"#,
    });
    let task = service.create(&body).await;
    let id = task.callback.clone().unwrap();
    let url = task.json["callbackUrl"].as_str().unwrap().to_owned();
    assert_eq!(url, format!("http://{}/v1/callbacks/{id}", service.address));
    let shown = service.becomes(&task.id, "waiting").await;
    for number in 1..=3 {
        let seen = target.request(number).await;
        assert_eq!(seen.text(), format!(r#"{{"webhook":"{url}"}}"#));
        assert_eq!(seen.header("x-hook").unwrap(), format!("<{url}>"));
        let encoded = url.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(seen.path, format!("/{url}/x?hook={encoded}"));
    }
    assert_eq!(shown["callbackId"], Value::Null);
    assert_eq!(shown["body"], body["body"]);
    assert_eq!(shown["targetUrl"], body["targetUrl"]);
    assert!(!shown.to_string().contains(&id));
    service.post(&task.callback_path(), &json!({"url": url}).to_string()).await.expect(200);
    assert!(service.task(&task.id).await.to_string().contains(&id), "a final payload stays untouched");
    // Only now, through the provider's own words, does the store know it; another task's it does not.
    let task = service.create(&body).await;
    let id = task.callback.clone().unwrap();
    service.becomes(&task.id, "waiting").await;
    assert_eq!(task.signal, None, "a task that only mentions the URL has no signal token");
    for entry in std::fs::read_dir(&service.folder.0).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = memchr::memmem::find(&bytes, id.as_bytes()).is_some();
        assert!(!found, "{} holds a callback id", path.display());
    }
}

/// What one call said of its callback URL: in the path, the query, a header and the body.
fn urls(seen: &crate::support::Seen) -> [String; 4] {
    let (path, query) = seen.path.split_once("/x?hook=").expect("both places");
    let decoded = query.replace("%3A", ":").replace("%2F", "/");
    let header = seen.header("x-hook").expect("the header").to_owned();
    [path[1..].to_owned(), decoded, header, seen.json()["webhook"].as_str().expect("the body").to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_tasks_each_has_one_url_for_all_its_attempts() {
    let count = if large() { 1000 } else { 40 };
    let service = Service::start().await;
    let target = Target::start(|_, _| Reply::with(503, &[], "")).await;
    let body = json!({
        "targetUrl": target.url("/{asyncqueue_callback_url}/x?hook={asyncqueue_callback_url}"),
        "headers": {"X-Hook": "{asyncqueue_callback_url}"},
        "body": r#"{"webhook":"{asyncqueue_callback_url}"}"#,
        "maxRetries": 2, "retryBackoff": "linear",
    });
    let mut tasks = HashMap::new();
    for _ in 0..count {
        let created = service.create(&body).await;
        tasks.insert(created.id.clone(), created.json["callbackUrl"].as_str().unwrap().to_owned());
    }
    let settled = |task: &Value| ["delayed", "failed"].iter().any(|status| task["status"] == *status);
    for attempts in 1..=3 {
        target.request(count * attempts).await;
        for id in tasks.keys() {
            service.once(id, "between two attempts, or behind the last", settled).await;
        }
        // They need not wait for the next one.
        service.clock.advance(3);
    }
    for id in tasks.keys() {
        service.becomes(id, "failed").await;
    }
    let mut calls: HashMap<String, usize> = HashMap::new();
    for seen in target.seen() {
        let id = seen.header("x-asyncqueue-task-id").unwrap();
        assert_eq!(urls(&seen), [(); 4].map(|()| tasks[id].clone()));
        *calls.entry(id.to_owned()).or_default() += 1;
    }
    assert!(calls.len() == count && calls.values().all(|attempts| *attempts == 3), "{calls:?}");
    assert_eq!(tasks.values().collect::<HashSet<_>>().len(), count, "no two tasks share one");
    let files: Vec<Vec<u8>> = std::fs::read_dir(&service.folder.0)
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
        .collect();
    for url in tasks.values() {
        let id = url.rsplit('/').next().unwrap();
        assert!(files.iter().all(|file| memchr::memmem::find(file, id.as_bytes()).is_none()), "stored");
    }
}
