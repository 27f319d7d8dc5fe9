//! How the parts of a task that are written once look on disk: JSON beside the raw body, so that a later version can
//! add to them and a person can read them.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{EventRecord, StoreError};
use crate::task::{
    CallbackVerdict, Entry, Follow, Method, Payload, PollPolicy, Polling, Request, Status, TaskId, Timestamp,
};

/// The text and the body that a journal row holds.
pub(super) struct Written {
    /// Everything but the body, as JSON.
    pub head: String,
    /// The body, as it is.
    pub body: Option<Bytes>,
}

impl Written {
    /// Head and body.
    pub fn parts(&self) -> (&str, Option<&[u8]>) {
        (&self.head, self.body.as_deref())
    }
}

#[derive(Serialize, Deserialize)]
struct RequestHead<'a> {
    url: Cow<'a, str>,
    method: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    headers: Cow<'a, [(String, String)]>,
    timeout_ms: i64,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    retry_on: Cow<'a, [u16]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_until: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    wait_for_signal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_complete_url: Option<Cow<'a, str>>,
    #[serde(default)]
    on_complete_max_retries: u32,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    metadata: Cow<'a, [(String, String)]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<uuid::Uuid>,
    #[serde(default, skip_serializing_if = "is_zero")]
    depth: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follow: Option<StoredFollow>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's own form")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Serialize, Deserialize)]
struct StoredFollow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    poll_config: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    use_callback: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback_config: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    provider_params: Vec<(String, String)>,
}

fn store_follow(follow: &Follow) -> Option<StoredFollow> {
    if *follow == Follow::default() {
        return None;
    }
    let Follow { provider, poll_config, use_callback, callback_config, callback_secret, provider_params } =
        follow.clone();
    Some(StoredFollow { provider, poll_config, use_callback, callback_config, callback_secret, provider_params })
}

fn load_follow(stored: Option<StoredFollow>) -> Follow {
    stored.map_or_else(Follow::default, |stored| Follow {
        provider: stored.provider,
        poll_config: stored.poll_config,
        use_callback: stored.use_callback,
        callback_config: stored.callback_config,
        callback_secret: stored.callback_secret,
        provider_params: stored.provider_params,
    })
}

/// How a job is asked after, and how far that has come: of a task that polls only.
#[derive(Serialize, Deserialize)]
struct StoredPolling {
    every: i64,
    #[serde(rename = "for")]
    limit: i64,
    #[serde(default)]
    eases: bool,
    #[serde(default)]
    polls: u32,
    #[serde(default)]
    refusals: u8,
    #[serde(default)]
    mark: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

pub(super) fn write_polling(policy: PollPolicy, polling: Polling) -> String {
    to_json(&StoredPolling {
        every: policy.every_ms,
        limit: policy.for_ms,
        eases: policy.eases,
        polls: polling.polls,
        refusals: polling.refusals,
        mark: polling.mark,
        next: polling.next_at.map(|at| at.0),
    })
}

/// None for a text that this program did not write.
pub(super) fn read_polling(text: &str) -> Option<(PollPolicy, Polling)> {
    let stored: StoredPolling = serde_json::from_str(text).ok()?;
    let policy = PollPolicy { every_ms: stored.every, for_ms: stored.limit, eases: stored.eases };
    let next_at = stored.next.map(Timestamp);
    Some((policy, Polling { polls: stored.polls, refusals: stored.refusals, mark: stored.mark, next_at }))
}

#[derive(Serialize, Deserialize)]
struct PayloadHead {
    status: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default)]
    ms: i64,
}

pub(super) fn write_request(request: &Request) -> Written {
    let body = request.body.as_ref().map(|body| Bytes::copy_from_slice(body.as_bytes()));
    Written { head: write_request_head(request), body }
}

