//! The rows, round by round: every row once, then every row again, so that a machine's mood hits them alike.

use crate::cycle;
use crate::failure::Outcome;
use crate::lab::{Lab, Service};
use crate::load::{Client, Load};
use crate::options::{Options, Section};
use crate::process::Server;
use crate::report::Row;
use crate::requests::{Door, Template, delayed_task};
use crate::seed::{Shape, service_with_waiting, take_callbacks};
use crate::stats::{Samples, percentile_ms};

/// The rows in the order in which they run and are shown.
const ROWS: [Section; 7] = [
    Section::Echo,
    Section::Yardstick,
    Section::Create,
    Section::Resolve,
    Section::Ruled,
    Section::Cycle,
    Section::Pgbench,
];

/// One row in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Operations per second.
    pub throughput: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Processor time of the server per operation, in microseconds.
    pub cpu_us: f64,
    /// The server's peak resident memory.
    pub rss_mb: f64,
}

impl Measured {
    /// Puts together what the client saw and what the server spent.
    pub fn new(mut samples: Samples, cpu_micros: f64, rss_mb: f64) -> Self {
        Self {
            throughput: samples.throughput(),
            cpu_us: cpu_micros / samples.operations(),
            p50_ms: percentile_ms(&mut samples.latencies, 500),
            p99_ms: percentile_ms(&mut samples.latencies, 990),
            rss_mb,
        }
    }
}

/// Measures the rows that were asked for.
pub async fn measure_all(lab: &Lab, options: &Options) -> Outcome<Vec<Row>> {
    let chosen: Vec<Section> = ROWS.into_iter().filter(|row| options.runs(*row)).collect();
    let mut rows: Vec<Row> = chosen.iter().map(|section| Row::new(section.name())).collect();
    for round in 1..=options.rounds {
        let mut yardstick = None;
        for (section, row) in chosen.iter().zip(&mut rows) {
            let measured = measure(lab, *section).await.map_err(|failure| failure.during(section.name()))?;
            eprintln!(
                "round {round}/{}: {:<10} {:>8.0} ops/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} µs CPU, {:.0} MB",
                options.rounds,
                row.name,
                measured.throughput,
                measured.p50_ms,
                measured.p99_ms,
                measured.cpu_us,
                measured.rss_mb
            );
            if *section == Section::Yardstick {
                yardstick = Some(measured.throughput);
            }
            row.add(measured, yardstick);
        }
        // The echo runs before the round's yardstick is known.
        if let (Some(first), Some(yardstick)) = (rows.first_mut(), yardstick) {
            first.complete_ratio(yardstick);
        }
    }
    Ok(rows)
}

async fn measure(lab: &Lab, section: Section) -> Outcome<Measured> {
    let counts = &lab.counts;
    match section {
        Section::Echo => reference(&lab.echo().await?, "an echo", counts.echo).await,
        Section::Yardstick => reference(&lab.yardstick().await?, "an append", counts.yardstick).await,
        Section::Create => create(lab, counts.create).await,
        Section::Resolve => resolve(lab, Shape::Plain, counts.resolve).await,
        Section::Ruled => resolve(lab, Shape::Ruled, counts.resolve).await,
        Section::Pgbench => lab.pgbench(),
        _ => cycle::measure(lab, counts.cycle).await,
    }
}

/// How many operations go before those that count.
pub const fn warm_up(count: u32) -> u32 {
    count / 10
}

async fn reference(server: &Server, what: &'static str, count: u32) -> Outcome<Measured> {
    let door = Door { address: server.address, key: None };
    let template = Template::fixed(door.post("/", &delayed_task()));
    let load = |count| Load { what, template: template.clone(), fills: Vec::new(), count, status: 200 };
    measure_loads(server, load(warm_up(count)), load(count)).await
}

async fn create(lab: &Lab, count: u32) -> Outcome<Measured> {
    let service = lab.service().await?;
    let measured = create_on(&service, count).await?;
    service.wait_for_total("delayed", count + warm_up(count), std::time::Duration::ZERO).await?;
    Ok(measured)
}

/// Creates tasks that are not due, after a warm-up.
pub async fn create_on(service: &Service, count: u32) -> Outcome<Measured> {
    let template = Template::fixed(service.door().post("/v1/tasks", &delayed_task()));
    let load = |count| Load { what: "a creation", template: template.clone(), fills: Vec::new(), count, status: 201 };
    measure_loads(&service.server, load(warm_up(count)), load(count)).await
}

async fn resolve(lab: &Lab, shape: Shape, count: u32) -> Outcome<Measured> {
    let (service, mut tasks) = service_with_waiting(lab, shape, count + warm_up(count)).await?;
    let warm = take_callbacks(&mut tasks, warm_up(count))?;
    let measured = resolve_on(&service, warm, take_callbacks(&mut tasks, count)?).await?;
    service.wait_for_total("completed", count + warm_up(count), std::time::Duration::ZERO).await?;
    Ok(measured)
}

/// Posts a callback to each of `ids`, after those of `warm`.
pub async fn resolve_on(service: &Service, warm: Vec<String>, ids: Vec<String>) -> Outcome<Measured> {
    let template = service.public_door().callback();
    let load = |fills: Vec<String>| {
        let count = u32::try_from(fills.len()).unwrap_or(u32::MAX);
        Load { what: "a callback", template: template.clone(), fills, count, status: 200 }
    };
    measure_loads(&service.server, load(warm), load(ids)).await
}

async fn measure_loads(server: &Server, warm: Load, load: Load) -> Outcome<Measured> {
    let mut client = Client::connect(&server.addresses()).await?;
    client.run(warm).await.map_err(|failure| server.explain(failure))?;
    let before = server.cpu_micros()?;
    let samples = client.run(load).await.map_err(|failure| server.explain(failure))?;
    Ok(Measured::new(samples, server.cpu_micros()? - before, server.peak_rss_mb()?))
}
