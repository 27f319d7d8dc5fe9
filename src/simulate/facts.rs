//! A template as its file has it, and what a provider that behaves so answers and sends.

use std::ops::Deref;

use serde_json::{Value, json};

use super::samples;
use super::values::{is_whole, looked_up, scalar, set, texts};
use crate::providers;

/// What a simulated failure says.
pub const BROKE: &str = "it broke";

/// A template as its file has it.
#[derive(Clone, Debug)]
pub struct Facts(Value);

/// A webhook's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The query that is added to the URL, without the question mark.
    pub query: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Deref for Facts {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Facts {
    /// The template with this id.
    pub fn named(id: &str) -> Option<Self> {
        let text = providers::files().iter().find(|(name, _)| *name == id)?.1;
        serde_json::from_str(text).ok().map(Self)
    }

    /// All templates.
    pub fn all() -> Vec<Self> {
        providers::files().iter().filter_map(|(name, _)| Self::named(name)).collect()
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self["id"].as_str().unwrap_or_default()
    }

    /// Whether its webhooks come to one URL for all jobs of an account.
    pub fn is_account_level(&self) -> bool {
        self["callback"]["url"]["in"] == "account"
    }

    /// Whether it takes a URL with each job.
    pub fn takes_callback_url(&self) -> bool {
        self["callback"].is_object() && !self.is_account_level()
    }

    /// The paths and the URL templates that lead to where a job is asked after, fetched and called off.
    fn urls(&self) -> Vec<String> {
        let poll = &self["pollConfig"];
        let all = [
            &poll["urlTemplate"],
            &poll["resultUrlTemplate"],
            &self["poll"]["statusUrlTemplate"],
            &self["cancel"]["urlTemplate"],
        ];
        all.into_iter().flat_map(texts).collect()
    }

    /// What it answers to a submission. `link` makes the URLs that such an answer names, from the place where they stand.
    pub fn submitted(&self, job: &str, link: &dyn Fn(&str) -> String) -> Value {
        let mut answer = json!({});
        for url in self.urls() {
            for path in looked_up(&url, "startResult.body.") {
                let value = if is_whole(&url) { link(&path) } else { job.to_owned() };
                set(&mut answer, &path, json!(value));
            }
        }
        if let Some(path) = texts(&self["idPath"]).first() {
            set(&mut answer, path, json!(job));
        }
        self.accept(&mut answer);
        answer
    }

    /// Says yes, where the provider says so in the body.
    fn accept(&self, answer: &mut Value) {
        let envelope = &self["envelope"];
        if let (Some(path), Some(code)) = (envelope["codePath"].as_str(), texts(&envelope["acceptedValues"]).first()) {
            set(answer, path, scalar(code));
        }
    }

    /// What it answers to a poll, and with which status code.
    fn polled(&self, job: &str, values: &[String], present: &[String], error: bool) -> (u16, Value) {
        let (poll, mut answer, mut code) = (&self["pollConfig"], json!({}), 200);
        self.accept(&mut answer);
        let status = poll["statusPath"].as_str().unwrap_or_default();
        match values.first() {
            Some(value) if status == "@http.status" => code = value.parse().unwrap_or(code),
            Some(value) => set(&mut answer, status, scalar(value)),
            None => present.iter().for_each(|path| set(&mut answer, path, json!([BROKE]))),
        }
        if error {
            let errors = [texts(&poll["errorPath"]), texts(&self["poll"]["errorPath"])].concat();
            errors.first().into_iter().for_each(|path| set(&mut answer, path, json!(BROKE)));
            return (code, answer);
        }
        for path in looked_up(poll["resultUrlTemplate"].as_str().unwrap_or_default(), "pollResult.body.") {
            set(&mut answer, &path, json!(format!("file of {job}")));
        }
        if let Some(path) = poll["resultPath"].as_str().filter(|path| !path.is_empty()) {
            set(&mut answer, path, json!({"made": true}));
        }
        (code, answer)
    }

    /// The answer to a poll while the job goes on; `share` of the work is done.
    pub fn pending(&self, job: &str, share: f64) -> (u16, Value) {
        let values = texts(&self["poll"]["pendingValues"]);
        #[expect(clippy::cast_precision_loss, reason = "a handful of words")]
        let reached = values.iter().enumerate().rfind(|(at, _)| *at as f64 <= share * values.len() as f64);
        let value: Vec<String> = reached.map(|(_, value)| value.clone()).into_iter().collect();
        self.polled(job, &value, &[], false)
    }

    /// The answer to a poll of a job that is done.
    pub fn done(&self, job: &str) -> (u16, Value) {
        let (values, present) = (texts(&self["pollConfig"]["doneValues"]), texts(&self["poll"]["doneWhenPresent"]));
        self.polled(job, &values, &present, false)
    }

    /// The answer to a poll of a job that failed. None where nothing that a poll says is a failure.
    pub fn failed(&self, job: &str) -> Option<(u16, Value)> {
        let values = texts(&self["pollConfig"]["failValues"]);
        let present = texts(&self["poll"]["failWhenPresent"]);
        let mut answer = self.polled(job, &values, &[], true);
        if values.is_empty() {
            let done = texts(&self["pollConfig"]["doneValues"]).first()?.clone();
            set(&mut answer.1, self["pollConfig"]["statusPath"].as_str()?, scalar(&done));
            for path in &present {
                if answer.1.pointer(&format!("/{}", path.replace('.', "/"))).is_none() {
                    set(&mut answer.1, path, json!(BROKE));
                }
            }
        }
        (!values.is_empty() || !present.is_empty()).then_some(answer)
    }

    /// The webhooks by which it tells that a job goes on; two at most.
    pub fn news(&self, job: &str) -> Vec<Sent> {
        let values = texts(&self["callback"]["rule"]["interimValues"]);
        values.iter().take(2).map(|value| self.sent(job, Some(value), None, false)).collect()
    }

    /// The webhook of the end; none where the rule knows no such end.
    pub fn end(&self, job: &str, failed: bool) -> Option<Sent> {
        let (values, present) =
            if failed { ("failValues", "failWhenPresent") } else { ("doneValues", "doneWhenPresent") };
        let first = |name: &str| texts(&self["callback"]["rule"][name]).first().cloned();
        let (value, present) = (first(values), first(present));
        if value.is_none() && present.is_none() {
            return None;
        }
        let present = present.filter(|_| value.is_none());
        Some(self.sent(job, value.as_deref(), present.as_deref(), failed))
    }

    /// A webhook as it is documented; where none is, one that is made of the rule.
    fn sent(&self, job: &str, status: Option<&str>, present: Option<&str>, failed: bool) -> Sent {
        samples::of(self, job, status, present).unwrap_or_else(|| self.event(job, status, present, failed))
    }

    fn event(&self, job: &str, status: Option<&str>, present: Option<&str>, failed: bool) -> Sent {
        let rule = &self["callback"]["rule"];
        let (mut body, mut query) = (json!({}), url::form_urlencoded::Serializer::new(String::new()));
        let mut put = |path: &str, value: Value| match path.strip_prefix('?') {
            Some(name) => drop(query.append_pair(name, value.as_str().unwrap_or_default())),
            None => set(&mut body, path, value),
        };
        if let Some(path) = rule["onlyWhen"]["path"].as_str() {
            put(path, rule["onlyWhen"]["value"].clone());
        }
        if let Some(path) = texts(&rule["idPath"]).first() {
            put(path, json!(job));
        }
        if let (Some(path), Some(status)) = (rule["statusPath"].as_str(), status) {
            put(path, scalar(status));
        }
        if let Some(path) = present {
            put(path, json!(BROKE));
        }
        if let Some(path) = texts(&rule["errorPath"]).first().filter(|_| failed) {
            put(path, json!(BROKE));
        }
        let query = query.finish();
        Sent { query: Some(query).filter(|query| !query.is_empty()), body: body.to_string().into_bytes() }
    }

    /// The hosts that it answers at; `*.example.com` is all below.
    pub fn hosts(&self) -> Vec<String> {
        let submit = &self["submit"];
        let mut urls = [texts(&submit["url"]), texts(&submit["alternatives"]), self.urls()].concat();
        urls.extend(self.keys_url().map(str::to_owned));
        let mut hosts: Vec<String> = urls.iter().filter_map(|url| host_of(url)).collect();
        hosts.extend(texts(&self["credentialHosts"]));
        hosts.push(self.own_host());
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// A host of its own, for what its template does not name.
    fn own_host(&self) -> String {
        format!("{}.example", self.id())
    }

    /// Where its public keys are.
    pub fn keys_url(&self) -> Option<&str> {
        self["callback"]["signature"]["jwksUrl"].as_str()
    }

    /// The `providerParams` that its URLs need.
    pub fn params(&self) -> Value {
        let keys = self["params"].as_object().into_iter().flatten().map(|(key, _)| key);
        let value = |key: &str| match key {
            "base" => format!("https://{}", self.own_host()),
            key => format!("my-{}", key.replace('_', "-")),
        };
        keys.map(|key| (key.clone(), json!(value(key)))).collect::<serde_json::Map<_, _>>().into()
    }

    /// Where a job is submitted.
    pub fn target_url(&self) -> String {
        let params = self.params();
        let Some(url) = self["submit"]["url"].as_str() else { return format!("https://{}/jobs", self.own_host()) };
        let url = url.split("?callback=").next().unwrap_or_default();
        let mut parts = url.split(['{', '}']);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.enumerate().fold(first, |filled, (at, part)| match (at % 2 == 0, params[part].as_str()) {
            (true, Some(param)) => filled + param,
            (true, None) => filled + "my-" + part,
            _ => filled + part,
        })
    }
}

/// The host of a URL template; of one with a placeholder in it, all below the rest.
fn host_of(template: &str) -> Option<String> {
    let host = template.strip_prefix("https://")?.split(['/', '?']).next()?;
    match host.rsplit_once('}') {
        Some((_, rest)) => rest.split_once('.').map(|(_, rest)| format!("*.{rest}")),
        None => Some(host.to_owned()),
    }
}
