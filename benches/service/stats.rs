//! Medians and percentiles.

use std::time::Duration;

/// What a run gathered: one latency in microseconds per operation, and how long they took together.
pub struct Samples {
    /// Microseconds, in no order.
    pub latencies: Vec<u32>,
    /// First request to last answer.
    pub elapsed: Duration,
}

impl Samples {
    /// Operations per second.
    pub fn throughput(&self) -> f64 {
        count(self.latencies.len()) / self.elapsed.as_secs_f64()
    }

    /// How many operations there were.
    pub fn operations(&self) -> f64 {
        count(self.latencies.len())
    }
}

/// Whole microseconds.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// The latency, in milliseconds, that `per_mille` of the samples do not exceed (nearest rank).
pub fn percentile_ms(latencies: &mut [u32], per_mille: usize) -> f64 {
    if latencies.is_empty() {
        return 0.0;
    }
    let rank = (latencies.len() * per_mille).div_ceil(1000).clamp(1, latencies.len());
    let (_, value, _) = latencies.select_nth_unstable(rank - 1);
    f64::from(*value) / 1000.0
}

/// The middle value, or the mean of the two middle ones; zero of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The largest value; zero of nothing.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}

/// A count as a number to divide by; no count here comes near the limits of the type.
fn count(items: usize) -> f64 {
    f64::from(u32::try_from(items).unwrap_or(u32::MAX))
}
