//! What the client reads out of answers: the fields that it shows. Everything else passes through it unread, at any depth.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::{Exit, Failure};

/// Reads an answer.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|_| Failure::new(Exit::Unreachable, "the answer is none of AsyncQueue's"))
}

/// `{"task": …}`, and the credentials of a new one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// The task.
    pub task: Task,
    /// Shown once.
    pub callback_url: Option<String>,
    /// Shown once.
    pub signal_token: Option<String>,
}

/// A task.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: String,
    /// Where it calls. A signal's answer does not say.
    #[serde(default)]
    pub target_url: String,
    /// How it calls.
    #[serde(default)]
    pub method: String,
    /// Its provider.
    pub provider: Option<String>,
    /// Retries used.
    #[serde(default)]
    pub retry_count: u32,
    /// Retries there are.
    #[serde(default)]
    pub max_retries: u32,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub started_at: Option<String>,
    /// ISO 8601.
    pub completed_at: Option<String>,
    /// ISO 8601.
    pub next_attempt_at: Option<String>,
    /// The task that it repeats.
    pub retry_of: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What came of it.
    pub result: Option<Outcome>,
}

/// A task's result.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The status code.
    pub status_code: u16,
    body: String,
    body_encoding: Option<String>,
}

impl Outcome {
    /// The body's bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, Failure> {
        match self.body_encoding.as_deref() {
            None => Ok(self.body.clone().into_bytes()),
            Some("base64") => STANDARD
                .decode(&self.body)
                .map_err(|_| Failure::new(Exit::Unreachable, "the result's body is no base64, though it says so")),
            Some(_) => {
                Err(Failure::new(Exit::Unreachable, "the result's body has an encoding that this version lacks"))
            }
        }
    }
}

impl Task {
    /// How a task that has ended ends the command.
    pub fn exit(&self) -> Option<Exit> {
        match self.status.as_str() {
            "completed" => Some(Exit::Done),
            "failed" => Some(Exit::Failed),
            "timeout" => Some(Exit::Timeout),
            "cancelled" => Some(Exit::Cancelled),
            _ => None,
        }
    }
}

/// A page of tasks.
#[derive(Deserialize)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where they lie.
    pub pagination: Pagination,
}

/// Where a page lies.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// How many there are.
    pub total: u64,
    /// How many come before.
    pub offset: u64,
    /// Whether more come after.
    pub has_more: bool,
}

/// A task's history.
#[derive(Deserialize)]
pub struct Events {
    /// Its lines.
    pub events: Vec<Event>,
}

/// A line of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number.
    pub seq: u32,
    /// ISO 8601.
    pub at: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which attempt or poll.
    pub attempt: Option<u32>,
    /// The other side's status code.
    pub status_code: Option<u16>,
    /// The provider's word.
    pub status: Option<String>,
    /// Milliseconds.
    pub duration: Option<i64>,
    /// What went wrong.
    pub error: Option<String>,
    /// ISO 8601.
    pub next_attempt_at: Option<String>,
    /// ISO 8601.
    pub deadline: Option<String>,
}

/// `{"token": …}`.
#[derive(Deserialize)]
pub struct Token {
    /// The token.
    pub token: TokenLine,
}

/// `{"tokens": […]}`.
#[derive(Deserialize)]
pub struct Tokens {
    /// The tokens.
    pub tokens: Vec<TokenLine>,
}

/// A token of the vault, without its value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenLine {
    /// Its reference.
    pub id: String,
    /// Its name.
    pub name: String,
    /// ISO 8601.
    pub created_at: Option<String>,
    /// Where it may go; nowhere in particular if there is none.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// What for, if not for sending.
    #[serde(rename = "use")]
    pub purpose: Option<String>,
}

/// `{"providers": […]}`.
#[derive(Deserialize)]
pub struct Providers<'a> {
    /// The providers, as they came.
    #[serde(borrow)]
    pub providers: Vec<&'a RawValue>,
}

/// What is known about a provider.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider<'a> {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// How it is polled.
    #[serde(borrow)]
    pub poll_config: Option<&'a RawValue>,
    /// How it calls back.
    pub callback: Option<Callback>,
}

/// How a provider calls back.
#[derive(Deserialize)]
pub struct Callback {
    /// Where it takes the URL.
    pub url: Place,
}

/// Where a provider takes the URL.
#[derive(Deserialize)]
pub struct Place {
    /// `query`, `body`, or `account`.
    #[serde(rename = "in")]
    pub kind: String,
}

/// `{"endpoint": …}`.
#[derive(Deserialize)]
pub struct Endpoint {
    /// The endpoint.
    pub endpoint: EndpointLine,
}

/// `{"endpoints": […]}`.
#[derive(Deserialize)]
pub struct Endpoints {
    /// The endpoints.
    pub endpoints: Vec<EndpointLine>,
}

/// An endpoint.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointLine {
    /// Its id.
    pub id: String,
    /// The account's provider.
    pub provider: String,
    /// The reference of its secret.
    pub secret: Option<String>,
    /// Shown when it is made or rotated.
    pub url: Option<String>,
    /// ISO 8601.
    pub created_at: String,
}
