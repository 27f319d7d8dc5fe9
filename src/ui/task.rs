//! One task: why it is where it is, everything it went through, what it asked for and what came of it.

use maud::{Markup, html};

use super::frame::{self, Reader, Section};
use super::{curl, events, life, payload, status, why, words};
use crate::follow;
use crate::store::{EventRecord, TaskRecord};
use crate::task::{EndedBy, Entry, Payload, Request, State, Status, Then, Timestamp};

/// What the page is made of.
pub struct TaskPage<'a> {
    /// The task.
    pub record: &'a TaskRecord,
    /// Its history.
    pub events: &'a [EventRecord],
    /// When it is looked at.
    pub now: Timestamp,
    /// Who looks.
    pub reader: &'a Reader,
    /// The name of the task's team, where the reader looks at another.
    pub elsewhere: Option<&'a String>,
    /// Whether they may act.
    pub may_act: bool,
    /// What was just done.
    pub done: Option<&'a str>,
}

impl TaskPage<'_> {
    /// The page.
    pub fn draw(&self) -> Markup {
        let id = self.record.task.id.to_string();
        let content = html! {
            div data-live-url={"/live?task=" (id)} {}
            p.crumbs {
                a href="/tasks" { "Tasks" } " / "
                @if let Some(team) = self.elsewhere { "Team " (team) " / " }
                span.mono { (id) }
            }
            (self.head(&id))
            @if let Some(done) = self.done { div.notice.ok role="status" { p { (done) } } }
            div.stack data-live id="task" {
                (self.state(&id))
                (self.timeline())
                div.grid {
                    div.half.stack { (self.outcome(&id)) (self.details()) }
                    div.half.stack { (self.request()) }
                }
            }
        };
        frame::page(&format!("Task {}", &id[24..]), Section::Tasks, self.reader, content)
    }

    fn head(&self, id: &str) -> Markup {
        let request = &self.record.request;
        html! {
            div.head {
                div { h1.break { (request.method.name()) " " (host_and_path(&request.target_url)) } }
                div.actions { (frame::live_sign()) @if self.may_act { (self.actions(id)) } }
            }
        }
    }

    fn actions(&self, id: &str) -> Markup {
        let status = self.record.task.status();
        let can_cancel = !status.is_final() && status != Status::Processing;
        html! {
            @if can_cancel { (self.act(id, "cancel", "Cancel", "danger")) }
            @if status.is_final() { (self.act(id, "retry", "Retry", "primary")) }
            @if status.is_final() && self.record.delivery.is_some() { (self.act(id, "resend", "Resend webhook", "")) }
        }
    }

    fn act(&self, id: &str, act: &str, label: &str, class: &str) -> Markup {
        html! {
            form method="post" action={"/tasks/" (id) "/" (act)} {
                (frame::csrf(&self.reader.csrf))
                button class=(class) type="submit" { (label) }
            }
        }
    }

    fn state(&self, id: &str) -> Markup {
        let undelivered = why::undelivered(self.record, self.events, self.now);
        html! {
            div {
                p { span class={"status big s-" (self.record.task.status().name())} { (self.record.task.status().name()) } }
                (why::explain(self.record, self.events, self.now).draw(html! {}))
                @if let Some(notice) = undelivered {
                    (notice.draw(html! { @if self.may_act { (self.act(id, "resend", "Resend webhook", "")) } }))
                }
            }
        }
    }

    fn timeline(&self) -> Markup {
        let over = self.record.task.status().is_final();
        html! {
            section.panel aria-labelledby="timeline" {
                header { h2 id="timeline" { "What it went through" } p { "Times after its creation; lengths to scale" } }
                div.body.scroll-life tabindex="0" role="group" aria-label="Timeline" { (life::picture(self.events, over, self.now)) }
                div.body { (events::list(self.events)) }
            }
        }
    }

    fn request(&self) -> Markup {
        let request = &self.record.request;
        let id = self.record.task.id;
        html! {
            section.panel aria-labelledby="request" {
                header { h2 id="request" { "Request" } }
                div.body.stack {
                    p.break { b.mono { (request.method.name()) } " " span.mono { (request.target_url) } }
                    (headers(&request.headers))
                    @if let Some(body) = &request.body {
                        div { h3 { "Body" } (payload::body(body.as_bytes(), &format!("/tasks/{id}/request-body"))) }
                    }
                    details data-key="curl" { summary { "As a curl command" } (frame::paste(&curl::command(request))) }
                }
            }
        }
    }

    fn outcome(&self, id: &str) -> Markup {
        let record = self.record;
        let late = self.events.iter().find(|event| event.entry == Entry::CallbackLate);
        html! {
            section.panel aria-labelledby="result" {
                header { h2 id="result" { "Result" } @if self.is_of_the_call() { p { "What the target answered to the call; the end came otherwise" } } }
                div.body.stack {
                    @match &record.result {
                        Some(result) => (answer(result, &format!("/tasks/{id}/result"))),
                        None => p.muted { (no_result(record.task.status())) },
                    }
                }
            }
            @if let Some(progress) = &record.progress {
                section.panel aria-labelledby="progress" {
                    header { h2 id="progress" { "Progress" } p { "The latest news that came before the end" } }
                    div.body { (payload::body(&progress.body, &format!("/tasks/{id}/progress"))) }
                }
            }
            @if let Some(body) = late.and_then(|event| event.body.as_ref()) {
                section.panel aria-labelledby="late" {
                    header { h2 id="late" { "Late callback" } p { "It came after the end, and is no result" } }
                    div.body { (payload::body(body, &format!("/tasks/{id}/late-callback"))) }
                }
            }
        }
    }

    /// Whether what is kept is no result but the answer that took the job.
    fn is_of_the_call(&self) -> bool {
        let otherwise = matches!(
            self.record.task.state,
            State::Done { status: Status::Timeout | Status::Cancelled, .. } | State::Done { by: EndedBy::Signal, .. }
        );
        otherwise && self.record.result.as_ref().is_some_and(|result| result.duration_ms > 0)
    }

    fn details(&self) -> Markup {
        let TaskRecord { task, request, delivery, .. } = self.record;
        let policy = &task.policy;
        let retries = format!("{} of {} used", task.retry_count, policy.max_retries);
        html! {
            section.panel aria-labelledby="details" {
                header { h2 id="details" { "Details" } }
                dl.pairs.body {
                    dt { "Id" } dd.mono { (task.id) }
                    dt { "Created" } dd { (words::moment(task.created_at)) }
                    @if let Some(at) = task.completed_at() { dt { "Ended" } dd { (words::moment(at)) } }
                    @if let Some(provider) = &request.follow.provider { dt { "Provider" } dd { (provider_name(request, provider)) } }
                    dt { "Attempts" } dd { (task.attempt) " made, retries " (retries) }
                    dt { "Timeout" } dd { (words::duration(request.timeout_ms)) " for one attempt" }
                    @if policy.then != Then::Finish { dt { "Longest wait" } dd { (words::duration(policy.max_wait_ms)) } }
                    dt { "Priority" } dd { (task.priority) }
                    dt { "Ends by" } dd { (ends_by(self.record)) }
                    @if let Some(url) = &request.on_complete_url { dt { "Webhook" } dd { (status::webhook(*delivery)) " " span.mono { (url) } } }
                    @if let Some(before) = request.retry_of { dt { "Retry of" } dd { a.mono href={"/tasks/" (before)} { (before) } } }
                    @for (name, value) in &request.metadata { dt { (name) } dd { (value) } }
                    @for (name, value) in &request.follow.provider_params { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

fn provider_name(request: &Request, id: &str) -> Markup {
    let name = follow::template(&request.follow).map_or(id, |template| template.name.as_str());
    html! { a href={"/tasks?provider=" (id)} { (name) } }
}

fn ends_by(record: &TaskRecord) -> String {
    let policy = &record.task.policy;
    let ways = [
        (policy.callback, "callback"),
        (policy.signal, "signal"),
        (record.request.follow.poll_config.is_some(), "polling"),
    ];
    let ways: Vec<&str> = ways.into_iter().filter_map(|(is, way)| is.then_some(way)).collect();
    if ways.is_empty() { "the target's answer".to_owned() } else { ways.join(", ") }
}

fn no_result(status: Status) -> &'static str {
    match status {
        Status::Timeout => "Nothing came in time.",
        Status::Cancelled => "It was cancelled before there was one.",
        Status::Failed => "There was no answer to keep.",
        _ => "Not there yet.",
    }
}

fn answer(result: &Payload, download: &str) -> Markup {
    html! {
        p { (status::code(result.status_code)) @if result.duration_ms > 0 { span.muted { " in " (words::duration(result.duration_ms)) } } }
        (payload::body(&result.body, download))
        (headers(&result.headers))
    }
}

fn headers(headers: &[(String, String)]) -> Markup {
    html! {
        @if !headers.is_empty() {
            details data-key={"headers-" (headers.len())} {
                summary { (words::plural(headers.len() as u64, "header", "headers")) }
                dl.pairs {
                    @for (name, value) in headers { dt.mono { (name) } dd.mono { (masked(name, value)) } }
                }
            }
        }
    }
}

/// A header's value, unless it is a secret.
fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    if curl::is_secret(name, value) && !value.starts_with("tok_") { "•••••• (not shown)" } else { value }
}

/// The part of a URL by which people know it.
pub fn host_and_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    &rest[..end]
}
