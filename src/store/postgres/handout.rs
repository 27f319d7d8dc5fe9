//! Hands work out in the transaction that makes it due, to this node's own loops, as long as nothing older waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::batch::{Batch, Bodies};
use super::in_hand::Hands;
use super::row::Row;
use crate::store::{Capacity, Claimed, ClaimedDelivery, DeliveryTaker, HostId, StoreError, TaskRecord, TaskTaker};
use crate::task::{self, Event, State, TaskId};

/// Who takes work on in this node, and what transactions under way have promised them.
#[derive(Default)]
pub(super) struct HandOut {
    desks: Mutex<Desks>,
    /// The last look found less than there was room for: what becomes due now is next.
    pub tasks_drained: AtomicBool,
    pub webhooks_drained: AtomicBool,
    /// A promise was kept, or came to nothing.
    forgotten: Notify,
}

#[derive(Default)]
struct Desks {
    /// Weak, because who makes calls holds the store.
    tasks: Option<Weak<TaskTaker>>,
    lease: Duration,
    webhooks: Option<Weak<DeliveryTaker>>,
    promised_calls: HashMap<HostId, usize>,
    promised_webhooks: usize,
}

/// What one transaction promised. It is forgotten when this is dropped, however the transaction ends.
pub(super) struct Promised<'a> {
    hand_out: &'a HandOut,
    promise: Promise,
}

impl Promised<'_> {
    /// The transaction is on disk: hands over what was promised.
    pub fn keep(self, batch: &mut Batch, bodies: &Bodies, hands: &Hands) -> Result<(), StoreError> {
        HandOut::keep(&self.promise, batch, bodies, hands)
    }
}

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        self.hand_out.forget(&mut self.promise);
    }
}

#[derive(Default)]
struct Promise {
    tasks: Option<(Arc<TaskTaker>, Vec<TaskId>)>,
    hosts: Vec<HostId>,
    webhooks: Option<(Arc<DeliveryTaker>, Vec<TaskId>)>,
}

impl HandOut {
    fn desks(&self) -> std::sync::MutexGuard<'_, Desks> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who makes calls from now on.
    pub fn register_tasks(&self, taker: &Arc<TaskTaker>, lease: Duration) {
        let mut desks = self.desks();
        (desks.tasks, desks.lease) = (Some(Arc::downgrade(taker)), lease);
    }

    /// Who delivers webhooks from now on.
    pub fn register_webhooks(&self, taker: &Arc<DeliveryTaker>) {
        self.desks().webhooks = Some(Arc::downgrade(taker));
    }

    /// Waits until all that transactions under way have promised to who makes calls is handed over, or will never be. Until
    /// the next look there is nothing more: who asks for this has no room.
    pub async fn settle(&self) {
        self.tasks_drained.store(false, Ordering::Release);
        loop {
            let mut forgotten = std::pin::pin!(self.forgotten.notified());
            forgotten.as_mut().enable();
            if self.desks().promised_calls.is_empty() {
                return;
            }
            forgotten.await;
        }
    }

