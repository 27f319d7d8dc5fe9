//! `POST /v1/tasks`: what is taken, what is refused, and in which words.

use serde_json::{Value, json};

use crate::support::{Created, KEY, Reply, Service, Target, gate, open};

const URL: &str = "http://127.0.0.1:9999/";

/// Asks for a task with this one field beside the URL; answers with the status and the text of the error.
async fn field(service: &Service, name: &str, value: &str) -> (u16, String) {
    let body = format!(r#"{{"targetUrl":"{URL}","{name}":{value}}}"#);
    let answer = service.try_create(&body).await;
    let error = if answer.status == 201 { String::new() } else { answer.error() };
    (answer.status, error)
}

async fn refused(service: &Service, name: &str, values: &[&str], error: &str) {
    for value in values {
        assert_eq!(field(service, name, value).await, (400, error.to_owned()), "{name}: {value}");
    }
}

async fn taken(service: &Service, name: &str, values: &[&str]) {
    for value in values {
        assert_eq!(field(service, name, value).await, (201, String::new()), "{name}: {value}");
    }
}

#[tokio::test]
async fn everything_is_read_back_as_it_was_asked_for() {
    let service = Service::start().await;
    let asked = json!({
        "targetUrl": "http://127.0.0.1:9999/a?b=c", "method": "PUT", "headers": {"X-B": "2", "X-A": "1"}, "body": "text",
        "timeout": 0.1, "maxRetries": 0, "retryBackoff": "linear", "delayUntil": "2027-01-01T01:00:00.5+01:00",
        "priority": 10, "waitForSignal": true, "maxWaitTime": 2_592_000, "onCompleteUrl": "http://127.0.0.1:9999/done",
        "retryOn": [429, 599], "onCompleteMaxRetries": 0, "metadata": {"k": "v"}, "provider": null, "useCallback": false,
    });
    let created = service.create(&asked).await;
    let task = service.task(&created.id).await;
    for (name, value) in asked.as_object().unwrap() {
        let expected = if name == "delayUntil" { &json!("2027-01-01T00:00:00.500Z") } else { value };
        assert_eq!(&task[name], expected, "{name}");
    }
    assert_eq!(task["status"], "delayed");
    assert_eq!(created.json["signalToken"].as_str().unwrap().len(), 64);
    assert_eq!(created.json["callbackUrl"], format!("http://{}{}", service.address, created.callback_path()));
    let mut first = created.json["task"].clone();
    first.as_object_mut().unwrap().remove("callbackId");
    assert_eq!(first, task, "the creation shows the task as it is");
}

#[tokio::test]
async fn what_is_not_given_has_its_default_and_what_is_not_there_is_null() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = service.create(&json!({"targetUrl": target.url("/")})).await;
    assert_eq!((created.callback, created.signal), (None, None));
    assert_eq!(created.json.as_object().unwrap().len(), 1, "nothing beside the task");
    let task = created.json["task"].clone();
    let expected = json!({
        "id": created.id, "teamId": task["teamId"], "status": "pending", "targetUrl": target.url("/"), "method": "POST",
        "headers": {}, "body": null, "timeout": 30, "maxRetries": 3, "retryBackoff": "exponential", "retryOn": [],
        "delayUntil": null, "priority": 5, "waitForSignal": false, "maxWaitTime": 30, "onCompleteUrl": null,
        "onCompleteMaxRetries": 5, "provider": null, "pollConfig": null, "useCallback": false, "callbackConfig": null,
        "callbackSecret": null, "providerParams": {}, "metadata": {}, "retryCount": 0, "result": null, "error": null,
        "progress": null, "createdAt": task["createdAt"], "startedAt": null, "completedAt": null,
        "nextAttemptAt": null, "retryOf": null, "onComplete": null,
    });
    assert_eq!(task, expected);
    let at = task["createdAt"].as_str().unwrap();
    assert!(at.len() == 24 && at.ends_with('Z') && at.as_bytes()[19] == b'.', "{at}");
    let id = uuid::Uuid::parse_str(&created.id).unwrap();
    assert_eq!(id.get_version_num(), 7);
    let done = service.becomes(&created.id, "completed").await;
    assert!(done["startedAt"].is_string() && done["completedAt"].is_string());
}

