//! What commands do to the tasks that a transaction holds. The rules are `task::step`'s; here is what belongs to them.

use super::batch::Batch;
use super::in_hand::Hands;
use super::row::Row;
use crate::store::encoding;
use crate::store::{Created, IDEMPOTENCY_MS, Idempotency, LATE_BODY_MAX, NewTask, StoreError};
use crate::task::{
    self, Delivery, DeliveryOutcome, DeliveryStatus, Entry, Event, Late, Payload, Refusal, Task, TaskId, TeamId,
    Timestamp, Why,
};

/// Something that a caller wants done to one task.
#[derive(Clone)]
pub(super) enum Act {
    Create(Box<NewTask>),
    Transition { id: TaskId, event: Event, payload: Option<Payload>, now: Timestamp },
    FinishDelivery { id: TaskId, claimed: Delivery, outcome: DeliveryOutcome, now: Timestamp },
    Resend { id: TaskId, now: Timestamp },
    Delete { id: TaskId },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Created(Created),
    Task(Box<Task>),
    Delivery(Delivery),
    Nothing,
}

impl Act {
    /// The task that it is about.
    pub fn id(&self) -> TaskId {
        match self {
            Self::Create(new) => new.task.id,
            Self::Transition { id, .. }
            | Self::FinishDelivery { id, .. }
            | Self::Resend { id, .. }
            | Self::Delete { id } => *id,
        }
    }

    /// Whether the task must be there, and be locked, first.
    pub fn needs_row(&self) -> bool {
        !matches!(self, Self::Create(_))
    }

    /// The idempotency key that must be looked up first.
    pub fn needs_key(&self) -> Option<(TeamId, Idempotency)> {
        match self {
            Self::Create(new) => new.idempotency.map(|idempotency| (new.task.team, idempotency)),
            _ => None,
        }
    }

    /// Whether it must be known who has the webhook in hand.
    pub fn needs_webhook(&self) -> bool {
        matches!(self, Self::Resend { .. })
    }

    /// Takes out of this node's hands what the act tells the outcome of.
    pub fn gives_back(&self, hands: &Hands) {
        match self {
            Self::Transition { id, event: Event::Polled { .. }, .. } => hands.polls.give_back(*id),
            Self::Transition {
                id,
                event: Event::Answered { .. } | Event::Returned { .. } | Event::Interrupted { .. },
                ..
            } => hands.calls.give_back(*id),
            Self::FinishDelivery { id, .. } => hands.webhooks.give_back(*id),
            _ => {}
        }
    }

    /// How many bytes it brings along, more or less.
    pub fn weight(&self) -> usize {
        match self {
            Self::Create(new) => new.request.body.as_ref().map_or(0, String::len),
            Self::Transition { payload, .. } => payload.as_ref().map_or(0, |payload| payload.body.len()),
            _ => 0,
        }
    }
}

impl Batch {
    /// Does it, in memory.
    pub fn perform(&mut self, act: &Act) -> Result<Done, StoreError> {
        match act {
            Act::Create(new) => self.create(new).map(Done::Created),
            Act::Transition { id, event, payload, now } => {
                self.transition(*id, event, payload.as_ref(), *now).map(|task| Done::Task(Box::new(task)))
            }
            Act::FinishDelivery { id, claimed, outcome, now } => {
                self.finish_delivery(*id, *claimed, outcome, *now).map(Done::Delivery)
            }
            Act::Resend { id, now } => self.resend(*id, *now).map(Done::Delivery),
            Act::Delete { id } => self.delete(*id).map(|()| Done::Nothing),
        }
    }

