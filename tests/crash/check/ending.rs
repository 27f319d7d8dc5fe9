//! I2, I3, I4, I8 and I9: how a task may end, and when.

use serde_json::Value;

use super::facts::{Facts, is_final};
use super::{Found, TaskRead, Violation, violation};
use crate::harness::time::parse_ms;
use crate::ledger::{Act, By, Create, Kind, Verdict, compact};

/// What a clock's reading and a busy machine may differ by, in milliseconds.
const SLACK: i64 = 50;
/// How long after a start a deadline fires that passed meanwhile.
const GRACE: i64 = 60_000;

/// I2 (and I5's half that is stored): an acknowledged callback, signal or cancellation is how the task ended.
pub fn acknowledged_ends_hold(facts: &Facts) -> Found {
    let acknowledged = facts.acts.iter().filter(|act| act.verdict == Verdict::Acknowledged);
    acknowledged.flat_map(|act| holds(facts, act)).collect()
}

fn holds(facts: &Facts, act: &Act) -> Found {
    let answered = &act.answer["task"];
    let stored = facts.read(&act.task).map_or(&Value::Null, |read| &read.first);
    let looks = [("answered", answered), ("stored", stored)];
    let wrong = looks.into_iter().filter(|(_, task)| !is_end_of(act, task));
    wrong.map(|(place, task)| violation("I2", &act.task, told(act, place, task))).collect()
}

fn told(act: &Act, place: &str, task: &Value) -> String {
    let sent = &act.body;
    format!("acknowledged {:?} of {sent}, {place} as {} {} {}", act.by, task["status"], task["result"], task["error"])
}

/// Whether a task's state is what this act makes of it.
fn is_end_of(act: &Act, task: &Value) -> bool {
    let status = task["status"].as_str().unwrap_or("");
    match act.by {
        By::Cancel => status == "cancelled",
        By::Callback => status == "completed" && is_result(&task["result"], &compact(&act.body)),
        By::Signal => {
            let sent: Value = serde_json::from_str(&act.body).unwrap_or_default();
            let carried = sent["result"].is_null() || is_result(&task["result"], &sent["result"].to_string());
            // The answer to a signal, unlike the task itself, need not repeat the error.
            let error = sent["error"].is_null() || task.get("error").is_none_or(|error| *error == sent["error"]);
            status == sent["status"] && carried && error
        }
    }
}

fn is_result(result: &Value, body: &str) -> bool {
    result["body"] == body
        && result["statusCode"] == 200
        && result["duration"] == 0
        && result["headers"] == Value::Object(serde_json::Map::new())
}

/// I3: a credential is answered 200 at most once, and a task has at most one acknowledged end.
pub fn credentials_win_once(facts: &Facts) -> Found {
    let tasks = facts.acts.iter().map(|act| act.task.as_str());
    let tasks: std::collections::BTreeSet<&str> = tasks.collect();
    let wins = |task: &str| facts.acts_with(task, Verdict::Acknowledged).count();
    let tell = |task: &str| violation("I3", task, format!("{} acknowledged ends", wins(task)));
    tasks.into_iter().filter(|task| wins(task) > 1).map(tell).collect()
}

/// I3, the other way round: 404 only for a credential that was used, or whose wait ran out.
pub fn a_live_credential_is_not_denied(facts: &Facts) -> Found {
    let denied = facts.acts.iter().filter(|act| act.by != By::Cancel && act.status == 404);
    let unused = |act: &&&Act| {
        let same = facts.acts_of(&act.task).iter().filter(|other| other.credential == act.credential);
        !same.into_iter().any(|other| other.verdict != Verdict::Refused)
    };
    let timed_out = |act: &&&Act| facts.read(&act.task).is_some_and(|read| read.first["status"] == "timeout");
    let wrong = denied.filter(unused).filter(|act| !timed_out(act));
    wrong.map(|act| violation("I3", &act.task, format!("{:?} answered 404, and nothing had used it", act.by))).collect()
}

/// I2, the other way round: a task ended by something that was sent.
pub fn ends_are_explained(facts: &Facts) -> Found {
    let ended = facts.made().into_iter().filter(|(_, read)| is_final(&read.first));
    let unexplained = ended.filter(|(create, read)| !is_explained(facts, create, read));
    let tell = |(create, read): (&Create, &TaskRead)| {
        let task = &read.first;
        let end = format!("{} {} {}", task["status"], task["error"], task["result"]);
        violation("I2", &read.id, format!("{:?} ended for no reason that was sent: {end}", create.kind))
    };
    unexplained.map(tell).collect()
}

