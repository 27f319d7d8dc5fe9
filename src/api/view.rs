//! What a task looks like to its owner.

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::openapi::{Status, bodies};
use crate::follow;
use crate::store::{EventRecord, TaskRecord};
use crate::task::{Backoff, Delivery, DeliveryStatus, Entry, State, Timestamp};
use crate::wire::{Headers, Iso, ResultView};

/// `{"task": …}`.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskAnswer)]
pub struct Envelope<'a> {
    /// The task.
    pub task: TaskView<'a>,
}

/// A created task, with the credentials that are shown once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreatedTask)]
pub struct CreatedView<'a> {
    /// The task.
    pub task: TaskView<'a>,
    /// Where its provider shall call back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// What lets somebody signal it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_token: Option<String>,
}

/// A task, whole.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Task)]
pub struct TaskView<'a> {
    id: String,
    team_id: String,
    #[schema(value_type = Status)]
    status: &'static str,
    /// Shown at the creation alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_id: Option<&'a str>,
    target_url: &'a str,
    #[schema(value_type = bodies::Method)]
    method: &'static str,
    headers: Headers<'a>,
    #[schema(required, value_type = Option<String>)]
    body: Option<Text<'a>>,
    /// Seconds.
    #[schema(value_type = f64)]
    timeout: Seconds,
    max_retries: u32,
    #[schema(value_type = bodies::Backoff)]
    retry_backoff: &'static str,
    retry_on: &'a [u16],
    #[schema(required)]
    delay_until: Option<Iso>,
    priority: u8,
    wait_for_signal: bool,
    /// Seconds.
    #[schema(value_type = f64)]
    max_wait_time: Seconds,
    #[schema(required)]
    on_complete_url: Option<&'a str>,
    on_complete_max_retries: u32,
    #[schema(required)]
    provider: Option<&'a str>,
    #[schema(required, value_type = Option<bodies::PollConfig>)]
    poll_config: Option<Box<RawValue>>,
    use_callback: bool,
    #[schema(required, value_type = Option<bodies::CallbackRule>)]
    callback_config: Option<Box<RawValue>>,
    #[schema(required)]
    callback_secret: Option<&'a str>,
    provider_params: Headers<'a>,
    metadata: Headers<'a>,
    retry_count: u32,
    #[schema(required, value_type = Option<bodies::TaskResult>)]
    result: Option<ResultView<'a>>,
    #[schema(required)]
    error: Option<&'a str>,
    /// The latest interim callback's body.
    #[schema(required, value_type = Option<serde_json::Value>)]
    progress: Option<Progress<'a>>,
    created_at: Iso,
    #[schema(required)]
    started_at: Option<Iso>,
    #[schema(required)]
    completed_at: Option<Iso>,
    #[schema(required)]
    next_attempt_at: Option<Iso>,
    #[schema(required)]
    retry_of: Option<String>,
    #[schema(required)]
    on_complete: Option<DeliveryView>,
}

impl<'a> TaskView<'a> {
    /// The task as its team sees it.
    pub fn of(record: &'a TaskRecord, team: uuid::Uuid) -> Self {
        let TaskRecord { task, request, .. } = record;
        let follow = &request.follow;
        Self {
            id: task.id.to_string(),
            team_id: team.to_string(),
            status: task.status().name(),
            callback_id: None,
            target_url: &request.target_url,
            method: request.method.name(),
            headers: Headers(&request.headers),
            body: request.body.as_deref().map(Text::Plain),
            timeout: Seconds(request.timeout_ms),
            max_retries: task.policy.max_retries,
            retry_backoff: match task.policy.backoff {
                Backoff::Exponential => "exponential",
                Backoff::Linear => "linear",
            },
            retry_on: &request.retry_on,
            delay_until: request.delay_until.map(Iso),
            priority: task.priority,
            wait_for_signal: request.wait_for_signal,
            max_wait_time: Seconds(task.policy.max_wait_ms),
            on_complete_url: request.on_complete_url.as_deref(),
            on_complete_max_retries: request.on_complete_max_retries,
            provider: follow.provider.as_deref(),
            poll_config: follow::poll(follow).and_then(|poll| raw(poll.shown())),
            use_callback: follow.use_callback,
            callback_config: follow
                .callback_config
                .as_ref()
                .and_then(|_| follow::rule(follow))
                .and_then(|rule| raw(rule.shown())),
            callback_secret: follow.callback_secret.as_deref(),
            provider_params: Headers(&follow.provider_params),
            metadata: Headers(&request.metadata),
            retry_count: task.retry_count,
            result: record.result.as_ref().map(ResultView),
            error: task.error.as_deref(),
            progress: record.progress.as_ref().map(|payload| Progress(&payload.body)),
            created_at: Iso(task.created_at),
            started_at: task.started_at.map(Iso),
            completed_at: task.completed_at().map(Iso),
            next_attempt_at: match task.state {
                State::Delayed { due_at } => Some(Iso(due_at)),
                _ => None,
            },
            retry_of: request.retry_of.map(|id| id.to_string()),
            on_complete: record.delivery.map(DeliveryView::of),
        }
    }

