//! What `/metrics` shows. Every series is laid out at start, so that counting is a few atomic additions and no
//! visitor can make the set of labels grow.

mod histogram;
mod labels;
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub use labels::{
    AttemptOutcome, CallbackAnswer, DeliveryOutcome, EndpointOutcome, Label, Method, PollOutcome, Route, StatusClass,
    TaskStatus,
};

use histogram::{Histogram, HistogramBy, Scale};
use table::{CounterBy, GaugeBy, RequestCounter};

/// The Content-Type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From half a millisecond to half a minute: requests (a long poll lasts up to 25 s) and commits.
const LATENCIES: Scale = Scale::seconds(&[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000,
]);
/// From 10 ms to an hour, the longest `timeout`.
const ATTEMPTS: Scale = Scale::seconds(&[
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
]);
const BATCHES: Scale = Scale::plain(&[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]);

/// All metrics of one process; clones count into the same series.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

struct Series {
    registry: Registry,
    requests: RequestCounter,
    request_duration: HistogramBy<Route>,
    tasks: GaugeBy<TaskStatus>,
    attempts: CounterBy<AttemptOutcome>,
    attempt_duration: Histogram,
    calls_in_flight: Gauge,
    commit_batch: Histogram,
    commit_duration: Histogram,
    callbacks: CounterBy<CallbackAnswer>,
    signals: CounterBy<CallbackAnswer>,
    deliveries: CounterBy<DeliveryOutcome>,
    polls: CounterBy<PollOutcome>,
    poll_lateness: Histogram,
    endpoint_events: CounterBy<EndpointOutcome>,
    long_polls: Gauge,
    streams: Gauge,
    connections: Gauge,
    store_errors: Counter,
    store_log: Gauge<u64, AtomicU64>,
    nodes: Gauge,
    node_unheard: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// All series at zero; `version` is that of the running program.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("asyncqueue");
        registry.register("build", "The running program", Info::new([("version", version.to_owned())]));
        let mut add = Adder(&mut registry);
        let series = Series {
            requests: add.plain("http_requests", "Requests answered", RequestCounter::default()),
            request_duration: add.seconds(
                "http_request_duration",
                "Time from a request's head to its answer",
                HistogramBy::new(LATENCIES),
            ),
            tasks: add.plain(
                "tasks",
                "Tasks in the store by status, as counted at the last scrape",
                GaugeBy::default(),
            ),
            attempts: add.plain("attempts", "Attempts that ended, by outcome", CounterBy::default()),
            attempt_duration: add.seconds(
                "attempt_duration",
                "Time from an attempt's start to its end",
                Histogram::new(ATTEMPTS),
            ),
            calls_in_flight: add.plain("calls_in_flight", "Calls to targets under way", Gauge::default()),
            commit_batch: add.plain("store_commit_batch", "Commands that shared one commit", Histogram::new(BATCHES)),
            commit_duration: add.seconds("store_commit_duration", "Time one commit took", Histogram::new(LATENCIES)),
            callbacks: add.plain("callbacks", "Callbacks answered, by status code", CounterBy::default()),
            signals: add.plain("signals", "Signals answered, by status code", CounterBy::default()),
            deliveries: add.plain(
                "webhook_deliveries",
                "Completion webhooks attempted, by outcome",
                CounterBy::default(),
            ),
            polls: add.plain("polls", "Polls of providers, by what they found out", CounterBy::default()),
            poll_lateness: add.seconds(
                "poll_lateness",
                "Time from when a poll was due to when it was made",
                Histogram::new(LATENCIES),
            ),
            endpoint_events: add.plain(
                "endpoint_events",
                "Events at endpoints, by what became of them",
                CounterBy::default(),
            ),
            long_polls: add.plain("long_polls_open", "Requests held until a task changes", Gauge::default()),
            streams: add.plain("streams_open", "Streams of a task's statuses", Gauge::default()),
            connections: add.plain("http_connections_open", "Connections open to this service", Gauge::default()),
            store_errors: add.plain("store_errors", "Store operations that failed", Counter::default()),
            store_log: add.bytes("store_log", "Size of the store's write-ahead log", Gauge::default()),
            nodes: add.plain("nodes", "Nodes of the shared store that are alive", Gauge::default()),
            node_unheard: add.seconds(
                "node_unheard",
                "Since when this node was not heard by the others",
                Gauge::default(),
            ),
            registry,
        };
        Self(Arc::new(series))
    }

    /// All metrics as `OpenMetrics` text, to be sent as [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.0.registry).expect("a String takes whatever is written to it");
        text
    }

    /// A request was answered.
    pub fn request_answered(&self, route: Route, method: &str, status: u16, took: Duration) {
        self.0.requests.add(route, Method::named(method), StatusClass::of(status));
        self.0.request_duration.observe(route, took);
    }

    /// What the store counts in a status; to be called for each before rendering.
    pub fn set_tasks(&self, status: TaskStatus, count: u64) {
        self.0.tasks.set(status, count);
    }

    /// An attempt ended.
    pub fn attempt_ended(&self, outcome: AttemptOutcome, took: Duration) {
        self.0.attempts.add(outcome);
        self.0.attempt_duration.observe(took);
    }

    /// A call to a target is under way for as long as the answer lives.
    pub fn call_started(&self) -> Open {
        Open::new(&self.0.calls_in_flight)
    }

    /// How many calls to targets are under way.
    pub fn calls_in_flight(&self) -> usize {
        usize::try_from(self.0.calls_in_flight.get()).unwrap_or_default()
    }

    /// A commit ended that `commands` shared.
    pub fn commit_ended(&self, commands: usize, took: Duration) {
        self.0.commit_batch.observe_count(commands);
        self.0.commit_duration.observe(took);
    }

    /// A request to the callback route was answered.
    pub fn callback_answered(&self, status: u16) {
        self.0.callbacks.add(CallbackAnswer::of(status));
    }

    /// A request to the signal route was answered.
    pub fn signal_answered(&self, status: u16) {
        self.0.signals.add(CallbackAnswer::of(status));
    }

    /// A completion webhook was attempted.
    pub fn webhook_attempted(&self, outcome: DeliveryOutcome) {
        self.0.deliveries.add(outcome);
    }

    /// A poll is made, so long after it was due.
    pub fn poll_made(&self, late: Duration) {
        self.0.poll_lateness.observe(late);
    }

    /// A poll ended.
    pub fn poll_ended(&self, outcome: PollOutcome) {
        self.0.polls.add(outcome);
    }

    /// An event came to an endpoint.
    pub fn endpoint_event(&self, outcome: EndpointOutcome) {
        self.0.endpoint_events.add(outcome);
    }

    /// A long poll is held for as long as the answer lives.
    pub fn long_poll_opened(&self) -> Open {
        Open::new(&self.0.long_polls)
    }

    /// A stream is open for as long as the answer lives.
    pub fn stream_opened(&self) -> Open {
        Open::new(&self.0.streams)
    }

    /// A connection is open for as long as the answer lives.
    pub fn connection_opened(&self) -> Open {
        Open::new(&self.0.connections)
    }

    /// A store operation failed.
    pub fn store_failed(&self) {
        self.0.store_errors.inc();
    }

    /// How many nodes share the store and are alive, and how long this one was not heard by the others.
    pub fn set_nodes(&self, alive: usize, unheard: Duration) {
        self.0.nodes.set(i64::try_from(alive).unwrap_or(i64::MAX));
        self.0.node_unheard.set(unheard.as_secs());
    }

    /// How long the store's write-ahead log is now.
    pub fn set_store_log(&self, bytes: u64) {
        self.0.store_log.set(bytes);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Counts one thing as open until it is dropped.
#[derive(Debug)]
#[must_use = "what is dropped at once was never open"]
pub struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers a metric and hands it back, so that a series and its name stand on one line.
struct Adder<'a>(&'a mut Registry);

impl Adder<'_> {
    fn plain<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    fn bytes<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register_with_unit(name, help, Unit::Bytes, metric.clone());
        metric
    }
}

#[cfg(test)]
mod tests;