    /// Nothing is promised.
    pub fn nothing(&self) -> Promised<'_> {
        Promised { hand_out: self, promise: Promise::default() }
    }

    /// Claims what the batch makes due, as far as there is room. `node` is who claims.
    pub fn promise(&self, batch: &mut Batch, node: i64, dispatchers: usize) -> Promised<'_> {
        let mut promise = Promise::default();
        let mut desks = self.desks();
        if self.tasks_drained.load(Ordering::Acquire) {
            self.promise_calls(&mut desks, batch, (node, dispatchers), &mut promise);
        }
        if self.webhooks_drained.load(Ordering::Acquire) {
            self.promise_webhooks(&mut desks, batch, node, &mut promise);
        }
        drop(desks);
        Promised { hand_out: self, promise }
    }

    fn promise_calls(
        &self,
        desks: &mut Desks,
        batch: &mut Batch,
        (node, dispatchers): (i64, usize),
        promise: &mut Promise,
    ) {
        let Some(taker) = desks.tasks.as_ref().and_then(Weak::upgrade) else { return };
        let due: Vec<Row> =
            batch.moved().filter(|row| is_pending(row) && batch.requests.contains_key(&row.task.id)).cloned().collect();
        if due.is_empty() {
            return;
        }
        let Capacity { slots, per_host, in_flight } = share(taker.room(), dispatchers);
        let mut free = slots.saturating_sub(desks.promised_calls.values().sum());
        let mut given = Vec::new();
        for row in due {
            let (id, host) = (row.task.id, row.host);
            let busy = in_flight.get(&host).copied().unwrap_or_default()
                + desks.promised_calls.get(&host).copied().unwrap_or_default();
            let claimed = Event::Claimed { lease_until: batch.now.plus(desks.lease) };
            if free == 0 || busy >= per_host {
                // What waits now is older than what comes.
                self.tasks_drained.store(false, Ordering::Release);
                continue;
            }
            let Ok(step) = task::step(&row.task, &claimed, batch.now) else { continue };
            let now = batch.now;
            batch.apply(row, step, None, now);
            batch.callers.insert(id, node);
            *desks.promised_calls.entry(host).or_default() += 1;
            promise.hosts.push(host);
            given.push(id);
            free -= 1;
        }
        promise.tasks = Some((taker, given));
    }

    fn promise_webhooks(&self, desks: &mut Desks, batch: &mut Batch, node: i64, promise: &mut Promise) {
        let Some(taker) = desks.webhooks.as_ref().and_then(Weak::upgrade) else { return };
        let now = batch.now;
        let is_due = |row: &&Row| {
            row.task.status().is_final()
                && row.delivery.and_then(|delivery| delivery.next_attempt_at).is_some_and(|at| at <= now)
        };
        let due: Vec<Row> = batch.moved().filter(is_due).cloned().collect();
        if due.is_empty() {
            return;
        }
        let free = taker.room().saturating_sub(desks.promised_webhooks);
        if due.len() > free {
            self.webhooks_drained.store(false, Ordering::Release);
        }
        let mut given = Vec::new();
        for row in due.into_iter().take(free) {
            let id = row.task.id;
            batch.deliverers.insert(id, Some(node));
            batch.want_record(&row);
            given.push(id);
        }
        desks.promised_webhooks += given.len();
        promise.webhooks = Some((taker, given));
    }

    fn keep(promise: &Promise, batch: &mut Batch, bodies: &Bodies, hands: &Hands) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        if let Some((taker, ids)) = &promise.tasks {
            hands.calls.take(ids.iter().copied());
            let claim = |id: &TaskId| {
                let row = batch.row(*id).ok()?.clone();
                let request = batch.requests.remove(id)?;
                Some(Claimed { task: row.task, request, host: row.host, key_number: row.key_number })
            };
            taker.take(ids.iter().filter_map(claim).collect());
        }
        if let Some((taker, ids)) = &promise.webhooks {
            hands.webhooks.take(ids.iter().copied());
            let mut claimed = Vec::with_capacity(ids.len());
            for id in ids {
                match batch.row(*id).and_then(|row| claim_of(row, bodies)) {
                    Ok(claim) => claimed.push(claim),
                    Err(error) => outcome = Err(error),
                }
            }
            taker.take(claimed);
        }
        outcome
    }

    /// The transaction came to nothing, or what it promised was handed over.
    fn forget(&self, promise: &mut Promise) {
        let mut desks = self.desks();
        for host in promise.hosts.drain(..) {
            if let Some(calls) = desks.promised_calls.get_mut(&host) {
                *calls -= 1;
                if *calls == 0 {
                    desks.promised_calls.remove(&host);
                }
            }
        }
        if let Some((_, ids)) = promise.webhooks.take() {
            desks.promised_webhooks -= ids.len();
        }
        drop(desks);
        self.forgotten.notify_waiters();
    }
}

fn is_pending(row: &Row) -> bool {
    matches!(row.task.state, State::Pending { .. })
}

/// This node's share of what all nodes together may ask of a host at once.
pub(super) fn share(capacity: Capacity, nodes: usize) -> Capacity {
    Capacity { per_host: capacity.per_host.div_ceil(nodes.max(1)), ..capacity }
}

/// A webhook to be delivered, with all that it tells.
pub(super) fn claim_of(row: &Row, bodies: &Bodies) -> Result<ClaimedDelivery, StoreError> {
    let record = record(row, bodies)?;
    let delivery = record.delivery.ok_or(StoreError::NotFound)?;
    Ok(ClaimedDelivery { record, delivery })
}

/// A task with all that was read along with it.
pub(super) fn record(row: &Row, bodies: &Bodies) -> Result<TaskRecord, StoreError> {
    let id = row.task.id;
    let kept = |seq: Option<i32>| seq.map(|seq| bodies.get(&(id, seq)).cloned().ok_or_else(|| missing(id, seq)));
    let payload = |seq| kept(seq).transpose()?.map(super::batch::Kept::payload).transpose();
    let request = kept(Some(0)).transpose()?.ok_or_else(|| missing(id, 0))?.request()?;
    Ok(TaskRecord {
        request,
        key_number: row.key_number,
        result: payload(row.result)?,
        progress: payload(row.progress)?,
        delivery: row.delivery,
        task: row.task.clone(),
    })
}

fn missing(id: TaskId, seq: i32) -> StoreError {
    StoreError::Unavailable(format!("part {seq} of the journal of task {id} is missing"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::store::contract;
    use crate::store::postgres::acts::Act;
    use crate::task::TeamId;

    /// Has room.
    struct Room;

    impl crate::store::Taker<Capacity, Claimed> for Room {
        fn room(&self) -> Capacity {
            Capacity { slots: 9, per_host: 9, ..Capacity::default() }
        }

        fn take(&self, _: Vec<Claimed>) {}
    }

    fn created() -> Batch {
        let mut batch = Batch::default();
        batch.perform(&Act::Create(Box::new(contract::new(TeamId(1), 1)))).unwrap();
        batch
    }

    #[tokio::test]
    async fn what_a_transaction_promised_is_waited_for_and_nothing_more_is_promised() {
        let (hand_out, room): (HandOut, Arc<TaskTaker>) = (HandOut::default(), Arc::new(Room));
        hand_out.register_tasks(&room, Duration::from_secs(15));
        hand_out.tasks_drained.store(true, Ordering::Release);
        let promised = hand_out.promise(&mut created(), 1, 1);
        let mut settled = std::pin::pin!(hand_out.settle());
        assert!(settled.as_mut().now_or_never().is_none());
        let mut later = created();
        drop(hand_out.promise(&mut later, 1, 1));
        assert!(later.callers.is_empty());
        drop(promised);
        settled.await;
    }
}
