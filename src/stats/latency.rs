//! How long things took, as counts in steps that grow: enough for percentiles, and small.

/// Upper ends of the steps, milliseconds.
const ENDS: [i64; 23] = [
    5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_200_000, 1_800_000, 3_600_000, 10_800_000, 43_200_000, 86_400_000,
];

/// Counts of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies([u32; ENDS.len() + 1]);

impl Latencies {
    /// One more that took so long.
    pub fn add(&mut self, millis: i64) {
        let step = ENDS.iter().position(|end| millis <= *end).unwrap_or(ENDS.len());
        self.0[step] = self.0[step].saturating_add(1);
    }

    /// All that the other counted, too.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(more);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// The time that so many percent stayed within, milliseconds; between the ends of a step it is a guess.
    pub fn percentile(&self, percent: u64) -> Option<i64> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut before = 0;
        for (step, count) in self.0.iter().copied().map(u64::from).enumerate() {
            if before + count >= wanted {
                let from = step.checked_sub(1).map_or(0, |last| ENDS[last]);
                let to = ENDS.get(step).copied().unwrap_or(from);
                let share = i64::try_from((wanted - before) * 1000 / count).unwrap_or(1000);
                return Some(from + (to - from) * share / 1000);
            }
            before += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_in_the_step_that_holds_them() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), None);
        for millis in 1..=100 {
            latencies.add(millis * 10);
        }
        assert_eq!(latencies.percentile(50), Some(500));
        assert_eq!(latencies.percentile(100), Some(1000));
        latencies.add(i64::MAX);
        assert_eq!(latencies.percentile(100), Some(86_400_000));
    }
}