/// A request without its body.
pub(super) fn write_request_head(request: &Request) -> String {
    to_json(&RequestHead {
        url: Cow::Borrowed(&request.target_url),
        method: Cow::Borrowed(request.method.name()),
        headers: Cow::Borrowed(&request.headers),
        timeout_ms: request.timeout_ms,
        retry_on: Cow::Borrowed(&request.retry_on),
        delay_until: request.delay_until.map(|at| at.0),
        wait_for_signal: request.wait_for_signal,
        on_complete_url: request.on_complete_url.as_deref().map(Cow::Borrowed),
        on_complete_max_retries: request.on_complete_max_retries,
        metadata: Cow::Borrowed(&request.metadata),
        retry_of: request.retry_of.map(|id| id.0),
        depth: request.depth,
        follow: store_follow(&request.follow),
    })
}

pub(super) fn read_request(head: &str, body: Option<Vec<u8>>) -> Result<Request, StoreError> {
    let head: RequestHead<'_> = from_json(head)?;
    let method = Method::from_name(&head.method).ok_or_else(|| broken("method"))?;
    let body = body.map(String::from_utf8).transpose().map_err(|_| broken("request body"))?;
    Ok(Request {
        target_url: head.url.into_owned(),
        method,
        headers: head.headers.into_owned(),
        body,
        timeout_ms: head.timeout_ms,
        retry_on: head.retry_on.into_owned(),
        delay_until: head.delay_until.map(Timestamp),
        wait_for_signal: head.wait_for_signal,
        on_complete_url: head.on_complete_url.map(Cow::into_owned),
        on_complete_max_retries: head.on_complete_max_retries,
        metadata: head.metadata.into_owned(),
        retry_of: head.retry_of.map(TaskId),
        depth: head.depth,
        follow: load_follow(head.follow),
    })
}

/// A request's method, URL and provider, without the rest.
pub(super) fn read_request_head(head: &str) -> Result<(Method, String, Option<String>), StoreError> {
    let head: RequestHead<'_> = from_json(head)?;
    let method = Method::from_name(&head.method).ok_or_else(|| broken("method"))?;
    Ok((method, head.url.into_owned(), head.follow.and_then(|follow| follow.provider)))
}

pub(super) fn write_payload(payload: &Payload) -> Written {
    let head = PayloadHead { status: payload.status_code, headers: payload.headers.clone(), ms: payload.duration_ms };
    Written { head: to_json(&head), body: Some(payload.body.clone()) }
}

pub(super) fn read_payload(head: &str, body: Option<Vec<u8>>) -> Result<Payload, StoreError> {
    let head: PayloadHead = from_json(head)?;
    let body = Bytes::from(body.unwrap_or_default());
    Ok(Payload { status_code: head.status, headers: head.headers, body, duration_ms: head.ms })
}

