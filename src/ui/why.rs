//! Why a task is where it is, in words for somebody who sees it for the first time: what happened, what it means, what
//! can be done.

use maud::{Markup, html};

use super::{quote, words};
use crate::store::browse::waiting_since;
use crate::store::{EventRecord, TaskRecord};
use crate::task::{DeliveryStatus, EndedBy, Entry, State, Status, Timestamp};

/// What a person has to know first.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// A tone class of the sheet.
    pub tone: &'static str,
    /// The fact.
    pub title: String,
    /// What it means, and what can be done; a sentence or two each.
    pub lines: Vec<String>,
}

impl Notice {
    /// The notice as markup, with what can be done about it.
    pub fn draw(&self, actions: Markup) -> Markup {
        html! {
            section class={"notice " (self.tone)} {
                h2 { (self.title) }
                @for line in &self.lines { p { (line) } }
                @if !actions.0.is_empty() { div.actions { (actions) } }
            }
        }
    }
}

/// Where the task stands, and why.
pub fn explain(record: &TaskRecord, events: &[EventRecord], now: Timestamp) -> Notice {
    match record.task.state {
        State::Done { status: Status::Completed, by, .. } => completed(record, by),
        State::Done { status: Status::Timeout, .. } => timed_out(record, events),
        State::Done { status: Status::Cancelled, .. } => cancelled(events),
        State::Done { by, .. } => failed(record, events, by),
        State::Waiting { deadline } | State::Polling { deadline } => waiting(record, events, deadline, now),
        State::Delayed { due_at } => delayed(record, events, due_at, now),
        State::Pending { since } => notice(
            "busy",
            format!("Due for {}", words::duration(now.millis_since(since))),
            vec![
                "It is in line for a worker. Teams take turns, and no host gets more than its share of calls at once."
                    .to_owned(),
            ],
        ),
        State::Processing { .. } => processing(record, now),
    }
}

fn notice(tone: &'static str, title: String, lines: Vec<String>) -> Notice {
    Notice { tone, title, lines }
}

fn took(record: &TaskRecord) -> String {
    let end = record.task.completed_at().unwrap_or(record.task.created_at);
    words::duration(end.millis_since(record.task.created_at))
}

fn completed(record: &TaskRecord, by: EndedBy) -> Notice {
    let by = match by {
        EndedBy::Callback => "by the provider's callback",
        EndedBy::Signal => "by a signal",
        EndedBy::Poll => "by a poll of the provider",
        _ => "by the target's answer",
    };
    let attempts = words::plural(u64::from(record.task.attempt), "attempt", "attempts");
    notice(
        "ok",
        format!("Completed {by} after {}", took(record)),
        vec![format!("It took {attempts} to call the target.")],
    )
}

/// How the error of a task begins that ended because nobody would say how its job goes.
const POLL_REFUSED: &str = "Poll refused";

fn failed(record: &TaskRecord, events: &[EventRecord], by: EndedBy) -> Notice {
    let error = record.task.error.clone().unwrap_or_else(|| "No reason was given".to_owned());
    let meaning = match by {
        EndedBy::Callback => {
            "The provider took the job and reported by its webhook that it failed. What it said is under Result."
                .to_owned()
        }
        EndedBy::Signal => "A signal said that the job failed; the reason is the signal's own.".to_owned(),
        EndedBy::Poll if error.starts_with(POLL_REFUSED) => {
            "Asked how the job goes, the provider refused to answer, several times in a row. The job itself may be running."
                .to_owned()
        }
        EndedBy::Poll => {
            "Asked how the job goes, the provider said that it failed, or could not be asked any more.".to_owned()
        }
        _ if error.starts_with("Target rejected") => rejected(record),
        _ => no_attempt_left(record, events),
    };
    let said = own_words(record, by).filter(|words| !error.contains(words));
    let lines = [Some(meaning), said.map(|words| format!("In its own words: “{words}”")), Some(advice(record))];
    notice("bad", error, lines.into_iter().flatten().collect())
}

/// What the target, or the provider, said about it.
fn own_words(record: &TaskRecord, by: EndedBy) -> Option<String> {
    let result = record.result.as_ref()?;
    let about_it = match by {
        EndedBy::Callback | EndedBy::Poll => true,
        EndedBy::Signal => false,
        // Before that it may have taken the job, with an answer that says so.
        _ => result.status_code >= 400,
    };
    about_it.then(|| quote::own_words(&result.body))?
}

