//! What is printed at the end: a table for people, one JSON object for programs, the targets in both.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::longpolls::LongPolls;
use crate::million::Million;
use crate::polls::Polls;
use crate::rows::Measured;
use crate::stats::{largest, median};

/// All findings of a run.
pub struct Report {
    machine: Value,
    /// The five rows, as far as they were asked for.
    pub rows: Vec<Row>,
    /// The large store.
    pub million: Option<Million>,
    /// The open long polls.
    pub long_polls: Option<LongPolls>,
    /// The polling tasks.
    pub polls: Option<Polls>,
}

/// One row, over all rounds.
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    rounds: Vec<Measured>,
    ratios: Vec<f64>,
}

impl Row {
    /// A row without a round.
    pub const fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new(), ratios: Vec::new() }
    }

    /// Adds a round and, where it is known already, its ratio to the yardstick of the same round.
    pub fn add(&mut self, measured: Measured, yardstick: Option<f64>) {
        self.rounds.push(measured);
        self.ratios.extend(yardstick.map(|yardstick| measured.throughput / yardstick));
    }

    /// Adds the last round's ratio if it is still missing.
    pub fn complete_ratio(&mut self, yardstick: f64) {
        if self.ratios.len() < self.rounds.len() {
            self.ratios.extend(self.rounds.last().map(|round| round.throughput / yardstick));
        }
    }

    fn median(&self, value: fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(value))
    }

    fn throughput(&self) -> f64 {
        self.median(|round| round.throughput)
    }

    fn p50_ms(&self) -> f64 {
        self.median(|round| round.p50_ms)
    }

    fn p99_ms(&self) -> f64 {
        self.median(|round| round.p99_ms)
    }

    fn cpu_us(&self) -> f64 {
        self.median(|round| round.cpu_us)
    }

    /// A peak is a peak: of all rounds, not their median.
    fn rss_mb(&self) -> f64 {
        largest(self.rounds.iter().map(|round| round.rss_mb))
    }

    /// The median of the rounds' ratios to their yardsticks, if the yardstick ran.
    fn ratio(&self) -> Option<f64> {
        (!self.ratios.is_empty()).then(|| median(self.ratios.iter().copied()))
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "throughput": rounded(self.throughput()),
            "p50Ms": rounded(self.p50_ms()),
            "p99Ms": rounded(self.p99_ms()),
            "cpuUsPerOp": rounded(self.cpu_us()),
            "rssMb": rounded(self.rss_mb()),
            "ratio": self.ratio().map(rounded),
        })
    }
}

/// A number that the service should reach.
struct Target {
    name: &'static str,
    value: f64,
    limit: f64,
    /// Whether more is better.
    at_least: bool,
}

impl Target {
    fn met(&self) -> bool {
        if self.at_least { self.value >= self.limit } else { self.value <= self.limit }
    }
}

impl Report {
    /// An empty one.
    pub const fn new(machine: Value) -> Self {
        Self { machine, rows: Vec::new(), million: None, long_polls: None, polls: None }
    }

    /// The object that `--json` prints.
    pub fn to_json(&self) -> Value {
        let targets: Map<String, Value> = self.targets().iter().map(target_to_json).collect();
        json!({
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "million": self.million.as_ref().map(Million::to_json),
            "longPolls": self.long_polls.as_ref().map(LongPolls::to_json),
            "polls": self.polls.as_ref().map(Polls::to_json),
            "machine": self.machine,
            "targets": targets,
        })
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        // The database's own benchmark runs where a database does: there, what is aimed at is another.
        let pgbench = self.row("pgbench");
        let [create, resolve, cycle] = if pgbench.is_some() { [0.25, 0.25, 0.05] } else { [0.5, 0.5, 0.12] };
        let ratios =
            [("createRatio", "create", create), ("resolveRatio", "resolve", resolve), ("cycleRatio", "cycle", cycle)];
        for (name, row, limit) in ratios {
            let value = self.row(row).and_then(Row::ratio);
            targets.extend(value.map(|value| Target { name, value, limit, at_least: true }));
        }
        if let Some(yardstick) = self.row("yardstick") {
            let limit = f64::max(20.0, 2.0 * yardstick.p99_ms());
            for (name, row) in [("createP99Ms", "create"), ("resolveP99Ms", "resolve")] {
                let value = self.row(row).map(Row::p99_ms);
                targets.extend(value.map(|value| Target { name, value, limit, at_least: false }));
            }
        }
        targets.extend(self.million.iter().flat_map(million_targets));
        if let (Some(ruled), Some(plain)) = (self.row("ruled"), self.row("resolve")) {
            let value = ruled.throughput() / plain.throughput();
            targets.push(Target { name: "ruledToResolve", value, limit: 0.9, at_least: true });
        }
        if let (Some(pgbench), Some(resolve)) = (pgbench, self.row("resolve")) {
            let value = resolve.throughput() / pgbench.throughput();
            targets.push(Target { name: "resolveToPgbench", value, limit: 3.0, at_least: true });
        }
        targets.extend(self.long_polls.iter().flat_map(long_poll_targets));
        targets.extend(self.polls.iter().flat_map(poll_targets));
        targets
    }
}

fn million_targets(million: &Million) -> [Target; 4] {
    [
        Target { name: "millionRssMb", value: million.rss_mb(), limit: 200.0, at_least: false },
        Target { name: "millionReadySeconds", value: million.ready_seconds(), limit: 2.0, at_least: false },
        Target { name: "millionCreateRatio", value: million.create_ratio(), limit: 0.8, at_least: true },
        Target { name: "millionResolveRatio", value: million.resolve_ratio(), limit: 0.8, at_least: true },
    ]
}

fn long_poll_targets(polls: &LongPolls) -> [Target; 2] {
    [
        Target { name: "longPollsRssMb", value: polls.rss_mb(), limit: 300.0, at_least: false },
        Target { name: "longPollsWokenP99Ms", value: polls.woken_p99_ms(), limit: 50.0, at_least: false },
    ]
}

fn poll_targets(polls: &Polls) -> [Target; 2] {
    [
        Target { name: "pollsLateP99Ms", value: polls.late_p99_ms(), limit: 500.0, at_least: false },
        Target { name: "pollsCores", value: polls.cores(), limit: 1.0, at_least: false },
    ]
}

fn target_to_json(target: &Target) -> (String, Value) {
    let bound = if target.at_least { "atLeast" } else { "atMost" };
    let met = target.met();
    (target.name.to_owned(), json!({ "value": rounded(target.value), bound: rounded(target.limit), "met": met }))
}

/// Three decimals are more than any of these numbers can bear.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            writeln!(f, "\nrow            ops/s    p50 ms    p99 ms   CPU µs/op    RSS MB    ratio")?;
        }
        for row in &self.rows {
            let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let Row { name, .. } = row;
            let (rate, p50, p99) = (row.throughput(), row.p50_ms(), row.p99_ms());
            let (cpu, rss) = (row.cpu_us(), row.rss_mb());
            writeln!(f, "{name:<10} {rate:>9.0} {p50:>9.2} {p99:>9.2} {cpu:>11.1} {rss:>9.1} {ratio:>8}")?;
        }
        writeln!(f)?;
        for target in self.targets() {
            let Target { name, value, limit, .. } = target;
            let relation = if target.at_least { "at least" } else { "at most" };
            let verdict = if target.met() { "met" } else { "MISSED" };
            writeln!(f, "{name:<20} {value:>9.3}  {relation} {limit:<8.2} {verdict}")?;
        }
        writeln!(f, "\nmachine: {}", self.machine)
    }
}
