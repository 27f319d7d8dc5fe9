//! The store's writing acts, each run by the writer inside its transaction.

use rusqlite::params;

use super::row::{self, Row};
use super::writer::Writer;
use super::{failed, queries};
use crate::store::encoding::{self, Written};
use crate::store::{
    Capacity, Claimed, ClaimedDelivery, Created, IDEMPOTENCY_MS, Idempotency, LATE_BODY_MAX, NewTask, StoreError, Sweep,
};
use crate::task::{
    self, Answer, Delivery, DeliveryOutcome, DeliveryStatus, Entry, Event, Late, Refusal, State, Task, TaskId, TeamId,
    Timestamp, Why,
};

/// What a task says of itself if the store was damaged where it is.
const UNREADABLE: &str = "What is stored of this task cannot be read any more; the store's file was damaged";

impl Writer {
    /// `head` is the request's, as it is stored: made beforehand, because everybody waits for the writer.
    pub(super) fn create(&mut self, new: &NewTask, head: &str) -> Result<Created, StoreError> {
        let task = &new.task;
        self.hand_out.heard(task.created_at);
        if let Some(idempotency) = &new.idempotency
            && let Some(before) = self.created_before(task.team, idempotency, task.created_at)?
        {
            return Ok(Created::Before(before));
        }
        let body = new.request.body.as_deref().map(str::as_bytes);
        let request = self.append(None, &[], Some((head, body)), task.created_at)?;
        let row = Row {
            task: task.clone(),
            host: new.host,
            key_number: new.key_number,
            head: request,
            request,
            answer: None,
            result: None,
            progress: None,
            delivery: None,
            hook_retries: new.request.on_complete_max_retries,
        };
        if !row::insert(&self.db, &row).map_err(failed)? {
            self.db.execute("DELETE FROM journal WHERE id = ?1", [request]).map_err(failed)?;
            return Err(StoreError::Taken);
        }
        if let Some(idempotency) = &new.idempotency {
            self.remember(task, idempotency)?;
        }
        if let Some(at) = task.polling.next_at {
            self.plan_poll(task.id, at)?;
        }
        self.entered(&row)?;
        self.effects.created.push(task.team);
        Ok(Created::New)
    }