    /// The task with its callback id, which only its creation shows, and the body in the creation's own spelling.
    pub fn created(self, callback_id: Option<&'a str>, body: Option<&'a RawValue>) -> Self {
        Self { callback_id, body: body.map(Text::Json).or(self.body), ..self }
    }
}

/// A text, or the JSON string that spells it.
#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Plain(&'a str),
    Json(&'a RawValue),
}

fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
struct DeliveryView {
    /// `pending`, `delivered` or `failed`.
    status: &'static str,
    attempts: u32,
    #[schema(required)]
    last_status_code: Option<u16>,
    #[schema(required)]
    next_attempt_at: Option<Iso>,
}

impl DeliveryView {
    fn of(delivery: Delivery) -> Self {
        Self {
            status: match delivery.status {
                DeliveryStatus::Pending => "pending",
                DeliveryStatus::Delivered => "delivered",
                DeliveryStatus::Failed => "failed",
            },
            attempts: delivery.attempts,
            last_status_code: delivery.last_status_code,
            next_attempt_at: delivery.next_attempt_at.map(Iso),
        }
    }
}

/// Milliseconds, shown as seconds.
struct Seconds(i64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            return serializer.serialize_i64(self.0 / 1000);
        }
        #[expect(clippy::cast_precision_loss, reason = "30 days of milliseconds are exact in a double")]
        let millis = self.0 as f64;
        serializer.serialize_f64(millis / 1000.0)
    }
}

/// An interim callback's body, which is JSON already.
struct Progress<'a>(&'a [u8]);

impl Serialize for Progress<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_slice::<&RawValue>(self.0) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => String::from_utf8_lossy(self.0).serialize(serializer),
        }
    }
}

/// `{"events": […]}`.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskEvents)]
pub struct EventsView {
    events: Vec<EventView>,
}

impl EventsView {
    /// A task's history, numbered from 1.
    pub fn of(records: &[EventRecord]) -> Self {
        Self { events: (1..).zip(records).map(|(seq, record)| EventView::of(seq, record)).collect() }
    }
}

/// One line of a history.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TaskEvent)]
pub struct EventView {
    seq: u32,
    at: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Iso>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Iso>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl EventView {
    /// The end of a delay, which a stream tells and no history keeps.
    pub fn due(seq: u32, at: Timestamp) -> Self {
        Self { seq, at: crate::wire::iso(at), kind: "due", ..Self::default() }
    }

    /// The line of this number.
    pub fn of(seq: u32, record: &EventRecord) -> Self {
        let body = record.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
        let view = Self { seq, at: crate::wire::iso(record.at), kind: record.entry.name(), body, ..Self::default() };
        match record.entry.clone() {
            Entry::Created | Entry::CallbackLate | Entry::SignalReceived | Entry::Progress => view,
            Entry::PollFinished { poll, status_code, word, error, duration_ms, next_attempt_at } => Self {
                attempt: Some(poll),
                status_code,
                status: word,
                error,
                duration: Some(duration_ms),
                next_attempt_at: next_attempt_at.map(Iso),
                ..view
            },
            Entry::AttemptStarted { attempt } => Self { attempt: Some(attempt), ..view },
            Entry::AttemptFinished { attempt, status_code, error, duration_ms, next_attempt_at } => Self {
                attempt: Some(attempt),
                status_code,
                error,
                duration: duration_ms,
                next_attempt_at: next_attempt_at.map(Iso),
                ..view
            },
            Entry::WebhookAttempted { attempt, status_code, error, next_attempt_at } => {
                Self { attempt: Some(attempt), status_code, error, next_attempt_at: next_attempt_at.map(Iso), ..view }
            }
            Entry::Waiting { deadline } | Entry::Polling { deadline } => Self { deadline: Some(Iso(deadline)), ..view },
            Entry::CallbackReceived { error } | Entry::Ended { error, .. } => Self { error, ..view },
        }
    }
}

/// `{"tasks": […], "pagination": …}`.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskPage)]
pub struct ListView<'a> {
    /// The page.
    pub tasks: Vec<TaskView<'a>>,
    /// Where the page lies.
    pub pagination: Pagination,
}

/// Where a page lies among all there are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Pagination)]
pub struct Pagination {
    /// How many there are.
    pub total: u64,
    /// At most this many on a page.
    pub limit: u32,
    /// How many come before.
    pub offset: u64,
    /// Whether more come after.
    pub has_more: bool,
}
