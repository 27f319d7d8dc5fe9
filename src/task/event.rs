//! What can happen to a task, and what is written down about it.

use super::{Job, PollVerdict, Status, Timestamp};

/// How callbacks are met that come before the answer to the call (`--callback-early`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyCallbacks {
    /// They resolve the task then and there.
    Accept,
    /// They are refused until the task waits.
    Reject,
}

/// What a callback says, by the task's rule; without a rule every callback says `Done`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackVerdict {
    /// The job is done; the body is the result.
    Done,
    /// The job failed, with the provider's own words.
    Failed(String),
    /// The job goes on; the body is its progress.
    Interim,
}

/// What came of one call to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx, or a 3xx that is not followed.
    Accepted {
        /// The status code.
        status: u16,
        /// The job that the answer names, where webhooks come to one address for all jobs.
        job: Option<Job>,
    },
    /// A 4xx that is not retried.
    Rejected {
        /// The status code.
        status: u16,
        /// What to tell when it fails the task.
        error: String,
    },
    /// A 5xx, or a status that the task wants retried.
    Retryable {
        /// The status code.
        status: u16,
        /// What to tell when no retry is left.
        error: String,
        /// The target's own wish (`Retry-After`), milliseconds.
        retry_after_ms: Option<i64>,
    },
    /// No byte of the request left this machine.
    NotSent {
        /// What to tell when no retry is left.
        error: String,
    },
    /// The request may have been received, but no answer came.
    Unknown {
        /// What to tell when no retry is left.
        error: String,
    },
    /// The answer was over the size limit; its body is dropped.
    TooLarge {
        /// The status code.
        status: u16,
        /// What to tell when it fails the task.
        error: String,
    },
    /// The call must not be made, now or later.
    Forbidden {
        /// Which rule forbids it.
        error: String,
    },
}

impl Answer {
    /// The target's status code, if it answered.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Accepted { status, .. }
            | Self::Rejected { status, .. }
            | Self::Retryable { status, .. }
            | Self::TooLarge { status, .. } => Some(*status),
            Self::NotSent { .. } | Self::Unknown { .. } | Self::Forbidden { .. } => None,
        }
    }

    /// What went wrong, in words for people; none for an accepted call.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected { error, .. }
            | Self::Retryable { error, .. }
            | Self::NotSent { error }
            | Self::Unknown { error }
            | Self::TooLarge { error, .. }
            | Self::Forbidden { error } => Some(error),
        }
    }
}

/// Why a callback that was received is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The body is over the size limit.
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// It is news, or bad news, of another job: an earlier attempt's.
    OtherJob,
}

/// Something that happens to a task. Every way that a task can end is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A delay ended.
    Due,
    /// A worker takes the task.
    Claimed {
        /// Until when the claim holds.
        lease_until: Timestamp,
    },
    /// A claimed task comes back; its request was never written.
    Returned {
        /// The attempt that was not made.
        attempt: u32,
        /// When it was claimed. Its number is used again, so the number alone is no fence.
        started_at: Option<Timestamp>,
    },
    /// The call ended.
    Answered {
        /// Which attempt.
        attempt: u32,
        /// What came of it.
        answer: Answer,
        /// How long it took, milliseconds.
        duration_ms: i64,
    },
    /// The worker was lost; nobody knows what became of the call.
    Interrupted {
        /// Which attempt.
        attempt: u32,
    },
    /// The callback URL was called.
    Callback {
        /// What it says.
        verdict: CallbackVerdict,
        /// Whether it may overtake the answer to the call.
        early: EarlyCallbacks,
    },
    /// The signal token was used.
    Signal {
        /// Why the job failed; none when it is done.
        error: Option<String>,
        /// Whether the signal brings a result of its own.
        result: bool,
    },
    /// The callback URL was called with something that is not for the task.
    CallbackLeft(Left),
    /// The provider was asked how the job goes.
    Polled {
        /// Which poll, from 1.
        poll: u32,
        /// What came of it.
        verdict: PollVerdict,
        /// The provider's status code, if it answered.
        status_code: Option<u16>,
        /// The provider's own word for the job's state.
        word: Option<String>,
        /// How long it took, milliseconds.
        duration_ms: i64,
    },
    /// The owner gives the task up.
    Cancel,
    /// The wait's time is over.
    DeadlinePassed,
}

/// One line of a task's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The task was created.
    Created,
    /// A worker began to call.
    AttemptStarted {
        /// Its number, from 1.
        attempt: u32,
    },
    /// A call ended.
    AttemptFinished {
        /// Its number, from 1.
        attempt: u32,
        /// The target's status code, if it answered.
        status_code: Option<u16>,
        /// What went wrong.
        error: Option<String>,
        /// How long it took, milliseconds; unknown for a lost worker.
        duration_ms: Option<i64>,
        /// When the next attempt is planned.
        next_attempt_at: Option<Timestamp>,
    },
    /// The wait for a signal or callback began.
    Waiting {
        /// When it ends.
        deadline: Timestamp,
    },
    /// Polling began.
    Polling {
        /// When it ends.
        deadline: Timestamp,
    },
    /// The provider was asked how the job goes, and said something new.
    PollFinished {
        /// Which poll, from 1.
        poll: u32,
        /// The provider's status code, if it answered.
        status_code: Option<u16>,
        /// The provider's own word for the job's state.
        word: Option<String>,
        /// What went wrong.
        error: Option<String>,
        /// How long it took, milliseconds.
        duration_ms: i64,
        /// When the next poll is planned.
        next_attempt_at: Option<Timestamp>,
    },
    /// A callback was accepted; or it was left alone, and changed nothing.
    CallbackReceived {
        /// Why it changed nothing.
        error: Option<String>,
    },
    /// A callback came after the end; its body is kept.
    CallbackLate,
    /// A signal was accepted.
    SignalReceived,
    /// A callback brought news, not the end.
    Progress,
    /// The task ended in this final status.
    Ended {
        /// Which one.
        status: Status,
        /// Why, if it failed.
        error: Option<String>,
    },
    /// The completion webhook was tried.
    WebhookAttempted {
        /// Its number, from 1.
        attempt: u32,
        /// The receiver's status code, if it answered.
        status_code: Option<u16>,
        /// What went wrong.
        error: Option<String>,
        /// When the next attempt is planned.
        next_attempt_at: Option<Timestamp>,
    },
}

impl Entry {
    /// The type's name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::AttemptStarted { .. } => "attempt.started",
            Self::AttemptFinished { .. } => "attempt.finished",
            Self::Waiting { .. } => "waiting",
            Self::Polling { .. } => "polling",
            Self::PollFinished { .. } => "poll.finished",
            Self::CallbackReceived { .. } => "callback.received",
            Self::CallbackLate => "callback.late",
            Self::SignalReceived => "signal.received",
            Self::Progress => "progress",
            Self::Ended { status, .. } => status.name(),
            Self::WebhookAttempted { .. } => "webhook.attempted",
        }
    }
}
