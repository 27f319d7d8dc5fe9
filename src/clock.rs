//! The one door through which the wall clock comes in.

use crate::task::Timestamp;

/// Tells the time. Tests pass their own.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch, as the operating system believes them to be now.
    fn now(&self) -> Timestamp;
}

/// The clock of a store that many nodes share: each node's own, corrected by what the store says.
pub struct SharedClock {
    own: std::sync::Arc<dyn Clock>,
    ahead_ms: std::sync::atomic::AtomicI64,
}

impl SharedClock {
    /// A clock that is not corrected yet.
    pub fn new(own: std::sync::Arc<dyn Clock>) -> Self {
        Self { own, ahead_ms: std::sync::atomic::AtomicI64::new(0) }
    }

    /// What the clock says without its correction.
    pub fn own(&self) -> Timestamp {
        self.own.now()
    }

    /// Between `asked` and `answered`, both by [`own`](Self::own), the store's time was `told`. That bounds the correction
    /// from both sides; one that is within the bounds already is left as it is, so that no noise moves the clock.
    pub fn correct(&self, asked: Timestamp, answered: Timestamp, told: Timestamp) {
        let (least, most) = (told.0 - answered.0.max(asked.0), told.0 - asked.0.min(answered.0));
        let ordering = std::sync::atomic::Ordering::AcqRel;
        let _ = self
            .ahead_ms
            .fetch_update(ordering, std::sync::atomic::Ordering::Acquire, |now| Some(now.clamp(least, most)));
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        self.own.now().plus_millis(self.ahead_ms.load(std::sync::atomic::Ordering::Acquire))
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may read the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
        Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_shared_clock_follows_the_store_and_not_the_noise() {
        let hand = Arc::new(Hand(AtomicI64::new(1_000_000)));
        let clock = SharedClock::new(hand.clone());
        clock.correct(Timestamp(1_000_000), Timestamp(1_000_010), Timestamp(4_600_010));
        assert_eq!(clock.now(), Timestamp(4_600_000));
        clock.correct(Timestamp(1_000_000), Timestamp(1_000_800), Timestamp(4_600_795));
        assert_eq!(clock.now(), Timestamp(4_600_000), "a slow answer proves nothing else");
        hand.0.store(1_500_000, Ordering::SeqCst);
        clock.correct(Timestamp(1_500_000), Timestamp(1_500_000), Timestamp(4_600_500));
        assert_eq!(clock.now(), Timestamp(4_600_500), "the node's own clock was set");
    }
}
