//! Each provider is told the callback URL in its own way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::providers::{Outgoing, Template, embedded};

const URL: &str = "https://q.example/v1/callbacks/ab";

fn template(id: &str) -> &'static Template {
    embedded().unwrap().get(id).unwrap()
}

fn body(id: &str, body: &str, secret: Option<&str>) -> String {
    let request = Outgoing { url: "https://api.example/x?a=1", body: Some(body), content_type: None };
    let passed = template(id).pass(request, URL, secret).unwrap();
    assert_eq!(passed.url, request.url);
    passed.body.unwrap()
}

fn url(id: &str) -> String {
    let request = Outgoing { url: "https://api.example/x?a=1", body: Some("not json"), content_type: None };
    let passed = template(id).pass(request, URL, None).unwrap();
    assert_eq!(passed.body.as_deref(), request.body);
    passed.url
}

#[test]
fn in_the_query() {
    let encoded = "https%3A%2F%2Fq.example%2Fv1%2Fcallbacks%2Fab";
    assert_eq!(url("fal"), format!("https://api.example/x?a=1&fal_webhook={encoded}"));
    assert_eq!(url("deepgram"), format!("https://api.example/x?a=1&callback={encoded}"));
    assert_eq!(url("wavespeed"), format!("https://api.example/x?a=1&webhook={encoded}"));
}

#[test]
fn in_the_query_as_base64_of_json() {
    let url = url::Url::parse(&url("apify")).unwrap();
    let (_, value) = url.query_pairs().find(|(name, _)| name == "webhooks").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(value.as_bytes()).unwrap()).unwrap();
    assert_eq!(json[0]["requestUrl"], URL);
    assert_eq!(json[0]["eventTypes"].as_array().unwrap().len(), 4);
}

