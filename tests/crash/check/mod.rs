//! The checker: what the journal says was acknowledged against what can be seen afterwards.
//!
//! It runs outside the service and shares no code with it. Every rule is a function from the facts to violations, and
//! `seeded` shows of each that it can find one.

mod ending;
mod facts;
mod sending;
mod storing;

#[cfg(test)]
mod seeded;

use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::harness::target::{Call, Hook};
use crate::ledger::Entry;
use facts::Facts;

/// A task as it was read twice, some time apart.
#[derive(Clone, Debug)]
pub struct TaskRead {
    pub team: usize,
    pub id: String,
    pub first: Value,
    pub second: Value,
    /// The event list, where it was asked for.
    pub events: Value,
    /// Whether the team's list has it.
    pub listed: bool,
}

/// Everything that was seen from outside after the load.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub at: i64,
    pub tasks: Vec<TaskRead>,
    pub calls: Vec<Call>,
    pub hooks: Vec<Hook>,
    pub secrets: Vec<String>,
    /// Statuses that one team's key got for another team's tasks.
    pub foreign: Vec<(String, u16)>,
    /// How late a deadline may be noticed, in milliseconds; and half of that, how late a start may be.
    pub lateness: i64,
    /// The service's clock was set meanwhile, so times of different clocks cannot be compared.
    pub clock_was_set: bool,
}

/// A broken promise.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub task: String,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} task {}: {}", self.rule, self.task, self.what)
    }
}

/// A rule's way to say what it found.
type Found = Vec<Violation>;

fn violation(rule: &'static str, task: &str, what: impl Into<String>) -> Violation {
    Violation { rule, task: task.to_owned(), what: what.into() }
}

const RULES: &[fn(&Facts) -> Found] = &[
    storing::acknowledged_creations_are_there,
    storing::nothing_is_there_that_was_refused,
    storing::teams_are_apart,
    ending::acknowledged_ends_hold,
    ending::credentials_win_once,
    ending::a_live_credential_is_not_denied,
    ending::ends_are_explained,
    ending::final_states_stay,
    ending::nothing_is_stuck,
    ending::waits_end_in_time,
    sending::no_call_after_a_cancellation,
    sending::attempts_are_bounded,
    sending::no_attempt_is_early,
    sending::calls_arrive_whole,
    sending::webhooks_arrive_whole,
    sending::webhooks_arrive_when_due,
];

/// All violations of I1 to I10 and I12, and of the webhook's promise (W).
pub fn check(entries: &[Entry], seen: &Observed) -> Vec<Violation> {
    let facts = Facts::new(entries, seen);
    RULES.iter().flat_map(|rule| rule(&facts)).collect()
}

/// I11: the database is sound. Only for a store that nothing serves.
pub fn integrity(database: &Path) -> Vec<Violation> {
    let said = rusqlite::Connection::open(database)
        .and_then(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)))
        .unwrap_or_else(|error| error.to_string());
    if said == "ok" { Vec::new() } else { vec![violation("I11", "-", said)] }
}

/// Prints every violation, and panics where there is one.
pub fn assert_none(violations: &[Violation]) {
    for violation in violations {
        println!("VIOLATION {violation}");
    }
    assert!(violations.is_empty(), "{} violations, printed above; the first: {}", violations.len(), violations[0]);
}
