//! How it goes: the last hour in charts, and what does not get on.

use maud::{Markup, html};

use super::chart::{self, Chart, Series};
use super::frame::{self, Reader, Section};
use super::task::host_and_path;
use super::{reasons, tasks, words};
use crate::stats::{Calls, Latencies, MINUTES, Minute, Names, Team};
use crate::store::Counts;
use crate::store::browse::{Stuck, Summary, waiting_since};
use crate::store::postgres::NodeState;
use crate::task::{State, Status, Timestamp};

/// What the page is made of.
pub struct Overview<'a> {
    /// How the last hour went.
    pub stats: &'a Team,
    /// Since when is counted.
    pub started: Timestamp,
    /// How many tasks are in each status.
    pub counts: &'a Counts,
    /// What does not get on.
    pub stuck: &'a Stuck,
    /// The newest tasks of the last hour that failed.
    pub failed: &'a [Summary],
    /// When it is looked at.
    pub now: Timestamp,
    /// Who looks.
    pub reader: &'a Reader,
    /// The first task as a command, for who has none.
    pub first: &'a str,
    /// What runs the tasks: name, version, store.
    pub node: [&'a str; 3],
    /// All nodes, where several share the store.
    pub nodes: &'a [NodeState],
}

impl Overview<'_> {
    /// The page.
    pub fn draw(&self) -> Markup {
        let total: u64 = self.counts.values().sum();
        let content = html! {
            div data-live-url="/live" {}
            div.head {
                div { h1 { "Overview" } p { "Team " (self.reader.team.1) ", the last hour" } }
                div.actions { (frame::live_sign()) }
            }
            div.stack data-live id="overview" {
                @if total == 0 { section.panel { (tasks::first_task(self.first)) } }
                (self.tiles())
                div.grid {
                    div.half { (self.throughput()) }
                    div.half { (self.depth()) }
                    div.half { (self.latency()) }
                    div.half { (self.failures()) }
                    div { (reasons::panel(self.failed)) }
                    div { (self.stuck()) }
                    div.half { (calls("Hosts", "Calls to targets", "Host", &self.stats.hosts, self.minute(), "host")) }
                    div.half { (calls("Webhook receivers", "Completion webhooks", "Receiver", &self.stats.receivers, self.minute(), "")) }
                    div { (self.nodes()) }
                }
            }
        };
        frame::page("Overview", Section::Overview, self.reader, content)
    }

    fn minute(&self) -> i64 {
        self.now.0.div_euclid(60_000)
    }

    fn hour(&self) -> impl Iterator<Item = &Minute> {
        self.stats.minutes.recent(self.minute())
    }

    fn count(&self, statuses: &[Status]) -> u64 {
        statuses.iter().filter_map(|status| self.counts.get(status)).sum()
    }

    fn tiles(&self) -> Markup {
        let sum = |pick: fn(&Minute) -> u32| self.hour().map(|minute| u64::from(pick(minute))).sum::<u64>();
        let (completed, failed) = (sum(|minute| minute.completed), sum(|minute| minute.failed + minute.timeout));
        let latencies = self.latencies();
        let median = latencies.percentile(50).map_or_else(|| "–".to_owned(), words::duration);
        html! {
            div.tiles {
                (tile("Created", &words::count(sum(|minute| minute.created)), "/tasks", "in the last hour"))
                (tile("Completed", &words::count(completed), "/tasks?status=completed", "in the last hour"))
                (tile("Failed or timed out", &words::count(failed), "/tasks?status=failed", &format!("{} of what ended", words::percent(failed, completed + failed))))
                (tile("Median time", &median, "/tasks?status=completed", "from creation to result"))
                (tile("Due", &words::count(self.count(&[Status::Pending, Status::Delayed])), "/tasks?status=pending", "now or later"))
                (tile("Being called", &words::count(self.count(&[Status::Processing])), "/tasks?status=processing", "now"))
                (tile("Waiting", &words::count(self.count(&[Status::Waiting, Status::Polling])), "/tasks?status=waiting", "to be told, or polled"))
            }
        }
    }

    fn latencies(&self) -> Latencies {
        self.hour().fold(Latencies::default(), |mut sum, minute| {
            sum.merge(&minute.latencies);
            sum
        })
    }

    /// One value for each minute of the hour, the oldest first; none before the counting began.
    fn values(&self, pick: impl Fn(Option<&Minute>) -> Option<f64>) -> Vec<Option<f64>> {
        let now = self.minute();
        let first = self.stats.since.unwrap_or(self.started).0.div_euclid(60_000);
        let value = |minute: i64| if minute < first { None } else { pick(self.stats.minutes.get(minute)) };
        (now - MINUTES + 1..=now).map(value).collect()
    }

    fn counted(&self, pick: fn(&Minute) -> u32) -> Vec<Option<f64>> {
        self.values(|minute| Some(minute.map_or(0.0, |minute| f64::from(pick(minute)))))
    }

    fn ends(&self) -> [String; 3] {
        [MINUTES - 1, MINUTES / 2, 0].map(|back| words::hour_and_minute(self.now.plus_millis(-back * 60_000)))
    }

    fn steps(&self, say: impl Fn(&Minute) -> String) -> Vec<String> {
        let now = self.minute();
        let said = |minute: i64| {
            let what = self.stats.minutes.get(minute).map_or_else(|| "nothing".to_owned(), &say);
            format!("{} UTC: {what}", words::hour_and_minute(Timestamp(minute * 60_000)))
        };
        (now - MINUTES + 1..=now).map(said).collect()
    }

    fn throughput(&self) -> Markup {
        let chart = Chart {
            summary: format!(
                "Tasks that ended in each minute of the last hour, {} at most",
                self.most(|minute| minute.completed)
            ),
            series: vec![Series { name: "Completed", class: "t-ok", values: self.counted(|minute| minute.completed) }],
            ends: self.ends(),
            axis: words::short,
            steps: self.steps(|minute| format!("{} completed, {} created", minute.completed, minute.created)),
        };
        panel("Throughput", "Tasks completed per minute", &html! {}, &chart.columns())
    }

    fn most(&self, pick: fn(&Minute) -> u32) -> u32 {
        self.hour().map(pick).max().unwrap_or_default()
    }

    fn failures(&self) -> Markup {
        let chart = Chart {
            summary: format!(
                "Tasks that failed in each minute of the last hour, {} at most",
                self.most(|minute| minute.failed + minute.timeout)
            ),
            series: vec![
                Series { name: "Failed", class: "t-bad", values: self.counted(|minute| minute.failed) },
                Series { name: "Timed out", class: "t-late", values: self.counted(|minute| minute.timeout) },
                Series { name: "Cancelled", class: "t-idle", values: self.counted(|minute| minute.cancelled) },
            ],
            ends: self.ends(),
            axis: words::short,
            steps: self.steps(|minute| {
                format!("{} failed, {} timed out, {} cancelled", minute.failed, minute.timeout, minute.cancelled)
            }),
        };
        panel("Failures", "Tasks that ended without a result, per minute", &chart.legend(), &chart.columns())
    }

    fn latency(&self) -> Markup {
        let at = |percent: u64| self.values(move |minute| minute?.latencies.percentile(percent).map(float));
        let chart = Chart {
            summary: "How long completed tasks took, from creation to result".to_owned(),
            series: vec![
                Series { name: "Median", class: "t-busy", values: at(50) },
                Series { name: "95 % within", class: "t-wait", values: at(95) },
            ],
            ends: self.ends(),
            axis: |millis| if millis <= 0.0 { "0".to_owned() } else { short_time(millis) },
            steps: self.steps(|minute| match (minute.latencies.percentile(50), minute.latencies.percentile(95)) {
                (Some(half), Some(most)) => {
                    format!("median {}, 95 % within {}", words::duration(half), words::duration(most))
                }
                _ => "none completed".to_owned(),
            }),
        };
        panel("Time to result", "From creation to completion", &chart.legend(), &chart.lines())
    }

    fn depth(&self) -> Markup {
        let of = |place: usize| {
            self.values(move |minute| minute?.depth.map(|depth| float(i64::try_from(depth[place]).unwrap_or(i64::MAX))))
        };
        let chart = Chart {
            summary: "How many tasks were due, being called and waiting over the last hour".to_owned(),
            series: vec![
                Series { name: "Due or delayed", class: "t-late", values: of(0) },
                Series { name: "Being called", class: "t-busy", values: of(1) },
                Series { name: "Waiting or polled", class: "t-wait", values: of(2) },
            ],
            ends: self.ends(),
            axis: words::short,
            steps: self.steps(|minute| {
                minute.depth.map_or_else(
                    || "not measured".to_owned(),
                    |[due, called, waiting]| format!("{due} due or delayed, {called} being called, {waiting} waiting"),
                )
            }),
        };
        panel("Queue depth", "Tasks that have not ended", &chart.legend(), &chart.lines())
    }

    fn stuck(&self) -> Markup {
        let stuck = self.stuck;
        let due = stuck.due.as_ref().and_then(|found| match found.task.state {
            State::Pending { since } => Some((found, since)),
            _ => None,
        });
        let waiting = stuck.waiting.as_ref().and_then(|found| Some((found, waiting_since(&found.task)?)));
        html! {
            section.panel aria-labelledby="stuck" {
                header { h2 id="stuck" { "What does not get on" } }
                div.body { div.thirds {
                    div { h3 { "Due longest" } (self.longest(due, "Nothing is due.")) }
                    div {
                        h3 { "Waiting longest" }
                        (self.longest(waiting, "Nothing waits."))
                        @if !stuck.all_waiting { p.small.muted { "Of those whose time is up next." } }
                    }
                    div { h3 { "Webhooks not delivered" } (self.undelivered()) }
                } }
            }
        }
    }

    fn longest(&self, found: Option<(&Summary, Timestamp)>, nothing: &str) -> Markup {
        html! {
            @match found {
                Some((found, since)) => p.break {
                    b { (words::duration(self.now.millis_since(since))) } " "
                    a href={"/tasks/" (found.task.id)} { (host_and_path(&found.target_url)) }
                },
                None => p.muted { (nothing) },
            }
        }
    }

    fn undelivered(&self) -> Markup {
        let stuck = self.stuck;
        html! {
            @if stuck.undelivered.is_empty() { p.muted { "Every webhook has arrived or was given up." } }
            ul {
                @for found in &stuck.undelivered {
                    li.break {
                        a href={"/tasks/" (found.task.id)} { (host_and_path(&found.target_url)) } " "
                        @if let Some(delivery) = found.delivery { span.small.muted { (words::plural(u64::from(delivery.attempts), "attempt", "attempts")) } }
                    }
                }
            }
            @if !stuck.all_undelivered { p.small { a href="/tasks?webhook=pending" { "All that are pending" } } }
        }
    }

    fn nodes(&self) -> Markup {
        if !self.nodes.is_empty() {
            return self.many_nodes();
        }
        let [name, version, store] = self.node;
        html! {
            section.panel aria-labelledby="nodes" {
                header { h2 id="nodes" { "Nodes" } p { "Calls are counted since its start, tasks for the hour" } }
                div.scroll { table.cards {
                    thead { tr { th { "Node" } th { "Version" } th { "Store" } th { "Up" } } }
                    tbody { tr {
                        td { span.status.t-ok { (name) } }
                        td data-label="Version" { (version) }
                        td data-label="Store" { (store) }
                        td data-label="Up" { (words::duration(self.now.millis_since(self.started))) }
                    } }
                } }
            }
        }
    }
}

