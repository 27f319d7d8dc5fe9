//! I5, I6, I7, I10 and the completion webhook: what the service may send, how often, and how.

use std::collections::HashSet;

use serde_json::Value;

use super::facts::{Facts, is_final};
use super::{Found, TaskRead, Violation, violation};
use crate::harness::signature;
use crate::harness::target::{Call, Hook};
use crate::harness::time::parse_ms;
use crate::ledger::{By, Create, Verdict};

/// What two clock readings in milliseconds may differ by.
const SLACK: i64 = 5;

/// I5: nothing reaches the target after a cancellation was acknowledged.
pub fn no_call_after_a_cancellation(facts: &Facts) -> Found {
    let cancelled = facts.acts.iter().filter(|act| act.by == By::Cancel && act.verdict == Verdict::Acknowledged);
    let late = cancelled.flat_map(|act| {
        let calls = facts.calls_of(&act.task).iter().filter(|call| call.at > act.answered);
        calls.map(|call| violation("I5", &act.task, format!("called {} ms after", call.at - act.answered)))
    });
    late.collect()
}

/// I6: at most `maxRetries + 1` attempts, and no attempt twice.
pub fn attempts_are_bounded(facts: &Facts) -> Found {
    let tell = |(_, read): (&Create, &TaskRead)| -> Option<Violation> {
        let calls = facts.calls_of(&read.id);
        let limit = read.first["maxRetries"].as_u64()? + 1;
        let numbers: HashSet<u32> = calls.iter().map(|call| call.attempt).collect();
        let highest = u64::from(numbers.iter().max().copied().unwrap_or(0));
        let repeated = numbers.len() < calls.len() || numbers.contains(&0);
        let all: Vec<u32> = calls.iter().map(|call| call.attempt).collect();
        (repeated || highest > limit).then(|| violation("I6", &read.id, format!("attempts {all:?}, {limit} allowed")))
    };
    facts.made().into_iter().filter_map(tell).collect()
}

/// I7: no attempt before `delayUntil`, or before its backoff is over.
pub fn no_attempt_is_early(facts: &Facts) -> Found {
    if facts.seen.clock_was_set {
        return Vec::new();
    }
    facts.made().into_iter().flat_map(|(_, read)| early_attempts(facts, read)).collect()
}

fn early_attempts(facts: &Facts, read: &TaskRead) -> Found {
    let mut calls = facts.calls_of(&read.id).to_vec();
    calls.sort_by_key(|call| call.attempt);
    let due = read.first["delayUntil"].as_str().and_then(parse_ms).unwrap_or(0);
    let before_due = calls.iter().filter(|call| call.at + SLACK < due);
    let before_due = before_due.map(|call| violation("I7", &read.id, format!("called {} ms too early", due - call.at)));
    let pairs = calls.windows(2).filter_map(|pair| backoff_kept(facts, read, pair[0], pair[1]));
    before_due.chain(pairs).collect()
}

fn backoff_kept(facts: &Facts, read: &TaskRead, failed: &Call, next: &Call) -> Option<Violation> {
    let answered = failed.answered?;
    // An attempt that was lost with the server is tried again at once. It may have been lost before it arrived, and what a node
    // that was frozen had begun arrives even after the next.
    let since = failed.at.min(next.at) - facts.seen.lateness / 10;
    if facts.was_down_between(since, next.at) || next.attempt != failed.attempt + 1 {
        return None;
    }
    let linear = read.first["retryBackoff"] == "linear";
    let seconds = if linear { i64::from(failed.attempt) } else { 1 << (failed.attempt - 1) };
    let early = answered + seconds * 1000 - next.at;
    (early > SLACK).then(|| violation("I7", &read.id, format!("attempt {} {early} ms too early", next.attempt)))
}

/// I10: what the target gets is what was given, under the team's signature.
pub fn calls_arrive_whole(facts: &Facts) -> Found {
    let made = facts.made().into_iter();
    made.flat_map(|(create, read)| facts.calls_of(&read.id).iter().flat_map(|call| damage(facts, create, call)))
        .collect()
}

fn damage(facts: &Facts, create: &Create, call: &Call) -> Found {
    let sent = create.request["body"].as_str().unwrap_or("");
    let got = String::from_utf8_lossy(&call.body);
    let same = match sent.split_once("{asyncqueue_callback_url}") {
        Some((before, after)) => {
            got.starts_with(before) && got.ends_with(after) && got.len() > sent.len() && !got.contains("{asyncqueue_")
        }
        None => got == sent,
    };
    let body = (!same).then(|| violation("I10", &call.task, format!("`{sent}` arrived as `{got}`")));
    let signed = signature::ours(&facts.seen.secrets[create.team], &call.signature, &call.body);
    let signature = (!signed).then(|| violation("I10", &call.task, format!("signature {}", call.signature)));
    body.into_iter().chain(signature).collect()
}

/// I10: what the webhook says is what the task says, under both signatures.
pub fn webhooks_arrive_whole(facts: &Facts) -> Found {
    let unknown = facts.seen.hooks.iter().filter(|hook| facts.read(&hook.task).is_none());
    let unknown = unknown.map(|hook| violation("I10", &hook.task, "a webhook for a task that is not there"));
    let made = facts.made().into_iter();
    let wrong = made.flat_map(|(create, read)| {
        let hooks = facts.hooks_of(&read.id).iter();
        hooks.filter_map(|hook| wrong_hook(&facts.seen.secrets[create.team], read, hook))
    });
    unknown.chain(wrong).collect()
}

fn wrong_hook(secret: &str, read: &TaskRead, hook: &Hook) -> Option<Violation> {
    let said: Value = serde_json::from_slice(&hook.body).unwrap_or_default();
    let fields = ["id", "status", "result", "error", "retryCount", "createdAt", "completedAt", "metadata"];
    let other = fields.iter().find(|field| said["task"][**field] != read.first[**field]);
    let event = format!("task.{}", read.first["status"].as_str().unwrap_or(""));
    let [id, time, standard] = &hook.standard;
    let what = if let Some(field) = other {
        format!("webhook has {field} {}, the task {}", said["task"][*field], read.first[*field])
    } else if hook.event != event {
        format!("webhook says {}, the task is {event}", hook.event)
    } else if !signature::ours(secret, &hook.signature, &hook.body) {
        format!("webhook signature {}", hook.signature)
    } else if !signature::standard(secret, id, time, standard, &hook.body) {
        format!("Standard Webhooks signature {standard}")
    } else {
        return None;
    };
    Some(violation("I10", &hook.task, what))
}

/// W: a task that ended otherwise than by cancellation is told of, once for each life of the server at most.
pub fn webhooks_arrive_when_due(facts: &Facts) -> Found {
    facts.made().into_iter().filter_map(|(_, read)| wrong_number_of_hooks(facts, read)).collect()
}

fn wrong_number_of_hooks(facts: &Facts, read: &TaskRead) -> Option<Violation> {
    let task = &read.first;
    let due = is_final(task) && task["status"] != "cancelled" && task["onCompleteUrl"].is_string();
    let all = facts.hooks_of(&read.id).len();
    let delivered = facts.hooks_of(&read.id).iter().filter(|hook| hook.status == 200).count();
    let right = if due { (1..=1 + facts.downtimes.len()).contains(&delivered) } else { all == 0 };
    (!right)
        .then(|| violation("W", &read.id, format!("{} with {delivered} of {all} webhooks delivered", task["status"])))
}
