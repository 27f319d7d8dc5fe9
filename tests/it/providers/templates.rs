//! Every template, end to end, against one provider that knows nothing but what the template's own file says: a poll to
//! done and to fail, and each webhook that is documented, signed as the provider signs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::signatures::{FAL_KEYS, FalKey, GEMINI_KEYS, KeyServer, gemini, rsa_key, standard};
use crate::support::provider::*;
use crate::support::{Connection, Created, KEY, Reply, Seen, Service, Target, hex, hmac_sha256};

const BROKE: &str = "it broke";
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A template as its file has it.
#[derive(Clone)]
struct Facts(Value);

impl std::ops::Deref for Facts {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

/// One text, several, or none.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn all() -> Vec<Facts> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| !file.ends_with("schema.json"));
    files.iter().map(|file| Facts(serde_json::from_slice(&fs::read(file).unwrap()).unwrap())).collect()
}

/// Puts a value at a dot path; the empty one is the whole.
fn set(into: &mut Value, path: &str, value: Value) {
    let mut here = into;
    for segment in path.split('.').filter(|segment| !segment.is_empty()) {
        here = if let Ok(index) = segment.parse::<usize>() {
            if !here.is_array() {
                *here = json!([]);
            }
            let list = here.as_array_mut().unwrap();
            while list.len() <= index {
                list.push(Value::Null);
            }
            &mut list[index]
        } else {
            if !here.is_object() {
                *here = json!({});
            }
            here.as_object_mut().unwrap().entry(segment).or_insert(Value::Null)
        };
    }
    *here = value;
}

/// A value as providers write it.
fn scalar(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_boolean).unwrap_or_else(|| json!(text))
}

/// The paths that a URL template looks up in an answer.
fn looked_up(template: &str, answer: &str) -> Vec<String> {
    let placeholders = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    placeholders.filter_map(|(name, _)| name.strip_prefix(answer)).map(str::to_owned).collect()
}

impl Facts {
    fn id(&self) -> &str {
        self["id"].as_str().unwrap()
    }

    fn job(&self) -> String {
        if self["poll"]["keepSlashes"] == true { format!("ops/{}", self.id()) } else { format!("job {}", self.id()) }
    }

    /// Everything that is told about its polls' URLs.
    fn urls(&self) -> Vec<String> {
        let poll = &self["pollConfig"];
        let all = [&poll["urlTemplate"], &poll["resultUrlTemplate"], &self["poll"]["statusUrlTemplate"]];
        all.into_iter().flat_map(texts).collect()
    }

    /// What it answers to a submission.
    fn submitted(&self, base: &str, job: &str) -> Value {
        let mut answer = json!({});
        for url in self.urls() {
            let whole = url.starts_with('{') && url.ends_with('}');
            let result = texts(&self["pollConfig"]["resultUrlTemplate"]).contains(&url);
            let place = if result { "result" } else { "poll" };
            for path in looked_up(&url, "startResult.body.") {
                let value = if whole { format!("{base}/{place}") } else { job.to_owned() };
                set(&mut answer, &path, json!(value));
            }
        }
        if let Some(path) = texts(&self["idPath"]).first() {
            set(&mut answer, path, json!(job));
        }
        answer
    }

    /// What it answers to a poll, and with which status code.
    fn polled(&self, values: &[String], present: &[String], error: bool) -> (u16, Value) {
        let (poll, mut answer, mut code) = (&self["pollConfig"], json!({}), 200);
        let status = poll["statusPath"].as_str().unwrap();
        match values.first() {
            Some(value) if status == "@http.status" => code = value.parse().unwrap(),
            Some(value) => set(&mut answer, status, scalar(value)),
            None => present.iter().for_each(|path| set(&mut answer, path, json!([BROKE]))),
        }
        let errors = [texts(&poll["errorPath"]), texts(&self["poll"]["errorPath"])].concat();
        if let Some(path) = errors.first().filter(|_| error) {
            set(&mut answer, path, json!(BROKE));
        }
        if !error {
            for path in looked_up(poll["resultUrlTemplate"].as_str().unwrap_or_default(), "pollResult.body.") {
                set(&mut answer, &path, json!("file 1"));
            }
            if let Some(path) = poll["resultPath"].as_str().filter(|path| !path.is_empty()) {
                set(&mut answer, path, json!({"made": true}));
            }
        }
        (code, answer)
    }

    fn pending(&self) -> (u16, Value) {
        self.polled(&texts(&self["poll"]["pendingValues"])[..1], &[], false)
    }

