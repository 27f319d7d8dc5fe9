//! The whole cycle: created, called, waiting, called back, resolved, and the completion webhook answered.
//!
//! 64 connections carry one cycle each at a time. The target and the webhook's receiver are in this process; a cycle's
//! number stands in both of its URLs, so that what arrives finds its way to the connection that began it.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failure::{Outcome, fail};
use crate::lab::{Lab, Service};
use crate::load::{CONNECTIONS, Client, join_all, patiently};
use crate::requests::{CALLBACK_ID, NUMBER, Template, cycle_task};
use crate::rows::{Measured, warm_up};
use crate::stats::{Samples, micros};
use crate::target::Target;
use crate::wire::Connection;

/// What the service sent to the benchmark on behalf of a task.
#[derive(Debug)]
enum Arrival {
    /// The call to the target, with the callback id that it carried.
    Call(u32, String),
    /// The completion webhook.
    Webhook(u32),
    /// Something that should not have come.
    Wrong(String),
}

/// Measures `count` cycles on a new store.
pub async fn measure(lab: &Lab, count: u32) -> Outcome<Measured> {
    let service = lab.service().await?;
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| unbounded_channel()).unzip();
    let target = Target::start(deliver(mailboxes)).await?;
    let connections = Client::connect(&service.server.addresses()).await?.into_connections();
    let lanes = connections.into_iter().zip(inboxes).zip(0..);
    let lanes =
        lanes.map(|((connection, inbox), first)| Lane::new(&service, &target, connection, inbox, first)).collect();

    let (lanes, _) = run(lanes, warm_up(count)).await.map_err(|failure| service.server.explain(failure))?;
    let before = service.server.cpu_micros()?;
    let (_, samples) = run(lanes, count).await.map_err(|failure| service.server.explain(failure))?;
    let measured = Measured::new(samples, service.server.cpu_micros()? - before, service.server.peak_rss_mb()?);

    // Whole rounds of lanes are run, so a few more than were asked for.
    let total = rounds(warm_up(count)) * CONNECTIONS + rounds(count) * CONNECTIONS;
    service.wait_for_total("completed", total, std::time::Duration::from_secs(5)).await?;
    Ok(measured)
}

/// How many cycles each lane makes.
const fn rounds(count: u32) -> u32 {
    count.div_ceil(CONNECTIONS)
}

async fn run(lanes: Vec<Lane>, count: u32) -> Outcome<(Vec<Lane>, Samples)> {
    let started = Instant::now();
    let mut running = JoinSet::new();
    for lane in lanes {
        running.spawn(lane.make(rounds(count)));
    }
    let finished = patiently("a cycle", join_all(running)).await??;
    let elapsed = started.elapsed();
    let mut latencies = Vec::with_capacity(count as usize);
    let mut lanes = Vec::with_capacity(finished.len());
    for (lane, own) in finished {
        latencies.extend(own);
        lanes.push(lane);
    }
    Ok((lanes, Samples { latencies, elapsed }))
}

/// One connection and the cycles that it carries, one after the other.
struct Lane {
    connection: Connection,
    inbox: UnboundedReceiver<Arrival>,
    create: Template,
    callback: Template,
    /// The number of the next cycle; those of one lane leave the same remainder.
    next: u32,
}

impl Lane {
    fn new(
        service: &Service,
        target: &Target,
        connection: Connection,
        inbox: UnboundedReceiver<Arrival>,
        first: u32,
    ) -> Self {
        let marker = "#".repeat(NUMBER);
        let request = service.door().post("/v1/tasks", &cycle_task(target.address, &marker));
        let create = Template::with_gaps(request, &marker);
        Self { connection, inbox, create, callback: service.public_door().callback(), next: first }
    }

    async fn make(mut self, cycles: u32) -> Outcome<(Self, Vec<u32>)> {
        let mut latencies = Vec::with_capacity(cycles as usize);
        for _ in 0..cycles {
            let started = Instant::now();
            self.cycle().await.map_err(|failure| failure.during(&format!("cycle {}", self.next)))?;
            latencies.push(micros(started.elapsed()));
            self.next += CONNECTIONS;
        }
        Ok((self, latencies))
    }

    async fn cycle(&mut self) -> Outcome<()> {
        self.create.fill(&format!("{:0NUMBER$}", self.next));
        self.connection.exchange(self.create.bytes()).await?.expect(201, "a creation")?;
        let callback_id = match self.arrival().await? {
            Arrival::Call(number, callback_id) if number == self.next => callback_id,
            other => return fail(format!("{other:?} came where the call was due")),
        };
        self.callback.fill(&callback_id);
        self.connection.exchange(self.callback.bytes()).await?.expect(200, "a callback")?;
        match self.arrival().await? {
            Arrival::Webhook(number) if number == self.next => Ok(()),
            other => fail(format!("{other:?} came where the completion webhook was due")),
        }
    }

    async fn arrival(&mut self) -> Outcome<Arrival> {
        match self.inbox.recv().await {
            Some(Arrival::Wrong(what)) => fail(format!("the target was sent {what}")),
            Some(arrival) => Ok(arrival),
            None => fail("the target has gone"),
        }
    }
}

/// Hands every arrival to the lane whose cycle it belongs to. One that belongs to none goes to the first lane, which then
/// fails on it.
fn deliver(mailboxes: Vec<UnboundedSender<Arrival>>) -> crate::target::Listener {
    Arc::new(move |path, body| {
        let arrival = understand(path, body).unwrap_or_else(|| Arrival::Wrong(excerpt(path, body)));
        let lane = match &arrival {
            Arrival::Call(number, _) | Arrival::Webhook(number) => number % CONNECTIONS,
            Arrival::Wrong(_) => 0,
        };
        // A lane that has ended needs no post.
        let _ = mailboxes[lane as usize].send(arrival);
    })
}

fn understand(path: &str, body: &[u8]) -> Option<Arrival> {
    if let Some(number) = path.strip_prefix("/call/") {
        return Some(Arrival::Call(number.parse().ok()?, callback_id(body)?));
    }
    let number = path.strip_prefix("/done/")?.parse().ok()?;
    let event = &body[..body.len().min(48)];
    event.windows(16).any(|text| text == b"\"task.completed\"").then_some(Arrival::Webhook(number))
}

/// The id in the callback URL, which stands at the start of our bodies.
fn callback_id(body: &[u8]) -> Option<String> {
    const ROUTE: &[u8] = b"/v1/callbacks/";
    let at = body.windows(ROUTE.len()).position(|text| text == ROUTE)? + ROUTE.len();
    String::from_utf8(body.get(at..at + CALLBACK_ID)?.to_vec()).ok()
}

fn excerpt(path: &str, body: &[u8]) -> String {
    format!("{path}: {}", String::from_utf8_lossy(&body[..body.len().min(200)]))
}
