//! The contract's transition table, written down once more, and `step` held to it over all pairs.
//!
//! The table is the specification in another spelling; it is not derived from the code. A cell says what becomes of
//! a task:
//!
//! - `P` pending, `D` delayed, `C` called (processing), `W` waiting, `O` polling,
//! - `+` completed, `F` failed, `T` timeout, `Z` cancelled,
//! - `=` something is written down, and the state stays,
//! - `-` stale: nothing happens; `x` refused, the caller learns the status (409); `g` refused as gone (404),
//! - `xk`, `gk` refused, and the callback's body is kept as a late one; `xn`, `gn` as late news.

use super::*;
use crate::task::{Backoff, Policy, PollPolicy, TaskId, TeamId};

/// Where a task can stand. Two attempts are allowed; deadlines and delays are over at [`NOW`].
const COLUMNS: &str =
    "new later  due delay spent call last proven wait poll | answer callb signal polled late cancel fail";

/// A task that waits for a callback or signal after its call.
const WAITS: &str = "
due                     -   P     -   P     -     -    -    -      -    -    | -      -     -      -      -    -      -
due, early              -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
claimed                 C   x     C   x     x     x    x    x      x    x    | x      x     x      x      x    x      x
returned                -   -     -   -     -     P    P    W      -    -    | -      -     -      -      -    -      -
accepted                -   -     -   -     -     W    W    W      -    -    | -      =     -      -      -    -      -
rejected                -   -     -   -     -     F    F    W      -    -    | -      =     -      -      -    -      -
retryable               -   -     -   -     -     D    F    W      -    -    | -      =     -      -      -    -      -
not sent                -   -     -   -     -     D    F    W      -    -    | -      =     -      -      -    -      -
unknown                 -   -     -   -     -     D    W    W      -    -    | -      =     -      -      -    -      -
too large               -   -     -   -     -     W    W    W      -    -    | -      =     -      -      -    -      -
forbidden               -   -     -   -     -     F    F    W      -    -    | -      =     -      -      -    -      -
interrupted             -   -     -   -     -     P    W    W      -    -    | -      -     -      -      -    -      -
returned, stale         -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
accepted, stale         -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
retryable, stale        -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
interrupted, stale      -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
callback done           x   x     +   +     +     +    +    +      +    +    | xk     gk    xk     xk     gk   xk     xk
callback done, waits    x   x     x   x     x     x    x    x      +    +    | xk     gk    xk     xk     gk   xk     xk
callback failed         x   x     F   F     F     F    F    F      F    F    | xk     gk    xk     xk     gk   xk     xk
callback failed, waits  x   x     x   x     x     x    x    x      F    F    | xk     gk    xk     xk     gk   xk     xk
callback interim        x   x     W   W     W     =    =    =      =    =    | xn     gn    xn     xn     gn   xn     xn
callback interim, waits x   x     x   x     x     x    x    x      =    =    | xn     gn    xn     xn     gn   xn     xn
signal completed        x   x     x   x     x     x    x    x      +    +    | x      x     g      x      g    x      x
signal with a result    x   x     x   x     x     x    x    x      +    +    | x      x     g      x      g    x      x
signal failed           x   x     x   x     x     x    x    x      F    F    | x      x     g      x      g    x      x
signal failed, result   x   x     x   x     x     x    x    x      F    F    | x      x     g      x      g    x      x
callback of another     -   -     -   -     -     -    -    -      =    =    | -      -     -      -      -    -      -
callback too large      -   -     -   -     -     -    -    -      =    =    | -      -     -      -      -    -      -
poll done               -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
poll failed             -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
poll pending            -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
poll refused            -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
poll later              -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
poll impossible         -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
poll done, stale        -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
cancel                  Z   Z     Z   Z     Z     x    x    x      Z    Z    | x      x     x      x      x    x      x
deadline                -   -     -   -     -     -    -    -      T    T    | -      -     -      -      -    -      -
deadline, early         -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
";

/// What a polling task does otherwise than a waiting one.
const POLLS: &str = "
accepted                -   -     -   -     -     O    O    O      -    -    | -      =     -      -      -    -      -
poll done               -   -     -   -     -     -    -    -      -    +    | -      -     -      -      -    -      -
poll failed             -   -     -   -     -     -    -    -      -    F    | -      -     -      -      -    -      -
poll pending            -   -     -   -     -     -    -    -      -    =    | -      -     -      -      -    -      -
poll refused            -   -     -   -     -     -    -    -      -    =    | -      -     -      -      -    -      -
poll later              -   -     -   -     -     -    -    -      -    =    | -      -     -      -      -    -      -
poll impossible         -   -     -   -     -     -    -    -      -    F    | -      -     -      -      -    -      -
";