    fn done(&self) -> (u16, Value) {
        self.polled(&texts(&self["pollConfig"]["doneValues"]), &texts(&self["poll"]["doneWhenPresent"]), false)
    }

    /// None where nothing that a poll says is a failure.
    fn failed(&self) -> Option<(u16, Value)> {
        let values = texts(&self["pollConfig"]["failValues"]);
        let present = texts(&self["poll"]["failWhenPresent"]);
        let says = !values.is_empty() || !present.is_empty();
        let mut answer = self.polled(&values, &[], true);
        if values.is_empty() {
            set(
                &mut answer.1,
                self["pollConfig"]["statusPath"].as_str().unwrap(),
                scalar(&texts(&self["pollConfig"]["doneValues"]).first()?.clone()),
            );
            for path in &present {
                if answer.1.pointer(&format!("/{}", path.replace('.', "/"))).is_none() {
                    set(&mut answer.1, path, json!(BROKE));
                }
            }
        }
        says.then_some(answer)
    }

    /// Its URL, at this base instead of its host.
    fn moved(url: &str, base: &str) -> Option<String> {
        let rest = url.strip_prefix("https://")?;
        Some(format!("{base}/{}", rest.split_once('/').unwrap().1))
    }

    /// A task of it, for a simulated provider at this base.
    fn task(&self, base: &str, interval: u32) -> Value {
        let params = self["params"].as_object().into_iter().flatten();
        let param = |key: &String| if key == "base" { format!("{base}/poll") } else { format!("p-{key}") };
        let params: HashMap<&String, String> = params.map(|(key, _)| (key, param(key))).collect();
        let mut task = json!({
            "provider": self.id(), "targetUrl": format!("{base}/submit"), "body": "{}", "providerParams": params,
        });
        let poll = &self["pollConfig"];
        if poll.is_object() {
            task["pollConfig"] = json!({"interval": interval});
            let better = self["poll"]["statusUrlTemplate"].is_string();
            let url = poll["urlTemplate"].as_str().and_then(|url| Self::moved(url, &format!("{base}/poll")));
            if let Some(url) = url.filter(|_| !better) {
                task["pollConfig"]["urlTemplate"] = json!(url);
            }
            let result = poll["resultUrlTemplate"].as_str();
            if let Some(url) = result.and_then(|url| Self::moved(url, &format!("{base}/result"))) {
                task["pollConfig"]["resultUrlTemplate"] = json!(url);
            }
        }
        task
    }
}

/// The one provider: `/<template>/<outcome>/submit|poll|result…`.
async fn anybody() -> Target {
    let templates: HashMap<String, Facts> = all().into_iter().map(|facts| (facts.id().to_owned(), facts)).collect();
    let polls: std::sync::Mutex<HashMap<String, usize>> = std::sync::Mutex::default();
    Target::start(move |seen, _| {
        let mut path = seen.path.trim_start_matches('/').split(['/', '?']);
        let (id, outcome, act) = (path.next().unwrap(), path.next().unwrap(), path.next().unwrap());
        let facts = &templates[id];
        let base = format!("{}/{id}/{outcome}", base(seen));
        let bentoml = act == "poll" && seen.path.contains("/get?");
        match act {
            "submit" => Reply::status(200, &facts.submitted(&base, &facts.job()).to_string()),
            "result" => Reply::status(200, "the result"),
            _ if bentoml => Reply::status(200, "the result"),
            _ => {
                let mut polls = polls.lock().unwrap();
                let count = polls.entry(format!("{id} {outcome}")).or_default();
                *count += 1;
                let (code, answer) = match (*count, outcome) {
                    (1, _) => facts.pending(),
                    (_, "done") => facts.done(),
                    _ => facts.failed().unwrap(),
                };
                Reply::status(code, &answer.to_string())
            }
        }
    })
    .await
}

#[tokio::test]
async fn each_is_polled_to_done_and_to_fail() {
    let (service, target) = (Service::start().await, anybody().await);
    let (mut running, mut never_fail) = (Vec::new(), Vec::new());
    for facts in all().into_iter().filter(|facts| facts["pollConfig"].is_object()) {
        for outcome in ["done", "fail"] {
            if outcome == "fail" && facts.failed().is_none() {
                never_fail.push(facts.id().to_owned());
                continue;
            }
            let base = target.url(&format!("/{}/{outcome}", facts.id()));
            running.push((facts.clone(), outcome, service.create(&facts.task(&base, 1)).await));
        }
    }
    for (facts, outcome, created) in &running {
        let status = if *outcome == "done" { "completed" } else { "failed" };
        let task = service.becomes(&created.id, status).await;
        let body = task["result"]["body"].as_str().unwrap();
        if *outcome == "done" {
            assert_eq!(body, expected(facts), "{}", facts.id());
        } else {
            let told = facts["pollConfig"]["errorPath"].is_string() || facts["poll"]["errorPath"] != Value::Null;
            let error = task["error"].as_str().unwrap();
            assert!(if told { error == BROKE } else { !error.is_empty() }, "{}: {error}", facts.id());
        }
        check_polls(facts, outcome, &target);
    }
    assert_eq!(never_fail, ["anthropic-batches", "cloudflare-batch", "elevenlabs-stt"]);
    assert!(running.len() > 90, "{}", running.len());
}