#[tokio::test]
async fn numbers_have_their_bounds() {
    let service = Service::start().await;
    let odd = ["-1", "\"3\"", "null", "true", "[]", "1e400", "{}"];
    let error = "maxRetries must be an integer from 0 to 10";
    refused(&service, "maxRetries", &[&odd[..], &["11", "3.0", "1.5"]].concat(), error).await;
    taken(&service, "maxRetries", &["0", "10"]).await;
    let error = "priority must be an integer from 1 to 10";
    refused(&service, "priority", &[&odd[..], &["0", "11", "5.0"]].concat(), error).await;
    taken(&service, "priority", &["1", "10"]).await;
    let error = "onCompleteMaxRetries must be an integer from 0 to 10";
    refused(&service, "onCompleteMaxRetries", &[&odd[..], &["11", "2.5"]].concat(), error).await;
    taken(&service, "onCompleteMaxRetries", &["0", "10"]).await;
    let error = "timeout must be a number of seconds from 0.1 to 3600";
    refused(&service, "timeout", &[&odd[..], &["0", "0.09", "3600.1", "1e9"]].concat(), error).await;
    taken(&service, "timeout", &["0.1", "1.5", "3600", "3.6e3"]).await;
    let error = "maxWaitTime must be a number of seconds from 1 to 2592000";
    refused(&service, "maxWaitTime", &[&odd[..], &["0", "0.9", "2592000.1"]].concat(), error).await;
    taken(&service, "maxWaitTime", &["1", "1.5", "2592000"]).await;
    let error = "retryOn must be an array of status codes from 400 to 599";
    refused(&service, "retryOn", &["null", "429", "[200]", "[600]", "[\"429\"]", "[70000]", "[-1]"], error).await;
    taken(&service, "retryOn", &["[]", "[400,429,599]"]).await;
}

#[tokio::test]
async fn words_must_be_known_ones() {
    let service = Service::start().await;
    let error = "method must be one of GET, POST, PUT, DELETE";
    refused(&service, "method", &["\"PATCH\"", "\"get\"", "\"CONNECT\"", "\"TRACE\"", "1", "null", "\"\""], error)
        .await;
    taken(&service, "method", &["\"GET\"", "\"POST\"", "\"PUT\"", "\"DELETE\""]).await;
    let error = "retryBackoff must be linear or exponential";
    refused(&service, "retryBackoff", &["\"fixed\"", "\"\"", "1", "null", "\"Linear\""], error).await;
    let error = "waitForSignal must be true or false";
    refused(&service, "waitForSignal", &["\"true\"", "1", "null"], error).await;
    refused(&service, "body", &["1", "{}", "[\"a\"]", "\"\\ud800\""], "body must be a string").await;
    taken(&service, "body", &["\"\"", "null", "\"\\u0000 \\ud83d\\ude00\""]).await;
}

#[tokio::test]
async fn times_need_a_zone_and_lie_within_a_year() {
    let service = Service::start().await;
    let error = "delayUntil must be an ISO 8601 time with a zone, such as 2026-01-31T12:00:00Z";
    let odd = [
        "\"2026-01-31T12:00:00\"",
        "\"2026-02-30T12:00:00Z\"",
        "\"2026-06-30T23:59:60Z\"",
        "\"soon\"",
        "\"\"",
        "\"1700000000\"",
        "\"2026-01-31\"",
    ];
    refused(&service, "delayUntil", &odd, error).await;
    refused(&service, "delayUntil", &["1700000000"], "delayUntil must be a string").await;
    let error = "delayUntil must be at most a year ahead";
    refused(&service, "delayUntil", &["\"9999-01-01T00:00:00Z\"", "\"2100-01-01T00:00:00+02:00\""], error).await;
    taken(&service, "delayUntil", &["null", "\"2001-01-01T00:00:00Z\"", "\"1999-12-31T23:59:59-05:00\""]).await;
}