fn rejected(record: &TaskRecord) -> String {
    let code = record.result.as_ref().map_or_else(String::new, |result| format!(" with {}", result.status_code));
    format!(
        "The target refused the request{code}. A refusal is final, so it was not tried again; its whole answer is under Result."
    )
}

fn no_attempt_left(record: &TaskRecord, events: &[EventRecord]) -> String {
    let attempts = u64::from(record.task.attempt);
    if attempts == 0 {
        return "The call was never made.".to_owned();
    }
    let said: Vec<String> = events.iter().filter_map(|event| outcome(&event.entry)).collect();
    let each = match said.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => format!("each time: {first}"),
        Some(_) => format!("in turn: {}", said.join("; ")),
        None => "without an answer".to_owned(),
    };
    let failed = match attempts {
        1 => "The only attempt failed".to_owned(),
        _ => format!("{attempts} attempts failed, {each}"),
    };
    format!("{failed}. {}, so it was given up after {}.", why_no_more(record), took(record))
}

fn why_no_more(record: &TaskRecord) -> String {
    let allowed = record.task.policy.max_retries;
    match allowed {
        0 => "No retry is allowed (maxRetries)".to_owned(),
        _ if record.task.retry_count < allowed => "Trying again would not help".to_owned(),
        _ => format!("{} allowed", words::plural(u64::from(allowed), "retry is", "retries are")),
    }
}

fn outcome(entry: &Entry) -> Option<String> {
    match entry {
        Entry::AttemptFinished { status_code: Some(code), error: Some(_), .. } => Some(format!("HTTP {code}")),
        Entry::AttemptFinished { error: Some(error), .. } => Some(error.clone()),
        _ => None,
    }
}

fn advice(record: &TaskRecord) -> String {
    let error = record.task.error.as_deref().unwrap_or_default();
    let said = |text: &str| error.contains(text);
    let advice = match error {
        _ if said("HTTP 401") || said("HTTP 403") => {
            "The key that was sent does not work there. Check the vault entry or the header, then retry."
        }
        _ if said("HTTP 404") && error.starts_with(POLL_REFUSED) => {
            "Check urlTemplate in pollConfig, and how long the provider remembers a job."
        }
        _ if said("HTTP 404") => "Check the path of the target URL.",
        _ if said("HTTP 429") => {
            "The target wants fewer calls. Add 429 to retryOn, so that it is tried again when the target says so."
        }
        _ if said("HTTP 400") || said("HTTP 422") => "Compare the request's body with what the target expects.",
        _ if said("Timeout") => "Raise timeout if the target needs longer, or let it answer at once and call back.",
        _ if said("Network error") => {
            "The target could not be reached: look at its name, its certificate and whether it is up."
        }
        _ if said("vault") || said("Token") => {
            "A secret that it needs was revoked. Make a new one and create the task again."
        }
        _ if said("Server error") => "The fault is on the target's side. Retry makes a new task with the same request.",
        _ => "Retry makes a new task with the same request.",
    };
    advice.to_owned()
}

fn timed_out(record: &TaskRecord, events: &[EventRecord]) -> Notice {
    let wait = words::duration(record.task.policy.max_wait_ms);
    let late = events.iter().any(|event| event.entry == Entry::CallbackLate);
    let polled = events.iter().any(|event| matches!(event.entry, Entry::Polling { .. }));
    let title = if polled {
        "Polling brought no result in time".to_owned()
    } else {
        format!("Nobody told the result within {wait}")
    };
    let taken = if polled {
        "The target took the job, and the provider never said that it is done."
    } else {
        "The target took the job, and no callback or signal came. Look whether the provider has the job, and whether it can reach the callback URL."
    };
    let mut lines = vec![taken.to_owned()];
    if late {
        lines.push("A callback came after the end. Its body is kept: see “Late callback” below.".to_owned());
    } else {
        lines.push(
            "If the job takes longer, raise maxWaitTime; Retry makes a new task with the same request.".to_owned(),
        );
    }
    notice("late", title, lines)
}

fn cancelled(events: &[EventRecord]) -> Notice {
    let called = events.iter().any(|event| matches!(event.entry, Entry::AttemptStarted { .. }));
    let line = if called {
        "The target had been called before; where its template says how, the provider was asked to stop the job."
    } else {
        "The target was never called."
    };
    notice("", "Cancelled by its owner".to_owned(), vec![line.to_owned()])
}