/// One entry of a task's history: short names, and only what is there.
#[derive(Default, Serialize, Deserialize)]
struct StoredEntry {
    #[serde(rename = "t")]
    kind: String,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(rename = "ms", default, skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
    #[serde(rename = "at", default, skip_serializing_if = "Option::is_none")]
    when: Option<i64>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    word: Option<String>,
}

pub(super) fn write_entries(entries: &[Entry]) -> String {
    let stored: Vec<StoredEntry> = entries.iter().map(store_entry).collect();
    to_json(&stored)
}

pub(super) fn read_entries(at: Timestamp, text: &str) -> Result<Vec<EventRecord>, StoreError> {
    let stored: Vec<StoredEntry> = from_json(text)?;
    let record = |stored| Ok(EventRecord { at, entry: load_entry(stored)?, body: None });
    stored.into_iter().map(record).collect()
}

fn store_entry(entry: &Entry) -> StoredEntry {
    let kind = entry.name().to_owned();
    match entry.clone() {
        Entry::Created | Entry::CallbackLate | Entry::SignalReceived | Entry::Progress => {
            StoredEntry { kind, ..StoredEntry::default() }
        }
        Entry::PollFinished { poll, status_code, word, error, duration_ms, next_attempt_at } => StoredEntry {
            kind,
            attempt: Some(poll),
            code: status_code,
            error,
            duration_ms: Some(duration_ms),
            when: next_attempt_at.map(|at| at.0),
            word,
        },
        Entry::AttemptStarted { attempt } => StoredEntry { kind, attempt: Some(attempt), ..StoredEntry::default() },
        Entry::AttemptFinished { attempt, status_code, error, duration_ms, next_attempt_at } => StoredEntry {
            kind,
            attempt: Some(attempt),
            code: status_code,
            error,
            duration_ms,
            when: next_attempt_at.map(|at| at.0),
            word: None,
        },
        Entry::WebhookAttempted { attempt, status_code, error, next_attempt_at } => StoredEntry {
            kind,
            attempt: Some(attempt),
            code: status_code,
            error,
            duration_ms: None,
            when: next_attempt_at.map(|at| at.0),
            word: None,
        },
        Entry::Waiting { deadline } | Entry::Polling { deadline } => {
            StoredEntry { kind, when: Some(deadline.0), ..StoredEntry::default() }
        }
        Entry::CallbackReceived { error } | Entry::Ended { error, .. } => {
            StoredEntry { kind, error, ..StoredEntry::default() }
        }
    }
}

fn load_entry(stored: StoredEntry) -> Result<Entry, StoreError> {
    let attempt = stored.attempt.unwrap_or_default();
    let when = stored.when.map(Timestamp);
    let deadline = when.unwrap_or_default();
    Ok(match stored.kind.as_str() {
        "created" => Entry::Created,
        "attempt.started" => Entry::AttemptStarted { attempt },
        "attempt.finished" => Entry::AttemptFinished {
            attempt,
            status_code: stored.code,
            error: stored.error,
            duration_ms: stored.duration_ms,
            next_attempt_at: when,
        },
        "waiting" => Entry::Waiting { deadline },
        "polling" => Entry::Polling { deadline },
        "poll.finished" => Entry::PollFinished {
            poll: attempt,
            status_code: stored.code,
            word: stored.word,
            error: stored.error,
            duration_ms: stored.duration_ms.unwrap_or_default(),
            next_attempt_at: when,
        },
        "callback.received" => Entry::CallbackReceived { error: stored.error },
        "callback.late" => Entry::CallbackLate,
        "signal.received" => Entry::SignalReceived,
        "progress" => Entry::Progress,
        "webhook.attempted" => {
            Entry::WebhookAttempted { attempt, status_code: stored.code, error: stored.error, next_attempt_at: when }
        }
        other => match Status::from_name(other) {
            Some(status) => Entry::Ended { status, error: stored.error },
            None => return Err(broken("event type")),
        },
    })
}

/// Writes plain data.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data is always JSON")
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    // Its own words may quote what is stored, which is for no log.
    let told = |error: serde_json::Error| format!("{:?} error in JSON at column {}", error.classify(), error.column());
    serde_json::from_str(text).map_err(|error| StoreError::Unreadable(told(error)))
}

fn broken(what: &str) -> StoreError {
    StoreError::Unreadable(format!("it holds no valid {what}"))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredVerdict {
    Done,
    Failed(String),
    Interim,
}

pub(super) fn write_verdict(verdict: &CallbackVerdict) -> String {
    to_json(&match verdict.clone() {
        CallbackVerdict::Done => StoredVerdict::Done,
        CallbackVerdict::Failed(error) => StoredVerdict::Failed(error),
        CallbackVerdict::Interim => StoredVerdict::Interim,
    })
}

pub(super) fn read_verdict(text: &str) -> Result<CallbackVerdict, StoreError> {
    Ok(match from_json(text)? {
        StoredVerdict::Done => CallbackVerdict::Done,
        StoredVerdict::Failed(error) => CallbackVerdict::Failed(error),
        StoredVerdict::Interim => CallbackVerdict::Interim,
    })
}