#[test]
fn in_the_body_where_each_provider_looks_for_it() {
    for (id, path) in [
        ("replicate", "/webhook"),
        ("luma", "/callback_url"),
        ("kling", "/callback_url"),
        ("minimax", "/callback_url"),
        ("openrouter-video", "/callback_url"),
        ("bfl", "/webhook_url"),
        ("assemblyai", "/webhook_url"),
        ("creatomate", "/webhook_url"),
        ("sunoapi", "/callBackUrl"),
        ("runpod", "/webhook"),
        ("d-id", "/webhook"),
        ("baseten", "/webhook_endpoint"),
        ("shotstack", "/callback"),
        ("novita", "/extra/webhook/url"),
        ("piapi", "/config/webhook_config/endpoint"),
        ("gemini-veo", "/webhookConfig/uris/0"),
        ("gemini-batch", "/batch/webhookConfig/uris/0"),
        ("revai", "/notification_config/url"),
        ("speechmatics", "/config/notification_config/0/url"),
        ("firecrawl", "/webhook/url"),
        ("gladia", "/callback_config/url"),
        ("llamaparse", "/webhook_configurations/0/webhook_url"),
    ] {
        let changed: serde_json::Value = serde_json::from_str(&body(id, r#"{"n":1.0e2}"#, None)).unwrap();
        assert_eq!(changed.pointer(path).and_then(|url| url.as_str()), Some(URL), "{id}");
        assert!(body(id, r#"{"n":1.0e2}"#, None).starts_with(r#"{"n":1.0e2,"#), "{id}");
        assert!(!changed.to_string().contains("{callback"), "{id}");
    }
}

#[test]
fn with_what_the_provider_needs_beside() {
    let replicate = body("replicate", "{}", None);
    assert_eq!(replicate, format!(r#"{{"webhook":"{URL}","webhook_events_filter":["completed"]}}"#));
    let gladia = body("gladia", r#"{"callback":false}"#, None);
    assert_eq!(gladia, format!(r#"{{"callback":true,"callback_config":{{"url":"{URL}","method":"POST"}}}}"#));
}

#[test]
fn beside_the_users_own_receivers_where_the_provider_takes_several() {
    for (id, given, expected) in [
        (
            "gemini-veo",
            r#"{"webhookConfig":{"uris":["https://mine.example/"]}}"#,
            format!(r#"{{"webhookConfig":{{"uris":["https://mine.example/","{URL}"]}}}}"#),
        ),
        (
            "speechmatics",
            r#"{"config":{"notification_config":[{"url":"https://mine.example/","auth_headers":["A: b"]}]}}"#,
            format!(
                r#"{{"config":{{"notification_config":[{{"url":"https://mine.example/","auth_headers":["A: b"]}},{{"url":"{URL}","auth_headers":["Authorization: Bearer s"]}}]}}}}"#
            ),
        ),
        // One without a receiver is waiting for ours.
        (
            "speechmatics",
            r#"{"config":{"notification_config":[{"contents":["transcript"]}]}}"#,
            format!(
                r#"{{"config":{{"notification_config":[{{"contents":["transcript"],"url":"{URL}","auth_headers":["Authorization: Bearer s"]}}]}}}}"#
            ),
        ),
        (
            "llamaparse",
            r#"{"webhook_configurations":[{"webhook_url":"https://mine.example/"},{"webhook_events":["parse.success","parse.pending"]}]}"#,
            format!(
                r#"{{"webhook_configurations":[{{"webhook_url":"https://mine.example/"}},{{"webhook_events":["parse.success","parse.pending","parse.partial_success","parse.error","parse.cancelled"],"webhook_url":"{URL}","webhook_headers":{{"X-Callback-Secret":"s"}}}}]}}"#
            ),
        ),
    ] {
        let changed: serde_json::Value = serde_json::from_str(&body(id, given, Some("s"))).unwrap();
        assert_eq!(changed, serde_json::from_str::<serde_json::Value>(&expected).unwrap(), "{id}");
    }
}

#[test]
fn beside_the_users_own_receivers_in_a_form_and_in_base64() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n{\"notification_config\":[{\"url\":\"https://mine.example/\"}]}\r\n--b--\r\n";
    let request =
        Outgoing { url: "https://x.example", body: Some(form), content_type: Some("multipart/form-data; boundary=b") };
    let passed = template("speechmatics").pass(request, URL, None).unwrap();
    assert!(passed.body.unwrap().contains(&format!(r#"[{{"url":"https://mine.example/"}},{{"url":"{URL}"}}]"#)));
    let mine = STANDARD.encode(r#"[{"eventTypes":["ACTOR.RUN.CREATED"],"requestUrl":"https://mine.example/"}]"#);
    let target = format!("https://api.example/x?webhooks={}&memory=1", mine.replace('=', "%3D"));
    let request = Outgoing { url: &target, body: None, content_type: None };
    let url = url::Url::parse(&template("apify").pass(request, URL, None).unwrap().url).unwrap();
    let pairs: Vec<_> = url.query_pairs().collect();
    let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(pairs[0].1.as_bytes()).unwrap()).unwrap();
    assert_eq!((&json[0]["requestUrl"], &json[1]["requestUrl"]), (&"https://mine.example/".into(), &URL.into()));
    assert_eq!((pairs.len(), &*pairs[1].0), (2, "memory"));
    let broken = Outgoing { url: "https://api.example/x?webhooks=mine", ..request };
    let refused = template("apify").pass(broken, URL, None).unwrap_err().0;
    assert_eq!(refused, "the URL's webhooks must be base64 of a JSON array; leave it out, or make it one");
}

#[test]
fn a_filter_of_the_users_never_leaves_the_end_out() {
    let replicate = body("replicate", r#"{"webhook_events_filter":["start","logs"]}"#, None);
    assert!(replicate.starts_with(r#"{"webhook_events_filter":["start","logs","completed"]"#), "{replicate}");
    let all = r#"{"webhook_events_filter":["completed","start"]}"#;
    assert!(body("replicate", all, None).starts_with(&all[..all.len() - 1]));
    let firecrawl = body("firecrawl", r#"{"webhook":{"events":["page","failed"]}}"#, None);
    assert!(firecrawl.contains(r#"["page","failed","completed"]"#), "{firecrawl}");
    let request =
        Outgoing { url: "https://x.example", body: Some(r#"{"webhook_events_filter":"start"}"#), content_type: None };
    let refused = template("replicate").pass(request, URL, None).unwrap_err().0;
    assert_eq!(refused, "the body's webhook_events_filter must be an array; leave it out, or make it one");
}

#[test]
fn a_secret_that_is_told_is_the_one_that_is_checked() {
    let own = r#"{"webhook_auth_header_name":"X-Mine","webhook_auth_header_value":"mine"}"#;
    let told = body("assemblyai", own, Some("ours"));
    assert!(told.starts_with(r#"{"webhook_auth_header_name":"X-Mine","webhook_auth_header_value":"ours""#), "{told}");
    assert!(body("assemblyai", own, None).starts_with(&own[..own.len() - 1]), "without one, the user's own stays");
    for (id, own) in [
        ("bfl", r#"{"webhook_secret":"mine"}"#),
        ("piapi", r#"{"config":{"webhook_config":{"secret":"mine"}}}"#),
        ("revai", r#"{"notification_config":{"auth_headers":{"Authorization":"Bearer mine"}}}"#),
        ("speechmatics", r#"{"config":{"notification_config":[{"auth_headers":["Authorization: Bearer mine"]}]}}"#),
        ("llamaparse", r#"{"webhook_configurations":[{"webhook_headers":{"X-Callback-Secret":"mine"}}]}"#),
    ] {
        let told = body(id, own, Some("ours"));
        assert!(told.contains("ours") && !told.contains("mine"), "{id}: {told}");
    }
}

#[test]
fn with_the_secret_where_the_provider_wants_to_be_told() {
    assert_eq!(body("bfl", "{}", None), format!(r#"{{"webhook_url":"{URL}"}}"#));
    let secret = Some("a\"b");
    assert_eq!(body("bfl", "{}", secret), format!(r#"{{"webhook_url":"{URL}","webhook_secret":"a\"b"}}"#));
    let revai = body("revai", "{}", secret);
    assert!(revai.contains(r#""Authorization":"Bearer a\"b""#), "{revai}");
    assert_eq!(body("revai", "{}", Some("Bearer a\"b")), revai);
    assert_eq!(body("assemblyai", "{}", None), format!(r#"{{"webhook_url":"{URL}"}}"#));
    for id in ["bfl", "assemblyai", "piapi", "revai", "speechmatics", "llamaparse"] {
        assert!(template(id).callback().unwrap().passing.tells_secret(), "{id}");
    }
    assert!(!template("replicate").callback().unwrap().passing.tells_secret());
}

#[test]
fn in_a_form_that_holds_json() {
    let form =
        "--b\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n{\"type\":\"transcription\"}\r\n--b--\r\n";
    let request = Outgoing {
        url: "https://eu1.asr.api.speechmatics.com/v2/jobs",
        body: Some(form),
        content_type: Some("multipart/form-data; boundary=b"),
    };
    let passed = template("speechmatics").pass(request, URL, None).unwrap();
    let config = format!(r#"{{"type":"transcription","notification_config":[{{"url":"{URL}"}}]}}"#);
    assert_eq!(passed.body.unwrap(), form.replace(r#"{"type":"transcription"}"#, &config));
}

#[test]
fn not_where_the_provider_takes_none() {
    let request = Outgoing { url: "https://api.example/", body: Some("{}"), content_type: None };
    let refused = |id: &str| template(id).pass(request, URL, None).unwrap_err().0;
    assert!(refused("openai-batch").contains("one callback URL per account"));
    assert!(refused("runwayml").contains("has no callbacks"));
    let empty = Outgoing { body: None, ..request };
    assert!(template("luma").pass(empty, URL, None).unwrap_err().0.starts_with("the body must be JSON"));
}

#[test]
fn neither_url_nor_secret_is_shown() {
    let request = Outgoing { url: "https://api.example/", body: Some("{}"), content_type: None };
    let passed = template("bfl").pass(request, URL, Some("hush")).unwrap();
    assert_eq!(format!("{passed:?}"), "Passed { … }");
}