fn waiting(record: &TaskRecord, events: &[EventRecord], deadline: Timestamp, now: Timestamp) -> Notice {
    let since = waiting_since(&record.task).unwrap_or(record.task.created_at);
    let left = if deadline > now {
        format!("It times out in {}.", words::duration(deadline.millis_since(now)))
    } else {
        "Its time is over; it times out any moment.".to_owned()
    };
    let polling = record.task.status() == Status::Polling;
    let title = if polling { "Asking the provider" } else { "Waiting to be told" };
    let mut lines = vec![format!("{} {left}", whom(record, polling))];
    if let Some(last) = events.iter().rev().find_map(|event| news(event, now)) {
        lines.push(last);
    }
    if record.task.error.is_some() {
        lines.extend(record.task.error.clone());
    }
    notice("busy", format!("{title} for {}", words::duration(now.millis_since(since))), lines)
}

fn whom(record: &TaskRecord, polling: bool) -> String {
    let policy = &record.task.policy;
    let next = record.task.polling.next_at;
    match (polling, policy.callback, policy.signal) {
        (true, callback, _) => {
            let planned = if next.is_some() {
                "The provider is asked again and again how the job goes"
            } else {
                "No further poll is planned"
            };
            format!("{planned}{}.", if callback { ", and its webhook counts too" } else { "" })
        }
        (false, true, true) => "The target took the job; a callback or a signal ends the wait.".to_owned(),
        (false, true, false) => "The target took the job; the provider's callback ends the wait.".to_owned(),
        (false, false, _) => "The target took the job; a signal ends the wait.".to_owned(),
    }
}

fn news(event: &EventRecord, now: Timestamp) -> Option<String> {
    let ago = words::duration(now.millis_since(event.at));
    match &event.entry {
        Entry::PollFinished { word: Some(word), .. } => Some(format!("{ago} ago the provider said “{word}”.")),
        Entry::PollFinished { error: Some(error), .. } => Some(format!("The last poll, {ago} ago: {error}")),
        Entry::Progress => Some(format!("News of the job came {ago} ago; see Progress.")),
        Entry::CallbackReceived { error: Some(error) } => {
            Some(format!("A callback {ago} ago changed nothing: {error}"))
        }
        _ => None,
    }
}

fn delayed(record: &TaskRecord, events: &[EventRecord], due_at: Timestamp, now: Timestamp) -> Notice {
    let due = if due_at > now {
        format!("in {}", words::duration(due_at.millis_since(now)))
    } else {
        "any moment".to_owned()
    };
    if record.task.attempt == 0 {
        return notice(
            "busy",
            format!("Not before its time: the call is made {due}"),
            vec!["It was created with delayUntil.".to_owned()],
        );
    }
    let last = events.iter().rev().find_map(|event| outcome(&event.entry));
    let line = last.map_or_else(String::new, |last| format!("Attempt {} failed: {last}.", record.task.attempt));
    let left = record.task.policy.max_retries.saturating_sub(record.task.retry_count);
    let left = words::plural(u64::from(left) + 1, "attempt is", "attempts are");
    notice("late", format!("Attempt {} {due}", record.task.attempt + 1), vec![line, format!("{left} left.")])
}

fn processing(record: &TaskRecord, now: Timestamp) -> Notice {
    let since = record.task.started_at.unwrap_or(now);
    let limit = words::duration(record.request.timeout_ms);
    notice(
        "busy",
        format!("Attempt {} is under way for {}", record.task.attempt, words::duration(now.millis_since(since))),
        vec![format!("One attempt may take {limit}.")],
    )
}

/// What there is to say of the completion webhook, if it has not arrived.
pub fn undelivered(record: &TaskRecord, events: &[EventRecord], now: Timestamp) -> Option<Notice> {
    let delivery =
        record.delivery.filter(|delivery| delivery.status != DeliveryStatus::Delivered && delivery.attempts > 0)?;
    let last = events.iter().rev().find_map(|event| match &event.entry {
        Entry::WebhookAttempted { error: Some(error), .. } => Some(error.clone()),
        _ => None,
    });
    let attempts = words::plural(u64::from(delivery.attempts), "attempt", "attempts");
    let mut lines = vec![format!("{attempts} so far; the last one: {}.", last.as_deref().unwrap_or("no answer"))];
    lines.push(match delivery.next_attempt_at {
        Some(at) if at > now => format!("The next one is in {}.", words::duration(at.millis_since(now))),
        Some(_) => "The next one is due.".to_owned(),
        None => "No further attempt is planned. Once the receiver works again, send it once more.".to_owned(),
    });
    Some(notice("bad", "The completion webhook was not delivered".to_owned(), lines))
}

#[cfg(test)]
mod tests;
