//! Ten thousand long polls, each on a connection of its own, while tasks are resolved at a steady pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::failure::{Failure, Outcome, fail};
use crate::lab::{Lab, Service};
use crate::load::{Client, join_all, patiently};
use crate::requests::Template;
use crate::seed::{Shape, Waiting, service_with_waiting};
use crate::stats::{micros, percentile_ms};
use crate::wire::Connection;

/// Resolutions per second.
const PACE: u32 = 500;
/// Long enough for the last poll to have reached the service.
const SETTLE: Duration = Duration::from_secs(1);
/// A poll that was not woken so long after the last resolution was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The section's findings.
pub struct LongPolls {
    polls: u32,
    rss_mb: f64,
    pace: f64,
    woken_p50_ms: f64,
    woken_p99_ms: f64,
}

impl LongPolls {
    /// The service's peak memory.
    pub fn rss_mb(&self) -> f64 {
        self.rss_mb
    }

    /// From sending a callback to the poll's answer, at the 99th percentile.
    pub fn woken_p99_ms(&self) -> f64 {
        self.woken_p99_ms
    }

    /// As it stands in the report.
    pub fn to_json(&self) -> Value {
        json!({
            "polls": self.polls,
            "rssMb": self.rss_mb,
            "resolutionsPerSecond": self.pace,
            "wokenP50Ms": self.woken_p50_ms,
            "wokenP99Ms": self.woken_p99_ms,
        })
    }
}

/// When a task's callback was sent, or when its poll was answered.
struct Moment {
    task: usize,
    at: Instant,
}

/// Opens the polls, resolves every task, and times each pair.
pub async fn measure(lab: &Lab) -> Outcome<LongPolls> {
    let polls = lab.counts.long_polls;
    eprintln!("longpolls: making {polls} waiting tasks");
    let (service, tasks) = service_with_waiting(lab, Shape::Plain, polls).await?;
    let (woken, answers) = unbounded_channel();
    let mut pollers = open_polls(&service, &tasks, &woken).await?;
    sleep(SETTLE).await;
    eprintln!("longpolls: {polls} open, {:.0} MB", service.server.peak_rss_mb()?);
    let measured = tokio::select! {
        measured = resolve_and_wait(&service, &tasks, answers) => measured,
        Some(ended) = pollers.join_next() => fail(format!("a long poll ended early: {ended:?}")),
    };
    let (mut latencies, pace) = measured.map_err(|failure| service.server.explain(failure))?;
    Ok(LongPolls {
        polls,
        rss_mb: service.server.peak_rss_mb()?,
        pace,
        woken_p50_ms: percentile_ms(&mut latencies, 500),
        woken_p99_ms: percentile_ms(&mut latencies, 990),
    })
}

/// Starts one poller per task. A poller that fails ends, and a failure is the only end it has before it is aborted.
async fn open_polls(
    service: &Service,
    tasks: &[Waiting],
    woken: &UnboundedSender<Moment>,
) -> Outcome<JoinSet<Failure>> {
    let mut pollers = JoinSet::new();
    for (task, waiting) in tasks.iter().enumerate() {
        let request = service.door().get(&format!("/v1/tasks/{}?wait=25", waiting.id));
        let connection = Connection::open(service.server.address).await?;
        pollers.spawn(poll(connection, request, task, woken.clone()));
    }
    Ok(pollers)
}

async fn poll(mut connection: Connection, request: String, task: usize, woken: UnboundedSender<Moment>) -> Failure {
    match poll_until_completed(&mut connection, &request).await {
        // Nobody listens any more once the section has failed.
        Ok(at) => drop(woken.send(Moment { task, at })),
        Err(failure) => return failure,
    }
    // Stay connected: the memory of all connections is part of the measurement.
    std::future::pending().await
}

async fn poll_until_completed(connection: &mut Connection, request: &str) -> Outcome<Instant> {
    loop {
        let answer = connection.exchange(request.as_bytes()).await?;
        let at = Instant::now();
        answer.expect(200, "a long poll")?;
        if is_completed(answer.body) {
            return Ok(at);
        }
    }
}

fn is_completed(body: &[u8]) -> bool {
    const COMPLETED: &[u8] = br#""status":"completed""#;
    body.windows(COMPLETED.len()).any(|text| text == COMPLETED)
}

/// Sends every callback at its own time, whether or not the ones before it were answered.
async fn resolve_at_pace(service: &Service, tasks: &[Waiting]) -> Outcome<Vec<Moment>> {
    let connections = Client::connect(&service.server.addresses()).await?.into_connections();
    let due = Arc::new(Due { tasks: tasks.to_vec(), next: AtomicU32::new(0), first: Instant::now() });
    let mut lanes = JoinSet::new();
    for connection in connections {
        lanes.spawn(resolve_when_due(connection, service.public_door().callback(), Arc::clone(&due)));
    }
    Ok(patiently("a callback", join_all(lanes)).await??.into_iter().flatten().collect())
}

/// The tasks to resolve, and when the first of them is due.
struct Due {
    tasks: Vec<Waiting>,
    next: AtomicU32,
    first: Instant,
}

async fn resolve_when_due(mut connection: Connection, mut callback: Template, due: Arc<Due>) -> Outcome<Vec<Moment>> {
    let mut sent = Vec::new();
    loop {
        let number = due.next.fetch_add(1, Ordering::Relaxed);
        let Some(waiting) = due.tasks.get(number as usize) else {
            return Ok(sent);
        };
        callback.fill(&waiting.callback_id);
        sleep_until(due.first + Duration::from_secs(1) * number / PACE).await;
        sent.push(Moment { task: number as usize, at: Instant::now() });
        connection.exchange(callback.bytes()).await?.expect(200, "a callback")?;
    }
}

/// Resolves every task and collects the polls' answers: the latencies in microseconds, and the pace that was kept.
async fn resolve_and_wait(
    service: &Service,
    tasks: &[Waiting],
    mut answers: UnboundedReceiver<Moment>,
) -> Outcome<(Vec<u32>, f64)> {
    let started = Instant::now();
    let sent = resolve_at_pace(service, tasks).await?;
    let pace = f64::from(u32::try_from(sent.len()).unwrap_or(u32::MAX)) / started.elapsed().as_secs_f64();
    let mut woken = vec![None; tasks.len()];
    for collected in 0..tasks.len() {
        let Ok(Some(moment)) = timeout(FORGOTTEN, answers.recv()).await else {
            return fail(format!("only {collected} of {} long polls were woken", tasks.len()));
        };
        woken[moment.task] = Some(moment.at);
    }
    let latency = |sent: &Moment| woken[sent.task].map(|at| micros(at.saturating_duration_since(sent.at)));
    Ok((sent.iter().filter_map(latency).collect(), pace))
}
