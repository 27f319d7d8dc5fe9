//! What time alone does: delays end, waits time out, old tasks are removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::store::{Store, StoreError, Sweep};
use crate::task::Timestamp;

/// Timers fired in one transaction.
const BATCH: usize = 256;

/// The longest sleep: a wall clock that was set is noticed after this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Deadlines that were missed while the service was down wait this long, so that providers' retries win.
const MISSED_GRACE: Duration = Duration::from_secs(60);

/// How soon timers are tried again while the store is away.
const AGAIN: Duration = Duration::from_millis(250);

/// Tasks removed in one transaction, and the pause after it, so that writers are not held up.
const PURGE_BATCH: usize = 100;
const PURGE_PAUSE: Duration = Duration::from_millis(20);

/// How often retention looks for old tasks, at the least.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// When the loop will look next, for those who set timers: an earlier one wakes it, a later one does not.
pub struct Alarm {
    next: AtomicI64,
    wake: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { next: AtomicI64::new(i64::MIN), wake: Notify::new() }
    }
}

impl Alarm {
    /// A timer was set.
    pub fn set(&self, at: Timestamp) {
        if at.0 < self.next.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }

    /// From here on every new one wakes the loop.
    pub fn forget(&self) {
        self.next.store(i64::MAX, Ordering::Release);
    }

    /// Sleeps until `next`, or an earlier one that is set meanwhile; `longest` at most.
    pub async fn sleep_until(&self, next: Option<Timestamp>, clock: &dyn Clock, longest: Duration) {
        self.next.fetch_min(next.map_or(i64::MAX, |at| at.0), Ordering::AcqRel);
        let sleep = next.map_or(longest, |at| at.after(clock.now()).min(longest));
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            () = self.wake.notified() => {}
        }
    }
}

/// Fires timers.
pub struct Timers {
    /// Holds the timers.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Is told of earlier timers.
    pub alarm: Arc<Alarm>,
}

impl Timers {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        // Whether the store was away just now.
        let mut away = false;
        loop {
            let sleep = self.sleep_until_due();
            if stop.run_until_cancelled(sleep).await.is_none() {
                return;
            }
            match self.tick_after(away).await {
                Ok(()) => away = false,
                Err(error) => {
                    away = true;
                    warn!(%error, "Timers could not run; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Fires what is due. Deadlines that were missed while the store was away are put off, like those at the start.
    async fn tick_after(&self, away: bool) -> Result<(), StoreError> {
        if away {
            // Only once it answers is it known until when it was away: connecting may have taken seconds.
            self.store.ping().await?;
            self.put_off_missed(self.clock.now()).await?;
        }
        self.tick(self.clock.now()).await
    }

    /// Puts off the deadlines up to this moment, which were missed while the service or its store was down. At a start that
    /// is now: what is overdue then was missed, and what becomes overdue later was not, wherever the wall clock is set to.
    pub async fn put_off_missed(&self, until: Timestamp) -> Result<(), StoreError> {
        let now = self.clock.now();
        let sweep = Sweep { limit: BATCH, missed_before: until.plus_millis(1), not_before: now.plus(MISSED_GRACE) };
        while self.store.fire_timers(sweep, now).await? == BATCH {}
        Ok(())
    }

    /// Fires everything that is due.
    pub async fn tick(&self, now: Timestamp) -> Result<(), StoreError> {
        let never = Timestamp(i64::MIN);
        let sweep = Sweep { limit: BATCH, missed_before: never, not_before: never };
        while self.store.fire_timers(sweep, now).await? == BATCH {}
        // Until the next timer is known, every new one wakes the loop.
        self.alarm.next.store(i64::MAX, Ordering::Release);
        let next = self.store.next_timer().await?;
        self.alarm.next.fetch_min(next.map_or(i64::MAX, |at| at.0), Ordering::AcqRel);
        Ok(())
    }

    async fn sleep_until_due(&self) {
        loop {
            let next = Timestamp(self.alarm.next.load(Ordering::Acquire));
            let now = self.clock.now();
            if next <= now {
                return;
            }
            let sleep = tokio::time::sleep(next.after(now).min(LONGEST_SLEEP));
            tokio::select! {
                () = sleep => {}
                () = self.alarm.wake.notified() => return,
            }
        }
    }
}

/// Removes tasks that ended long ago.
pub struct Retention {
    /// Holds the tasks.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// How long an ended task is kept.
    pub keep: Duration,
}

impl Retention {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let every = PURGE_EVERY.min(self.keep / 10).max(Duration::from_secs(1));
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            match self.tick(self.clock.now(), &stop).await {
                Ok(0) => {}
                Ok(removed) => info!(removed, "Removed tasks that ended long ago"),
                Err(error) => warn!(%error, "Old tasks could not be removed; trying again"),
            }
        }
    }

    /// Removes everything that is old enough, a little at a time.
    pub async fn tick(&self, now: Timestamp, stop: &CancellationToken) -> Result<usize, StoreError> {
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let before = now.plus_millis(-keep);
        let mut removed = 0;
        while !stop.is_cancelled() {
            let some = self.store.purge(before, PURGE_BATCH, now).await?;
            removed += some;
            if some < PURGE_BATCH {
                break;
            }
            tokio::time::sleep(PURGE_PAUSE).await;
        }
        Ok(removed)
    }
}
