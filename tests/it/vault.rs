//! The vault: what goes in reaches the target, and nobody else ever sees it (T24, T36, T37).

use asyncqueue::admin::{Act, Outcome};
use serde_json::{Value, json};

use crate::support::service::is_shared;
use crate::support::{KEY, Reply, Service, Target, large};

const CANARY: &str = "sk-canary-0123456789abcdef";

async fn post(service: &Service, key: &str, path: &str, body: &Value) -> crate::support::Answer {
    service.send("POST", path, &[("x-api-key", key)], Some(&body.to_string())).await
}

/// Puts a value into the vault; answers its reference.
async fn token(service: &Service, more: Value) -> String {
    let mut body = json!({"name": "a key", "value": CANARY});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = post(service, KEY, "/v1/tokens", &body).await.expect(201);
    answer.json()["token"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_made_listed_and_revoked() {
    let service = Service::start().await;
    let answer = post(&service, KEY, "/v1/tokens", &json!({"name": "n", "value": CANARY})).await.expect(201);
    let made = answer.json()["token"].clone();
    let keys: Vec<_> = made.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["createdAt", "id", "name"]);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("tok_"));
    let list = service.ask("GET", "/v1/tokens").await.expect(200);
    assert_eq!(list.json(), json!({"tokens": [made]}));
    assert!(!list.text().contains(CANARY));
    let revoked = service.ask("DELETE", &format!("/v1/tokens/{id}")).await.expect(200).json()["token"].clone();
    assert_eq!((&revoked["id"], &revoked["name"]), (&made["id"], &made["name"]));
    assert!(revoked["revokedAt"].is_string());
    let again = service.ask("DELETE", &format!("/v1/tokens/{id}")).await.expect(404);
    assert_eq!(again.json(), json!({"error": "Token not found"}));
    assert_eq!(service.ask("GET", "/v1/tokens").await.json(), json!({"tokens": []}));
}

#[tokio::test]
async fn a_reference_is_replaced_whole_at_each_attempt_and_masked_where_it_is_echoed() {
    let service = Service::start().await;
    let target = Target::start(|seen, number| {
        let key = seen.header("authorization").unwrap_or_default().to_owned();
        let status = if number == 1 { 500 } else { 200 };
        Reply::with(status, &[("x-echo", &key)], &format!("{{\"you sent\":\"{key}\"}}"))
    })
    .await;
    let reference = token(&service, json!({"allowedHosts": ["127.0.0.1"]})).await;
    let body = json!({"targetUrl": target.url("/"), "headers": {"Authorization": reference}});
    let created = service.create(&body).await;
    assert_eq!(created.json["task"]["headers"]["Authorization"], reference);
    let task = service.becomes(&created.id, "completed").await;
    for seen in target.seen() {
        assert_eq!(seen.header("authorization"), Some(CANARY));
    }
    assert_eq!(target.count(), 2);
    assert_eq!(task["result"]["body"], "{\"you sent\":\"***\"}");
    assert_eq!(task["result"]["headers"]["x-echo"], "***");
    let events = format!("{:?}", service.events(&created.id).await);
    assert!(!events.contains(CANARY) && !task.to_string().contains(CANARY));
}

