//! Every template, end to end, against one provider that knows nothing but what the template's own file says: a poll to
//! done and to fail, and each webhook that is documented, signed as the provider signs.

use std::collections::HashMap;

use asyncqueue::outbound::Detours;
use asyncqueue::simulate::{Facts, Sent, SignedWebhook, Signing, receivers};
use serde_json::{Value, json};

use super::signatures::KeyServer;
use crate::support::provider::*;
use crate::support::{Connection, Created, KEY, Reply, Seen, Service, Target};

const BROKE: &str = "it broke";
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A template as its file has it, and tasks of it for a provider that is somewhere else.
#[derive(Clone)]
struct Known(Facts);

impl std::ops::Deref for Known {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

fn all() -> Vec<Known> {
    Facts::all().into_iter().map(Known).collect()
}

impl Known {
    fn job(&self) -> String {
        if self["poll"]["keepSlashes"] == true { format!("ops/{}", self.id()) } else { format!("job {}", self.id()) }
    }

    /// What it answers to a submission, with its links at this base.
    fn submitted(&self, base: &str, job: &str) -> Value {
        let results = self["pollConfig"]["resultUrlTemplate"].as_str().unwrap_or_default();
        let place = |path: &str| if results.contains(&format!(".{path}}}")) { "result" } else { "poll" };
        self.0.submitted(job, &|path| format!("{base}/{}", place(path)))
    }

    fn pending(&self) -> (u16, Value) {
        self.0.pending(&self.job(), 0.0)
    }

    fn done(&self) -> (u16, Value) {
        self.0.done(&self.job())
    }

