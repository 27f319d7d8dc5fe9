//! Asks providers how jobs go: claims the polls that are due, makes them side by side, and hands what they found out to
//! the store.

mod ask;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::guard::Guard;
use crate::outbound::Client;
use crate::stats::{Call, Statistics};
use crate::store::{Capacity, ClaimedPoll, HostId, Store, StoreError};
use crate::task::{Event, Payload, PollVerdict, TaskId, Timestamp};
use crate::telemetry::metrics::{Metrics, PollOutcome};
use crate::timers::Alarm;
use crate::vault::Vault;

/// The longest sleep: a wall clock that was set is noticed after this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long to wait before the store is asked again after it failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Cancelled jobs that may wait to be called off at the provider; that is done as well as can be.
pub const CALLED_OFF_MAX: usize = 1024;

/// What the poller works with.
pub struct Poller {
    /// Holds the plan.
    pub store: Arc<dyn Store>,
    /// Makes the calls.
    pub client: Client,
    /// Judges each URL.
    pub guard: Arc<Guard>,
    /// Opens references to secrets, anew for each poll.
    pub vault: Arc<Vault>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Metrics,
    /// Counts for the dashboard, by team and provider.
    pub stats: Arc<Statistics>,
    /// Is told of earlier polls.
    pub alarm: Arc<Alarm>,
    /// Polls in flight at once.
    pub max_in_flight: usize,
    /// Polls in flight to one host at once.
    pub max_per_host: usize,
}

/// Polls under way, by the host of their task's target.
#[derive(Default)]
struct InFlight {
    by_host: Mutex<HashMap<HostId, usize>>,
    /// A poll ended.
    ended: Notify,
}

impl InFlight {
    fn capacity(&self, slots: usize, per_host: usize) -> Capacity {
        let in_flight = self.by_host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let busy: usize = in_flight.values().sum();
        // Nothing is reserved: polls come in the order of their times, whosever they are, and none takes long.
        Capacity { slots: slots.saturating_sub(busy), per_host, in_flight, ..Capacity::default() }
    }

    fn enter(&self, host: HostId) {
        *self.by_host.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default() += 1;
    }

    fn leave(&self, host: HostId) {
        let mut in_flight = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = in_flight.get_mut(&host) {
            *calls -= 1;
            if *calls == 0 {
                in_flight.remove(&host);
            }
        }
        self.ended.notify_one();
    }
}

impl Poller {
    /// Works until `stop`; then claims no more and waits for the polls under way. `give_up` ends the wait: a poll that is
    /// given up is made again after the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, give_up: CancellationToken) {
        let in_flight = Arc::new(InFlight::default());
        let calls = TaskTracker::new();
        while !stop.is_cancelled() {
            let turn = async {
                match self.tick(&in_flight, &calls, &give_up).await {
                    Ok(()) => {}
                    Err(error) => {
                        warn!(%error, "Due polls could not be claimed; trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            };
            stop.run_until_cancelled(turn).await;
        }
        calls.close();
        calls.wait().await;
    }

    /// Claims what is due and starts its polls; returns when there may be more to do.
    async fn tick(
        self: &Arc<Self>,
        in_flight: &Arc<InFlight>,
        calls: &TaskTracker,
        give_up: &CancellationToken,
    ) -> Result<(), StoreError> {
        let capacity = in_flight.capacity(self.max_in_flight, self.max_per_host);
        if capacity.slots == 0 {
            in_flight.ended.notified().await;
            return Ok(());
        }
        // Until the next poll is known, every new one wakes the loop.
        self.alarm.forget();
        let claimed = self.store.claim_polls(capacity, self.clock.now()).await?;
        if claimed.is_empty() {
            let next = self.store.next_poll().await?;
            self.alarm.sleep_until(next, &*self.clock, LONGEST_SLEEP).await;
            return Ok(());
        }
        for claim in claimed {
            in_flight.enter(claim.host);
            let (poller, in_flight, give_up) = (self.clone(), in_flight.clone(), give_up.clone());
            calls.spawn(async move {
                let host = claim.host;
                poller.perform(claim, &give_up).await;
                in_flight.leave(host);
            });
        }
        Ok(())
    }

    async fn perform(&self, claim: ClaimedPoll, give_up: &CancellationToken) {
        let started = tokio::time::Instant::now();
        let id = claim.record.task.id;
        if let Some(due) = claim.record.task.polling.next_at {
            self.metrics.poll_made(self.clock.now().after(due));
        }
        let Some(found) = self.ask(&claim, give_up).await else {
            if let Err(error) = self.store.return_poll(id).await {
                warn!(task.id = %id, %error, "A poll could not be given back; the next start makes it again");
            }
            return;
        };
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.metrics.poll_ended(outcome_of(&found.verdict));
        self.stats.polled(Call {
            team: claim.record.task.team,
            url: &claim.record.request.target_url,
            provider: claim.record.request.follow.provider.as_deref(),
            // A job that failed was asked after with success.
            failed: !matches!(found.verdict, PollVerdict::Done | PollVerdict::Pending | PollVerdict::Failed { .. }),
            took: started.elapsed(),
        });
        let event = Event::Polled {
            poll: claim.record.task.polling.polls + 1,
            verdict: found.verdict,
            status_code: found.status_code,
            word: found.word,
            duration_ms,
        };
        self.record(id, event, found.payload, self.clock.now()).await;
    }

    /// Hands the outcome to the store, and does not give up while the store is away: it may be the result.
    async fn record(&self, id: TaskId, event: Event, payload: Option<Payload>, now: Timestamp) {
        loop {
            match self.store.transition(id, event.clone(), payload.clone(), now).await {
                Ok(task) => return debug!(task.id = %id, status = task.status().name(), "A poll ended"),
                // The task ended meanwhile.
                Err(StoreError::Refused(_) | StoreError::NotFound) => return,
                Err(error) => {
                    self.metrics.store_failed();
                    warn!(task.id = %id, %error, "A poll's outcome could not be stored; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Tells providers that cancelled jobs are not wanted any more, one after the other. Nothing depends on it. Each node does
    /// this for what it cancels, whether or not it polls.
    pub async fn call_off(
        self: Arc<Self>,
        mut called_off: mpsc::Receiver<TaskId>,
        stop: CancellationToken,
        give_up: CancellationToken,
    ) {
        while let Some(Some(id)) = stop.run_until_cancelled(called_off.recv()).await {
            match self.ask_to_cancel(id, &give_up).await {
                Ok(Some(status)) => debug!(task.id = %id, status, "The provider was asked to cancel the job"),
                Ok(None) => {}
                Err(error) => debug!(task.id = %id, error, "The provider could not be asked to cancel the job"),
            }
        }
    }
}

fn outcome_of(verdict: &PollVerdict) -> PollOutcome {
    match verdict {
        PollVerdict::Done => PollOutcome::Done,
        PollVerdict::Failed { .. } => PollOutcome::Failed,
        PollVerdict::Pending => PollOutcome::Pending,
        PollVerdict::Refused { .. } => PollOutcome::Refused,
        PollVerdict::Later { .. } => PollOutcome::Later,
        PollVerdict::Impossible { .. } => PollOutcome::Impossible,
    }
}
