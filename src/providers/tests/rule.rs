//! What callbacks say, in the order of the questions that the rule asks.

use crate::providers::{CallbackRule, Content, Delivery, Json, Verdict, embedded};

fn rule(config: &str) -> CallbackRule {
    CallbackRule::parse(Json::parse(config.as_bytes()).unwrap(), None).unwrap()
}

fn of(id: &str) -> &'static CallbackRule {
    &embedded().unwrap().get(id).unwrap().callback().unwrap().rule
}

fn delivery<'a>(body: &'a [u8], content_type: Option<&'a str>) -> Delivery<'a> {
    Delivery { query: None, content_type, body }
}

fn says(rule: &CallbackRule, body: &str) -> Verdict {
    rule.read(&delivery(body.as_bytes(), None)).unwrap().verdict
}

fn failed(error: &str) -> Verdict {
    Verdict::Fail { error: error.to_owned() }
}

#[test]
fn unknown_is_never_the_end() {
    let rule = rule(r#"{"statusPath":"s","doneValues":["ok"],"failValues":["bad"],"interimValues":["on"]}"#);
    for body in ["{}", "[]", "1", "\"ok\"", r#"{"s":"OK"}"#, r#"{"s":" ok"}"#, r#"{"s":["ok"]}"#, r#"{"s":"on"}"#] {
        assert_eq!(says(&rule, body), Verdict::Interim, "{body}");
    }
    assert_eq!(says(&rule, r#"{"s":"ok"}"#), Verdict::Done);
    assert_eq!(says(&rule, r#"{"s":"bad"}"#), failed("The provider reported: bad"));
}

#[test]
fn values_of_every_scalar_kind_are_compared_as_text() {
    let rule = rule(r#"{"statusPath":"s","doneValues":["true","200"],"failValues":["false"]}"#);
    for body in [r#"{"s":true}"#, r#"{"s":"true"}"#, r#"{"s":200}"#] {
        assert_eq!(says(&rule, body), Verdict::Done, "{body}");
    }
    assert_eq!(says(&rule, r#"{"s":2e2}"#), Verdict::Interim, "not the same text");
    assert_eq!(says(&rule, r#"{"s":false}"#), failed("The provider reported: false"));
}

#[test]
fn presence_decides_where_the_status_does_not() {
    let rule = rule(
        r#"{"statusPath":"s","doneValues":["ok"],"failValues":["bad"],"interimValues":["on"],
            "doneWhenPresent":"out","failWhenPresent":["err","errors"],"errorPath":["err.message","errors.0"]}"#,
    );
    assert_eq!(says(&rule, r#"{"out":0}"#), Verdict::Done);
    assert_eq!(says(&rule, r#"{"out":false}"#), Verdict::Done, "a model may say false");
    assert_eq!(says(&rule, r#"{"out":null}"#), Verdict::Interim);
    assert_eq!(says(&rule, r#"{"s":"on","out":1,"err":"x"}"#), Verdict::Interim);
    assert_eq!(says(&rule, r#"{"s":"new word","out":1}"#), Verdict::Done);
    assert_eq!(says(&rule, r#"{"out":1,"errors":["e1","e2"]}"#), failed("e1"));
    assert_eq!(says(&rule, r#"{"s":"ok","err":{"message":"m"}}"#), failed("m"), "done is not success");
    for nothing in ["null", "false", "\"\"", "[]", "{}", "{ }"] {
        assert_eq!(says(&rule, &format!(r#"{{"s":"ok","err":{nothing}}}"#)), Verdict::Done, "{nothing}");
    }
}

#[test]
fn the_providers_own_words_are_told() {
    let rule = rule(r#"{"statusPath":"s","failValues":["bad"],"errorPath":["a","b","?why"]}"#);
    assert_eq!(says(&rule, r#"{"s":"bad","a":null,"b":"boom"}"#), failed("boom"));
    assert_eq!(says(&rule, r#"{"s":"bad","a":{"code": 7}}"#), failed(r#"{"code": 7}"#));
    assert_eq!(says(&rule, r#"{"s":"bad","a":42}"#), failed("42"));
    let query = Delivery { query: Some("why=no%20media"), content_type: None, body: br#"{"s":"bad"}"# };
    assert_eq!(rule.read(&query).unwrap().verdict, failed("no media"));
    let long = format!(r#"{{"s":"bad","a":"{}"}}"#, "é".repeat(10_000));
    let Verdict::Fail { error } = says(&rule, &long) else { panic!("not failed") };
    assert!(error.len() < 5000 && error.ends_with('…'));
}

#[test]
fn a_job_id_is_told_and_compared() {
    let rule = rule(r#"{"idPath":["data.id","id"]}"#);
    let id = |body: &str| rule.read(&delivery(body.as_bytes(), None)).unwrap().job_id;
    assert_eq!(id(r#"{"id":"event","data":{"id":"job"}}"#).as_deref(), Some("job"));
    assert_eq!(id(r#"{"id":115334141465231360}"#).as_deref(), Some("115334141465231360"));
    assert_eq!(id(r#"{"id":null}"#), None);
    assert_eq!(id(&format!(r#"{{"data":{{"id":"{}"}},"id":"a"}}"#, "x".repeat(5000))).as_deref(), Some("a"), "no id");
    let reading = rule.read(&delivery(br#"{"id":"a"}"#, None)).unwrap();
    assert!(rule.is_of_another_job(&reading, Some("b")));
    assert!(!rule.is_of_another_job(&reading, Some("a")) && !rule.is_of_another_job(&reading, None));
    let batch = of("gemini-batch");
    let reading = batch.read(&delivery(br#"{"type":"batch.failed","data":{"id":"batch_1"}}"#, None)).unwrap();
    assert!(!batch.is_of_another_job(&reading, Some("batches/1")), "spelled otherwise");
}

#[test]
fn without_a_form_of_its_own_only_json_is_taken() {
    let plain = rule(r#"{"statusPath":"?status","doneValues":["success"]}"#);
    for body in [&b""[..], b"text", b"{\"a\":", b"\xff\xfe"] {
        assert!(plain.read(&delivery(body, Some("application/json"))).is_err(), "{body:?}");
    }
}

#[test]
fn text_and_bytes_are_kept_as_they_came() {
    let rule = of("speechmatics");
    let read = |body: &'static [u8], content_type| {
        let delivery = Delivery { query: Some("id=j&status=success"), content_type, body };
        let reading = rule.read(&delivery).unwrap();
        assert_eq!((reading.verdict, reading.job_id.as_deref()), (Verdict::Done, Some("j")));
        reading.content
    };
    assert_eq!(read(b"", None), Content::Text("\"\"".to_owned()));
    assert_eq!(read(b"a \"b\"\n", Some("text/plain")), Content::Text(r#""a \"b\"\n""#.to_owned()));
    assert_eq!(read(b"{\"a\": 1}", None), Content::Json(Json::parse(b"{\"a\": 1}").unwrap()));
    let bytes = Content::Binary { content_type: "multipart/form-data; boundary=b".to_owned(), bytes: b"--b\xff" };
    assert_eq!(read(b"--b\xff", Some("multipart/form-data; boundary=b")), bytes);
}

#[test]
fn the_state_in_the_query_is_believed_whatever_the_body_is() {
    let rule = of("speechmatics");
    for (status, verdict) in [
        ("success", Verdict::Done),
        ("error", failed("The provider reported: error")),
        ("fetch_error", failed("The provider reported: fetch_error")),
        ("trim_error", failed("The provider reported: trim_error")),
        ("other", Verdict::Interim),
    ] {
        let query = format!("id=j&status={status}");
        let delivery = Delivery { query: Some(&query), content_type: None, body: b"" };
        assert_eq!(rule.read(&delivery).unwrap().verdict, verdict);
    }
}

#[test]
fn audio_is_its_own_result() {
    let rule = of("deepgram");
    for body in [&b"ID3\x04\xff"[..], b"ascii"] {
        let reading = rule.read(&delivery(body, Some("audio/mpeg"))).unwrap();
        assert_eq!(reading.verdict, Verdict::Done);
        assert_eq!(reading.content, Content::Binary { content_type: "audio/mpeg".to_owned(), bytes: body });
    }
    assert!(rule.read(&delivery(b"{\"results\":", Some("application/json"))).is_err(), "broken JSON is no audio");
    assert!(rule.read(&delivery(b"", Some("audio/mpeg"))).is_err(), "nothing is no audio");
}

#[test]
fn a_test_of_the_url_is_answered_and_says_nothing_of_the_job() {
    let rule = of("minimax");
    let answer = |text: &str| Verdict::Challenge { answer: text.to_owned() };
    assert_eq!(says(rule, r#"{ "challenge" : "a\"b" , "x":1}"#), answer(r#"{"challenge":"a\"b"}"#));
    assert_eq!(says(rule, r#"{"challenge":"x","status":"success"}"#), Verdict::Done, "about a job all the same");
    assert_eq!(says(rule, r#"{"challenge":7}"#), Verdict::Interim);
    assert_eq!(says(of("luma"), r#"{"challenge":"x"}"#), Verdict::Interim);
}

#[test]
fn events_about_something_else_are_news() {
    let rule = of("shotstack");
    assert_eq!(says(rule, r#"{"type":"edit","status":"done"}"#), Verdict::Done);
    assert_eq!(says(rule, r#"{"type":"serve","status":"failed"}"#), Verdict::Interim);
    assert_eq!(says(rule, r#"{"status":"done"}"#), Verdict::Done);
}

#[test]
fn other_shapes_of_events_about_one_request() {
    for (id, body, verdict) in [
        (
            "fal",
            r#"{"request_id":"r","status":"ERROR","error":"Invalid status code: 422","payload":{"detail":[]}}"#,
            failed("Invalid status code: 422"),
        ),
        ("replicate", r#"{"id":"r","status":"canceled","error":null}"#, failed("The provider reported: canceled")),
        ("replicate", r#"{"id":"r","status":"aborted"}"#, failed("The provider reported: aborted")),
        ("luma", r#"{"id":"l","state":"failed","failure_reason":"moderated"}"#, failed("moderated")),
        ("kling", r#"{"task_id":"k","task_status":"failed","task_status_msg":"risk control"}"#, failed("risk control")),
        ("kling", r#"{"task_id":"k","task_status":"submitted"}"#, Verdict::Interim),
        ("minimax", r#"{"task_id":"m","status":"failed","base_resp":{"status_msg":"sensitive"}}"#, failed("sensitive")),
        ("bfl", r#"{"id":"b","status":"Content Moderated"}"#, failed("The provider reported: Content Moderated")),
        ("baseten", r#"{"request_id":"b","data":{"out":1},"errors":[]}"#, Verdict::Done),
        ("baseten", r#"{"request_id":"b","data":null,"errors":[{"code":"X","message":"boom"}]}"#, failed("boom")),
        ("sunoapi", r#"{"code":200,"data":{"callbackType":"first","task_id":"s"}}"#, Verdict::Interim),
        ("sunoapi", r#"{"code":400,"msg":"bad","data":{"callbackType":"error","task_id":"s"}}"#, failed("bad")),
        (
            "novita",
            r#"{"payload":{"task":{"task_id":"n","status":"TASK_STATUS_FAILED","reason":"why"}}}"#,
            failed("why"),
        ),
        ("wavespeed", r#"{"id":"w","status":"failed","error":"oom"}"#, failed("oom")),
        ("gladia", r#"{"id":"g","event":"transcription.success","payload":{"id":"g"}}"#, Verdict::Done),
        ("gladia", r#"{"id":"g","event":"transcription.created","payload":{"id":"g"}}"#, Verdict::Interim),
    ] {
        assert_eq!(says(of(id), body), verdict, "{id}: {body}");
    }
}

#[test]
fn other_shapes_of_events_with_a_type() {
    for (id, body, verdict) in [
        (
            "llamaparse",
            r#"{"event_id":"e","event_type":"parse.error","data":{"job_id":"j"}}"#,
            failed("The provider reported: parse.error"),
        ),
        ("llamaparse", r#"{"event_id":"e","event_type":"parse.pending","data":{"job_id":"j"}}"#, Verdict::Interim),
        (
            "openai-responses",
            r#"{"type":"response.incomplete","data":{"id":"r"}}"#,
            failed("The provider reported: response.incomplete"),
        ),
        (
            "openai-batch",
            r#"{"type":"batch.expired","data":{"id":"b"}}"#,
            failed("The provider reported: batch.expired"),
        ),
        (
            "heygen",
            r#"{"event_type":"avatar_video.fail","event_data":{"video_id":"v","msg":"no credit"}}"#,
            failed("no credit"),
        ),
        (
            "mux",
            r#"{"type":"video.asset.errored","data":{"id":"m","errors":{"messages":["bad input"]}}}"#,
            failed("bad input"),
        ),
        ("mux", r#"{"type":"video.asset.created","data":{"id":"m"}}"#, Verdict::Interim),
        ("firecrawl", r#"{"type":"agent.action","id":"f"}"#, Verdict::Interim),
        (
            "apify",
            r#"{"eventType":"ACTOR.RUN.TIMED_OUT","eventData":{"actorRunId":"a"}}"#,
            failed("The provider reported: ACTOR.RUN.TIMED_OUT"),
        ),
    ] {
        assert_eq!(says(of(id), body), verdict, "{id}: {body}");
    }
}

#[test]
fn values_need_a_place_to_find_them() {
    for list in ["doneValues", "failValues", "interimValues"] {
        let text = format!(r#"{{"{list}":["ok"]}}"#);
        let wrong = CallbackRule::parse(Json::parse(text.as_bytes()).unwrap(), None).unwrap_err();
        assert_eq!(wrong[0].field, "callbackConfig.statusPath", "{list}");
    }
}

#[test]
fn a_rule_that_judges_nothing_takes_the_first_callback_as_the_end() {
    for text in ["{}", r#"{"idPath":"id"}"#, r#"{"statusPath":"s"}"#] {
        let rule = CallbackRule::parse(Json::parse(text.as_bytes()).unwrap(), None).unwrap();
        let delivery = Delivery { query: None, content_type: None, body: br#"{"s":"on","id":"1"}"# };
        assert_eq!(rule.read(&delivery).unwrap().verdict, Verdict::Done, "{text}");
    }
}
