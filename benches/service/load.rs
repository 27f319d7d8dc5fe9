//! The closed-loop load: 64 keep-alive connections, each sending its next request when the last one was answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::failure::{Failure, Outcome};
use crate::requests::Template;
use crate::stats::{Samples, micros};
use crate::wire::{Answer, Connection};

/// Connections of every row.
pub const CONNECTIONS: u32 = 64;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What one run sends, and what must come back.
pub struct Load {
    /// What it is, for messages.
    pub what: &'static str,
    /// The request.
    pub template: Template,
    /// What goes into the template's gap, one per request; a template without a gap needs none.
    pub fills: Vec<String>,
    /// How many requests.
    pub count: u32,
    /// The only right status.
    pub status: u16,
}

/// Looks at an answer that had the right status; given the request's number.
type Observe = Box<dyn Fn(u32, &Answer<'_>) -> Outcome<()> + Send + Sync>;

struct Job {
    load: Load,
    observe: Observe,
    next: AtomicU32,
}

/// Open connections to one server.
pub struct Client {
    connections: Vec<Connection>,
}

impl Client {
    /// Connects as often as every row does, to each of the nodes in turn.
    pub async fn connect(addresses: &[SocketAddr]) -> Outcome<Self> {
        let mut connections = Vec::new();
        for address in addresses.iter().cycle().take(CONNECTIONS as usize) {
            connections.push(Connection::open(*address).await?);
        }
        Ok(Self { connections })
    }

    /// The connections themselves, for a load of another shape.
    pub fn into_connections(self) -> Vec<Connection> {
        self.connections
    }

    /// Sends a load and times every answer.
    pub async fn run(&mut self, load: Load) -> Outcome<Samples> {
        self.run_observed(load, Box::new(|_, _| Ok(()))).await
    }

    /// Sends a load and shows every answer to `observe`.
    pub async fn run_observed(&mut self, load: Load, observe: Observe) -> Outcome<Samples> {
        let job = Arc::new(Job { load, observe, next: AtomicU32::new(0) });
        let mut lanes = JoinSet::new();
        let started = Instant::now();
        for connection in self.connections.drain(..) {
            lanes.spawn(drive(connection, Arc::clone(&job)));
        }
        let finished = patiently(job.load.what, join_all(lanes)).await??;
        let elapsed = started.elapsed();
        let mut latencies = Vec::with_capacity(job.load.count as usize);
        for (connection, own) in finished {
            self.connections.push(connection);
            latencies.extend(own);
        }
        Ok(Samples { latencies, elapsed })
    }
}

/// Waits for every lane; the first failure ends the run.
pub async fn join_all<T: 'static>(mut lanes: JoinSet<Outcome<T>>) -> Outcome<Vec<T>> {
    let mut finished = Vec::with_capacity(lanes.len());
    while let Some(joined) = lanes.join_next().await {
        finished.push(joined.map_err(|error| Failure(error.to_string()))??);
    }
    Ok(finished)
}

/// Gives up on what hangs.
pub async fn patiently<T>(what: &str, run: impl Future<Output = T>) -> Outcome<T> {
    let late = |_| Failure(format!("{what} did not end within {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, run).await.map_err(late)
}

async fn drive(mut connection: Connection, job: Arc<Job>) -> Outcome<(Connection, Vec<u32>)> {
    let load = &job.load;
    let mut template = load.template.clone();
    let mut latencies = Vec::with_capacity((load.count / CONNECTIONS) as usize * 2);
    loop {
        let number = job.next.fetch_add(1, Ordering::Relaxed);
        if number >= load.count {
            return Ok((connection, latencies));
        }
        if let Some(value) = load.fills.get(number as usize) {
            template.fill(value);
        }
        let sent = Instant::now();
        let answer = connection.exchange(template.bytes()).await.map_err(|failure| failure.during(load.what))?;
        latencies.push(micros(sent.elapsed()));
        answer.expect(load.status, load.what)?;
        (job.observe)(number, &answer)?;
    }
}
