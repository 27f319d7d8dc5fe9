//! Webhooks on their way: signed, sent, and sent again as the template says that the provider does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::facts::Sent;
use super::jobs::{Job, Outcome};
use super::server::Shared;
use super::sign::SignedWebhook;
use super::told::Receiver;
use crate::outbound::{CallError, Request};

/// How long a receiver may take, where the template does not say.
const PATIENCE_SECONDS: f64 = 10.0;

impl Shared {
    /// Works on a job: tells its receivers how it goes, and how it ended.
    pub(super) async fn work(self: Arc<Self>, job: Job) {
        let mut receivers = Vec::new();
        for receiver in self.all_receivers(&job) {
            if self.passes_test(&receiver).await {
                receivers.push(receiver);
            }
        }
        let news = self.facts.news(&job.id);
        let pause = self.plan.work / u32::try_from(news.len() + 1).unwrap_or(1);
        for one in &news {
            tokio::time::sleep(pause).await;
            self.clone().tell_all(&job, &receivers, one);
        }
        tokio::time::sleep(pause).await;
        if let Some(end) = self.end(&job) {
            self.tell_all(&job, &receivers, &end);
        }
    }

    /// What is told of the end; by a provider that knows nothing of callbacks, what a user's own code would post.
    fn end(&self, job: &Job) -> Option<Sent> {
        if self.facts["callback"].is_null() {
            let body = json!({"job": job.id, "made": true}).to_string().into_bytes();
            return Some(Sent { query: None, body });
        }
        self.facts.end(&job.id, self.plan.outcome == Outcome::Failed)
    }

    /// Those that the submission named, or else the one that was registered for all jobs.
    fn all_receivers(&self, job: &Job) -> Vec<Receiver> {
        if !self.facts.is_account_level() {
            return job.receivers.clone();
        }
        let registered = self.registered.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        registered.into_iter().map(|url| Receiver { url, ..Receiver::default() }).collect()
    }

    /// Whether a receiver sends a challenge back, where the provider tests with one.
    async fn passes_test(&self, receiver: &Receiver) -> bool {
        let Some(field) = self.facts["callback"]["rule"]["challenge"].as_str() else { return true };
        let challenge = json!({ field: "a1b2c3" });
        let sent = Sent { query: None, body: challenge.to_string().into_bytes() };
        let answer = self.send(receiver, &sent, "challenge").await;
        let passed =
            answer.is_ok_and(|(_, body)| serde_json::from_slice::<Value>(&body).is_ok_and(|it| it == challenge));
        self.listener.hear(&format!("tests the URL: {}", if passed { "passed" } else { "failed; it will not call" }));
        passed
    }

    fn tell_all(self: Arc<Self>, job: &Job, receivers: &[Receiver], sent: &Sent) {
        if self.is_called_off(&job.id) {
            return;
        }
        for receiver in receivers {
            let (this, receiver, sent) = (self.clone(), receiver.clone(), sent.clone());
            let id = format!("msg-{}-{}", job.id, self.events.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(async move { this.deliver(&receiver, &sent, &id).await });
        }
    }

    /// Sends a webhook until it is accepted, or the provider would give up.
    async fn deliver(&self, receiver: &Receiver, sent: &Sent, id: &str) {
        let retries = &self.facts["callback"]["retries"];
        let pauses: Vec<f64> = retries["after"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        for pause in pauses.into_iter().map(Some).chain([None]) {
            let lost = self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            let status = if lost { None } else { self.send(receiver, sent, id).await.ok().map(|(status, _)| status) };
            let (what, next) =
                (in_words(lost, status), pause.map_or(String::new(), |pause| format!("; again in {pause} s")));
            if status.is_some_and(|status| accepts(retries, status)) {
                return self.listener.hear(&format!("posts its webhook: {what}"));
            }
            let gives_up = status.is_some_and(|status| gives_up(retries, status));
            self.listener.hear(&format!("posts its webhook: {what}{}", if gives_up { "; gives up" } else { &next }));
            match pause.filter(|_| !gives_up) {
                Some(pause) => tokio::time::sleep(Duration::from_secs_f64(pause)).await,
                None => return,
            }
        }
    }

    async fn send(&self, receiver: &Receiver, sent: &Sent, id: &str) -> Result<(u16, Bytes), String> {
        let url = match &sent.query {
            Some(query) => format!("{}?{query}", receiver.url),
            None => receiver.url.clone(),
        };
        let target = self.guard.check_url(&url).map_err(|refused| refused.to_string())?;
        let seconds = self.facts["callback"]["retries"]["timeout"].as_f64().unwrap_or(PATIENCE_SECONDS);
        let request = Request {
            method: Method::POST,
            target,
            headers: self.headers(receiver, sent, id),
            body: Some(Bytes::from(sent.body.clone())),
            timeout: Duration::from_secs_f64(seconds),
            own: Vec::new(),
            signer: None,
        };
        let answer = self.client.tell(0, request, &self.stop).await.map_err(|error: CallError| error.to_string())?;
        Ok((answer.status, answer.body))
    }

    fn headers(&self, receiver: &Receiver, sent: &Sent, id: &str) -> Vec<(HeaderName, HeaderValue)> {
        let webhook = SignedWebhook {
            body: &sent.body,
            secret: receiver.secret.as_deref().unwrap_or(&self.plan.secret),
            header: receiver.header.as_deref(),
            id,
            at: self.clock.now().unix_seconds(),
        };
        let signed = self.signing.headers(&self.facts["callback"]["signature"], webhook);
        let header = |(name, value): (String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        signed.into_iter().filter_map(header).collect()
    }
}

fn in_words(lost: bool, status: Option<u16>) -> String {
    match status {
        _ if lost => "it gets lost".to_owned(),
        Some(status) => format!(
            "answered {}",
            StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |status| status.to_string())
        ),
        None => "not answered".to_owned(),
    }
}

/// Whether the provider takes this status for a yes.
fn accepts(retries: &Value, status: u16) -> bool {
    match retries["accepts"].as_str().unwrap_or("2xx") {
        "200" => status == 200,
        "3xx" => (200..400).contains(&status),
        _ => (200..300).contains(&status),
    }
}

/// Whether the provider does not try again after this status.
fn gives_up(retries: &Value, status: u16) -> bool {
    let after_4xx = retries["not4xx"] == true && (400..500).contains(&status);
    let only = retries["only"].as_array();
    after_4xx || only.is_some_and(|only| !only.contains(&json!(status)))
}