fn is_explained(facts: &Facts, create: &Create, read: &TaskRead) -> bool {
    let possible = facts.acts_of(&read.id).iter().filter(|act| act.verdict != Verdict::Refused);
    let by_client = possible.into_iter().any(|act| is_end_of(act, &read.first));
    by_client || ended_by_itself(facts, create, read)
}

/// Whether the service may have ended the task without a client's act.
fn ended_by_itself(facts: &Facts, create: &Create, read: &TaskRead) -> bool {
    let task = &read.first;
    let waits = matches!(create.kind, Kind::Callback | Kind::Signal | Kind::Short);
    match task["status"].as_str() {
        Some("completed") => !waits && facts.calls_of(&read.id).iter().any(|call| call.status == 200),
        // Attempts that were lost with the server use up the retries.
        Some("failed") => !waits && !facts.downtimes.is_empty() && task["retryCount"] == task["maxRetries"],
        Some("timeout") => waits,
        _ => false,
    }
}

/// I4: a final state reads the same again.
pub fn final_states_stay(facts: &Facts) -> Found {
    let changed = |read: &&TaskRead| {
        is_final(&read.first)
            && ["status", "result", "error", "completedAt"].iter().any(|at| read.first[at] != read.second[at])
    };
    let tell = |read: &TaskRead| violation("I4", &read.id, format!("{} became {}", read.first, read.second));
    facts.seen.tasks.iter().filter(changed).map(tell).collect()
}

/// I8: after the load nothing is left in the service's hands.
pub fn nothing_is_stuck(facts: &Facts) -> Found {
    facts.seen.tasks.iter().filter_map(|read| stuck(facts, read)).collect()
}

fn stuck(facts: &Facts, read: &TaskRead) -> Option<Violation> {
    let task = &read.second;
    let due = task["nextAttemptAt"].as_str().or(task["delayUntil"].as_str()).and_then(parse_ms);
    let overdue = due.is_none_or(|due| due + facts.seen.lateness < facts.seen.at);
    let stuck = match task["status"].as_str()? {
        "processing" | "pending" => true,
        "delayed" => overdue && !facts.seen.clock_was_set,
        _ => false,
    };
    stuck.then(|| violation("I8", &read.id, format!("still {}, due {due:?}", task["status"])))
}

/// I9: a wait ends when its time is over, not before and not much later.
pub fn waits_end_in_time(facts: &Facts) -> Found {
    if facts.seen.clock_was_set {
        return Vec::new();
    }
    facts.seen.tasks.iter().filter_map(|read| out_of_time(facts, read)).collect()
}

fn out_of_time(facts: &Facts, read: &TaskRead) -> Option<Violation> {
    let task = &read.first;
    let waiting_since = last_event(&read.events, "waiting")?;
    let deadline = waiting_since + milliseconds(&task["maxWaitTime"])?;
    let ended = match task["status"].as_str()? {
        "timeout" => parse_ms(task["completedAt"].as_str()?)?,
        "waiting" => facts.seen.at,
        _ => return None,
    };
    let latest = latest_end(facts, deadline);
    let early = task["status"] == "timeout" && ended + SLACK < earliest_end(facts, deadline);
    let tell = |how: &str| {
        let after = ended - waiting_since;
        violation(
            "I9",
            &read.id,
            format!("{how}: {} after {after} ms, limit {}", task["status"], latest - waiting_since),
        )
    };
    if early { Some(tell("early")) } else { (ended > latest + SLACK).then(|| tell("late")) }
}

/// A deadline that passed while the server was down, or just before, is put off until a while after it is ready.
fn latest_end(facts: &Facts, deadline: i64) -> i64 {
    let put_off = |latest: i64, (down, ready): &(i64, i64)| {
        let open = *down <= latest && deadline <= ready.saturating_add(500);
        if open { ready.saturating_add(GRACE + facts.seen.lateness) } else { latest }
    };
    facts.downtimes.iter().fold(deadline + facts.seen.lateness, put_off)
}

fn earliest_end(facts: &Facts, deadline: i64) -> i64 {
    let within = |(down, ready): &&(i64, i64)| down + 500 < deadline && deadline < ready - 500;
    facts.downtimes.iter().find(within).map_or(deadline, |(_, ready)| ready + GRACE - facts.seen.lateness / 2)
}

/// When the last event of a type happened.
fn last_event(events: &Value, kind: &str) -> Option<i64> {
    let of_kind = events.as_array()?.iter().rfind(|event| event["type"] == kind)?;
    parse_ms(of_kind["at"].as_str()?)
}

fn milliseconds(seconds: &Value) -> Option<i64> {
    let millis = std::time::Duration::try_from_secs_f64(seconds.as_f64()?).ok()?.as_millis();
    i64::try_from(millis).ok()
}
