//! What a task is made of.

use bytes::Bytes;

use super::{Backoff, Follow, PollPolicy, Polling, State, Status, TaskId, TeamId, Timestamp};

/// What follows a call that the target accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The answer is the result.
    Finish,
    /// A signal or callback brings the result.
    Wait,
    /// The poller brings the result, unless somebody tells it first.
    Poll(PollPolicy),
}

/// The rules that a task was created with, as far as its transitions need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts beyond the first, 0 to 10.
    pub max_retries: u32,
    /// How the delay between attempts grows.
    pub backoff: Backoff,
    /// What follows an accepted call.
    pub then: Then,
    /// How long `waiting` may last, milliseconds.
    pub max_wait_ms: i64,
    /// Whether a callback id was given out.
    pub callback: bool,
    /// Whether a signal token was given out.
    pub signal: bool,
    /// Whether a completion webhook is wanted.
    pub completion: bool,
}

/// What is in the one place that a task has for the body of a late callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Late {
    /// Nothing.
    #[default]
    None,
    /// News that the job went on, or what no rule knew.
    News,
    /// How the job ended.
    End,
}

/// The changing part of a task: all that a transition reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub team: TeamId,
    /// 1 to 10, higher first among a team's due tasks.
    pub priority: u8,
    /// The rules it was created with.
    pub policy: Policy,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Attempts started so far. The current one's number is the fence: an answer with another number changes nothing.
    pub attempt: u32,
    /// Retries used so far.
    pub retry_count: u32,
    /// When the latest attempt started.
    pub started_at: Option<Timestamp>,
    /// Whether an interim callback proved that the provider took the job, so that a retry would pay twice.
    pub accepted: bool,
    /// What is in the one place for a late callback's body.
    pub late: Late,
    /// Where its polling stands.
    pub polling: Polling,
    /// Why it failed, in words for people.
    pub error: Option<String>,
}

impl Task {
    /// A new task, due at once or at `due_at`.
    pub fn new(
        id: TaskId,
        team: TeamId,
        priority: u8,
        policy: Policy,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let state = match due_at {
            Some(due_at) if due_at > now => State::Delayed { due_at },
            _ => State::Pending { since: now },
        };
        Self {
            id,
            team,
            priority,
            policy,
            created_at: now,
            state,
            attempt: 0,
            retry_count: 0,
            started_at: None,
            accepted: false,
            late: Late::None,
            polling: Polling::default(),
            error: None,
        }
    }

    /// The status that people see.
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// When the task ended, if it has.
    pub fn completed_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Done { at, .. } => Some(at),
            _ => None,
        }
    }
}

/// The HTTP methods a target may be called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET; a body is not sent.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// The method with this name; names are case-sensitive (RFC 9110, 9.1).
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Get, Self::Post, Self::Put, Self::Delete].into_iter().find(|method| method.name() == name)
    }
}

/// What a task was asked to do: written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to call, as it was given (it may hold the callback placeholder).
    pub target_url: String,
    /// How to call.
    pub method: Method,
    /// Header fields, in the order given.
    pub headers: Vec<(String, String)>,
    /// What to send, as it was given.
    pub body: Option<String>,
    /// The time one attempt may take, milliseconds.
    pub timeout_ms: i64,
    /// More status codes to retry beside 5xx.
    pub retry_on: Vec<u16>,
    /// The earliest time of the first attempt, as it was asked for.
    pub delay_until: Option<Timestamp>,
    /// Whether the creation asked for a signal token.
    pub wait_for_signal: bool,
    /// Where to tell that the task ended.
    pub on_complete_url: Option<String>,
    /// Attempts to tell beyond the first, 0 to 10.
    pub on_complete_max_retries: u32,
    /// The owner's own notes, never looked into.
    pub metadata: Vec<(String, String)>,
    /// The task that this one repeats.
    pub retry_of: Option<TaskId>,
    /// How many tasks, each created by the call of the one before, led to this one.
    pub depth: u32,
    /// What is followed after the call.
    pub follow: Follow,
}

/// An HTTP answer, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The status code; 200 for a callback or signal.
    pub status_code: u16,
    /// Header fields: lower-case names, repeated ones joined by ", ".
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Bytes,
    /// How long the call took, milliseconds.
    pub duration_ms: i64,
}

impl Payload {
    /// What a callback or a signal's result looks like: no headers, no duration.
    pub fn told(body: Bytes) -> Self {
        Self { status_code: 200, headers: Vec::new(), body, duration_ms: 0 }
    }
}
