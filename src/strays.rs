//! Events of providers that came before the answer that names their job: brought to their task once it is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::follow;
use crate::store::{STRAY_MS, Store, StoreError, Stray};
use crate::task::{CallbackVerdict, EarlyCallbacks, Event, Payload, TaskId};
use crate::telemetry::metrics::{EndpointOutcome, Metrics};

/// Events matched at a time.
const BATCH: usize = 64;

/// How often the store is asked even if nobody said that there is work; old events are forgotten then.
const FALLBACK: Duration = Duration::from_secs(30);

/// Brings early events to their tasks.
pub struct Strays {
    /// Holds them.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Metrics,
    /// Is notified when an event or an answer came.
    pub wake: Arc<Notify>,
}

impl Strays {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let woken = self.wake.notified();
            if let Err(error) = self.tick().await {
                warn!(%error, "Early events could not be brought to their tasks; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
                self.wake.notify_one();
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(FALLBACK) => self.forget_old().await,
                () = stop.cancelled() => {}
            }
        }
    }

    async fn forget_old(&self) {
        if let Err(error) = self.store.purge_strays(self.clock.now().plus_millis(-STRAY_MS)).await {
            warn!(%error, "Old events could not be forgotten; trying again");
        }
    }

    /// What an event means for a task, which may have a rule of its own.
    async fn verdict(&self, stray: &Stray, task: TaskId) -> Result<CallbackVerdict, StoreError> {
        match self.store.read(task).await {
            Ok(record) => {
                let own = follow::own_verdict(&record.request.follow, &stray.body);
                Ok(own.unwrap_or_else(|| stray.verdict.clone()))
            }
            Err(StoreError::NotFound) => Ok(stray.verdict.clone()),
            Err(error) => Err(error),
        }
    }

    /// Matches all there is.
    pub async fn tick(&self) -> Result<(), StoreError> {
        loop {
            let matched = self.store.matched_strays(BATCH).await?;
            let some = matched.len();
            for (stray, task) in matched {
                let verdict = self.verdict(&stray, task).await?;
                let event = Event::Callback { verdict, early: EarlyCallbacks::Accept };
                match self.store.transition(task, event, Some(Payload::told(stray.body)), self.clock.now()).await {
                    Ok(_) => self.metrics.endpoint_event(EndpointOutcome::Matched),
                    Err(StoreError::Refused(_) | StoreError::NotFound) => {
                        self.metrics.endpoint_event(EndpointOutcome::Ignored);
                    }
                    Err(error) => return Err(error),
                }
                self.store.drop_stray(stray.id).await?;
            }
            if some < BATCH {
                return Ok(());
            }
        }
    }
}
