//! Who did what, when and from where.

use maud::{Markup, html};

use super::frame::{self, Reader, Section};
use super::words;
use crate::store::{Action, Actor, ApiKey, Line};
use crate::task::{TaskId, Timestamp};

/// The page; `keys` are all that the team ever had, and `next` is where the page after it begins.
pub fn page(lines: &[(i64, Line)], keys: &[ApiKey], next: Option<i64>, now: Timestamp, reader: &Reader) -> Markup {
    let about = html! { "Who did what in " (reader.team.1) ", the newest first. It never holds a secret." };
    let content = html! {
        (frame::head("Audit log", about, html! {}))
        section.panel aria-label="Audit log" {
            @if lines.is_empty() {
                div.empty { h2 { "Nothing yet" } p { "Keys made, members invited, tasks cancelled by hand: it all shows up here." } }
            } @else {
                div.scroll { table.cards {
                    thead { tr { th { "When" } th { "Who" } th { "What" } th { "To what" } th { "From" } } }
                    tbody { @for (_, line) in lines { tr {
                        td.nowrap { (words::ago(line.at, now)) }
                        td.break { (who(&line.actor, keys)) }
                        td { code { (line.action.name()) } }
                        td.break data-label="To what" { (subject(line)) }
                        td.mono data-label="From" { @match line.address { Some(address) => (address), None => span.muted { "–" } } }
                    } } }
                } }
            }
            @if let Some(next) = next { div.foot { span {} a.button rel="next" href={"/audit?before=" (next)} { "Older" } } }
        }
    };
    frame::page("Audit log", Section::Audit, reader, content)
}

/// By the name that it had, since an id tells nobody what it was.
fn subject(line: &Line) -> Markup {
    let is_task = matches!(line.action, Action::CancelTask | Action::RetryTask | Action::ResendWebhook);
    html! {
        @if let Some(name) = &line.name { (name) " " span.small.muted.mono { (line.subject) } }
        @else if is_task && TaskId::parse(&line.subject).is_some() { a.mono href={"/tasks/" (line.subject)} { (line.subject) } }
        @else { (line.subject) }
    }
}

fn who(actor: &Actor, keys: &[ApiKey]) -> Markup {
    html! {
        @match actor {
            Actor::Account { email, .. } => (email),
            Actor::Key { uid, prefix } => {
                @match keys.iter().find(|key| key.uid == *uid) { Some(key) => { "key “" (key.name) "” " }, None => "key " }
                code.small { (prefix) "…" }
            },
            Actor::Operator => "operator",
            Actor::Stranger => span.muted { "not let in" },
        }
    }
}
