//! How the small facts of a task are numbered on disk, the same in every backend.

use crate::task::{Backoff, DeliveryStatus, EndedBy, Late, Policy, PollPolicy, State, Status, Task, Then, Timestamp};

/// A status's number on disk.
pub(super) fn status_code(status: Status) -> i64 {
    match status {
        Status::Pending => 0,
        Status::Delayed => 1,
        Status::Processing => 2,
        Status::Waiting => 3,
        Status::Polling => 4,
        Status::Completed => 5,
        Status::Failed => 6,
        Status::Timeout => 7,
        Status::Cancelled => 8,
    }
}

/// The status with this number on disk.
pub(super) fn status_of(code: i64) -> Status {
    Status::ALL.into_iter().find(|status| status_code(*status) == code).unwrap_or(Status::Failed)
}

pub(super) fn write_delivery_status(status: DeliveryStatus) -> i64 {
    match status {
        DeliveryStatus::Pending => 0,
        DeliveryStatus::Delivered => 1,
        DeliveryStatus::Failed => 2,
    }
}

pub(super) fn read_delivery_status(code: i64) -> DeliveryStatus {
    match code {
        0 => DeliveryStatus::Pending,
        1 => DeliveryStatus::Delivered,
        _ => DeliveryStatus::Failed,
    }
}

/// A state's status, and the one moment that belongs to it.
pub(super) fn write_state(state: &State) -> (i64, Timestamp) {
    let at = match state {
        State::Delayed { due_at: at }
        | State::Pending { since: at }
        | State::Processing { lease_until: at }
        | State::Waiting { deadline: at }
        | State::Polling { deadline: at }
        | State::Done { at, .. } => *at,
    };
    (status_code(state.status()), at)
}

// The small facts share one integer.
const THEN: i64 = 0b11;
const LINEAR: i64 = 1 << 2;
const CALLBACK: i64 = 1 << 3;
const SIGNAL: i64 = 1 << 4;
const COMPLETION: i64 = 1 << 5;
const ACCEPTED: i64 = 1 << 6;
const LATE_END: i64 = 1 << 7;
const ENDED_BY_SHIFT: i64 = 8;
const HOOK_RETRIES_SHIFT: i64 = 12;
const LATE_NEWS: i64 = 1 << 16;

const ENDED_BY: [EndedBy; 7] = [
    EndedBy::Answer,
    EndedBy::Callback,
    EndedBy::Signal,
    EndedBy::Poll,
    EndedBy::Deadline,
    EndedBy::Cancellation,
    EndedBy::Failure,
];

/// The integer that holds a task's small facts.
pub(super) fn write_flags(task: &Task, hook_retries: u32) -> i64 {
    let policy = &task.policy;
    let then = match policy.then {
        Then::Finish => 0,
        Then::Wait => 1,
        Then::Poll(_) => 2,
    };
    let ended_by = match task.state {
        State::Done { by, .. } => ENDED_BY.iter().zip(0..).find(|(known, _)| **known == by).map_or(0, |(_, code)| code),
        _ => 0,
    };
    let bit = |set: bool, bit: i64| if set { bit } else { 0 };
    then | ended_by << ENDED_BY_SHIFT
        | i64::from(hook_retries) << HOOK_RETRIES_SHIFT
        | bit(policy.backoff == Backoff::Linear, LINEAR)
        | bit(policy.callback, CALLBACK)
        | bit(policy.signal, SIGNAL)
        | bit(policy.completion, COMPLETION)
        | bit(task.accepted, ACCEPTED)
        | bit(task.late == Late::End, LATE_END)
        | bit(task.late == Late::News, LATE_NEWS)
}

/// The integer of small facts, and how the task is polled if it is.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    flags: i64,
    poll: Option<PollPolicy>,
}

impl Facts {
    pub fn new(flags: i64, poll: Option<PollPolicy>) -> Self {
        Self { flags, poll }
    }

    fn has(self, bit: i64) -> bool {
        self.flags & bit != 0
    }

    pub fn policy(self, max_retries: u32, max_wait_ms: i64) -> Policy {
        Policy {
            max_retries,
            max_wait_ms,
            backoff: if self.has(LINEAR) { Backoff::Linear } else { Backoff::Exponential },
            then: match self.flags & THEN {
                0 => Then::Finish,
                1 => Then::Wait,
                _ => self.poll.map_or(Then::Wait, Then::Poll),
            },
            callback: self.has(CALLBACK),
            signal: self.has(SIGNAL),
            completion: self.has(COMPLETION),
        }
    }

    pub fn state(self, status: i64, at: Timestamp) -> State {
        match status_of(status) {
            Status::Pending => State::Pending { since: at },
            Status::Delayed => State::Delayed { due_at: at },
            Status::Processing => State::Processing { lease_until: at },
            Status::Waiting => State::Waiting { deadline: at },
            Status::Polling => State::Polling { deadline: at },
            status => State::Done { status, by: self.ended_by(), at },
        }
    }

    pub fn accepted(self) -> bool {
        self.has(ACCEPTED)
    }

    pub fn late(self) -> Late {
        match (self.has(LATE_END), self.has(LATE_NEWS)) {
            (true, _) => Late::End,
            (false, true) => Late::News,
            (false, false) => Late::None,
        }
    }

    /// Attempts to deliver the completion webhook beyond the first, 0 to 10.
    pub fn hook_retries(self) -> u32 {
        u32::try_from(self.flags >> HOOK_RETRIES_SHIFT & 15).unwrap_or_default()
    }

    fn ended_by(self) -> EndedBy {
        let index = usize::try_from(self.flags >> ENDED_BY_SHIFT & 7).unwrap_or_default();
        ENDED_BY.get(index).copied().unwrap_or(EndedBy::Failure)
    }
}
