//! A store with a million waiting tasks, compared with one of ten thousand in the same run, turn by turn.

use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::lab::{Lab, Service};
use crate::rows::{Measured, create_on, resolve_on, warm_up};
use crate::seed::{Shape, Waiting, service_with_waiting, take_callbacks};
use crate::stats::{largest, median};

/// The section's findings.
pub struct Million {
    waiting: u32,
    small_store: u32,
    ready_seconds: f64,
    rss_mb: f64,
    large: Vec<Rates>,
    small: Vec<Rates>,
}

/// One round on one store.
#[derive(Clone, Copy)]
struct Rates {
    create: Measured,
    resolve: Measured,
}

impl Million {
    /// Seconds from the start of the process to its first 200 on `/readyz`.
    pub fn ready_seconds(&self) -> f64 {
        self.ready_seconds
    }

    /// The service's peak memory, after the load.
    pub fn rss_mb(&self) -> f64 {
        self.rss_mb
    }

    /// The creation rate as a part of the small store's; the median of the rounds.
    pub fn create_ratio(&self) -> f64 {
        self.ratio(|rates| rates.create.throughput)
    }

    /// The resolution rate as a part of the small store's; the median of the rounds.
    pub fn resolve_ratio(&self) -> f64 {
        self.ratio(|rates| rates.resolve.throughput)
    }

    fn ratio(&self, rate: fn(&Rates) -> f64) -> f64 {
        median(self.large.iter().zip(&self.small).map(|(large, small)| rate(large) / rate(small)))
    }

    /// As it stands in the report.
    pub fn to_json(&self) -> Value {
        json!({
            "waiting": self.waiting,
            "comparedWith": self.small_store,
            "readySeconds": self.ready_seconds,
            "rssMb": self.rss_mb,
            "createThroughput": middle(&self.large, |rates| rates.create.throughput),
            "resolveThroughput": middle(&self.large, |rates| rates.resolve.throughput),
            "createP99Ms": middle(&self.large, |rates| rates.create.p99_ms),
            "resolveP99Ms": middle(&self.large, |rates| rates.resolve.p99_ms),
            "smallCreateThroughput": middle(&self.small, |rates| rates.create.throughput),
            "smallResolveThroughput": middle(&self.small, |rates| rates.resolve.throughput),
            "createRatio": self.create_ratio(),
            "resolveRatio": self.resolve_ratio(),
        })
    }
}

fn middle(rounds: &[Rates], value: fn(&Rates) -> f64) -> f64 {
    median(rounds.iter().map(value))
}

/// Seeds the large store once, the small one anew for every round.
pub async fn measure(lab: &Lab, rounds: u32) -> Outcome<Million> {
    let (waiting, small_store) = (lab.counts.million, lab.counts.small_store);
    eprintln!("million: making {waiting} waiting tasks");
    let (service, mut tasks) = service_with_waiting(lab, Shape::Plain, waiting).await?;
    let ready_seconds = service.server.ready_after.as_secs_f64();
    eprintln!("million: ready {ready_seconds:.2} s after start, {:.0} MB", service.server.peak_rss_mb()?);
    let (mut large, mut small) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (little, mut few) = service_with_waiting(lab, Shape::Plain, small_store).await?;
        small.push(rates(&little, &mut few, small_store).await?);
        drop(little);
        large.push(rates(&service, &mut tasks, small_store).await?);
        say(round, rounds, &large, &small);
    }
    let rss_mb = largest([service.server.peak_rss_mb()?]);
    Ok(Million { waiting, small_store, ready_seconds, rss_mb, large, small })
}

/// Creates as many tasks as the small store holds and resolves most of its waiting ones; the same on either store.
async fn rates(service: &Service, tasks: &mut Vec<Waiting>, small_store: u32) -> Outcome<Rates> {
    let resolutions = small_store / 10 * 8;
    let warm = take_callbacks(tasks, warm_up(resolutions))?;
    let ids = take_callbacks(tasks, resolutions)?;
    let create = create_on(service, small_store).await?;
    let resolve = resolve_on(service, warm, ids).await?;
    Ok(Rates { create, resolve })
}

fn say(round: u32, rounds: u32, large: &[Rates], small: &[Rates]) {
    for (name, rates) in [("small", small.last()), ("large", large.last())] {
        if let Some(Rates { create, resolve }) = rates {
            eprintln!(
                "million, round {round}/{rounds}: {name} create {:.0} ops/s, resolve {:.0} ops/s",
                create.throughput, resolve.throughput
            );
        }
    }
}
