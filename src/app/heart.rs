//! What a node does because there are others: it says that it is alive, lets go of its calls where it cannot, takes back
//! what the dead had in hand, and looks around for what the others changed.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::hub::Hub;
use super::limits;
use crate::api::Api;
use crate::clock::{Clock, SharedClock};
use crate::dispatch::Grip;
use crate::store::postgres::{Postgres, Seen};
use crate::store::{Effects, Observer};
use crate::task::{TaskId, Timestamp};

/// How often a node looks around. What another node changed is seen after this time, if nothing else tells of it.
const LOOK: Duration = Duration::from_millis(400);

/// How often a node that is not heard tries again.
const AGAIN: Duration = Duration::from_millis(300);

/// How long to rest after a beat that began so long ago. What followed it must not put the next one off, or the others take
/// this node for dead before it has let go of its calls.
fn rest(lease: Duration, ago: Duration) -> Duration {
    (lease / 3).saturating_sub(ago)
}

/// The heart of a node.
pub(super) struct Heart {
    pub store: Arc<Postgres>,
    pub clock: Arc<SharedClock>,
    pub hub: Arc<Hub>,
    pub grip: Arc<Grip>,
    pub lease: Duration,
    /// Whose limits are shared, once it serves.
    pub api: OnceLock<Arc<Api>>,
}

impl Heart {
    /// Beats until `stop`. The loops go on meanwhile and afterwards, so the node stays alive until it [leaves](Self::leave).
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut heard = Instant::now();
        let (mut held, mut alive) = (true, 0);
        loop {
            let began = Instant::now();
            // Well before the others may take its calls up, so that a provider is not called by two.
            let give_up = heard + self.lease * 2 / 3;
            // An answer that comes when the word has run out is none.
            let patience = began + self.lease / 3;
            let patience = if held { patience.min(give_up) } else { patience };
            let beat = self.store.beat(self.hub.metrics.calls_in_flight());
            let beat = tokio::time::timeout_at(patience, beat).await;
            let pause = match beat {
                Ok(Ok(beat)) => {
                    let answered = self.clock.own();
                    let took = i64::try_from(beat.took.as_millis()).unwrap_or(i64::MAX) + 1;
                    self.clock.correct(answered.plus_millis(-took), answered, beat.store_time);
                    (heard, held) = (began, true);
                    alive = beat.alive;
                    if beat.lost {
                        warn!("The other nodes took this one for dead; what it had in hand is theirs");
                        self.grip.let_go();
                    }
                    // Others' work must not keep this node from being heard; what is left is done after the next beat.
                    let _ = tokio::time::timeout(self.lease / 3, self.rescue()).await;
                    rest(self.lease, began.elapsed())
                }
                Ok(Err(error)) => {
                    warn!(%error, "This node could not say that it is alive; trying again");
                    AGAIN
                }
                Err(_) => {
                    warn!("This node could not say that it is alive in time; trying again");
                    AGAIN
                }
            };
            self.hub.metrics.set_nodes(alive, heard.elapsed());
            if held && heard.elapsed() >= self.lease * 2 / 3 {
                warn!("This node cannot say that it is alive, so it lets go of its calls");
                self.grip.let_go();
                held = false;
            }
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn rescue(&self) {
        match self.store.rescue(self.clock.now()).await {
            Ok(0) => {}
            Ok(rescued) => info!(rescued, "Took back the calls of nodes that are gone"),
            Err(error) => warn!(%error, "What other nodes left could not be taken back; trying again"),
        }
        if let Err(error) = self.store.return_strangers(self.clock.now()).await {
            warn!(%error, "Claims that nobody knows of could not be given back; trying again");
        }
    }

    /// Looks around until `stop`.
    pub async fn look_around(self: Arc<Self>, stop: CancellationToken) {
        let mut seen: HashMap<TaskId, Seen> = HashMap::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let changed = self.changed(&mut seen).await;
            let soon = Some(Timestamp(i64::MIN));
            // Whatever another node may have done: each loop that is idle looks once.
            let effects = Effects {
                changed,
                ready: true,
                deliver: true,
                matched: true,
                timer: soon,
                poll: soon,
                ..Effects::default()
            };
            self.hub.committed(&effects);
            self.hub.live.changed();
            self.share_limits().await;
        }
    }

    async fn share_limits(&self) {
        let Some(api) = self.api.get() else { return };
        // Whoever cannot be told is told of what comes: a limit that is not exact is better than none.
        for text in self.store.exchange(limits::to_tell(api)).await.unwrap_or_default() {
            limits::heard(api, &text);
        }
    }

    /// Which of the tasks that somebody waits for have changed since the last look. One that is new here counts as changed.
    async fn changed(&self, seen: &mut HashMap<TaskId, Seen>) -> Vec<TaskId> {
        let waited_for = self.hub.waiters.tasks();
        if waited_for.is_empty() {
            seen.clear();
            return Vec::new();
        }
        let Ok(now) = self.store.look_at(&waited_for).await else { return Vec::new() };
        let changed =
            waited_for.into_iter().filter(|id| now.get(id) != seen.get(id) || !seen.contains_key(id)).collect();
        *seen = now;
        changed
    }

    /// Says goodbye.
    pub async fn leave(&self) {
        let _ = tokio::time::timeout(self.lease / 3, self.store.leave()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_due_a_third_of_the_lease_after_the_last_began() {
        let seconds = |ago| rest(Duration::from_secs(15), Duration::from_secs(ago)).as_secs();
        assert_eq!([0, 2, 5, 9].map(seconds), [5, 3, 0, 0]);
    }
}