    fn failed(&self) -> Option<(u16, Value)> {
        self.0.failed(&self.job())
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

/// The one provider: `/<template>/<outcome>/submit|poll|result…`. An outcome that is a number is that line of
/// polls.tsv, as the first answer to a poll; what ends no job is followed by the end.
async fn anybody() -> Target {
    let rows = rows("polls.tsv");
    let templates: HashMap<String, Known> = all().into_iter().map(|facts| (facts.id().to_owned(), facts)).collect();
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
                let row = outcome.parse().ok().map(|at: usize| &rows[at]);
                let (code, answer) = match (*count, outcome, row) {
                    (1, _, Some(row)) => return Reply::status(row[2].parse().unwrap(), &row[4]),
                    (1, _, None) => facts.pending(),
                    (_, "fail", _) => facts.failed().unwrap(),
                    _ => facts.done(),
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

#[tokio::test]
async fn each_answer_to_a_poll_leads_to_what_is_documented() {
    let (service, target, rows) = (Service::start().await, anybody().await, rows("polls.tsv"));
    let templates: HashMap<String, Known> = all().into_iter().map(|facts| (facts.id().to_owned(), facts)).collect();
    let mut running = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let facts = &templates[&row[0]];
        let task = facts.task(&target.url(&format!("/{}/{at}", facts.id())), 1);
        running.push((facts, at, row, service.create(&task).await));
    }
    for (facts, at, [_, meaning, _, error, said], created) in running {
        let status = if meaning == "failed" { "failed" } else { "completed" };
        let task = service.becomes(&created.id, status).await;
        let polls = format!("/{}/{at}/poll", facts.id());
        let polls = target.seen().iter().filter(|seen| seen.path.starts_with(&polls)).count();
        match meaning.as_str() {
            "failed" => assert_eq!((&task["error"], polls), (&json!(error), 1), "{}: {said}", facts.id()),
            // What would have ended the job was the first answer, and the only one that was asked for.
            "done" => assert_eq!(polls, 1, "{}: {said}", facts.id()),
            _ => {
                assert!(polls >= 2, "{}: {said}", facts.id());
                assert_eq!(task["result"]["body"], json!(expected(facts)), "{}: {said}", facts.id());
            }
        }
    }
}

fn expected(facts: &Known) -> String {
    if facts["pollConfig"]["resultUrlTemplate"].is_string() {
        return "the result".to_owned();
    }
    match facts["pollConfig"]["resultPath"].as_str() {
        None | Some("") => facts.done().1.to_string(),
        Some(_) => r#"{"made":true}"#.to_owned(),
    }
}

/// The polls asked for the job, and in the way that the provider wants.
fn check_polls(facts: &Known, outcome: &str, target: &Target) {
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

impl Known {
    /// The samples of real webhooks, the rarer outcomes, and others made of the rule.
    fn hooks(&self) -> Vec<Webhook> {
        let mut hooks: Vec<Webhook> =
            Webhook::all().into_iter().filter(|one| one.template.as_deref() == Some(self.id())).collect();
        hooks.extend(Webhook::rare(self.id()));
        let job = |state: &str| format!("{} {state}", self.job());
        let made = |state: &str, sent: Sent| Webhook {
            name: format!("{state}, by the rule of {}", self.id()),
            template: Some(self.id().to_owned()),
            query: sent.query,
            content_type: None,
            body: sent.body,
            state: state.to_owned(),
            job: Some(job(state)),
            error: None,
        };
        hooks.extend(self.0.news(&job("interim")).into_iter().map(|sent| made("interim", sent)));
        hooks.extend(self.0.end(&job("failed"), true).map(|sent| made("failed", sent)));
        hooks.extend(self.0.end(&job("done"), false).map(|sent| made("done", sent)));
        hooks
    }
}

/// The headers with which a provider signs, by its template's scheme.
fn signed(facts: &Known, at: i64, body: &[u8]) -> Vec<(String, String)> {
    let webhook = SignedWebhook { body, secret: SECRET, header: None, id: "m", at };
    Signing::default().headers(&facts["callback"]["signature"], webhook)
}

/// A service that knows our keys for those of fal and Gemini, and a secret of the vault.
async fn service() -> (Service, String) {
    let server = KeyServer::start(Some(Signing::default().jwks())).await;
    let mut detours = Detours::default();
    for host in ["rest.fal.ai", "generativelanguage.googleapis.com"] {
        detours.add(host.to_owned(), server.target.address);
    }
    let service = Service::with_detours(detours).await;
    let secret = token(&service, SECRET, json!({})).await;
    (service, secret)
}

/// Where the provider was told to call.
fn told(facts: &Known, seen: &Seen) -> String {
    let kind = seen.header("content-type").unwrap_or_default();
    let mut receivers = receivers(facts, &seen.path, kind, &seen.body);
    assert_eq!(receivers.len(), 1, "{}: {}", facts.id(), seen.text());
    receivers.remove(0).url
}

async fn endpoint(service: &Service, facts: &Known, secret: &str) -> String {
    let body = json!({"provider": facts.id(), "secret": secret}).to_string();
    let made = service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(&body)).await.expect(201).json();
    path_of(made["endpoint"]["url"].as_str().unwrap())
}

async fn deliver(service: &Service, facts: &Known, hook: &Webhook, path: &str) -> crate::support::Answer {
    let at = asyncqueue::clock::Clock::now(&*service.clock).unix_seconds();
    let mut headers = signed(facts, at, &hook.body);
    headers.extend(hook.content_type.iter().map(|kind| ("content-type".to_owned(), kind.clone())));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let path = hook.query.as_ref().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Connection::open(service.address).await.send("POST", &path, &headers, Some(&hook.body)).await
}

/// Whether a result is all that the webhook brought.
fn is_whole(hook: &Webhook, result: &Value) -> bool {
    if serde_json::from_slice::<serde::de::IgnoredAny>(&hook.body).is_ok() {
        return result["body"] == json!(hook.compact());
    }
    let text = std::str::from_utf8(&hook.body).expect("no template has binary samples");
    result["body"] == json!(json!(text).to_string())
}

/// What the webhook did to its task is what is documented.
async fn check(service: &Service, hook: &Webhook, created: &Created, answer: &crate::support::Answer) {
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
        assert!(is_whole(hook, &task["result"]), "{}: {task}", hook.name);
    }
    if let Some(error) = &hook.error {
        assert_eq!(task["error"], json!(error), "{}", hook.name);
    }
}

#[tokio::test]
async fn each_webhook_leads_to_its_documented_state() {
    let (service, secret) = service().await;
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
            let answer = deliver(&service, &facts, &hook, &path).await;
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
    assert!(real >= 170 && tried >= 230, "{real} of {tried}");
}

#[tokio::test]
async fn those_without_webhook_and_poll_wait_for_the_first_callback() {
    let service = Service::start().await;
    let neither = |facts: &Known| facts["callback"].is_null() && facts["pollConfig"].is_null();
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
