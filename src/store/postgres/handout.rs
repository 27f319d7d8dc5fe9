//! Hands work out in the transaction that makes it due, to this node's own loops, as long as nothing older waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::batch::{Batch, Bodies};
use super::claims::Choice;
use super::in_hand::Hands;
use super::row::Row;
use crate::store::{Capacity, Claimed, ClaimedDelivery, DeliveryTaker, HostId, StoreError, TaskRecord, TaskTaker};
use crate::task::{self, Event, State, TaskId, TeamId};

/// Who takes work on in this node, and what transactions under way have promised them.
#[derive(Default)]
pub(super) struct HandOut {
    desks: Mutex<Desks>,
    /// The last look left nobody waiting that there was a slot for: what becomes due now is next.
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
    promised_calls: HashMap<(TeamId, HostId), usize>,
    promised_webhooks: usize,
}

impl Desks {
    fn room(&self, taker: &Arc<TaskTaker>, dispatchers: usize) -> Capacity {
        let mut capacity = share(taker.room(), dispatchers);
        for ((team, host), calls) in &self.promised_calls {
            capacity.enter(*team, *host, *calls);
        }
        capacity
    }

    fn promise_call(&mut self, promise: &mut Promise, team: TeamId, host: HostId) {
        *self.promised_calls.entry((team, host)).or_default() += 1;
        promise.calls.push((team, host));
    }

    fn forget_calls(&mut self, promise: &mut Promise) {
        for call in promise.calls.drain(..) {
            if let Some(calls) = self.promised_calls.get_mut(&call) {
                *calls -= 1;
                if *calls == 0 {
                    self.promised_calls.remove(&call);
                }
            }
        }
    }
}

/// What one transaction promised. It is forgotten when this is dropped, however the transaction ends.
pub(super) struct Promised<'a> {
    hand_out: &'a HandOut,
    promise: Promise,
}

impl Promised<'_> {
    /// The transaction is on disk: hands over what was promised.
    pub fn keep(mut self, batch: &mut Batch, bodies: &Bodies, hands: &Hands) -> Result<(), StoreError> {
        if let Some((taker, ids)) = self.promise.tasks.take() {
            hands.calls.take(ids.iter().copied());
            let claim = |id: &TaskId| {
                let row = batch.row(*id).ok()?.clone();
                let request = batch.requests.remove(id)?;
                Some(Claimed { task: row.task, request, host: row.host, key_number: row.key_number })
            };
            self.hand_out.hand_over(&mut self.promise, &taker, ids.iter().filter_map(claim).collect());
        }
        HandOut::keep_webhooks(&self.promise, batch, bodies, hands)
    }

    /// The transaction is on disk: hands over what was claimed in it.
    pub fn hand_over(mut self, taker: &Arc<TaskTaker>, claimed: Vec<Claimed>) {
        self.hand_out.hand_over(&mut self.promise, taker, claimed);
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
    /// Whose tasks, and for which hosts.
    calls: Vec<(TeamId, HostId)>,
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

    /// This node's share of the room that there is beside what is promised.
    pub fn room(&self, taker: &Arc<TaskTaker>, dispatchers: usize) -> Capacity {
        self.desks().room(taker, dispatchers)
    }

    /// Has a look's tasks chosen, with no promise in between, and promises them: so what the look and other transactions claim
    /// side by side is within the same bounds. Answers too whether nothing else was promised at that moment.
    pub fn promise_chosen(
        &self,
        taker: &Arc<TaskTaker>,
        dispatchers: usize,
        choose: impl FnOnce(&mut Capacity) -> Choice,
    ) -> (Promised<'_>, Choice, bool) {
        let mut promise = Promise::default();
        let mut desks = self.desks();
        let is_alone = desks.promised_calls.is_empty();
        let choice = choose(&mut desks.room(taker, dispatchers));
        for (_, team, host) in &choice.chosen {
            desks.promise_call(&mut promise, *team, *host);
        }
        drop(desks);
        (Promised { hand_out: self, promise }, choice, is_alone)
    }

    /// Hands calls over. In the same breath they are promised no longer, so that nobody counts them twice, or not at all.
    fn hand_over(&self, promise: &mut Promise, taker: &Arc<TaskTaker>, claimed: Vec<Claimed>) {
        let mut desks = self.desks();
        taker.take(claimed);
        desks.forget_calls(promise);
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
        let mut capacity = desks.room(&taker, dispatchers);
        let mut given = Vec::new();
        for row in due {
            let (id, team, host) = (row.task.id, row.task.team, row.host);
            let claimed = Event::Claimed { lease_until: batch.now.plus(desks.lease) };
            // The reserve is kept here even if there is only one team: the look that follows knows, and takes its slots.
            if capacity.slots_for(team) == 0 || capacity.room_at(host) == 0 {
                // What waits now is older than what comes.
                self.tasks_drained.store(false, Ordering::Release);
                continue;
            }
            let Ok(step) = task::step(&row.task, &claimed, batch.now) else { continue };
            let now = batch.now;
            batch.apply(row, step, None, now);
            batch.callers.insert(id, node);
            capacity.enter(team, host, 1);
            desks.promise_call(promise, team, host);
            given.push(id);
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

    fn keep_webhooks(promise: &Promise, batch: &Batch, bodies: &Bodies, hands: &Hands) -> Result<(), StoreError> {
        let mut outcome = Ok(());
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
        desks.forget_calls(promise);
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

    #[tokio::test]
    async fn a_look_and_other_transactions_share_one_room() {
        let (hand_out, room): (HandOut, Arc<TaskTaker>) = (HandOut::default(), Arc::new(Room));
        hand_out.register_tasks(&room, Duration::from_secs(15));
        hand_out.tasks_drained.store(true, Ordering::Release);
        let new = contract::new(TeamId(2), 2);
        let choose = |capacity: &mut Capacity| {
            assert_eq!((capacity.slots, capacity.by_team.get(&TeamId(1))), (8, Some(&1)));
            Choice { chosen: vec![(new.task.id, TeamId(2), new.host)], passed_over: false, drained: true }
        };
        let promised = hand_out.promise(&mut created(), 1, 1);
        let (looked, _, is_alone) = hand_out.promise_chosen(&room, 1, choose);
        assert!(!is_alone);
        let left = hand_out.room(&room, 1);
        assert_eq!((left.slots, left.in_flight[&new.host], left.by_team[&TeamId(2)]), (7, 2, 1));
        drop(promised);
        looked.hand_over(&room, Vec::new());
        assert_eq!(hand_out.room(&room, 1).slots, 9, "what is handed over, or came to nothing, is promised no longer");
    }
}