    fn created_before(
        &self,
        team: TeamId,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        match queries::known_key(&self.db, team, idempotency, now)? {
            Some(Ok(task)) => Ok(Some(task)),
            Some(Err(outdated)) => {
                self.db.execute("DELETE FROM idempotency WHERE id = ?1", [outdated]).map_err(failed)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn remember(&self, task: &Task, idempotency: &Idempotency) -> Result<(), StoreError> {
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO idempotency (team, key, body, task, at) VALUES (?1, ?2, ?3, ?4, ?5)")
            .map_err(failed)?;
        let key = task.id.sort_key();
        insert
            .execute(params![task.team.0, idempotency.key, idempotency.body, key, task.created_at.0])
            .map_err(failed)?;
        Ok(())
    }

    /// The outer result is the store's own fate; the inner one is what the transition decided.
    pub(super) fn transition(
        &mut self,
        id: TaskId,
        event: &Event,
        payload: Option<&Written>,
        now: Timestamp,
    ) -> Result<Result<Task, StoreError>, StoreError> {
        if let Event::Polled { .. } = event {
            self.polling.give_back(id.sort_key());
        }
        let row = match self.row(id) {
            Ok(row) => row,
            Err(StoreError::NotFound) => return Ok(Err(StoreError::NotFound)),
            Err(error) => return Err(error),
        };
        match task::step(&row.task, event, now) {
            Ok(step) => Ok(Ok(self.apply(row, step, payload, now)?.task)),
            Err(refusal) => {
                self.keep_late(row, refusal, payload, now)?;
                Ok(Err(refusal.into()))
            }
        }
    }

    /// A callback that came too late is refused, but the work that it tells of was paid for: one body is kept.
    fn keep_late(
        &mut self,
        mut row: Row,
        refusal: Refusal,
        payload: Option<&Written>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let wanted = refusal.keep_late != Late::None;
        let Some(payload) =
            payload.filter(|payload| wanted && payload.body.as_ref().is_none_or(|body| body.len() <= LATE_BODY_MAX))
        else {
            return Ok(());
        };
        if row.task.late != Late::None {
            self.forget_late(row.head)?;
        }
        row.head = self.append(Some(row.head), &[Entry::CallbackLate], Some(payload.parts()), now)?;
        row.task.late = refusal.keep_late;
        self.save(&row, row.task.status().is_final())
    }

    /// Empties the place of a late body; its journal row stays a link of the chain.
    fn forget_late(&self, head: i64) -> Result<(), StoreError> {
        let sql = "WITH RECURSIVE chain (id) AS (VALUES (?1) UNION ALL \
                   SELECT prev FROM journal JOIN chain USING (id) WHERE prev IS NOT NULL) \
                   UPDATE journal SET events = NULL, head = NULL, body = NULL \
                   WHERE id IN chain AND events = ?2";
        let late = encoding::write_entries(&[Entry::CallbackLate]);
        self.db.prepare_cached(sql).and_then(|mut update| update.execute(params![head, late])).map_err(failed)?;
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        capacity: &Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut capacity = capacity.clone();
        let mut claimed = Vec::new();
        while capacity.slots > 0 {
            let Some((key, host)) = self.ready.next(&self.db, &capacity).map_err(failed)? else {
                break;
            };
            let row = self.row_by_key(key)?.ok_or_else(|| out_of_step(key))?;
            let step = task::step(&row.task, &Event::Claimed { lease_until }, now).map_err(|_| out_of_step(key))?;
            let row = self.apply(row, step, None, now)?;
            capacity.enter(row.task.team, host, 1);
            match queries::request(&self.db, row.request) {
                Ok(request) => claimed.push(Claimed { task: row.task, request, host, key_number: row.key_number }),
                Err(StoreError::Unreadable(why)) => self.give_up(row, &why, now)?,
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
    }

    /// Ends a claimed task whose request cannot be read: it must not keep all others waiting, now and after each start.
    fn give_up(&mut self, row: Row, why: &str, now: Timestamp) -> Result<(), StoreError> {
        tracing::error!(task = %row.task.id.0, why, "A task's request cannot be read; the task fails");
        let answer = Answer::Forbidden { error: UNREADABLE.to_owned() };
        let event = Event::Answered { attempt: row.task.attempt, answer, duration_ms: 0 };
        let step = task::step(&row.task, &event, now).map_err(|_| out_of_step(row.task.id.sort_key()))?;
        self.apply(row, step, None, now).map(drop)
    }

    pub(super) fn void_claims(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let mut voided = 0;
        for team in queries::teams(&self.db)? {
            for key in self.processing(team.id)? {
                let row = self.row_by_key(key)?.ok_or_else(|| out_of_step(key))?;
                let event = Event::Interrupted { attempt: row.task.attempt };
                let step = task::step(&row.task, &event, now).map_err(|_| out_of_step(key))?;
                self.apply(row, step, None, now)?;
                voided += 1;
            }
        }
        Ok(voided)
    }

    fn processing(&self, team: TeamId) -> Result<Vec<i64>, StoreError> {
        let mut select = self
            .db
            .prepare_cached("SELECT key FROM task WHERE team = ?1 AND status = 2 AND status NOT IN (3, 5)")
            .map_err(failed)?;
        let keys = select.query_map([team.0], |row| row.get(0)).map_err(failed)?;
        keys.collect::<Result<_, _>>().map_err(failed)
    }

    pub(super) fn fire_timers(&mut self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError> {
        let due = self.due_timers(sweep.limit, now)?;
        for (at, key) in &due {
            let mut delete = self.db.prepare_cached("DELETE FROM timer WHERE at = ?1 AND key = ?2").map_err(failed)?;
            delete.execute([at, key]).map_err(failed)?;
            drop(delete);
            // A timer whose task moved on, or is gone, is dropped here and not when the task moves: one write less.
            if let Some(row) = self.row_by_key(*key)? {
                self.fire(row, sweep, now)?;
            }
        }
        Ok(due.len())
    }

    fn due_timers(&self, limit: usize, now: Timestamp) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut select = self
            .db
            .prepare_cached("SELECT at, key FROM timer WHERE at <= ?1 ORDER BY at, key LIMIT ?2")
            .map_err(failed)?;
        let rows = select.query_map(params![now.0, limit], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    fn fire(&mut self, row: Row, sweep: Sweep, now: Timestamp) -> Result<(), StoreError> {
        let event = match row.task.state {
            State::Delayed { .. } => Event::Due,
            State::Waiting { deadline } | State::Polling { deadline }
                if deadline < sweep.missed_before && now < sweep.not_before =>
            {
                return self.set_timer(sweep.not_before, row.task.id.sort_key());
            }
            _ => Event::DeadlinePassed,
        };
        match task::step(&row.task, &event, now) {
            Ok(step) => self.apply(row, step, None, now).map(drop),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn claim_deliveries(
        &mut self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let mut claimed = Vec::new();
        for (at, key) in self.due_deliveries(limit, now)? {
            if self.row_by_key(key)?.is_none() {
                self.unplan_delivery(key, Timestamp(at)).map_err(failed)?;
            }
            claimed.extend(self.claim_delivery(key, now)?);
        }
        Ok(claimed)
    }

    /// Takes a task's due webhook in hand; nothing if the task is gone, or if what the webhook would tell cannot be read:
    /// it is never delivered then.
    pub(super) fn claim_delivery(&mut self, key: i64, now: Timestamp) -> Result<Option<ClaimedDelivery>, StoreError> {
        let Some(row) = self.row_by_key(key)? else { return Ok(None) };
        let (id, delivery) = (row.task.id, row.delivery.unwrap_or(Delivery::due(now)));
        match queries::complete(&self.db, row) {
            Ok(record) => {
                self.delivering.take(key);
                Ok(Some(ClaimedDelivery { record, delivery }))
            }
            Err(StoreError::Unreadable(why)) => {
                tracing::error!(task = %id.0, why, "What a webhook is to tell cannot be read; it is not delivered");
                let outcome = DeliveryOutcome { status_code: None, error: Some(UNREADABLE.to_owned()), hopeless: true };
                self.finish_delivery(id, delivery, &outcome, now)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn due_deliveries(&self, limit: usize, now: Timestamp) -> Result<Vec<(i64, i64)>, StoreError> {
        // Those under way are still in the outbox, at its front.
        let mut select = self
            .db
            .prepare_cached("SELECT at, key FROM outbox WHERE at <= ?1 ORDER BY at, key LIMIT ?2")
            .map_err(failed)?;
        let most = limit + self.delivering.len();
        let rows = select.query_map(params![now.0, most], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        let idle = |found: &rusqlite::Result<(i64, i64)>| match found {
            Ok((_, key)) => !self.delivering.contains(*key),
            Err(_) => true,
        };
        rows.filter(idle).take(limit).collect::<Result<_, _>>().map_err(failed)
    }

    pub(super) fn finish_delivery(
        &mut self,
        id: TaskId,
        claimed: Delivery,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        self.hand_out.heard(now);
        self.delivering.give_back(id.sort_key());
        let mut row = self.row(id)?;
        let before = row.delivery.ok_or(StoreError::NotFound)?;
        // A second word on the same attempt changes nothing.
        if !before.takes(claimed, outcome) {
            return Ok(before);
        }
        let after = before.after(outcome, row.hook_retries, now);
        if let Some(at) = before.next_attempt_at {
            self.unplan_delivery(id.sort_key(), at).map_err(failed)?;
        }
        if let Some(at) = after.next_attempt_at {
            self.plan_delivery(id, at)?;
        }
        let entry = Entry::WebhookAttempted {
            attempt: after.attempts,
            status_code: outcome.status_code,
            error: outcome.error.clone(),
            next_attempt_at: after.next_attempt_at,
        };
        row.head = self.append(Some(row.head), &[entry], None, now)?;
        row.delivery = Some(after);
        self.save(&row, true)?;
        self.may_go(&row)?;
        Ok(after)
    }

    pub(super) fn resend(&mut self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError> {
        self.hand_out.heard(now);
        let mut row = self.row(id)?;
        if !row.task.status().is_final() {
            return Err(not_final(&row.task));
        }
        let before = row.delivery.ok_or(StoreError::NotFound)?;
        // One that is planned is only brought forward; one that is under way is left to its end.
        if before.status == DeliveryStatus::Pending && self.delivering.contains(id.sort_key()) {
            return Ok(before);
        }
        if let Some(at) = before.next_attempt_at {
            self.unplan_delivery(id.sort_key(), at).map_err(failed)?;
        }
        let again = before.again(now);
        self.plan_delivery(id, now)?;
        self.may_not_go(&row)?;
        row.delivery = Some(again);
        self.save(&row, false)?;
        Ok(again)
    }

    pub(super) fn next_delivery(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT at, key FROM outbox ORDER BY at, key LIMIT ?1").map_err(failed)?;
        let rows = select
            .query_map([self.delivering.len() + 1], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .map_err(failed)?;
        for found in rows {
            let (at, key) = found.map_err(failed)?;
            if !self.delivering.contains(key) {
                return Ok(Some(Timestamp(at)));
            }
        }
        Ok(None)
    }

    pub(super) fn delete(&mut self, id: TaskId) -> Result<(), StoreError> {
        let row = self.row(id)?;
        if !row.task.status().is_final() {
            return Err(not_final(&row.task));
        }
        self.remove(&row)
    }

    pub(super) fn purge(&mut self, before: Timestamp, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        let old = self.take_ended(before, limit)?;
        for key in &old {
            let row = self.row_by_key(*key)?;
            if let Some(row) = row.filter(|row| row.task.completed_at().is_some() && !row.is_delivering()) {
                self.remove(&row)?;
            }
        }
        let outdated = now.plus_millis(-IDEMPOTENCY_MS);
        self.db
            .prepare_cached(
                "DELETE FROM idempotency WHERE id IN (SELECT id FROM idempotency ORDER BY id LIMIT ?2) AND at < ?1",
            )
            .and_then(|mut delete| delete.execute(params![outdated.0, limit]))
            .map_err(failed)?;
        Ok(old.len())
    }

    /// Takes the tasks that ended before that time, the oldest first, off the list of those that may go.
    fn take_ended(&self, before: Timestamp, limit: usize) -> Result<Vec<i64>, StoreError> {
        let mut take = self
            .db
            .prepare_cached(
                "DELETE FROM ended WHERE (at, key) IN (SELECT at, key FROM ended WHERE at < ?1 ORDER BY at, key LIMIT ?2) \
                 RETURNING key",
            )
            .map_err(failed)?;
        let keys = take.query_map(params![before.0, limit], |row| row.get(0)).map_err(failed)?;
        keys.collect::<Result<_, _>>().map_err(failed)
    }
}

fn out_of_step(key: i64) -> StoreError {
    StoreError::Unavailable(format!("the queue and the row of task {key} disagree"))
}

fn not_final(task: &Task) -> StoreError {
    Refusal { status: task.status(), why: Why::Conflict, keep_late: Late::None }.into()
}