    fn create(&mut self, new: &NewTask) -> Result<Created, StoreError> {
        let task = &new.task;
        self.heard(task.created_at);
        if let Some(idempotency) = &new.idempotency
            && let Some(before) = self.created_before(task.team, idempotency, task.created_at)?
        {
            return Ok(Created::Before(before));
        }
        if self.has(task.id) {
            return Err(StoreError::Taken);
        }
        let row = Row {
            task: task.clone(),
            host: new.host,
            key_number: new.key_number,
            head: 0,
            answer: None,
            result: None,
            progress: None,
            delivery: None,
            hook_retries: new.request.on_complete_max_retries,
        };
        if let Some(idempotency) = &new.idempotency {
            self.remember(task, idempotency);
        }
        self.add(row, new.request.clone());
        Ok(Created::New)
    }

    fn created_before(
        &self,
        team: TeamId,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        let Some(known) = self.known.get(&(team, idempotency.key)) else { return Ok(None) };
        let fresh = known.is_there && now.millis_since(known.at) < IDEMPOTENCY_MS;
        match fresh {
            true if known.body != idempotency.body => Err(StoreError::KeyReused),
            true => Ok(Some(known.task)),
            false => Ok(None),
        }
    }

    /// Steps a task.
    pub fn transition(
        &mut self,
        id: TaskId,
        event: &Event,
        payload: Option<&Payload>,
        now: Timestamp,
    ) -> Result<Task, StoreError> {
        let row = self.row(id)?.clone();
        if let Event::Polled { .. } = event {
            self.pollers.insert(id, None);
        }
        match task::step(&row.task, event, now) {
            Ok(step) => Ok(self.apply(row, step, payload, now)),
            Err(refusal) => {
                self.keep_late(row, refusal, payload, now);
                Err(refusal.into())
            }
        }
    }

    /// A callback that came too late is refused, but the work that it tells of was paid for: one body is kept.
    fn keep_late(&mut self, mut row: Row, refusal: Refusal, payload: Option<&Payload>, now: Timestamp) {
        let wanted = refusal.keep_late != Late::None;
        let Some(payload) = payload.filter(|payload| wanted && payload.body.len() <= LATE_BODY_MAX) else { return };
        if row.task.late != Late::None {
            self.forget_late(row.task.id);
        }
        self.append(&mut row, &[Entry::CallbackLate], Some(encoding::write_payload(payload)), now);
        row.task.late = refusal.keep_late;
        self.put(row);
    }

    fn finish_delivery(
        &mut self,
        id: TaskId,
        claimed: Delivery,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        self.heard(now);
        let mut row = self.row(id)?.clone();
        let before = row.delivery.ok_or(StoreError::NotFound)?;
        // A second word on the same attempt changes nothing.
        if !before.takes(claimed, outcome) {
            return Ok(before);
        }
        self.deliverers.insert(id, None);
        let after = before.after(outcome, row.hook_retries, now);
        let entry = Entry::WebhookAttempted {
            attempt: after.attempts,
            status_code: outcome.status_code,
            error: outcome.error.clone(),
            next_attempt_at: after.next_attempt_at,
        };
        self.append(&mut row, &[entry], None, now);
        row.delivery = Some(after);
        self.put(row);
        Ok(after)
    }

    fn resend(&mut self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError> {
        self.heard(now);
        let mut row = self.row(id)?.clone();
        must_be_final(&row.task)?;
        let before = row.delivery.ok_or(StoreError::NotFound)?;
        // One that is planned is only brought forward; one that is under way is left to its end.
        if before.status == DeliveryStatus::Pending && self.under_way.contains(&id) {
            return Ok(before);
        }
        let again = before.again(now);
        row.delivery = Some(again);
        self.put(row);
        Ok(again)
    }

    fn delete(&mut self, id: TaskId) -> Result<(), StoreError> {
        must_be_final(&self.row(id)?.task)?;
        self.remove(id);
        Ok(())
    }
}

fn must_be_final(task: &Task) -> Result<(), StoreError> {
    if task.status().is_final() {
        return Ok(());
    }
    Err(Refusal { status: task.status(), why: Why::Conflict, keep_late: Late::None }.into())
}