/// What a plain task does otherwise: nobody holds a credential for it, and every answer but a retried one ends it.
/// It is never proven, waiting or polling; `step` is total all the same, and never calls again what is proven.
const PLAIN: &str = "
accepted                -   -     -   -     -     +    +    +      -    -    | -      =     -      -      -    -      -
rejected                -   -     -   -     -     +    +    +      -    -    | -      =     -      -      -    -      -
unknown                 -   -     -   -     -     D    F    W      -    -    | -      =     -      -      -    -      -
too large               -   -     -   -     -     F    F    W      -    -    | -      =     -      -      -    -      -
interrupted             -   -     -   -     -     P    F    W      -    -    | -      -     -      -      -    -      -
callback done           g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
callback done, waits    g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
callback failed         g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
callback failed, waits  g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
callback interim        g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
callback interim, waits g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
callback of another     -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
callback too large      -   -     -   -     -     -    -    -      -    -    | -      -     -      -      -    -      -
signal completed        g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
signal with a result    g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
signal failed           g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
signal failed, result   g   g     g   g     g     g    g    g      g    g    | g      g     g      g      g    g      g
";

/// The moment at which every event happens.
pub(super) const NOW: Timestamp = Timestamp(1_000_000);
const LONG_AGO: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(NOW.0 + 1);

/// How the polling tasks of the tests poll.
pub(super) const POLL: Then = Then::Poll(PollPolicy { every_ms: 5_000, for_ms: 90_000, eases: false });

pub(super) fn policy(then: Then) -> Policy {
    let told = then != Then::Finish;
    Policy {
        max_retries: 1,
        backoff: Backoff::Exponential,
        then,
        max_wait_ms: 60_000,
        callback: told,
        signal: told,
        completion: true,
    }
}

pub(super) fn new_task(policy: Policy) -> Task {
    Task::new(TaskId::from_parts(1, 2, 3), TeamId(1), 5, policy, None, LONG_AGO)
}

/// The task that a column speaks of; its own time is at or before `by`.
fn task_at(column: &str, policy: Policy, by: Timestamp) -> Task {
    let done = |status, by| State::Done { status, by, at: LONG_AGO };
    let (attempt, state) = match column {
        "new" => (0, State::Pending { since: LONG_AGO }),
        "later" => (0, State::Delayed { due_at: by }),
        "due" => (1, State::Pending { since: LONG_AGO }),
        "delay" => (1, State::Delayed { due_at: by }),
        "spent" => (2, State::Pending { since: LONG_AGO }),
        "call" | "proven" => (1, State::Processing { lease_until: LATER }),
        "last" => (2, State::Processing { lease_until: LATER }),
        "wait" => (1, State::Waiting { deadline: by }),
        "poll" => (1, State::Polling { deadline: by }),
        "answer" => (1, done(Status::Completed, EndedBy::Answer)),
        "callb" => (1, done(Status::Completed, EndedBy::Callback)),
        "signal" => (1, done(Status::Failed, EndedBy::Signal)),
        "polled" => (1, done(Status::Completed, EndedBy::Poll)),
        "late" => (1, done(Status::Timeout, EndedBy::Deadline)),
        "cancel" => (1, done(Status::Cancelled, EndedBy::Cancellation)),
        "fail" => (2, done(Status::Failed, EndedBy::Failure)),
        other => panic!("no such column: {other}"),
    };
    let retry_count = attempt.max(1) - 1;
    Task { attempt, retry_count, state, accepted: column == "proven", ..new_task(policy) }
}

pub(super) fn answer(name: &str) -> Answer {
    let error = "it went wrong".to_owned();
    match name {
        "accepted" => Answer::Accepted { status: 202, job: None },
        "rejected" => Answer::Rejected { status: 422, error },
        "retryable" => Answer::Retryable { status: 503, error, retry_after_ms: None },
        "not sent" => Answer::NotSent { error },
        "unknown" => Answer::Unknown { error },
        "too large" => Answer::TooLarge { status: 200, error },
        "forbidden" => Answer::Forbidden { error },
        other => panic!("no such answer: {other}"),
    }
}

fn event(row: &str, attempt: u32, started_at: Option<Timestamp>) -> Event {
    let (name, stale) = row.strip_suffix(", stale").map_or((row, false), |name| (name, true));
    let attempt = if stale { attempt + 1 } else { attempt };
    match name {
        "due" | "due, early" => Event::Due,
        "claimed" => Event::Claimed { lease_until: LATER },
        "returned" => Event::Returned { attempt, started_at },
        "interrupted" => Event::Interrupted { attempt },
        "cancel" => Event::Cancel,
        "deadline" | "deadline, early" => Event::DeadlinePassed,
        "callback of another" => Event::CallbackLeft(Left::OtherJob),
        "callback too large" => Event::CallbackLeft(Left::TooLarge { limit: 9 }),
        _ if name.starts_with("poll ") => poll_event(name, if stale { 2 } else { 1 }),
        _ if name.starts_with("callback ") => callback_event(name),
        _ if name.starts_with("signal ") => Event::Signal {
            error: name.contains("failed").then(|| "the app gave up".to_owned()),
            result: name.contains("result"),
        },
        _ => Event::Answered { attempt, answer: answer(name), duration_ms: 7 },
    }
}