fn expected(facts: &Facts) -> String {
    if facts["pollConfig"]["resultUrlTemplate"].is_string() {
        return "the result".to_owned();
    }
    match facts["pollConfig"]["resultPath"].as_str() {
        None | Some("") => facts.done().1.to_string(),
        Some(_) => r#"{"made":true}"#.to_owned(),
    }
}

/// The polls asked for the job, and in the way that the provider wants.
fn check_polls(facts: &Facts, outcome: &str, target: &Target) {
    let start = format!("/{}/{outcome}/poll", facts.id());
    let polls: Vec<Seen> = target.seen().into_iter().filter(|seen| seen.path.starts_with(&start)).collect();
    let method = facts["poll"]["method"].as_str().unwrap_or("GET");
    assert!(polls.len() >= 2 && polls.iter().all(|seen| seen.method == method), "{}", facts.id());
    let job = facts.job().replace(' ', "%20");
    if facts["pollConfig"]["urlTemplate"].as_str().unwrap().contains("{id}")
        && !facts["poll"]["statusUrlTemplate"].is_string()
    {
        assert!(polls[0].path.contains(&job), "{}", polls[0].path);
    }
    if method == "POST" {
        assert_eq!(polls[0].header("content-type"), Some("application/json"));
        assert!(polls[0].text().contains(&facts.job()), "{}", polls[0].text());
    }
}

/// A webhook to try, and what it is to lead to.
struct Hook {
    name: String,
    query: Option<String>,
    content_type: Option<String>,
    body: Vec<u8>,
    state: String,
    job: Option<String>,
}

impl Facts {
    /// The samples of real webhooks, and others made of the rule.
    fn hooks(&self) -> Vec<Hook> {
        let samples = Webhook::all().into_iter().filter(|one| one.template.as_deref() == Some(self.id()));
        let sample = |one: Webhook| Hook {
            name: one.name,
            query: one.query,
            content_type: one.content_type,
            body: one.body,
            state: one.state,
            job: one.job,
        };
        let rule = &self["callback"]["rule"];
        let mut hooks: Vec<Hook> = samples.map(sample).collect();
        let first = |name: &str| texts(&rule[name]).first().cloned();
        hooks.extend(first("interimValues").map(|value| self.hook("interim", Some(&value), None)));
        for (state, values, present) in
            [("failed", "failValues", "failWhenPresent"), ("done", "doneValues", "doneWhenPresent")]
        {
            let (value, present) = (first(values), first(present));
            if value.is_some() || present.is_some() {
                hooks.push(self.hook(state, value.as_deref(), present.as_deref().filter(|_| value.is_none())));
            }
        }
        hooks
    }

    fn hook(&self, state: &str, status: Option<&str>, present: Option<&str>) -> Hook {
        let (rule, job) = (&self["callback"]["rule"], format!("{} {state}", self.job()));
        let (mut body, mut query) = (json!({}), Vec::new());
        let mut put = |path: &str, value: Value| match path.strip_prefix('?') {
            Some(name) => query.push(format!("{name}={}", value.as_str().unwrap().replace(' ', "+"))),
            None => set(&mut body, path, value),
        };
        let only = &rule["onlyWhen"];
        only["path"].as_str().map(|path| put(path, only["value"].clone())).unwrap_or_default();
        texts(&rule["idPath"]).first().map(|path| put(path, json!(job))).unwrap_or_default();
        status.map(|status| put(rule["statusPath"].as_str().unwrap(), scalar(status))).unwrap_or_default();
        present.map(|path| put(path, json!(BROKE))).unwrap_or_default();
        if let Some(path) = texts(&rule["errorPath"]).first().filter(|_| state == "failed") {
            put(path, json!(BROKE));
        }
        let query = (!query.is_empty()).then(|| query.join("&"));
        let body = body.to_string().into_bytes();
        let name = format!("{state}, by the rule of {}", self.id());
        Hook { name, query, content_type: None, body, state: state.to_owned(), job: Some(job) }
    }
}

