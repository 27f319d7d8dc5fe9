//! Why tasks failed lately: the reasons, the most frequent first, each with a task to look at.

use maud::{Markup, html};

use super::task::host_and_path;
use super::words;
use crate::store::browse::Summary;

/// So many reasons are told apart.
const REASONS_MAX: usize = 6;

/// Tasks that failed at one host for one reason.
struct Reason<'a> {
    error: &'a str,
    host: &'a str,
    tasks: u64,
    newest: &'a Summary,
}

/// The panel, of tasks that failed; the newest come first.
pub fn panel(failed: &[Summary]) -> Markup {
    let reasons = told_apart(failed);
    html! {
        section.panel aria-labelledby="reasons" {
            header {
                h2 id="reasons" { "Why tasks failed" }
                @if !failed.is_empty() { p { "Of the last hour's tasks, the " (words::count(failed.len() as u64)) " newest that failed" } }
            }
            @if reasons.is_empty() { div.body { p.muted { "No task that was created in the last hour failed." } } }
            @else { div.scroll { table.cards {
                thead { tr { th { "Reason" } th { "Host" } th.num { "Tasks" } th { "The newest" } } }
                tbody { @for reason in reasons.iter().take(REASONS_MAX) { (row(reason)) } }
            } } }
            @if reasons.len() > REASONS_MAX { div.foot { a href="/tasks?status=failed" { "All that failed" } } }
        }
    }
}

fn row(reason: &Reason) -> Markup {
    let id = reason.newest.task.id.to_string();
    html! {
        tr {
            td.line.break { (reason.error) }
            td.break data-label="Host" { (reason.host) }
            td.num data-label="Tasks" { (words::count(reason.tasks)) }
            td.nowrap data-label="The newest" { a.mono href={"/tasks/" (id)} { (&id[..8]) "…" (&id[30..]) } }
        }
    }
}

fn told_apart(failed: &[Summary]) -> Vec<Reason<'_>> {
    let mut reasons: Vec<Reason> = Vec::new();
    for newest in failed {
        let error = newest.task.error.as_deref().unwrap_or("No reason was given");
        let host = host_and_path(&newest.target_url).split('/').next().unwrap_or_default();
        match reasons.iter_mut().find(|known| known.error == error && known.host == host) {
            Some(known) => known.tasks += 1,
            None => reasons.push(Reason { error, host, tasks: 1, newest }),
        }
    }
    // Of those as frequent as each other, the newest stays first.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.tasks));
    reasons
}
