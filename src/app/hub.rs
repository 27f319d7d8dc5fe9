//! Hears of every commit, and wakes who waits for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::stats::Statistics;
use crate::store::{Effects, Observer};
use crate::telemetry::metrics::Metrics;
use crate::timers::Alarm;
use crate::ui::live::Live;
use crate::waiters::Waiters;

/// Hears of every commit, and wakes who waits for one.
pub(super) struct Hub {
    pub dispatch: Arc<Notify>,
    pub deliver: Arc<Notify>,
    pub alarm: Arc<Alarm>,
    pub poll: Arc<Alarm>,
    pub matched: Arc<Notify>,
    pub waiters: Arc<Waiters>,
    pub metrics: Metrics,
    pub stats: Arc<Statistics>,
    pub live: Arc<Live>,
    pub stop: CancellationToken,
}

impl Observer for Hub {
    fn committed(&self, effects: &Effects) {
        if effects.ready {
            self.dispatch.notify_one();
        }
        if effects.deliver {
            self.deliver.notify_one();
        }
        if let Some(at) = effects.timer {
            self.alarm.set(at);
        }
        if let Some(at) = effects.poll {
            self.poll.set(at);
        }
        if effects.matched {
            self.matched.notify_one();
        }
        self.waiters.wake(&effects.changed);
        self.stats.committed(&effects.created, &effects.ended);
        if !effects.changed.is_empty() || !effects.created.is_empty() {
            self.live.changed();
        }
    }

    fn batch(&self, commands: usize, took: Duration) {
        self.metrics.commit_ended(commands, took);
    }
}

impl Hub {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let stop = CancellationToken::new();
        Self {
            live: Arc::new(Live::new(stop.clone())),
            stop,
            dispatch: Arc::default(),
            deliver: Arc::default(),
            alarm: Arc::default(),
            poll: Arc::default(),
            matched: Arc::default(),
            waiters: Arc::default(),
            metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
            stats: Arc::new(Statistics::new(clock)),
        }
    }
}