/// The headers with which a provider signs, by its template's scheme.
fn signed(facts: &Facts, keys: &SigningKeys, at: i64, body: &[u8]) -> Vec<(String, String)> {
    let scheme = &facts["callback"]["signature"];
    let name = |field: &str| scheme[field].as_str().unwrap().to_owned();
    let mac = |parts: &[&[u8]]| hmac_sha256(SECRET.as_bytes(), &parts.concat());
    let time = at.to_string();
    match scheme["scheme"].as_str() {
        None => Vec::new(),
        Some("fal-ed25519") => keys.fal.sign_bytes(at, body),
        Some("standard-webhooks") if scheme["jwksUrl"].is_string() => {
            let mut headers = standard(SECRET, "m", at, "");
            headers[2].1 = gemini(&keys.rsa, "k1", &json!({"iat": at, "exp": at + 60}));
            headers
        }
        Some("standard-webhooks") => standard(SECRET, "m", at, std::str::from_utf8(body).unwrap()),
        Some("wavespeed-v3") => {
            let key = SECRET.trim_start_matches("whsec_");
            let mac = hmac_sha256(key.as_bytes(), &[b"m.", time.as_bytes(), b".", body].concat());
            let all = [
                ("webhook-id", "m".to_owned()),
                ("webhook-timestamp", time),
                ("webhook-signature", format!("v3,{}", hex(&mac))),
            ];
            all.map(|(name, value)| (name.to_owned(), value)).to_vec()
        }
        Some("timestamped") => {
            let mac = hex(&mac(&[time.as_bytes(), b".", body]));
            vec![(name("header"), format!("t={time},{}={mac}", name("version")))]
        }
        Some("two-headers") => {
            vec![(name("header"), hex(&mac(&[time.as_bytes(), b".", body]))), (name("timestampHeader"), time)]
        }
        Some("body") => {
            let prefix = scheme["prefix"].as_str().unwrap_or_default();
            vec![(texts(&scheme["headers"])[0].clone(), format!("{prefix}{}", hex(&mac(&[body]))))]
        }
        Some("job-and-time") => {
            let json: Value = serde_json::from_slice(body).unwrap();
            let job = texts(&scheme["idPaths"]).into_iter().find_map(|path| {
                json.pointer(&format!("/{}", path.replace('.', "/"))).and_then(Value::as_str).map(str::to_owned)
            });
            let Some(job) = job else { return Vec::new() };
            let mac = STANDARD.encode(mac(&[job.as_bytes(), b".", time.as_bytes()]));
            vec![(name("header"), mac), (name("timestampHeader"), time)]
        }
        Some("header") => vec![(name("header"), format!("{}{SECRET}", scheme["prefix"].as_str().unwrap_or_default()))],
        Some(other) => panic!("no such scheme: {other}"),
    }
}

struct SigningKeys {
    fal: FalKey,
    rsa: ring::signature::RsaKeyPair,
}

/// A service that knows our keys for those of fal and Gemini, and a secret of the vault.
async fn service() -> (Service, SigningKeys, String) {
    let (fal, (rsa, jwk)) = (FalKey::make(), rsa_key());
    let server = KeyServer::start(Some(json!({"keys": [fal.jwk(), jwk]}))).await;
    let url = server.target.url("/jwks.json");
    let service =
        Service::with_keys_at([FAL_KEYS, GEMINI_KEYS].map(|known| (known.to_owned(), url.clone())).into()).await;
    let secret = token(&service, SECRET, json!({})).await;
    (service, SigningKeys { fal, rsa }, secret)
}

/// Where the provider was told to call.
fn told(facts: &Facts, seen: &Seen) -> String {
    let at = facts["callback"]["url"]["at"].as_str().unwrap();
    if facts["callback"]["url"]["in"] == "body" {
        let pointer = format!("/{}", at.replace('.', "/"));
        return seen
            .json()
            .pointer(&pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{}", seen.text()))
            .to_owned();
    }
    let url = url::Url::parse(&format!("http://x{}", seen.path)).unwrap();
    let value = url.query_pairs().find(|(name, _)| name == at).unwrap().1.into_owned();
    if facts["callback"]["url"]["encoding"] != "base64-json" {
        return value;
    }
    let json: Value = serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap();
    json[0]["requestUrl"].as_str().unwrap().to_owned()
}

async fn endpoint(service: &Service, facts: &Facts, secret: &str) -> String {
    let body = json!({"provider": facts.id(), "secret": secret}).to_string();
    let made = service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(&body)).await.expect(201).json();
    path_of(made["endpoint"]["url"].as_str().unwrap())
}

