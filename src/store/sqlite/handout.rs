//! Hands work out in the commit that makes it due: after the commands of a batch, and before it is committed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::writer::Writer;
use crate::store::{Claimed, ClaimedDelivery, DeliveryTaker, StoreError, TaskTaker};
use crate::task::{TaskId, Timestamp};

/// Who takes work on, and what the batch under way has for them.
#[derive(Default)]
pub(super) struct HandOut {
    /// Weak, because who makes calls holds the store.
    tasks: Option<Weak<TaskTaker>>,
    lease: Duration,
    deliveries: Option<Weak<DeliveryTaker>>,
    /// The time that the latest command brought along.
    now: Timestamp,
    looks_for_tasks: bool,
    looks_for_deliveries: bool,
    /// Webhooks that the batch made due.
    due: Vec<TaskId>,
    claimed: Option<(Arc<TaskTaker>, Vec<Claimed>)>,
    claimed_deliveries: Option<(Arc<DeliveryTaker>, Vec<ClaimedDelivery>)>,
}

impl HandOut {
    /// A command says what time it is.
    pub fn heard(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// A webhook was planned; false if it is for later.
    pub fn planned(&mut self, id: TaskId, at: Timestamp) -> bool {
        let is_due = at <= self.now;
        if is_due {
            self.due.push(id);
        }
        is_due
    }

    /// The batch was taken back: nobody was told of what it had.
    pub fn forget(&mut self) {
        self.due.clear();
        (self.claimed, self.claimed_deliveries) = (None, None);
    }

    /// The batch is on disk.
    pub fn commit(&mut self) {
        if let Some((taker, claimed)) = self.claimed.take() {
            taker.take(claimed);
        }
        if let Some((taker, claimed)) = self.claimed_deliveries.take() {
            taker.take(claimed);
        }
    }
}

impl Writer {
    pub(super) fn look_for_tasks(&mut self, taker: &Arc<TaskTaker>, lease: Duration, now: Timestamp) {
        self.hand_out.tasks = Some(Arc::downgrade(taker));
        self.hand_out.lease = lease;
        self.hand_out.looks_for_tasks = true;
        self.hand_out.heard(now);
    }

    pub(super) fn look_for_deliveries(&mut self, taker: &Arc<DeliveryTaker>, now: Timestamp) {
        self.hand_out.deliveries = Some(Arc::downgrade(taker));
        self.hand_out.looks_for_deliveries = true;
        self.hand_out.heard(now);
    }

    /// Claims what the batch made due, for those who take it on.
    pub(super) fn hand_out(&mut self) -> Result<(), StoreError> {
        self.hand_out_tasks()?;
        self.hand_out_deliveries()
    }

    /// Nothing is handed out with this batch: whoever looked for work must look again.
    pub(super) fn hand_out_later(&mut self) {
        self.effects.ready |= std::mem::take(&mut self.hand_out.looks_for_tasks);
        self.effects.deliver |= std::mem::take(&mut self.hand_out.looks_for_deliveries) | !self.hand_out.due.is_empty();
        self.hand_out.forget();
    }

    fn hand_out_tasks(&mut self) -> Result<(), StoreError> {
        let looks = std::mem::take(&mut self.hand_out.looks_for_tasks);
        let Some(taker) = self.hand_out.tasks.as_ref().filter(|_| looks || self.effects.ready).and_then(Weak::upgrade)
        else {
            return Ok(());
        };
        let room = taker.room();
        let now = self.hand_out.now;
        let claimed = self.claim(&room, now.plus(self.hand_out.lease), now)?;
        // What there is no room for is asked for by whoever has room again.
        self.effects.ready = false;
        self.hand_out.claimed = Some((taker, claimed));
        Ok(())
    }

    fn hand_out_deliveries(&mut self) -> Result<(), StoreError> {
        let looks = std::mem::take(&mut self.hand_out.looks_for_deliveries);
        let due = std::mem::take(&mut self.hand_out.due);
        if !looks && due.is_empty() {
            return Ok(());
        }
        let Some(taker) = self.hand_out.deliveries.as_ref().and_then(Weak::upgrade) else {
            self.effects.deliver = true;
            return Ok(());
        };
        let room = taker.room();
        let claimed = if looks { self.claim_deliveries(room, self.hand_out.now)? } else { self.claim_due(&due, room)? };
        self.hand_out.claimed_deliveries = Some((taker, claimed));
        Ok(())
    }

    fn claim_due(&mut self, due: &[TaskId], room: usize) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let mut claimed = Vec::with_capacity(due.len().min(room));
        for id in due.iter().take(room) {
            // The batch may have made it due twice.
            if self.delivering.contains(id.sort_key()) {
                continue;
            }
            // A later command of the batch may have removed the task.
            claimed.extend(self.claim_delivery(id.sort_key(), self.hand_out.now)?);
        }
        Ok(claimed)
    }
}
