//! What the reference model holds, and its acts. Each act is atomic because it is called under the model's lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::store::{
    ApiKey, Capacity, Claimed, ClaimedDelivery, Counts, Created, Effects, Ended, Endpoint, EventRecord, HostId,
    IDEMPOTENCY_MS, Idempotency, LATE_BODY_MAX, ListQuery, NewTask, NewTeam, Page, Seal, StoreError, Stray, Sweep,
    TaskRecord, Team, Token,
};
use crate::task::{
    self, Delivery, DeliveryOutcome, Entry, Event, Job, Keep, Late, Payload, Refusal, State, Status, Step, Task,
    TaskId, TeamId, Timestamp, Why,
};

/// A task with all that belongs to it.
pub(super) struct Row {
    pub record: TaskRecord,
    pub events: Vec<EventRecord>,
    pub host: HostId,
    pub answer: Option<Payload>,
}

struct Remembered {
    body: [u8; 32],
    task: TaskId,
    at: Timestamp,
}

/// Everything there is.
#[derive(Default)]
pub(super) struct Shelf {
    pub rows: BTreeMap<TaskId, Row>,
    /// A timer outlives its task's state; it is dropped when it fires.
    timers: BTreeSet<(Timestamp, TaskId)>,
    /// Teams with pending tasks, in turn.
    turns: VecDeque<TeamId>,
    delivering: BTreeSet<TaskId>,
    pub polling: BTreeSet<TaskId>,
    pub jobs: BTreeMap<(TeamId, Job), TaskId>,
    pub strays: Vec<Stray>,
    pub tokens: Vec<Token>,
    pub endpoints: Vec<Endpoint>,
    idempotency: BTreeMap<(TeamId, [u8; 32]), Remembered>,
    pub teams: BTreeMap<TeamId, Team>,
    pub keys: Vec<ApiKey>,
    pub people: super::people::People,
    pub meta: BTreeMap<&'static str, Vec<u8>>,
    /// What the act under way changed.
    pub effects: Effects,
}

impl Shelf {
    pub fn reopen(&mut self) {
        self.delivering.clear();
        self.polling.clear();
        let pending = self.rows.values().map(|row| &row.record.task).filter(|task| is_pending(task));
        let teams: BTreeSet<TeamId> = pending.map(|task| task.team).collect();
        self.turns = teams.into_iter().collect();
    }

    pub fn row(&self, id: TaskId) -> Result<&Row, StoreError> {
        self.rows.get(&id).ok_or(StoreError::NotFound)
    }

    pub fn row_mut(&mut self, id: TaskId) -> Result<&mut Row, StoreError> {
        self.rows.get_mut(&id).ok_or(StoreError::NotFound)
    }

    pub fn create(&mut self, new: NewTask) -> Result<Created, StoreError> {
        let task = new.task;
        if let Some(idempotency) = &new.idempotency
            && let Some(before) = self.created_before(task.team, idempotency, task.created_at)?
        {
            return Ok(Created::Before(before));
        }
        if self.rows.contains_key(&task.id) {
            return Err(StoreError::Taken);
        }
        if let Some(Idempotency { key, body }) = new.idempotency {
            let remembered = Remembered { body, task: task.id, at: task.created_at };
            self.idempotency.insert((task.team, key), remembered);
        }
        let events = vec![EventRecord { at: task.created_at, entry: Entry::Created, body: None }];
        let record = TaskRecord {
            task: task.clone(),
            request: new.request,
            key_number: new.key_number,
            result: None,
            progress: None,
            delivery: None,
        };
        self.rows.insert(task.id, Row { record, events, host: new.host, answer: None });
        self.entered(&task);
        self.effects.created.push(task.team);
        Ok(Created::New)
    }

    pub fn created_before(
        &self,
        team: TeamId,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        let Some(remembered) = self.idempotency.get(&(team, idempotency.key)) else {
            return Ok(None);
        };
        let fresh = now.millis_since(remembered.at) < IDEMPOTENCY_MS && self.rows.contains_key(&remembered.task);
        match fresh {
            true if remembered.body != idempotency.body => Err(StoreError::KeyReused),
            true => Ok(Some(remembered.task)),
            false => Ok(None),
        }
    }