async fn deliver(
    service: &Service,
    facts: &Facts,
    keys: &SigningKeys,
    hook: &Hook,
    path: &str,
) -> crate::support::Answer {
    let at = asyncqueue::clock::Clock::now(&*service.clock).unix_seconds();
    let mut headers = signed(facts, keys, at, &hook.body);
    headers.extend(hook.content_type.iter().map(|kind| ("content-type".to_owned(), kind.clone())));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let path = hook.query.as_ref().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Connection::open(service.address).await.send("POST", &path, &headers, Some(&hook.body)).await
}

/// What the webhook did to its task is what is documented.
async fn check(service: &Service, hook: &Hook, created: &Created, answer: &crate::support::Answer) {
    let task = service.task(&created.id).await;
    let status = task["status"].as_str().unwrap();
    match hook.state.as_str() {
        "done" => assert_eq!(status, "completed", "{}", hook.name),
        "failed" => assert!(status == "failed" && task["error"] != "", "{}: {task}", hook.name),
        "interim" => {
            assert!(
                ["waiting", "polling"].contains(&status) && task["progress"] != Value::Null,
                "{}: {task}",
                hook.name
            );
        }
        "challenge" => assert_eq!(answer.json(), serde_json::from_slice::<Value>(&hook.body).unwrap()),
        other => panic!("{}: {other}", hook.name),
    }
    if ["done", "failed"].contains(&hook.state.as_str()) {
        assert!(task["result"]["body"].is_string(), "{}", hook.name);
    }
}

#[tokio::test]
async fn each_webhook_leads_to_its_documented_state() {
    let (service, keys, secret) = service().await;
    let (mut tried, mut real) = (0, 0);
    for facts in all().into_iter().filter(|facts| facts["callback"].is_object()) {
        let account = facts["callback"]["url"]["in"] == "account";
        let address = if account { Some(endpoint(&service, &facts, &secret).await) } else { None };
        for hook in facts.hooks() {
            let job = hook.job.clone().unwrap_or_else(|| facts.job());
            let answer = facts.submitted("http://127.0.0.1:9", &job).to_string();
            let target = Target::start(move |_, _| Reply::status(200, &answer)).await;
            let mut task = facts.task(&target.url(""), 3600);
            task["useCallback"] = json!(!account);
            if !account
                && facts["callback"]["signature"].is_object()
                && facts["callback"]["signature"]["jwksUrl"].is_null()
            {
                task["callbackSecret"] = json!(secret);
            }
            let created = service.following(&task).await;
            let path = address.clone().unwrap_or_else(|| path_of(&told(&facts, &target.seen()[0])));
            assert!(account || path == created.callback_path(), "{}: {path}", facts.id());
            let answer = deliver(&service, &facts, &keys, &hook, &path).await;
            assert_eq!(answer.status, 200, "{}: {}", hook.name, answer.text());
            if account && hook.job.is_none() {
                // Whose it is, nobody can say.
                assert_eq!(service.task(&created.id).await["status"], "polling", "{}", hook.name);
            } else {
                check(&service, &hook, &created, &answer).await;
            }
            // The next webhook may be about the same job, which stays the first task's while there is one.
            let _ = service.ask("POST", &format!("/v1/tasks/{}/cancel", created.id)).await;
            service.ask("DELETE", &format!("/v1/tasks/{}", created.id)).await.expect(200);
            real += usize::from(!hook.name.contains("by the rule"));
            tried += 1;
        }
    }
    assert!(real >= 50 && tried >= 110, "{real} of {tried}");
}

#[tokio::test]
async fn those_without_webhook_and_poll_wait_for_the_first_callback() {
    let service = Service::start().await;
    let neither = |facts: &Facts| facts["callback"].is_null() && facts["pollConfig"].is_null();
    let mut tried = Vec::new();
    for facts in all().into_iter().filter(neither) {
        let target = Target::ok().await;
        let url = target.url("/?hook={asyncqueue_callback_url}");
        let created = service.following(&merged(facts.task("http://x.example", 1), json!({"targetUrl": url}))).await;
        service.post(&created.callback_path(), r#"{"any": 1}"#).await.expect(200);
        assert_eq!(service.task(&created.id).await["result"]["body"], r#"{"any":1}"#);
        tried.push(facts.id().to_owned());
    }
    assert_eq!(tried, ["huggingface", "ideogram", "modal", "udio"]);
}
