//! Twenty thousand tasks that are polled every five seconds, against one local server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Outcome};
use crate::lab::{Lab, Service};
use crate::seed::store_with_polling;
use crate::target::Target;
use crate::wire::Connection;

const TASKS: u32 = 20_000;
/// Two rounds of polls before those that count.
const SETTLE: Duration = Duration::from_secs(12);
const MEASURED: Duration = Duration::from_secs(20);

/// The section's findings.
pub struct Polls {
    per_second: f64,
    late_p99_ms: f64,
    cores: f64,
    rss_mb: f64,
}

impl Polls {
    /// From a poll's planned time to its start, at the 99th percentile: the end of the histogram's bucket.
    pub fn late_p99_ms(&self) -> f64 {
        self.late_p99_ms
    }

    /// Processor time of the service over time.
    pub fn cores(&self) -> f64 {
        self.cores
    }

    /// As it stands in the report.
    pub fn to_json(&self) -> Value {
        json!({
            "tasks": TASKS,
            "pollsPerSecond": self.per_second,
            "lateP99Ms": self.late_p99_ms,
            "cores": self.cores,
            "rssMb": self.rss_mb,
        })
    }
}

/// Lets the service poll for a while, and reads what it counted.
pub async fn measure(lab: &Lab) -> Outcome<Polls> {
    let target = Target::start(Arc::new(|_: &str, _: &[u8]| {})).await?;
    eprintln!("polls: making {TASKS} polling tasks");
    let store = store_with_polling(lab, TASKS, target.address).await?;
    let service = lab.service_with(store, &["--max-in-flight-per-host", "1000"]).await?;
    sleep(SETTLE).await;
    let (before, cpu, start) = (lateness(&service).await?, service.server.cpu_micros()?, Instant::now());
    sleep(MEASURED).await;
    let (after, spent) = (lateness(&service).await?, service.server.cpu_micros()? - cpu);
    let seconds = start.elapsed().as_secs_f64();
    let counts: Vec<(f64, f64)> =
        after.iter().zip(&before).map(|((bound, after), (_, before))| (*bound, after - before)).collect();
    let all = counts.last().map_or(0.0, |(_, count)| *count);
    let within = counts.iter().find(|(_, count)| *count >= 0.99 * all).map_or(f64::INFINITY, |(bound, _)| *bound);
    let found = Polls {
        per_second: all / seconds,
        late_p99_ms: within * 1000.0,
        cores: spent / 1e6 / seconds,
        rss_mb: service.server.peak_rss_mb()?,
    };
    eprintln!(
        "polls: {:.0} a second, 99 % at most {:.0} ms late, {:.2} cores, {:.0} MB",
        found.per_second, found.late_p99_ms, found.cores, found.rss_mb
    );
    Ok(found)
}

/// The buckets of the lateness: where each ends in seconds, and how many polls were that late at most.
async fn lateness(service: &Service) -> Outcome<Vec<(f64, f64)>> {
    let mut connection = Connection::open(service.server.address).await?;
    let answer = connection.exchange(service.public_door().get("/metrics").as_bytes()).await?;
    answer.expect(200, "metrics")?;
    let text = std::str::from_utf8(answer.body).map_err(|_| "metrics are text")?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("asyncqueue_poll_lateness_seconds_bucket{le=\""));
    let buckets = lines.filter_map(|line| {
        let (bound, count) = line.split_once("\"} ")?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.trim().parse().ok()?))
    });
    let buckets: Vec<_> = buckets.collect();
    if buckets.is_empty() { Err(Failure("no histogram of lateness".to_owned())) } else { Ok(buckets) }
}
