//! AI providers: what the service knows of each, and how calls to them went in the last hour.

use maud::{Markup, html};

use super::chart;
use super::frame::{self, Reader, Section};
use super::words;
use crate::providers::{Confidence, Template};
use crate::stats::{Calls, Names, Team};

/// The page.
pub fn page(templates: &[&'static Template], stats: &Team, minute: i64, reader: &Reader) -> Markup {
    let mut rows: Vec<Row> = templates.iter().map(|template| Row::of(template, stats, minute)).collect();
    // Those in use first; the rest as the catalogue has them.
    rows.sort_by_key(|row| std::cmp::Reverse(row.calls.made));
    let about = html! {
        "What is known of each, as data: how a job is submitted, polled and called back. Name one in a task's " code { "provider" } "."
    };
    let content = html! {
        (frame::head("Providers", about, html! {}))
        section.panel aria-label="Providers" {
            div.scroll { table.cards {
                thead { tr {
                    th { "Provider" } th { "Calls back" } th { "Polled" } th.num { "Calls" } th.num { "Failed" } th { span.sr { "Share" } }
                    th.num { "Median" } th.num { "Polls" }
                } }
                tbody { @for row in &rows { (row.draw()) } }
            } }
        }
    };
    frame::page("Providers", Section::Providers, reader, content)
}

struct Row {
    template: &'static Template,
    calls: Calls,
    polls: Calls,
}

impl Row {
    fn of(template: &'static Template, stats: &Team, minute: i64) -> Self {
        let sum =
            |names: &Names| names.get(&template.id).map(|ring| Calls::sum(ring.recent(minute))).unwrap_or_default();
        Self { template, calls: sum(&stats.providers), polls: sum(&stats.polls) }
    }

    fn draw(&self) -> Markup {
        let Self { template, calls, polls } = self;
        let [made, failed] = [calls.made, calls.failed].map(u64::from);
        html! {
            tr {
                td.line {
                    a href={"/tasks?provider=" (template.id)} { b { (template.name) } } " " code { (template.id) }
                    @if template.confidence == Confidence::Inferred { " " span.chip { "inferred" } }
                    div.small.muted { (template.description) " " a href=(template.docs) rel="noopener noreferrer" { "Its documentation" } }
                }
                td data-label="Calls back" { (calls_back(template)) }
                td data-label="Polled" { @match template.poll() { Some(_) => "yes", None => span.muted { "no" } } }
                td.num data-label="Calls" { (words::count(made)) }
                td.num data-label="Failed" { @if failed > 0 { span.t-bad { (words::percent(failed, made)) } } @else { (words::count(0)) } }
                td.share { (chart::meter(failed, made, "t-bad")) }
                td.num.nowrap data-label="Median" { (calls.latencies.percentile(50).map_or_else(|| "–".to_owned(), words::duration)) }
                td.num data-label="Polls" {
                    (words::count(u64::from(polls.made)))
                    @if polls.failed > 0 { span.t-bad.small { ", " (polls.failed) " failed" } }
                }
            }
        }
    }
}

fn calls_back(template: &Template) -> Markup {
    html! {
        @if template.takes_callback_url() { "per job" }
        @else if template.is_account_level() { "per account" }
        @else { span.muted { "no" } }
    }
}
