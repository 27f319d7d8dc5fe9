//! Points in time, as the whole crate counts them.

use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `millis` later; stops at the end of time rather than wrap.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        self.plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }

    /// How many milliseconds lie between `earlier` and this moment; negative if it is later.
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long until this moment, seen from `now`; zero when it has passed.
    pub fn after(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.millis_since(now)).unwrap_or(0))
    }

    /// Whole seconds since the Unix epoch, as signatures and rate-limit headers count them.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