    pub fn transition(
        &mut self,
        id: TaskId,
        event: &Event,
        payload: Option<Payload>,
        now: Timestamp,
    ) -> Result<Task, StoreError> {
        if let Event::Polled { .. } = event {
            self.polling.remove(&id);
        }
        match task::step(&self.row(id)?.record.task, event, now) {
            Ok(step) => self.apply(step, payload, now),
            Err(refusal) => {
                let wanted = refusal.keep_late != Late::None;
                if let Some(payload) = payload.filter(|payload| wanted && payload.body.len() <= LATE_BODY_MAX) {
                    let row = self.row_mut(id)?;
                    row.record.task.late = refusal.keep_late;
                    row.events.retain(|event| event.entry != Entry::CallbackLate);
                    row.events.push(EventRecord { at: now, entry: Entry::CallbackLate, body: Some(payload.body) });
                }
                Err(refusal.into())
            }
        }
    }

    /// Saves what a step decided, with everything that belongs to it.
    fn apply(&mut self, step: Step, payload: Option<Payload>, now: Timestamp) -> Result<Task, StoreError> {
        let row = self.row_mut(step.task.id)?;
        let moved = row.record.task.state != step.task.state;
        let planned = row.record.task.polling.next_at != step.task.polling.next_at;
        row.record.task = step.task.clone();
        row.events.extend(step.log.into_iter().map(|entry| EventRecord { at: now, entry, body: None }));
        match step.keep {
            Keep::Nothing => {}
            Keep::Answer => row.answer = payload,
            Keep::Result => row.record.result = payload,
            Keep::AnswerAsResult => row.record.result.clone_from(&row.answer),
            Keep::Progress => row.record.progress = payload,
        }
        if step.notify {
            row.record.delivery = Some(Delivery::due(now));
            self.effects.deliver = true;
        }
        if let Some(job) = step.job {
            self.jobs.entry((step.task.team, job)).or_insert(step.task.id);
            self.effects.matched = true;
        }
        if let Some(at) = step.task.polling.next_at.filter(|_| planned) {
            self.effects.poll = Some(self.effects.poll.map_or(at, |earliest| earliest.min(at)));
        }
        if moved {
            self.effects.changed.push(step.task.id);
            self.entered(&step.task);
        }
        Ok(step.task)
    }

    /// A task is in a new state, or new itself.
    fn entered(&mut self, task: &Task) {
        self.effects.ready |= is_pending(task);
        self.effects.ended.extend(Ended::of(task));
        if let Some(at) = task.state.timer() {
            self.set_timer(at, task.id);
        }
        let in_line = self.turns.contains(&task.team);
        let pending = self.rows.values().any(|row| row.record.task.team == task.team && is_pending(&row.record.task));
        if pending && !in_line {
            self.turns.push_back(task.team);
        } else if !pending {
            self.turns.retain(|team| *team != task.team);
        }
    }

    fn set_timer(&mut self, at: Timestamp, id: TaskId) {
        self.timers.insert((at, id));
        self.effects.timer = Some(self.effects.timer.map_or(at, |earliest| earliest.min(at)));
    }

    pub fn claim(
        &mut self,
        mut capacity: Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::new();
        while capacity.slots > 0 {
            let Some(id) = self.next_in_turn(&capacity) else { break };
            self.transition(id, &Event::Claimed { lease_until }, None, now)?;
            let Row { record, host, .. } = self.row(id)?;
            capacity.enter(record.task.team, *host, 1);
            let (task, request) = (record.task.clone(), record.request.clone());
            claimed.push(Claimed { task, request, host: *host, key_number: record.key_number });
        }
        Ok(claimed)
    }

    fn next_in_turn(&mut self, capacity: &Capacity) -> Option<TaskId> {
        for _ in 0..self.turns.len() {
            self.turns.rotate_left(1);
            let team = *self.turns.back()?;
            // What is reserved is so for others: a team that is alone may have it all.
            if self.teams.len() > 1 && capacity.slots_for(team) == 0 {
                continue;
            }
            if let Some(id) = self.best(team, capacity) {
                return Some(id);
            }
        }
        None
    }