#[tokio::test]
async fn a_reference_must_be_the_teams_own_and_alive() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let other = service.another_team("other").await;
    let reference = token(&service, json!({})).await;
    let body = json!({"targetUrl": target.url("/"), "headers": {"X-Key": reference}});
    let refusal = format!("Token not found: {reference}");
    let foreign = post(&service, &other, "/v1/tasks", &body).await.expect(400);
    assert_eq!(foreign.json()["error"], refusal);
    let hidden = service.send("DELETE", &format!("/v1/tokens/{reference}"), &[("x-api-key", &other)], None).await;
    hidden.expect(404);
    service.ask("DELETE", &format!("/v1/tokens/{reference}")).await.expect(200);
    let revoked = service.try_create(&body.to_string()).await.expect(400);
    assert_eq!(revoked.json()["error"], refusal);
    let unknown = json!({"targetUrl": target.url("/"), "headers": {"X-Key": "tok_nope"}});
    let unknown = service.try_create(&unknown.to_string()).await.expect(400);
    assert_eq!(unknown.json()["error"], "Token not found: tok_nope");
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn a_token_revoked_later_fails_the_task_before_anything_is_sent() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let reference = token(&service, json!({})).await;
    let at =
        asyncqueue::wire::iso(asyncqueue::task::Timestamp(asyncqueue::clock::Clock::now(&*service.clock).0 + 600_000));
    let body = json!({"targetUrl": target.url("/"), "headers": {"K": reference}, "delayUntil": at, "maxRetries": 3});
    let created = service.create(&body).await;
    service.ask("DELETE", &format!("/v1/tokens/{reference}")).await.expect(200);
    service.clock.advance(601);
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!((&task["error"], &task["retryCount"]), (&json!(format!("Token not found: {reference}")), &json!(0)));
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn a_token_goes_to_its_hosts_only_and_one_for_verifying_to_none() {
    let (service, target) = (Service::start().await, Target::ok().await);
    for (more, why) in [
        (json!({"allowedHosts": ["api.example.com", "*.example.org"]}), "must not be sent to 127.0.0.1"),
        (json!({"use": "verify"}), "is for verifying only and is never sent"),
    ] {
        let reference = token(&service, more).await;
        let body = json!({"targetUrl": target.url("/"), "headers": {"K": reference}});
        let refused = service.try_create(&body.to_string()).await.expect(400);
        assert_eq!(refused.json()["error"], format!("{reference} {why}"));
    }
    let named = token(&service, json!({"allowedHosts": ["plain.example"]})).await;
    let body = json!({"targetUrl": "http://plain.example/", "headers": {"K": named}});
    let refused = service.try_create(&body.to_string()).await.expect(400);
    assert_eq!(refused.json()["error"], format!("{named} must be sent over https only"));
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn a_redirect_to_another_origin_takes_no_secret_along() {
    let (service, thief) = (Service::start().await, Target::ok().await);
    let to = thief.url("/");
    let target = Target::start(move |_, _| Reply::with(302, &[("location", &to)], "")).await;
    let reference = token(&service, json!({})).await;
    let created = service.create(&json!({"targetUrl": target.url("/"), "headers": {"X-Key": reference}})).await;
    service.becomes(&created.id, "completed").await;
    assert_eq!(target.request(1).await.header("x-key"), Some(CANARY));
    let stolen = thief.request(1).await;
    assert!(stolen.headers.iter().all(|(_, value)| !value.contains(CANARY)), "{:?}", stolen.headers);
}

#[tokio::test]
async fn the_secret_key_is_rotated_while_tasks_wait_and_tokens_work() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let reference = token(&service, json!({})).await;
    let body = json!({
        "targetUrl": target.url("/"), "waitForSignal": true, "maxWaitTime": 600, "headers": {"K": reference}
    });
    let before = service.create(&body).await;
    service.becomes(&before.id, "waiting").await;
    let secret = service.secret().await;
    let file = service.folder.0.join("store.db.key");
    let held = std::fs::read_to_string(&file).unwrap();
    let outcome = service.act(Act::RotateKey).await;
    assert_eq!(outcome, Outcome::Resealed { key_number: 2, secrets: 2, new_key: true });
    let keys = std::fs::read_to_string(&file).unwrap();
    assert!(keys.trim().ends_with(held.trim()) && keys.len() > held.len());
    assert_eq!(service.secret().await, secret);
    let after = service.create(&body).await;
    service.becomes(&after.id, "waiting").await;
    let service = service.restart(&[]).await;
    for task in [&before, &after] {
        service.post(&task.callback_path(), "{}").await.expect(200);
    }
    assert_eq!(target.count(), 2);
    assert!(target.seen().iter().all(|seen| seen.header("k") == Some(CANARY)));
}

/// T37: every seal is renewed while tokens are used, and not one use fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_vault_is_sealed_anew_while_it_is_used() {
    let (service, target) = (std::sync::Arc::new(Service::start().await), Target::ok().await);
    let many = if large() { 10_000 } else { 200 };
    let mut references = Vec::with_capacity(many);
    for number in 0..many {
        let body = json!({"name": format!("n{number}"), "value": format!("value-{number}-of-the-vault")});
        let made = post(&service, KEY, "/v1/tokens", &body).await.expect(201).json();
        references.push(made["token"]["id"].as_str().unwrap().to_owned());
    }
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let using = tokio::spawn({
        let (service, stop, url) = (service.clone(), stop.clone(), target.url("/"));
        let references = references.clone();
        async move {
            let mut used = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) || used < 20 {
                let number = used * 7 % references.len();
                let headers = json!({"K": references[number]});
                let created = service.create(&json!({"targetUrl": url, "headers": headers, "maxRetries": 0})).await;
                service.becomes(&created.id, "completed").await;
                used += 1;
            }
            used
        }
    });
    for round in 0..3 {
        let outcome = service.act(Act::RotateKey).await;
        let Outcome::Resealed { secrets, .. } = outcome else { panic!("{outcome:?}") };
        // In the second round and later nothing is left to do where the key stays the same.
        assert!(round > 0 || is_shared() || secrets > many, "{secrets} of {many}");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let used = using.await.unwrap();
    assert!(used >= 20);
    for (index, seen) in target.seen().iter().enumerate() {
        let number = index * 7 % many;
        assert_eq!(seen.header("k"), Some(&*format!("value-{number}-of-the-vault")));
    }
}

