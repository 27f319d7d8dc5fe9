//! The states of a task; each owns exactly the data that exists in it.

use super::Timestamp;

/// A task's status as people and the API name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Due, waiting for a worker.
    Pending,
    /// Due later: `delayUntil`, or a retry's backoff.
    Delayed,
    /// The call is under way.
    Processing,
    /// The call was accepted; a signal or callback is expected.
    Waiting,
    /// The call was accepted; the provider is asked at intervals.
    Polling,
    /// Final: there is a result.
    Completed,
    /// Final: there is an error.
    Failed,
    /// Final: nothing came in time.
    Timeout,
    /// Final: cancelled by its owner.
    Cancelled,
}

impl Status {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Delayed,
        Self::Processing,
        Self::Waiting,
        Self::Polling,
        Self::Completed,
        Self::Failed,
        Self::Timeout,
        Self::Cancelled,
    ];

    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delayed => "delayed",
            Self::Processing => "processing",
            Self::Waiting => "waiting",
            Self::Polling => "polling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether a task in this status never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Timeout | Self::Cancelled)
    }
}

/// What ended a task. It decides how a late callback or signal is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The target's answer.
    Answer,
    /// A callback.
    Callback,
    /// A signal.
    Signal,
    /// A poll's answer.
    Poll,
    /// maxWaitTime or maxDuration ran out.
    Deadline,
    /// Its owner.
    Cancellation,
    /// No attempt succeeded.
    Failure,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Due at a later time.
    Delayed {
        /// When it becomes pending.
        due_at: Timestamp,
    },
    /// Due, and not yet taken by a worker.
    Pending {
        /// Since when it is due; earlier ones go first.
        since: Timestamp,
    },
    /// Taken by a worker, which is calling the target.
    Processing {
        /// When the claim is void unless the worker renews it.
        lease_until: Timestamp,
    },
    /// The target accepted; somebody will tell.
    Waiting {
        /// When the wait ends in a timeout.
        deadline: Timestamp,
    },
    /// The target accepted; the poller will find out.
    Polling {
        /// When polling ends in a timeout.
        deadline: Timestamp,
    },
    /// Final.
    Done {
        /// One of the final statuses.
        status: Status,
        /// What ended it.
        by: EndedBy,
        /// When.
        at: Timestamp,
    },
}

impl State {
    /// The status that people see.
    pub fn status(&self) -> Status {
        match self {
            Self::Delayed { .. } => Status::Delayed,
            Self::Pending { .. } => Status::Pending,
            Self::Processing { .. } => Status::Processing,
            Self::Waiting { .. } => Status::Waiting,
            Self::Polling { .. } => Status::Polling,
            Self::Done { status, .. } => *status,
        }
    }

    /// When time alone will change this state: a delay that ends, or a deadline.
    pub fn timer(&self) -> Option<Timestamp> {
        match self {
            Self::Delayed { due_at: at } | Self::Waiting { deadline: at } | Self::Polling { deadline: at } => Some(*at),
            Self::Pending { .. } | Self::Processing { .. } | Self::Done { .. } => None,
        }
    }
}
