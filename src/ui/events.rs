//! A task's history in words, line by line.

use maud::{Markup, html};

use super::{status, words};
use crate::store::EventRecord;
use crate::task::{Entry, Timestamp};

/// The list, oldest first, each with how long after the creation it was.
pub fn list(events: &[EventRecord]) -> Markup {
    let start = events.first().map_or(Timestamp(0), |event| event.at);
    html! {
        ol.events {
            @for event in events {
                li {
                    time.when datetime=(crate::wire::iso(event.at)) title=(words::clock(event.at)) {
                        "+" (words::duration(event.at.millis_since(start)))
                    }
                    span class={"dot " (class(&event.entry))} {}
                    div.what { (said(event)) }
                }
            }
        }
    }
}

fn class(entry: &Entry) -> &'static str {
    match entry {
        Entry::AttemptFinished { error, .. } | Entry::WebhookAttempted { error, .. } => {
            if error.is_some() {
                "t-bad"
            } else {
                "t-ok"
            }
        }
        Entry::CallbackReceived { error: Some(_) } | Entry::PollFinished { error: Some(_), .. } => "t-bad",
        Entry::Waiting { .. } => "t-wait",
        Entry::Polling { .. } | Entry::PollFinished { .. } => "t-poll",
        Entry::CallbackLate => "t-late",
        Entry::Ended { status, .. } => match status.name() {
            "completed" => "t-ok",
            "failed" => "t-bad",
            "timeout" => "t-late",
            _ => "t-idle",
        },
        Entry::AttemptStarted { .. } | Entry::CallbackReceived { .. } | Entry::SignalReceived => "t-busy",
        Entry::Created | Entry::Progress => "t-idle",
    }
}

fn said(event: &EventRecord) -> Markup {
    let after = |at: &Timestamp| words::duration(at.millis_since(event.at));
    match &event.entry {
        Entry::Created => html! { b { "Created" } },
        Entry::AttemptStarted { attempt } => html! { b { "Attempt " (attempt) } " begins" },
        Entry::AttemptFinished { attempt, status_code, error, duration_ms, next_attempt_at } => html! {
            b { "Attempt " (attempt) } " " (answered(*status_code, error.as_deref(), *duration_ms))
            @if let Some(next) = next_attempt_at { ". Next attempt in " (after(next)) }
        },
        Entry::Waiting { deadline } => {
            html! { b { "Waiting" } " for a callback or signal, " (after(deadline)) " at most" }
        }
        Entry::Polling { deadline } => html! { b { "Polling" } " begins, for " (after(deadline)) " at most" },
        Entry::PollFinished { poll, status_code, word, error, next_attempt_at, .. } => html! {
            b { "Poll " (poll) } " " (answered(*status_code, error.as_deref(), None))
            @if let Some(word) = word { ", the provider says “" (word) "”" }
            @if let Some(next) = next_attempt_at { ". Next poll in " (after(next)) }
        },
        Entry::CallbackReceived { error: None } => html! { b { "Callback" } " received" },
        Entry::CallbackReceived { error: Some(error) } => html! { b { "Callback" } " without effect: " (error) },
        Entry::CallbackLate => html! { b { "Late callback" } ", refused; its body is kept" },
        Entry::SignalReceived => html! { b { "Signal" } " received" },
        Entry::Progress => html! { b { "News" } " of the job" },
        Entry::Ended { status, error } => html! {
            (status::badge(*status))
            @if let Some(error) = error { div { (error) } }
        },
        Entry::WebhookAttempted { attempt, status_code, error, next_attempt_at } => html! {
            b { "Webhook " (attempt) } " " (answered(*status_code, error.as_deref(), None))
            @if let Some(next) = next_attempt_at { ". Next attempt in " (after(next)) }
        },
    }
}

fn answered(status_code: Option<u16>, error: Option<&str>, took: Option<i64>) -> Markup {
    let after = took.map_or_else(String::new, |took| format!(" after {}", words::duration(took)));
    html! {
        @match (status_code, error) {
            (Some(code), Some(error)) => { "answered " (status::code(code)) (after) @if !error.contains(&code.to_string()) { ", " (error) } }
            (Some(code), None) => { "answered " (status::code(code)) (after) }
            (None, Some(error)) => { "failed" (after) ": " (error) }
            (None, None) => { "ended without an answer" (after) }
        }
    }
}
