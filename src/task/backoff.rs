//! How long to wait before the next attempt.

use std::time::Duration;

/// How the delay grows from retry to retry. Exact: no jitter, because the contract names the delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// 1, 2, 4, 8, 16… seconds.
    Exponential,
    /// 1, 2, 3, 4, 5… seconds.
    Linear,
}

impl Backoff {
    /// The delay before retry number `retry`, counted from 1.
    pub fn delay(self, retry: u32) -> Duration {
        let seconds = match self {
            Self::Exponential => 1 << retry.saturating_sub(1).min(30),
            Self::Linear => u64::from(retry),
        };
        Duration::from_secs(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delays_are_those_of_the_contract() {
        let seconds = |backoff: Backoff| (1..=5).map(|retry| backoff.delay(retry).as_secs()).collect::<Vec<_>>();
        assert_eq!(seconds(Backoff::Exponential), [1, 2, 4, 8, 16]);
        assert_eq!(seconds(Backoff::Linear), [1, 2, 3, 4, 5]);
    }
}
