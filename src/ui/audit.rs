//! Who did what, when and from where.

use maud::{Markup, html};

use super::frame::{self, Reader, Section};
use super::words;
use crate::store::{Actor, Line};
use crate::task::Timestamp;

/// The page; `next` is where the one after it begins.
pub fn page(lines: &[(i64, Line)], next: Option<i64>, now: Timestamp, reader: &Reader) -> Markup {
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
                        td.break { (who(&line.actor)) }
                        td { code { (line.action.name()) } }
                        td.break data-label="To what" { (line.subject) }
                        td.mono data-label="From" { @match line.address { Some(address) => (address), None => span.muted { "–" } } }
                    } } }
                } }
            }
            @if let Some(next) = next { div.foot { span {} a.button rel="next" href={"/audit?before=" (next)} { "Older" } } }
        }
    };
    frame::page("Audit log", Section::Audit, reader, content)
}

fn who(actor: &Actor) -> Markup {
    html! {
        @match actor {
            Actor::Account { email, .. } => (email),
            Actor::Key { prefix, .. } => { "key " code { (prefix) "…" } },
            Actor::Operator => "operator",
            Actor::Stranger => span.muted { "not let in" },
        }
    }
}