#[tokio::test]
async fn no_file_holds_a_value_in_the_clear() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let reference = token(&service, json!({})).await;
    let created = service.create(&json!({"targetUrl": target.url("/"), "headers": {"K": reference}})).await;
    service.becomes(&created.id, "completed").await;
    let mut looked_at = 0;
    if let Some(database) = service.shared_database() {
        // As text: what the files hold may be compressed.
        for table in ["token", "task", "journal", "meta"] {
            let rows = format!("SET bytea_output = 'escape'; SELECT t::text FROM {table} t");
            let rows = crate::postgres::shared().sql(&database, &rows);
            assert!(!rows.contains(CANARY), "{table}");
            looked_at += rows.len() * 100;
        }
    }
    for entry in std::fs::read_dir(&service.folder.0).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        looked_at += bytes.len();
        assert!(memchr::memmem::find(&bytes, CANARY.as_bytes()).is_none(), "{}", path.display());
    }
    assert!(looked_at > 10_000, "the database was read");
}

#[tokio::test]
async fn a_webhook_secret_that_the_request_tells_goes_where_it_may_only() {
    let service = Service::start().await;
    let target = Target::start(|seen, _| Reply::with(200, &[], &String::from_utf8_lossy(&seen.body))).await;
    let body = |reference: &str| {
        json!({
            "targetUrl": target.url("/"), "provider": "bfl", "useCallback": true, "callbackSecret": reference,
            "body": "{}", "pollConfig": {"interval": 60}
        })
    };
    let elsewhere = token(&service, json!({"allowedHosts": ["api.bfl.ai"]})).await;
    service.try_create(&body(&elsewhere).to_string()).await.expect(400);
    // A NUL, which not every database takes for a part of a text.
    service.try_create(&body("tok_\0").to_string()).await.expect(400);
    let created = service.create(&body(&token(&service, json!({"use": "verify"})).await)).await;
    service.becomes(&created.id, "polling").await;
    assert!(!String::from_utf8(target.request(1).await.body.clone()).unwrap().contains(CANARY));
    let created = service.create(&body(&token(&service, json!({})).await)).await;
    service.becomes(&created.id, "polling").await;
    let told = String::from_utf8(target.request(2).await.body.clone()).unwrap();
    assert!(told.contains(&format!("\"webhook_secret\":\"{CANARY}\"")), "{told}");
}

#[tokio::test]
async fn no_part_of_a_secret_is_left_where_a_text_is_cut() {
    let service = Service::start().await;
    let target = Target::start(|seen, number| match number {
        1 => Reply::with(200, &[], r#"{"id":"1"}"#),
        _ => {
            let echo = seen.header("authorization").unwrap_or_default();
            Reply::with(200, &[], &json!({"s": "b", "why": format!("{}{echo}", "x".repeat(4090))}).to_string())
        }
    })
    .await;
    let reference = token(&service, json!({})).await;
    let poll = json!({
        "urlTemplate": target.url("/{startResult.body.id}"), "statusPath": "s", "doneValues": ["a"],
        "failValues": ["b"], "errorPath": "why", "interval": 1
    });
    let body = json!({"targetUrl": target.url("/"), "headers": {"Authorization": reference}, "pollConfig": poll});
    let created = service.create(&body).await;
    let task = service.becomes(&created.id, "failed").await;
    let error = task["error"].as_str().unwrap();
    assert_eq!(error.trim_start_matches('x'), "***", "what a cut leaves: {}", &error[4080..]);
}

#[tokio::test]
async fn a_secret_that_a_poll_echoes_is_masked_in_the_error() {
    let service = Service::start().await;
    let target = Target::start(|seen, number| match number {
        1 => Reply::with(200, &[], r#"{"id":"1"}"#),
        _ => Reply::with(401, &[], &format!("bad key {}", seen.header("authorization").unwrap_or_default())),
    })
    .await;
    let reference = token(&service, json!({})).await;
    let poll = json!({
        "urlTemplate": target.url("/{startResult.body.id}"), "statusPath": "s", "doneValues": ["a"],
        "failValues": ["b"], "interval": 1
    });
    let body = json!({"targetUrl": target.url("/"), "headers": {"Authorization": reference}, "pollConfig": poll});
    let created = service.create(&body).await;
    let task = service.becomes(&created.id, "failed").await;
    assert_eq!(task["error"], "Poll refused: HTTP 401 - Unauthorized: bad key ***");
    assert!(!format!("{:?}", service.events(&created.id).await).contains(CANARY));
}