impl Overview<'_> {
    fn many_nodes(&self) -> Markup {
        let [here, ..] = self.node;
        html! {
            section.panel aria-labelledby="nodes" {
                header { h2 id="nodes" { "Nodes" } p { "The charts show what the one at " (here) " did since its start, and all of them before" } }
                div.scroll { table.cards {
                    thead { tr { th { "Node" } th { "Roles" } th { "Calls" } th { "Version" } th { "Heard" } th { "Up" } } }
                    tbody { @for node in self.nodes { tr {
                        td {
                            @if node.alive { span.status.t-ok { (node.name) } }
                            @else { span.status.t-bad { (node.name) " is gone" } }
                        }
                        td data-label="Roles" { (node.roles.replace(',', ", ")) }
                        td data-label="Calls" { (node.calls) }
                        td data-label="Version" { (node.version) }
                        td data-label="Heard" { (words::ago(node.seen_at, self.now)) }
                        td data-label="Up" { (words::duration(self.now.millis_since(node.started_at))) }
                    } } }
                } }
            }
        }
    }
}

fn tile(label: &str, value: &str, href: &str, note: &str) -> Markup {
    html! { a.tile href=(href) { span.label { (label) } span.value { (value) } " " span.note { (note) } } }
}

fn panel(title: &str, about: &str, legend: &Markup, chart: &Markup) -> Markup {
    html! {
        section.panel aria-label=(title) {
            header { div { h2 { (title) } p { (about) } } (legend) }
            div.body { (chart) }
        }
    }
}