#[tokio::test]
async fn urls_are_absolute_and_http() {
    let service = Service::start().await;
    let refusals = [
        ("", "targetUrl is required"),
        ("/path", "targetUrl must be a valid http or https URL"),
        ("example.com", "targetUrl must be a valid http or https URL"),
        ("ftp://example.com/", "targetUrl must be a valid http or https URL"),
        ("http://", "targetUrl must be a valid http or https URL"),
        (
            "http://user:pw@example.com/",
            "targetUrl is not allowed: credentials in a URL are not allowed; send an Authorization header instead",
        ),
        ("http://10.0.0.1/", "targetUrl is not allowed: private addresses (10.0.0.0/8) are not allowed"),
        ("http://169.254.169.254/", "targetUrl is not allowed: cloud metadata addresses are not allowed"),
    ];
    for (url, error) in refusals {
        let answer = service.try_create(&json!({"targetUrl": url}).to_string()).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, error), "{url}");
        assert_eq!(answer.json()["details"][0], json!({"field": "targetUrl", "message": error}), "{url}");
        if !url.is_empty() {
            let body = json!({"targetUrl": URL, "onCompleteUrl": url}).to_string();
            let answer = service.try_create(&body).await;
            assert_eq!(answer.error(), error.replace("targetUrl", "onCompleteUrl"), "{url}");
        }
    }
    let long = format!("{URL}{}", "a".repeat(8192 - URL.len()));
    service.create(&json!({"targetUrl": long})).await;
    let answer = service.try_create(&json!({"targetUrl": long + "a"}).to_string()).await;
    assert_eq!(answer.error(), "targetUrl must be at most 8192 bytes long");
    for body in ["{}", r#"{"targetUrl":null}"#] {
        assert_eq!(service.try_create(body).await.error(), "targetUrl is required");
    }
    assert_eq!(service.try_create(r#"{"targetUrl":1}"#).await.error(), "targetUrl must be a string");
}

#[tokio::test]
async fn headers_that_would_break_framing_are_refused_by_name() {
    let service = Service::start().await;
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "HTTP2-Settings",
        "X-AsyncQueue-Task-Id",
        "Forwarded",
        "X-Forwarded-For",
        ":path",
    ] {
        let headers = json!({name: "v"}).to_string();
        refused(&service, "headers", &[&headers], &format!("Header name is not allowed: {name}")).await;
    }
    for name in ["", "a b", "a:b", "a\r\nb", "é", "a\0"] {
        let headers = json!({name: "v"}).to_string();
        refused(&service, "headers", &[&headers], &format!("Invalid header name: {name}")).await;
    }
    for value in ["a\r\nb", "a\nb", "a\0", "\u{1b}[0m"] {
        refused(&service, "headers", &[&json!({"X-A": value}).to_string()], "Invalid header value: X-A").await;
    }
    refused(&service, "headers", &[r#"{"X-A":"1","x-a":"2"}"#, r#"{"X-A":"1","x-a":"1"}"#], "Duplicate header: x-a")
        .await;
    let error = "headers must be an object of strings";
    refused(&service, "headers", &["[]", "null", "\"a\"", r#"{"a":1}"#, r#"{"a":null}"#, r#"[["a","b"]]"#], error)
        .await;
    let token = r#"{"Authorization":"tok_0123"}"#;
    refused(&service, "headers", &[token], "Token not found: tok_0123").await;
}

#[tokio::test]
async fn headers_and_metadata_are_bounded() {
    let service = Service::start().await;
    let many = |count: usize, value: &str| {
        let pairs = (0..count).map(|index| (format!("x-{index:02}"), Value::from(value)));
        Value::Object(pairs.collect()).to_string()
    };
    taken(&service, "headers", &[&many(50, "v"), &many(4, &"v".repeat(4092))]).await;
    let error = "headers must be at most 50 and 16384 bytes together";
    refused(&service, "headers", &[&many(51, "v"), &many(4, &"v".repeat(4093))], error).await;
    taken(&service, "metadata", &["{}", &many(16, "v"), &many(1, &"v".repeat(4092))]).await;
    let error = "metadata must be at most 16 entries and 4096 bytes together";
    refused(&service, "metadata", &[&many(17, "v"), &many(1, &"v".repeat(4093))], error).await;
    refused(&service, "metadata", &["null", "[]", "{\"a\":1}", "\"a\""], "metadata must be an object of strings").await;
}

#[tokio::test]
async fn the_body_is_one_object_of_known_fields() {
    let service = Service::start().await;
    for text in ["[]", "null", "\"x\"", "1", "true", r#"["http://127.0.0.1:9999/"]"#] {
        service.try_create(text).await.expect_error(400, "Request body must be a JSON object");
    }
    for text in ["", "{", "{}{}", "{'a':1}", r#"{"targetUrl":"x",}"#, "NaN", "\u{feff}{}", "// x\n{}"] {
        let error = service.try_create(text).await.expect(400).error();
        assert!(error.starts_with("Request body must be valid JSON"), "{text:?}: {error}");
    }
    let answer = service.try_create(r#"{"targetUrl":"http://127.0.0.1:9999/","targeturl":1,"x":2}"#).await.expect(400);
    let details = json!([
        {"field": "targeturl", "message": "Unknown field: targeturl"}, {"field": "x", "message": "Unknown field: x"},
    ]);
    assert_eq!(answer.json(), json!({"error": "Unknown field: targeturl", "details": details}));
    let twice = r#"{"targetUrl":"http://127.0.0.1:9999/","priority":1,"priority":1}"#;
    assert_eq!(service.try_create(twice).await.expect(400).error(), "Duplicate field: priority");
    let spelt = r#"{"targetUrl":"http://127.0.0.1:9999/","prior\u0069ty":1,"priority":1}"#;
    assert_eq!(service.try_create(spelt).await.expect(400).error(), "Duplicate field: priority");
    let all = service.try_create(r#"{"priority":0,"timeout":0,"method":"x"}"#).await.expect(400).json();
    assert_eq!(all["details"].as_array().unwrap().len(), 4, "all that is wrong is told at once: {all}");
    let list = service.ask("GET", "/v1/tasks").await.json();
    assert_eq!(list["pagination"]["total"], 0, "nothing was created");
}

#[tokio::test]
async fn the_content_type_may_be_missing_but_not_wrong() {
    let service = Service::start().await;
    let body = json!({"targetUrl": URL}).to_string();
    let send = async |kind: Option<&str>| {
        let mut headers = vec![("x-api-key", KEY)];
        headers.extend(kind.map(|kind| ("content-type", kind)));
        service.send("POST", "/v1/tasks", &headers, Some(&body)).await
    };
    for fine in [None, Some("application/json"), Some("Application/JSON; charset=utf-8")] {
        send(fine).await.expect(201);
    }
    for odd in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""]
    {
        send(Some(odd)).await.expect_error(415, "Content-Type must be application/json");
    }
    let coded = [("x-api-key", KEY), ("content-encoding", "gzip")];
    let answer = service.send("POST", "/v1/tasks", &coded, Some(&body)).await;
    answer.expect_error(415, "Content-Encoding is not supported");
}

#[tokio::test]
async fn ten_mebibytes_fit_and_no_more() {
    let service = Service::start().await;
    let frame = json!({"targetUrl": URL, "delayUntil": null, "body": ""}).to_string();
    let fill = |size: usize| frame.replace(r#""body":"""#, &format!(r#""body":"{}""#, "x".repeat(size - frame.len())));
    service.try_create(&fill(10 * 1024 * 1024)).await.expect(201);
    service.try_create(&fill(10 * 1024 * 1024 + 1)).await.expect_error(413, "Request body too large");
}

#[tokio::test]
async fn the_placeholder_stands_in_path_query_headers_and_body_only() {
    let service = Service::start().await;
    let error = "targetUrl may hold the callback URL in its path or query only";
    for url in [
        "{asyncqueue_callback_url}",
        "http://{asyncqueue_callback_url}/",
        "http://a.{asyncqueue_callback_url}.example/x",
    ] {
        let answer = service.try_create(&json!({"targetUrl": url}).to_string()).await.expect(400);
        assert_eq!(answer.error(), error, "{url}");
    }
    let mention = "{asyncqueue_callback_url}";
    let mentions = [
        json!({"targetUrl": format!("{URL}?u={mention}")}),
        json!({"targetUrl": format!("{URL}{mention}")}),
        json!({"targetUrl": URL, "headers": {"x-hook": mention}}),
        json!({"targetUrl": URL, "body": mention}),
    ];
    for mut body in mentions {
        let created = service.create(&body).await;
        assert!(created.callback.is_some() && created.signal.is_none(), "{body}");
        assert_eq!(created.json["task"]["waitForSignal"], false);
        body["waitForSignal"] = json!(true);
        let created = service.create(&body).await;
        assert!(created.callback.is_some() && created.signal.is_some(), "{body}");
        body["waitForSignal"] = json!(false);
        let answer = service.try_create(&body.to_string()).await.expect(400);
        assert!(answer.error().starts_with("waitForSignal is false"), "{body}");
    }
}

#[tokio::test]
async fn what_is_followed_is_checked_field_by_field() {
    let service = Service::start().await;
    for (name, value) in [
        ("provider", "\"nobody\""),
        ("provider", "1"),
        ("pollConfig", "{}"),
        ("pollConfig", "[]"),
        ("useCallback", "true"),
        ("useCallback", "\"yes\""),
        ("callbackConfig", "{\"extra\":1}"),
        ("callbackSecret", "\"whsec_in_the_clear\""),
        ("providerParams", "{\"a\":1}"),
    ] {
        assert_eq!(field(&service, name, value).await.0, 400, "{name}: {value}");
    }
    taken(&service, "provider", &["null", "\"replicate\""]).await;
    taken(&service, "providerParams", &["{}"]).await;
}

/// A creation with an idempotency key.
async fn keyed(service: &Service, key: &str, idempotency: &str, body: &str) -> crate::support::Answer {
    service.send("POST", "/v1/tasks", &[("x-api-key", key), ("idempotency-key", idempotency)], Some(body)).await
}

#[tokio::test]
async fn a_repeated_creation_is_answered_with_the_first() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let body = json!({"targetUrl": target.url("/"), "waitForSignal": true}).to_string();
    let first = keyed(&service, KEY, "order 1", &body).await.expect(201);
    assert_eq!(first.header("idempotent-replay"), None);
    let created = Created::of(&first);
    service.becomes(&created.id, "waiting").await;
    let again = keyed(&service, KEY, "order 1", &body).await.expect(200);
    assert_eq!(again.header("idempotent-replay"), Some("true"));
    assert_eq!(again.text(), first.text(), "the first creation again, tokens included");
    let other = keyed(&service, KEY, "order 1", &body.replace("true", "false")).await;
    other.expect_error(422, "Idempotency-Key was already used with a different request body");
    assert_ne!(Created::of(&keyed(&service, KEY, "order 2", &body).await.expect(201)).id, created.id);
    // Another team's key is another key.
    let team = service.another_team("other").await;
    let theirs = keyed(&service, &team, "order 1", &body).await.expect(201);
    assert_ne!(Created::of(&theirs).id, created.id);
    // It holds for a day, and over a restart.
    let service = service.restart(&[]).await;
    keyed(&service, KEY, "order 1", &body).await.expect(200);
    service.clock.advance(24 * 3600);
    let later = keyed(&service, KEY, "order 1", &body).await.expect(201);
    assert_ne!(Created::of(&later).id, created.id);
}

#[tokio::test]
async fn a_repeated_creation_is_not_judged_anew() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let secret = json!({"name": "a", "value": "Bearer x"}).to_string();
    let token = service.send("POST", "/v1/tokens", &[("x-api-key", KEY)], Some(&secret)).await.expect(201);
    let token = token.json()["token"]["id"].as_str().expect("an id").to_owned();
    let body = json!({"targetUrl": target.url("/"), "headers": {"authorization": token}}).to_string();
    let first = keyed(&service, KEY, "order 1", &body).await.expect(201);
    service.ask("DELETE", &format!("/v1/tokens/{token}")).await.expect(200);
    keyed(&service, KEY, "order 2", &body).await.expect(400);
    assert_eq!(keyed(&service, KEY, "order 1", &body).await.expect(200).text(), first.text());
    keyed(&service, KEY, "order 1", "{}").await.expect(422);
}

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_characters_and_a_refused_creation_uses_none() {
    let service = Service::start().await;
    let body = json!({"targetUrl": URL}).to_string();
    keyed(&service, KEY, &"k".repeat(255), &body).await.expect(201);
    keyed(&service, KEY, &"k".repeat(256), &body).await.expect(400);
    keyed(&service, KEY, "", &body).await.expect(400);
    let twice = [("x-api-key", KEY), ("idempotency-key", "a"), ("idempotency-key", "b")];
    service.send("POST", "/v1/tasks", &twice, Some(&body)).await.expect(400);
    keyed(&service, KEY, "x", "{}").await.expect(400);
    keyed(&service, KEY, "x", &body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_creations_with_one_key_make_one_task() {
    let service = std::sync::Arc::new(Service::start().await);
    let body = json!({"targetUrl": URL, "delayUntil": null}).to_string();
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (service, body) = (service.clone(), body.clone());
        sent.spawn(async move { keyed(&service, KEY, "one", &body).await.status });
    }
    let statuses = sent.join_all().await;
    assert!(statuses.iter().all(|status| [200, 201, 409].contains(status)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(service.ask("GET", "/v1/tasks").await.json()["pagination"]["total"], 1);
}

#[tokio::test]
async fn priority_orders_the_due_tasks_of_a_team() {
    let service = Service::with(&["--max-in-flight", "1"]).await;
    let gate = gate();
    let reply = Reply::behind(&gate);
    let target = Target::start(move |_, _| reply.clone()).await;
    service.create(&json!({"targetUrl": target.url("/first")})).await;
    target.request(1).await;
    for priority in [3, 10, 1, 7] {
        service.create(&json!({"targetUrl": target.url(&format!("/{priority}")), "priority": priority})).await;
    }
    open(&gate);
    target.request(5).await;
    let order: Vec<_> = target.seen().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(order, ["/first", "/10", "/7", "/3", "/1"]);
}