/// The `poll`-th poll of a task.
pub(super) fn poll_event(name: &str, poll: u32) -> Event {
    let error = "the provider said no".to_owned();
    let verdict = match name {
        "poll done" => PollVerdict::Done,
        "poll failed" => PollVerdict::Failed { error },
        "poll pending" => PollVerdict::Pending,
        "poll refused" => PollVerdict::Refused { error },
        "poll later" => PollVerdict::Later { error, said: None, retry_after_ms: None },
        "poll impossible" => PollVerdict::Impossible { error },
        other => panic!("no such poll: {other}"),
    };
    Event::Polled { poll, verdict, status_code: Some(200), word: None, duration_ms: 3 }
}

fn callback_event(name: &str) -> Event {
    let (name, early) = match name.strip_suffix(", waits") {
        Some(name) => (name, EarlyCallbacks::Reject),
        None => (name, EarlyCallbacks::Accept),
    };
    let verdict = match name {
        "callback done" => CallbackVerdict::Done,
        "callback failed" => CallbackVerdict::Failed("the provider gave up".to_owned()),
        _ => CallbackVerdict::Interim,
    };
    Event::Callback { verdict, early }
}

/// What `step` does, as a cell of the table.
fn cell(task: &Task, event: &Event) -> &'static str {
    match step(task, event, NOW) {
        Ok(step) if step.task.state == task.state => "=",
        Ok(step) => match step.task.status() {
            Status::Pending => "P",
            Status::Delayed => "D",
            Status::Processing => "C",
            Status::Waiting => "W",
            Status::Polling => "O",
            Status::Completed => "+",
            Status::Failed => "F",
            Status::Timeout => "T",
            Status::Cancelled => "Z",
        },
        Err(refusal) => match (refusal.why, refusal.keep_late) {
            (Why::Stale, Late::None) => "-",
            (Why::Conflict, Late::None) => "x",
            (Why::Conflict, Late::End) => "xk",
            (Why::Conflict, Late::News) => "xn",
            (Why::Gone, Late::None) => "g",
            (Why::Gone, Late::End) => "gk",
            (Why::Gone, Late::News) => "gn",
            (Why::Stale, _) => "a stale event's body is never kept",
        },
    }
}

/// `(event, cells)` of each line; the event's name takes the first 24 characters.
fn lines(table: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let cells = |cells: &'static str| cells.split_whitespace().filter(|cell| *cell != "|").collect();
    table.lines().filter(|line| !line.is_empty()).map(move |line| (line[..24].trim(), cells(&line[24..])))
}

/// The table of one kind of task: the common one with its own lines in place of those of the same name.
fn table(then: Then) -> Vec<(&'static str, Vec<&'static str>)> {
    let own: Vec<_> = match then {
        Then::Finish => lines(PLAIN).collect(),
        Then::Wait => Vec::new(),
        Then::Poll(_) => lines(POLLS).collect(),
    };
    let of = |(name, cells)| own.iter().find(|(other, _)| *other == name).cloned().unwrap_or((name, cells));
    lines(WAITS).map(of).collect()
}

/// Calls `check` with every pair of state and event, and what the table says of it.
fn every_pair(check: impl Fn(&Task, &Event, &str, &str)) {
    let columns: Vec<_> = COLUMNS.split_whitespace().filter(|column| *column != "|").collect();
    for then in [Then::Finish, Then::Wait, POLL] {
        for (name, expected) in table(then) {
            assert_eq!(expected.len(), columns.len(), "{name}");
            for (column, expected) in columns.iter().zip(expected) {
                let by = if name.ends_with(", early") { LATER } else { NOW };
                let task = task_at(column, policy(then), by);
                let place = format!("{then:?} task, {column}, {name}");
                check(&task, &event(name, task.attempt, task.started_at), expected, &place);
            }
        }
    }
}

#[test]
fn every_pair_of_state_and_event_is_decided_as_the_table_says() {
    every_pair(|task, event, expected, place| assert_eq!(cell(task, event), expected, "{place}"));
}

#[test]
fn what_ends_a_task_says_so_once_and_tells_its_owner() {
    every_pair(|task, event, _, place| {
        let Ok(step) = step(task, event, NOW) else { return };
        let ended = step.task.status().is_final() && !task.status().is_final();
        let endings = step.log.iter().filter(|entry| matches!(entry, Entry::Ended { .. })).count();
        assert_eq!(endings, usize::from(ended), "{place}");
        assert_eq!(step.notify, ended && step.task.status() != Status::Cancelled, "{place}");
        assert!(matches!(step.log.last(), Some(Entry::Ended { .. })) || !ended, "{place}: {:?}", step.log);
    });
}

#[test]
fn a_refusal_names_the_status_that_stays() {
    every_pair(|task, event, _, place| {
        if let Err(refusal) = step(task, event, NOW) {
            assert_eq!(refusal.status, task.status(), "{place}");
        }
    });
}

#[test]
fn an_older_attempt_is_as_stale_as_an_unknown_one() {
    for then in [Then::Finish, Then::Wait, POLL] {
        let task = task_at("last", policy(then), NOW);
        for event in ["accepted", "interrupted", "returned"].map(|name| event(name, 1, Some(NOW))) {
            assert_eq!(cell(&task, &event), "-", "{event:?}");
        }
    }
}