    fn best(&self, team: TeamId, capacity: &Capacity) -> Option<TaskId> {
        let candidates =
            self.rows.values().filter(|row| row.record.task.team == team && capacity.room_at(row.host) > 0);
        let places = candidates.filter_map(|row| match row.record.task.state {
            State::Pending { since } => Some((Reverse(row.record.task.priority), since, row.record.task.id)),
            _ => None,
        });
        places.min().map(|(_, _, id)| id)
    }

    pub fn void_claims(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let tasks = self.rows.values().map(|row| &row.record.task);
        let claimed = tasks.filter(|task| task.status() == Status::Processing);
        let mut claimed: Vec<_> = claimed.map(|task| (task.team, task.id, task.attempt)).collect();
        claimed.sort_unstable();
        for (_, id, attempt) in &claimed {
            self.transition(*id, &Event::Interrupted { attempt: *attempt }, None, now)?;
        }
        Ok(claimed.len())
    }

    pub fn fire_timers(&mut self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError> {
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).take(sweep.limit).copied().collect();
        for timer in &due {
            self.timers.remove(timer);
            if self.rows.contains_key(&timer.1) {
                self.fire(timer.1, sweep, now)?;
            }
        }
        Ok(due.len())
    }

    fn fire(&mut self, id: TaskId, sweep: Sweep, now: Timestamp) -> Result<(), StoreError> {
        let state = self.row(id)?.record.task.state;
        if let State::Waiting { deadline } | State::Polling { deadline } = state
            && deadline < sweep.missed_before
            && now < sweep.not_before
        {
            self.set_timer(sweep.not_before, id);
            return Ok(());
        }
        let delayed = matches!(state, State::Delayed { .. });
        let event = if delayed { Event::Due } else { Event::DeadlinePassed };
        match self.transition(id, &event, None, now) {
            Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Webhooks that nobody has claimed, by due time.
    fn outbox(&self) -> BTreeSet<(Timestamp, TaskId)> {
        let idle = self.rows.values().filter(|row| !self.delivering.contains(&row.record.task.id));
        idle.filter_map(|row| Some((row.record.delivery?.next_attempt_at?, row.record.task.id))).collect()
    }

    pub fn claim_deliveries(&mut self, limit: usize, now: Timestamp) -> Vec<ClaimedDelivery> {
        let due: Vec<_> = self.outbox().into_iter().take_while(|(at, _)| *at <= now).take(limit).collect();
        self.delivering.extend(due.iter().map(|(_, id)| *id));
        let claim = |(_, id): (Timestamp, TaskId)| {
            let record = self.rows.get(&id)?.record.clone();
            Some(ClaimedDelivery { delivery: record.delivery?, record })
        };
        due.into_iter().filter_map(claim).collect()
    }

    pub fn finish_delivery(
        &mut self,
        id: TaskId,
        claimed: Delivery,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        self.delivering.remove(&id);
        let row = self.row_mut(id)?;
        let before = row.record.delivery.ok_or(StoreError::NotFound)?;
        if !before.takes(claimed, &outcome) {
            return Ok(before);
        }
        let after = before.after(&outcome, row.record.request.on_complete_max_retries, now);
        let entry = Entry::WebhookAttempted {
            attempt: after.attempts,
            status_code: outcome.status_code,
            error: outcome.error,
            next_attempt_at: after.next_attempt_at,
        };
        row.events.push(EventRecord { at: now, entry, body: None });
        row.record.delivery = Some(after);
        self.effects.deliver |= after.next_attempt_at.is_some();
        Ok(after)
    }

    pub fn return_delivery(&mut self, id: TaskId) {
        self.delivering.remove(&id);
        self.effects.deliver = true;
    }

    pub fn resend(&mut self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError> {
        let under_way = self.delivering.contains(&id);
        let row = self.row_mut(id)?;
        must_be_final(&row.record.task)?;
        let before = row.record.delivery.ok_or(StoreError::NotFound)?;
        if under_way {
            return Ok(before);
        }
        let again = before.again(now);
        row.record.delivery = Some(again);
        self.effects.deliver = true;
        Ok(again)
    }

    pub fn next_delivery(&self) -> Option<Timestamp> {
        self.outbox().first().map(|(at, _)| *at)
    }

    pub fn list(&self, query: ListQuery) -> Page {
        let fits = |task: &Task| task.team == query.team && query.status.is_none_or(|status| task.status() == status);
        let all: Vec<_> = self.rows.values().rev().filter(|row| fits(&row.record.task)).collect();
        let total = all.len() as u64;
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let page = all.into_iter().skip(offset).take(query.limit as usize);
        let (whole, rest) = Page::split(page.map(|row| (row, bytes_of(&row.record))).collect(), query.room);
        Page {
            records: whole.into_iter().map(|row| row.record.clone()).collect(),
            rest: rest.into_iter().map(|(row, bytes)| (row.record.task.id, bytes)).collect(),
            total,
        }
    }

    pub fn delete(&mut self, id: TaskId) -> Result<(), StoreError> {
        must_be_final(&self.row(id)?.record.task)?;
        self.remove(id);
        Ok(())
    }

    fn remove(&mut self, id: TaskId) {
        self.rows.remove(&id);
        self.jobs.retain(|_, task| *task != id);
    }

    pub fn purge(&mut self, before: Timestamp, limit: usize, now: Timestamp) -> usize {
        let settled =
            self.rows.values().filter(|row| row.record.delivery.is_none_or(|hook| hook.next_attempt_at.is_none()));
        let ended = settled.filter_map(|row| Some((row.record.task.completed_at()?, row.record.task.id)));
        let old: BTreeSet<_> = ended.filter(|(at, _)| *at < before).collect();
        let old: Vec<_> = old.into_iter().take(limit).collect();
        for (_, id) in &old {
            self.remove(*id);
        }
        self.idempotency.retain(|_, remembered| now.millis_since(remembered.at) < IDEMPOTENCY_MS);
        old.len()
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for row in self.rows.values() {
            *counts.entry(row.record.task.status()).or_default() += 1;
        }
        counts
    }

    pub fn create_team(&mut self, new: NewTeam, seal: &Seal, now: Timestamp) -> Result<Team, StoreError> {
        if self.teams.values().any(|team| team.name == new.name) {
            return Err(StoreError::Taken);
        }
        let id = TeamId(self.teams.keys().last().map_or(1, |last| last.0 + 1));
        let NewTeam { uid, name, rate_limit } = new;
        let team = Team { id, uid, name, created_at: now, rate_limit, secret: seal(id), old_secret: None };
        self.teams.insert(id, team.clone());
        Ok(team)
    }

    pub fn change_team(&mut self, id: TeamId, change: impl FnOnce(&mut Team)) -> Result<Team, StoreError> {
        let team = self.teams.get_mut(&id).ok_or(StoreError::NotFound)?;
        change(team);
        Ok(team.clone())
    }

    pub fn create_key(&mut self, key: ApiKey) -> Result<(), StoreError> {
        if self.keys.iter().any(|other| other.hash == key.hash || other.uid == key.uid) {
            return Err(StoreError::Taken);
        }
        self.keys.push(ApiKey { revoked_at: None, ..key });
        Ok(())
    }

    pub fn revoke_key(&mut self, uid: uuid::Uuid, now: Timestamp) -> Result<ApiKey, StoreError> {
        let alive = |key: &&mut ApiKey| key.uid == uid && key.revoked_at.is_none();
        let key = self.keys.iter_mut().find(alive).ok_or(StoreError::NotFound)?;
        key.revoked_at = Some(now);
        Ok(key.clone())
    }

    pub fn rotate_secret(&mut self, id: TeamId, sealed: Vec<u8>, old_until: Timestamp) -> Result<Team, StoreError> {
        self.change_team(id, |team| {
            let old = std::mem::replace(&mut team.secret, sealed);
            team.old_secret = Some((old, old_until));
        })
    }
}

fn is_pending(task: &Task) -> bool {
    matches!(task.state, State::Pending { .. })
}

fn must_be_final(task: &Task) -> Result<(), StoreError> {
    if task.status().is_final() {
        return Ok(());
    }
    Err(Refusal { status: task.status(), why: Why::Conflict, keep_late: Late::None }.into())
}

fn bytes_of(record: &TaskRecord) -> u64 {
    let payload = |payload: &Option<Payload>| payload.as_ref().map_or(0, |payload| payload.body.len());
    let request = record.request.body.as_ref().map_or(0, String::len);
    (request + payload(&record.result) + payload(&record.progress)) as u64
}
