//! Poll configurations are read with words for people, merged, stored, and judge answers.

use crate::providers::{Json, PollAnswer, PollConfig, PollVerdict, Sources, Template, TrustedHost, embedded};

const GOOD: &str =
    r#"{"urlTemplate":"https://a.example/{startResult.body.id}","statusPath":"s","doneValues":["ok"],"failValues":[]}"#;

fn template(id: &str) -> &'static Template {
    embedded().unwrap().get(id).unwrap()
}

fn parse(text: &str, template: Option<&Template>) -> Result<PollConfig, Vec<String>> {
    PollConfig::parse(Json::parse(text.as_bytes()).unwrap(), template, &[], "https://target.example/jobs")
        .map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
}

fn judge(config: &PollConfig, status: u16, body: &str) -> PollVerdict {
    config.judge(&PollAnswer { status, body: body.as_bytes() })
}

fn failed(error: &str) -> PollVerdict {
    PollVerdict::Fail { error: error.to_owned() }
}

#[test]
fn defaults_are_filled_in_and_shown_in_order() {
    let config = parse(GOOD, None).unwrap();
    let shown = concat!(
        r#"{"urlTemplate":"https://a.example/{startResult.body.id}","interval":5,"statusPath":"s","#,
        r#""doneValues":["ok"],"failValues":[],"resultPath":"","forwardAuth":true,"maxDuration":600}"#
    );
    assert_eq!(config.shown(), shown);
    assert_eq!((config.interval_ms(), config.max_duration_ms(), config.forward_auth()), (5000, 600_000, true));
    let again = PollConfig::restore(&config.stored()).unwrap();
    assert_eq!((again.shown(), again.stored()), (config.shown(), config.stored()));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = parse(
        r#"{"urlTemplate":"https://{x}.example/","interval":0,"statusPath":"a..b","doneValues":[],"failValues":"x",
            "resultPath":"__proto__","errorPath":1,"forwardAuth":"yes","maxDuration":1e9,"method":"POST"}"#,
        None,
    );
    let expected = [
        "pollConfig.interval must be a number of seconds from 1 to 3600",
        "pollConfig.statusPath must be names parted by single dots, such as data.status or images.0.url",
        "pollConfig.failValues must be an array of at most 100 strings",
        "pollConfig.resultPath must not hold __proto__",
        "pollConfig.errorPath must be a string",
        "pollConfig.forwardAuth must be true or false",
        "pollConfig.maxDuration must be a number of seconds from 1 to 2592000",
        "pollConfig.doneValues must hold at least one value",
        "pollConfig.urlTemplate must name the host as it is; a placeholder may only stand in the path or the query, or \
         be the whole URL",
        "Unknown field: pollConfig.method",
    ];
    assert_eq!(wrong.unwrap_err(), expected);
    let missing = ["urlTemplate", "statusPath", "doneValues", "failValues"];
    assert_eq!(parse("{}", None).unwrap_err(), missing.map(|name| format!("pollConfig.{name} is required")));
    assert_eq!(parse("[]", None).unwrap_err(), ["pollConfig must be an object"]);
    for bad in ["0.01", "3600.5", "\"5\"", "true", "1e9"] {
        let text = GOOD.replace("\"statusPath\"", &format!("\"interval\":{bad},\"statusPath\""));
        assert!(parse(&text, None).is_err(), "{bad}");
    }
    let both = GOOD.replace("\"failValues\":[]", "\"failValues\":[\"ok\"]");
    assert_eq!(parse(&both, None).unwrap_err(), ["pollConfig.failValues must not share values with doneValues: ok"]);
    let not_strings = GOOD.replace("[\"ok\"]", "[true]");
    assert!(parse(&not_strings, None).is_err());
}