/// A table of calls by name, the worst first.
pub fn calls(title: &str, about: &str, column: &str, names: &Names, minute: i64, filter: &str) -> Markup {
    let sums = names.iter().map(|(name, ring)| (name, Calls::sum(ring.recent(minute))));
    let mut rows: Vec<_> = sums.filter(|(_, sum)| sum.made > 0).collect();
    rows.sort_by(|(one, a), (other, b)| (b.failed, b.made, one).cmp(&(a.failed, a.made, other)));
    html! {
        section.panel aria-label=(title) {
            header { div { h2 { (title) } p { (about) " in the last hour, most failures first" } } }
            @if rows.is_empty() { div.body { p.muted { "None in the last hour." } } }
            @else { div.scroll { table.cards {
                thead { tr { th { (column) } th.num { "Calls" } th.num { "Failed" } th { span.sr { "Share" } } th.num { "Median" } } }
                tbody {
                    @for (name, sum) in rows.iter().take(12) { tr {
                        td.line.break { @if filter.is_empty() { (name) } @else { a href=(by(filter, name)) { (name) } } }
                        td.num data-label="Calls" { (words::count(u64::from(sum.made))) }
                        td.num data-label="Failed" { span class=[(sum.failed > 0).then_some("t-bad")] { (words::percent(u64::from(sum.failed), u64::from(sum.made))) } }
                        td.share { (chart::meter(u64::from(sum.failed), u64::from(sum.made), "t-bad")) }
                        td.num.nowrap data-label="Median" { (sum.latencies.percentile(50).map_or_else(String::new, words::duration)) }
                    } }
                }
            } } }
        }
    }
}

fn by(filter: &str, name: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(filter, name).finish();
    format!("/tasks?{query}")
}

#[expect(clippy::cast_precision_loss, reason = "what is charted is far from the limits of a double")]
fn float(value: i64) -> f64 {
    value as f64
}

/// A time in few characters, for an axis.
fn short_time(millis: f64) -> String {
    match millis {
        ms if ms < 1000.0 => format!("{ms:.0}ms"),
        ms if ms < 60_000.0 => format!("{:.0}s", ms / 1000.0),
        ms if ms < 3_600_000.0 => format!("{:.0}m", ms / 60_000.0),
        ms => format!("{:.0}h", ms / 3_600_000.0),
    }
}