#[test]
fn placeholders_need_their_values_at_creation() {
    let with = |url: &str| GOOD.replace("https://a.example/{startResult.body.id}", url);
    let wrong = parse(&with("https://a.example/{account}/{id}"), None).unwrap_err();
    assert_eq!(wrong, ["providerParams.account is required: the URL to poll has the placeholder {account}"]);
    assert!(parse(&with("https://a.example/{id}"), None).unwrap_err()[0].contains("{id}"));
    assert!(parse(&with("https://a.example/{id}"), Some(template("luma"))).is_ok());
    let runpod = parse("{}", Some(template("runpod"))).unwrap_err();
    assert!(runpod[0].contains("providerParams.endpoint_id is required"), "{runpod:?}");
    let params = [("endpoint_id".to_owned(), "e1".to_owned())];
    assert!(template("runpod").poll().unwrap().for_task(&params, "https://target.example/jobs").is_ok());
}

#[test]
fn a_users_keys_override_the_templates() {
    let config = parse(r#"{"interval":30,"failValues":["failed"]}"#, Some(template("replicate"))).unwrap();
    let shown = concat!(
        r#"{"urlTemplate":"https://api.replicate.com/v1/predictions/{startResult.body.id}","interval":30,"#,
        r#""statusPath":"status","doneValues":["succeeded"],"failValues":["failed"],"resultPath":"output","#,
        r#""forwardAuth":true,"maxDuration":600}"#
    );
    assert_eq!(config.shown(), shown);
    assert_eq!(judge(&config, 200, r#"{"status":"aborted"}"#), PollVerdict::Pending, "the user's list is whole");
    let plain = parse("{}", Some(template("replicate"))).unwrap();
    assert_eq!(judge(&plain, 200, r#"{"status":"aborted","error":"x"}"#), failed("x"));
    let own = parse(r#"{"doneValues":["aborted"]}"#, Some(template("replicate"))).unwrap();
    assert_eq!(judge(&own, 200, r#"{"status":"aborted"}"#), PollVerdict::Done);
    assert_eq!(PollConfig::restore(&own.stored()).unwrap().shown(), own.shown());
}

#[test]
fn the_six_judge_answers_as_documented() {
    for (id, status, body, verdict) in [
        ("fal", 200, r#"{"status":"COMPLETED"}"#, PollVerdict::Done),
        ("fal", 202, r#"{"status":"IN_QUEUE"}"#, PollVerdict::Pending),
        ("fal", 200, r#"{"status":"COMPLETED","error":"oom","error_type":"runner"}"#, failed("oom")),
        ("fal", 200, r#"{"status":"COMPLETED","error":null}"#, PollVerdict::Done),
        ("replicate", 200, r#"{"status":"failed","error":"boom"}"#, failed("boom")),
        ("runwayml", 200, r#"{"status":"FAILED","failure":"moderated"}"#, failed("moderated")),
        ("runwayml", 200, r#"{"status":"THROTTLED"}"#, PollVerdict::Pending),
        ("luma", 200, r#"{"state":"dreaming"}"#, PollVerdict::Pending),
        ("elevenlabs-dubbing", 200, r#"{"status":"dubbed"}"#, PollVerdict::Done),
        ("stability-video", 202, r#"{"status":"in-progress"}"#, PollVerdict::Pending),
        ("stability-video", 200, "\u{0}\u{1}film", PollVerdict::Done),
        ("stability-video", 404, r#"{"errors":["no such job"]}"#, failed(r#"["no such job"]"#)),
        ("stability-video", 403, "", failed("The provider reported: 403")),
        ("gemini-veo", 200, r#"{"name":"o","done":true,"response":{}}"#, PollVerdict::Done),
        ("gemini-veo", 200, r#"{"name":"o","done":true,"error":{"code":3,"message":"bad"}}"#, failed("bad")),
        ("gemini-veo", 200, r#"{"name":"o"}"#, PollVerdict::Pending),
        ("cloudflare-batch", 200, r#"{"result":{"status":"queued"}}"#, PollVerdict::Pending),
        ("cloudflare-batch", 200, r#"{"result":{"responses":[]}}"#, PollVerdict::Done),
        ("elevenlabs-stt", 404, "{}", PollVerdict::Pending),
        ("baseten", 200, r#"{"status":"SUCCEEDED"}"#, PollVerdict::DoneByCallback),
        (
            "sunoapi",
            200,
            r#"{"data":{"status":"CALLBACK_EXCEPTION","errorMessage":null}}"#,
            PollVerdict::DoneByCallback,
        ),
        (
            "sunoapi",
            200,
            r#"{"data":{"status":"CALLBACK_EXCEPTION","errorMessage":"bad prompt"}}"#,
            failed("bad prompt"),
        ),
    ] {
        let verdict =
            if id == "sunoapi" && verdict == PollVerdict::DoneByCallback { PollVerdict::Done } else { verdict };
        assert_eq!(judge(template(id).poll().unwrap(), status, body), verdict, "{id} {body}");
    }
}

#[test]
fn status_codes_tell_trouble_from_news() {
    let luma = template("luma").poll().unwrap();
    for (status, verdict) in [
        (401, PollVerdict::Refused),
        (403, PollVerdict::Refused),
        (404, PollVerdict::Refused),
        (410, PollVerdict::Refused),
        (400, PollVerdict::Busy),
        (429, PollVerdict::Busy),
        (301, PollVerdict::Busy),
        (500, PollVerdict::Busy),
        (503, PollVerdict::Busy),
        (201, PollVerdict::Done),
    ] {
        assert_eq!(judge(luma, status, r#"{"state":"completed"}"#), verdict, "{status}");
    }
    let bfl = template("bfl").poll().unwrap();
    assert_eq!(judge(bfl, 404, r#"{"status":"Task not found"}"#), failed("The provider reported: Task not found"));
    let stability = template("stability-video").poll().unwrap();
    assert_eq!(judge(stability, 401, ""), PollVerdict::Refused);
    assert_eq!(judge(stability, 429, ""), PollVerdict::Busy);
    assert_eq!(judge(stability, 500, ""), failed("The provider reported: 500"));
}

#[test]
fn parameters_are_judged_at_creation() {
    let wrong = |id: &str, key: &str, value: &str| {
        let params = [(key.to_owned(), value.to_owned())];
        template(id)
            .poll()
            .unwrap()
            .for_task(&params, "https://target.example/jobs")
            .map_err(|wrong| wrong[0].field.clone())
            .err()
    };
    assert_eq!(wrong("azure-openai-sora", "resource", "mine"), None);
    assert_eq!(wrong("azure-openai-sora", "resource", "evil.example/").as_deref(), Some("providerParams.resource"));
    assert_eq!(wrong("runpod", "endpoint_id", "..").as_deref(), Some("providerParams.endpoint_id"));
    assert_eq!(wrong("runpod", "endpoint_id", "e 1"), None);
}

#[test]
fn results_are_the_raw_text_at_their_path() {
    let luma = template("luma").poll().unwrap();
    assert_eq!(luma.result(br#"{"assets":{"video": "https:\/\/x" }}"#).as_deref(), Some(r#""https:\/\/x""#));
    assert_eq!(luma.result(br#"{"assets":null}"#).as_deref(), Some("null"));
    assert_eq!(luma.result(b"no json"), None);
    let fal = template("fal").poll().unwrap();
    let body = r#"{"seed": 196619188014358660, "x":1.0e2}"#;
    assert_eq!(fal.result(body.as_bytes()).as_deref(), Some(body));
    assert!(fal.result_is_whole_body() && !luma.result_is_whole_body());
}

#[test]
fn the_next_requests_are_made_from_the_answers() {
    let target = "https://api.bfl.ai/v1/flux";
    let ask = |id: &str, start: &str, params: &[(String, String)]| {
        let sources = Sources { start: Json::parse(start.as_bytes()), params, ..Sources::default() };
        template(id).poll().unwrap().poll(&sources, target).map(|request| (request.method, request.url, request.body))
    };
    let get = |url: &str| Ok(("GET".to_owned(), url.to_owned(), None));
    assert_eq!(ask("bfl", r#"{"id":"a"}"#, &[]), get("https://api.bfl.ai/v1/get_result?id=a"));
    let regional = r#"{"id":"a","polling_url":"https://api.us1.bfl.ai/v1/get_result?id=a"}"#;
    assert_eq!(ask("bfl", regional, &[]), get("https://api.us1.bfl.ai/v1/get_result?id=a"));
    let foreign = r#"{"id":"a","polling_url":"https://evil.example/?id=a"}"#;
    assert_eq!(ask("bfl", foreign, &[]), get("https://api.bfl.ai/v1/get_result?id=a"));
    let veo = r#"{"name":"models/veo/operations/x"}"#;
    assert_eq!(
        ask("gemini-veo", veo, &[]),
        get("https://generativelanguage.googleapis.com/v1beta/models/veo/operations/x")
    );
    let params = [("account_id".to_owned(), "acc".to_owned()), ("model".to_owned(), "@cf/baai/bge".to_owned())];
    let url = "https://api.cloudflare.com/client/v4/accounts/acc/ai/run/%40cf/baai/bge?queueRequest=true";
    let body = Some(r#"{ "request_id": "q\"1" }"#.to_owned());
    assert_eq!(
        ask("cloudflare-batch", r#"{"result":{"request_id":"q\"1"}}"#, &params),
        Ok(("POST".to_owned(), url.to_owned(), body))
    );
    let region = [("region".to_owned(), "us-east-1".to_owned())];
    let arn = r#"{"invocationArn":"arn:aws:bedrock:us-east-1:1:async-invoke/x"}"#;
    let url = "https://bedrock-runtime.us-east-1.amazonaws.com/async-invoke/\
               arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aasync-invoke%2Fx";
    assert_eq!(ask("bedrock-async", arn, &region), get(url));
    assert!(ask("luma", "{}", &[]).is_err());
}

#[test]
fn results_and_cancellations_have_requests_of_their_own() {
    let target = "https://elsewhere.example/";
    let start = br#"{"id":"p1","urls":{"cancel":"https://api.replicate.com/v1/predictions/p1/cancel"}}"#;
    let sources =
        Sources { start: Json::parse(start), poll: Json::parse(br#"{"output_file_id":"f1"}"#), ..Sources::default() };
    let request = template("replicate").poll().unwrap().cancel(&sources, target).unwrap();
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://api.replicate.com/v1/predictions/p1/cancel")
    );
    let request = template("luma").poll().unwrap().cancel(&sources, target).unwrap();
    assert_eq!((request.method.as_str(), request.url.ends_with("/generations/p1")), ("DELETE", true));
    assert!(template("bfl").poll().unwrap().cancel(&sources, target).is_none());
    let result = template("openai-batch").poll().unwrap().result_request(&sources, target).unwrap().unwrap();
    assert_eq!(result.url, "https://api.openai.com/v1/files/f1/content");
    assert!(template("luma").poll().unwrap().result_request(&sources, target).is_none());
}

#[test]
fn a_job_is_asked_after_at_the_provider_s_host_that_took_it() {
    let start = Json::parse(br#"{"id":"j1","data":{"taskId":"j1"}}"#);
    let asked = |id: &str, target: &str| {
        template(id).poll().unwrap().poll(&Sources { start, ..Sources::default() }, target).unwrap().url
    };
    for (id, target, url) in [
        ("assemblyai", "https://api.assemblyai.com/v2/transcript", "https://api.assemblyai.com/v2/transcript/j1"),
        ("assemblyai", "https://api.eu.assemblyai.com/v2/transcript", "https://api.eu.assemblyai.com/v2/transcript/j1"),
        ("assemblyai", "https://proxy.example/v2/transcript", "https://api.assemblyai.com/v2/transcript/j1"),
        ("assemblyai", "http://api.eu.assemblyai.com/v2", "https://api.assemblyai.com/v2/transcript/j1"),
        ("sunoapi", "https://api.kie.ai/api/v1/generate", "https://api.kie.ai/api/v1/generate/record-info?taskId=j1"),
        (
            "speechmatics",
            "https://us1.asr.api.speechmatics.com/v2/jobs",
            "https://us1.asr.api.speechmatics.com/v2/jobs/j1",
        ),
    ] {
        assert_eq!(asked(id, target), url, "{target}");
    }
    let sources = Sources { start, ..Sources::default() };
    let result =
        template("revai").poll().unwrap().result_request(&sources, "https://ec1.api.rev.ai/speechtotext/v1/jobs");
    assert_eq!(result.unwrap().unwrap().url, "https://ec1.api.rev.ai/speechtotext/v1/jobs/j1/transcript");
    let own = parse(r#"{"urlTemplate":"https://mine.example/{id}"}"#, Some(template("assemblyai"))).unwrap();
    let asked = own.poll(&sources, "https://api.eu.assemblyai.com/v2/transcript").unwrap().url;
    assert_eq!(asked, "https://mine.example/j1", "a user's URL was changed");
    let trainings = br#"{"id":"t1","urls":{"get":"https://api.replicate.com/v1/trainings/t1"}}"#;
    let sources = Sources { start: Json::parse(trainings), ..Sources::default() };
    let asked = template("replicate").poll().unwrap().poll(&sources, "https://api.replicate.com/v1/x").unwrap().url;
    assert_eq!(asked, "https://api.replicate.com/v1/trainings/t1");
}

#[test]
fn hosts_that_the_user_wrote_are_trusted() {
    let config = parse(GOOD, None).unwrap();
    assert_eq!(config.trusted(), [TrustedHost::parse("https://a.example").unwrap()]);
    let text = r#"{"urlTemplate":"http://127.0.0.1:9/{id}"}"#;
    let over = parse(text, Some(template("luma"))).unwrap();
    let trusted: Vec<String> = over.trusted().iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["api.lumalabs.ai", "http://127.0.0.1:9"]);
    let named_by_answer = parse(r#"{"urlTemplate":"{startResult.body.url}"}"#, Some(template("luma"))).unwrap();
    assert_eq!(named_by_answer.trusted().len(), 1);
}

#[test]
fn a_refusal_inside_of_200_is_a_refusal() {
    let minimax = template("minimax").poll().unwrap();
    let answer = |code: u32, status: &str| {
        judge(
            minimax,
            200,
            &format!(r#"{{"status":"{status}","base_resp":{{"status_code":{code},"status_msg":"m"}}}}"#),
        )
    };
    assert_eq!(answer(0, "Queueing"), PollVerdict::Pending);
    assert_eq!(answer(0, "Success"), PollVerdict::Done);
    assert_eq!(answer(1027, "Fail"), failed("m"));
    assert_eq!((answer(1004, ""), answer(1002, "")), (PollVerdict::Refused, PollVerdict::Busy));
    let sunoapi = template("sunoapi").poll().unwrap();
    assert_eq!(judge(sunoapi, 200, r#"{"code":200,"data":{"status":"PENDING"}}"#), PollVerdict::Pending);
    assert_eq!(judge(sunoapi, 200, r#"{"code":401,"msg":"no such key","data":null}"#), PollVerdict::Refused);
    assert_eq!(judge(sunoapi, 200, r#"{"code":430,"msg":"slower","data":null}"#), PollVerdict::Busy);
    // A user's own way of asking does not change how the provider refuses.
    let own = parse(r#"{"statusPath":"data.state"}"#, Some(template("sunoapi"))).unwrap();
    let stored = PollConfig::restore(&own.stored()).unwrap();
    assert_eq!(judge(&stored, 200, r#"{"code":401,"msg":"no such key","data":null}"#), PollVerdict::Refused);
}

#[test]
fn what_stands_in_place_of_a_status_is_cut() {
    let config = parse(GOOD, None).unwrap();
    let body = format!(r#"{{"s":"{}"}}"#, "é".repeat(100_000));
    let status = config.status(&PollAnswer { status: 200, body: body.as_bytes() }).unwrap();
    assert_eq!(status.chars().count(), 200);
    assert_eq!(judge(&config, 200, &body), PollVerdict::Pending);
}

#[test]
fn a_job_is_polled_in_the_region_that_took_it() {
    let start = br#"{"id":"j","task_id":"j","data":{"task_id":"j"},"transcription_id":"j","dubbing_id":"j"}"#;
    for (id, origin) in [
        ("kling", "https://api-singapore.klingai.com"),
        ("kling", "https://api-beijing.klingai.com"),
        ("minimax", "https://api.minimaxi.com"),
        ("openai-batch", "https://eu.api.openai.com"),
        ("openai-responses", "https://us.api.openai.com"),
        ("openai-videos", "https://eu.api.openai.com"),
        ("elevenlabs-stt", "https://api.eu.residency.elevenlabs.io"),
        ("elevenlabs-dubbing", "https://api.us.elevenlabs.io"),
        ("assemblyai", "https://api.eu.assemblyai.com"),
        ("speechmatics", "https://us1.asr.api.speechmatics.com"),
        ("revai", "https://ec1.api.rev.ai"),
    ] {
        let config = template(id).poll().unwrap();
        let sources = Sources { start: Json::parse(start), ..Sources::default() };
        let url = config.poll(&sources, &format!("{origin}/v1/submit")).unwrap().url;
        assert!(url.starts_with(&format!("{origin}/")), "{id}: {url}");
    }
}

/// Where a job `j1` is polled and called off that was submitted there, answered so.
fn followed(id: &str, target: &str, given: Option<&str>, answer: &str) -> (String, Option<String>) {
    let given = given.map(|given| Json::parse(given.as_bytes()).unwrap());
    let config = match given {
        Some(given) => PollConfig::parse(given, Some(template(id)), &[], target).unwrap(),
        None => template(id).poll().unwrap().for_task(&[], target).unwrap(),
    };
    let config = PollConfig::restore(&config.stored()).unwrap();
    let sources = Sources { start: Json::parse(answer.as_bytes()), ..Sources::default() };
    let url = config.poll(&sources, target).unwrap().url;
    (url, config.cancel(&sources, target).map(|request| request.url))
}

/// The template, where a job is submitted, the answer, and the path of the poll.
const POLLED: &str = r#"
shotstack https://api.shotstack.io/edit/v1/render {"response":{"id":"j1"}} /edit/v1/render/j1
shotstack https://api.shotstack.io/edit/stage/render/?a=1 {"response":{"id":"j1"}} /edit/stage/render/j1
creatomate https://api.creatomate.com/v1/renders [{"id":"j1"}] /v1/renders/j1
creatomate https://api.creatomate.com/v2/renders {"id":"j1"} /v2/renders/j1
heygen https://api.heygen.com/v2/video/generate {"data":{"video_id":"j1"}} /v1/video_status.get?video_id=j1
heygen https://api.heygen.com/v3/video-agents {"data":{"session_id":"s","video_id":"j1"}} /v3/videos/j1
heygen https://api.heygen.com/v3/video-translations {"data":{"video_translation_ids":["j1"]}} /v3/video-translations/j1
heygen https://api.heygen.com/v3/lipsyncs {"data":{"lipsync_id":"j1"}} /v3/lipsyncs/j1
heygen https://api.heygen.com/v2/video_translate {"data":{"video_translate_id":"j1"}} /v2/video_translate/j1
meshy https://api.meshy.ai/openapi/v1/image-to-3d {"result":"j1"} /openapi/v1/image-to-3d/j1
kling https://api-singapore.klingai.com/v1/videos/image2video {"data":{"task_id":"j1"}} /v1/videos/image2video/j1
stability-video https://api.stability.ai/v2beta/stable-image/upscale/creative {"id":"j1"} /v2beta/results/j1
"#;

#[test]
fn a_job_is_polled_where_the_api_that_took_it_keeps_it() {
    for line in POLLED.lines().filter(|line| !line.is_empty()) {
        let [id, target, answer, path]: [&str; 4] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let host = url::Url::parse(target).unwrap().origin().ascii_serialization();
        assert_eq!(followed(id, target, None, answer).0, format!("{host}{path}"));
    }
    let (batch, answer) = ("https://api.firecrawl.dev/v2/batch/scrape", r#"{"id":"j1"}"#);
    let (url, cancel) = followed("firecrawl", batch, Some(r#"{"interval":30}"#), answer);
    assert_eq!((url.clone(), cancel), (format!("{batch}/j1"), Some(url)));
    let own = r#"{"urlTemplate":"https://mine.example/{id}"}"#;
    assert_eq!(followed("firecrawl", batch, Some(own), answer).0, "https://mine.example/j1");
}
