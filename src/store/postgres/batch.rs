//! What one transaction works on: the tasks that it holds, as they were and as they are to be. Commands change them in
//! memory, one after the other; what has to be written follows from the difference, and goes out in one round trip.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use futures_util::future::{join, join_all};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row as SqlRow};
use uuid::Uuid;

use super::connect::Link;
use super::row::{self, Row, Rows};
use super::{failed, unconfirmed};
use crate::store::encoding::{self, Written};
use crate::store::{Effects, Ended, Idempotency, StoreError, facts};
use crate::task::{Delivery, Entry, Job, Keep, Payload, Request, State, Step, Task, TaskId, TeamId, Timestamp};

/// Values for a statement, each with its type: so a statement needs no preparing, and works behind any pooler.
pub(super) type Columns<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// How every transaction begins: one that is left open, because its node froze, must not hold up the others.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL lock_timeout = '4s'";

/// A task as it was, and as it is to be.
#[derive(Clone, Debug)]
struct Held {
    before: Option<Row>,
    after: Option<Row>,
}

/// An idempotency key that the database knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub body: [u8; 32],
    pub task: TaskId,
    pub at: Timestamp,
    /// Whether the task is still there.
    pub is_there: bool,
}

/// One part of a task's journal, which is written once.
#[derive(Clone, Debug)]
struct Line {
    id: Uuid,
    seq: i32,
    at: i64,
    events: Option<String>,
    head: Option<String>,
    body: Option<Bytes>,
}

/// Work in progress. To be cloned before each command that may have to be taken back.
#[derive(Default)]
pub(super) struct Batch {
    tasks: BTreeMap<TaskId, Held>,
    journal: Vec<Line>,
    /// Tasks whose place for a late body is to be emptied.
    late: Vec<Uuid>,
    timers: BTreeSet<(i64, Uuid)>,
    jobs: BTreeSet<(TeamId, String, Vec<u8>, Uuid)>,
    pub known: HashMap<(TeamId, [u8; 32]), Known>,
    remembered: BTreeMap<(TeamId, [u8; 32]), Known>,
    outdated: BTreeSet<(TeamId, [u8; 32], Uuid)>,
    /// Who calls what was claimed in this transaction.
    pub callers: HashMap<TaskId, i64>,
    /// Webhooks and polls whose claim changes: to whom, if to anybody.
    pub deliverers: BTreeMap<TaskId, Option<i64>>,
    pub pollers: BTreeMap<TaskId, Option<i64>>,
    /// Webhooks that somebody has in hand.
    pub under_way: BTreeSet<TaskId>,
    /// Requests that commands brought along.
    pub requests: HashMap<TaskId, Request>,
    /// Tasks whose journals stay: their partition is going to be dropped whole.
    pub kept_journals: BTreeSet<TaskId>,
    /// Parts of journals to be read along.
    wanted: BTreeSet<(Uuid, i32)>,
    pub effects: Effects,
    /// The latest time that a command brought along.
    pub now: Timestamp,
}

/// What the journals said, by task and number.
pub(super) type Bodies = HashMap<(TaskId, i32), Kept>;

/// A part of a journal as it was read.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    head: String,
    body: Option<Vec<u8>>,
}

impl Kept {
    pub fn of(row: &SqlRow, first: usize) -> Result<Self, StoreError> {
        let head = row.try_get::<_, Option<String>>(first).map_err(failed)?.unwrap_or_default();
        Ok(Self { head, body: row.try_get(first + 1).map_err(failed)? })
    }

    pub fn request(self) -> Result<Request, StoreError> {
        encoding::read_request(&self.head, self.body)
    }

    pub fn payload(self) -> Result<Payload, StoreError> {
        encoding::read_payload(&self.head, self.body)
    }
}

impl Batch {
    pub fn heard(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Takes in rows that the transaction has locked.
    pub fn hold(&mut self, rows: &[SqlRow]) -> Result<(), StoreError> {
        for found in rows {
            let row = row::read(found)?;
            let held = Held { before: Some(row.clone()), after: Some(row) };
            self.tasks.entry(held.after.as_ref().map_or(TaskId(Uuid::nil()), |row| row.task.id)).or_insert(held);
        }
        Ok(())
    }

    /// The task as it is by now.
    pub fn row(&self, id: TaskId) -> Result<&Row, StoreError> {
        self.tasks.get(&id).and_then(|held| held.after.as_ref()).ok_or(StoreError::NotFound)
    }

    pub fn has(&self, id: TaskId) -> bool {
        self.row(id).is_ok()
    }

    /// All tasks as they are by now, by id.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.tasks.values().filter_map(|held| held.after.as_ref())
    }

    /// Tasks that this transaction made due, or made end, with how they are by now.
    pub fn moved(&self) -> impl Iterator<Item = &Row> {
        let moved = |held: &&Held| match (&held.before, &held.after) {
            (None, Some(_)) => true,
            (Some(before), Some(after)) => before.task.state != after.task.state,
            _ => false,
        };
        self.tasks.values().filter(moved).filter_map(|held| held.after.as_ref())
    }

    /// A task that is new.
    pub fn add(&mut self, row: Row, request: Request) {
        let id = row.task.id;
        self.journal.push(Line::new(id, 0, row.task.created_at, &[], Some(encoding::write_request(&request))));
        self.effects.created.push(row.task.team);
        self.requests.insert(id, request);
        self.tasks.insert(id, Held { before: None, after: Some(row) });
    }

    /// Puts a changed row back.
    pub fn put(&mut self, row: Row) {
        if let Some(held) = self.tasks.get_mut(&row.task.id) {
            held.after = Some(row);
        }
    }

    /// Removes a task with all that belongs to it.
    pub fn remove(&mut self, id: TaskId) {
        if let Some(held) = self.tasks.get_mut(&id) {
            held.after = None;
        }
    }

    /// Adds to a task's journal.
    pub fn append(&mut self, row: &mut Row, entries: &[Entry], written: Option<Written>, now: Timestamp) {
        row.head += 1;
        self.journal.push(Line::new(row.task.id, row.head, now, entries, written));
    }

    /// Empties the place of a late body.
    pub fn forget_late(&mut self, id: TaskId) {
        let late = encoding::write_entries(&[Entry::CallbackLate]);
        self.journal.retain(|line| line.id != id.0 || line.events.as_ref() != Some(&late));
        self.late.push(id.0);
    }

    /// Makes what a step decided of a task.
    pub fn apply(&mut self, mut row: Row, step: Step, payload: Option<&Payload>, now: Timestamp) -> Task {
        self.heard(now);
        row.task = step.task;
        let kept = payload.filter(|_| matches!(step.keep, Keep::Answer | Keep::Result | Keep::Progress));
        if !step.log.is_empty() || kept.is_some() {
            self.append(&mut row, &step.log, kept.map(encoding::write_payload), now);
        }
        match step.keep {
            Keep::Nothing => {}
            Keep::Answer => row.answer = kept.map(|_| row.head),
            Keep::Result => row.result = kept.map(|_| row.head),
            Keep::AnswerAsResult => row.result = row.answer,
            Keep::Progress => row.progress = kept.map(|_| row.head),
        }
        if let Some(job) = step.job {
            self.stand_for(row.task.team, job, row.task.id);
        }
        if step.notify {
            row.delivery = Some(Delivery::due(now));
        }
        let task = row.task.clone();
        self.put(row);
        task
    }

    fn stand_for(&mut self, team: TeamId, job: Job, id: TaskId) {
        self.jobs.insert((team, job.provider, job.id.into_bytes(), id.0));
        self.effects.matched = true;
    }

    pub fn set_timer(&mut self, at: Timestamp, id: TaskId) {
        self.timers.insert((at.0, id.0));
        earlier(&mut self.effects.timer, at);
    }

    /// An idempotency key now stands for this task.
    pub fn remember(&mut self, task: &Task, idempotency: &Idempotency) {
        let place = (task.team, idempotency.key);
        let known = Known { body: idempotency.body, task: task.id, at: task.created_at, is_there: true };
        if let Some(old) = self.known.insert(place, known) {
            self.outdated.insert((place.0, place.1, old.task.0));
        }
        self.remembered.insert(place, known);
    }

    /// Has a part of a journal read along.
    pub fn want(&mut self, id: TaskId, seq: Option<i32>) {
        if let Some(seq) = seq {
            self.wanted.insert((id.0, seq));
        }
    }

    /// Has all that belongs to a task read along.
    pub fn want_record(&mut self, row: &Row) {
        let id = row.task.id;
        for seq in [Some(0), row.result, row.progress] {
            self.want(id, seq);
        }
    }

    /// Writes everything, commits, and answers what was to be read along. Nothing is sent if there is nothing to do.
    pub async fn commit(&mut self, link: &Link, part: i32) -> Result<Bodies, StoreError> {
        let plan = self.plan(part);
        let bodies: Vec<Option<&[u8]>> = plan.journal.iter().map(|line| line.body.as_deref()).collect();
        let journal = JournalColumns::of(&plan.journal);
        let mut statements = plan.statements();
        if !plan.journal.is_empty() {
            statements.push((APPEND, journal.columns(&bodies)));
        }
        let wanted = !plan.wanted.0.is_empty();
        if wanted {
            statements.push((READ_ALONG, vec![(&plan.wanted.0, Type::UUID_ARRAY), (&plan.wanted.1, Type::INT4_ARRAY)]));
        }
        // Counters come last: their rows are the only ones that writers of unrelated tasks share.
        if !plan.counts.0.is_empty() {
            statements.push((COUNT, plan.count_columns()));
        }
        let sent = join_all(statements.iter().map(|(sql, columns)| link.client.query_typed(sql, columns)));
        let (outcomes, committed) = join(sent, link.client.batch_execute("COMMIT")).await;
        let mut found = Vec::new();
        for ((sql, _), outcome) in statements.iter().zip(outcomes) {
            let rows = outcome.map_err(failed)?;
            if *sql == READ_ALONG {
                found = rows;
            }
        }
        committed.map_err(failed)?;
        if link.was_warned() {
            return Err(unconfirmed());
        }
        found.iter().map(|row| Ok(((TaskId(row.get(0)), row.get(1)), Kept::of(row, 2)?))).collect()
    }

    /// What differs between the tasks as they were and as they are to be.
    fn plan(&mut self, part: i32) -> Plan {
        let mut plan = Plan { part, journal: std::mem::take(&mut self.journal), ..Plan::default() };
        plan.late = std::mem::take(&mut self.late);
        for held in self.tasks.values() {
            let (effects, timers) = (&mut self.effects, &mut self.timers);
            match (&held.before, &held.after) {
                (None, None) => {}
                (Some(before), None) => plan.remove(before, &self.kept_journals),
                (before, Some(after)) => {
                    plan.task(before.as_ref(), after);
                    plan.call(before.as_ref(), after, &self.callers, effects);
                    plan.webhook(before.as_ref(), after, &self.deliverers, effects);
                    plan.poll(before.as_ref(), after, &self.pollers, effects);
                    entered(before.as_ref(), after, effects, timers);
                }
            }
        }
        for (at, id) in std::mem::take(&mut self.timers) {
            plan.timers.0.push(at);
            plan.timers.1.push(id);
        }
        for (team, provider, job, id) in std::mem::take(&mut self.jobs) {
            plan.jobs.0.push(team.0);
            plan.jobs.1.push(provider);
            plan.jobs.2.push(job);
            plan.jobs.3.push(id);
        }
        for (team, key, task) in std::mem::take(&mut self.outdated) {
            plan.outdated.0.push(team.0);
            plan.outdated.1.push(key.to_vec());
            plan.outdated.2.push(task);
        }
        for ((team, key), known) in std::mem::take(&mut self.remembered) {
            plan.remembered.0.push(team.0);
            plan.remembered.1.push(key.to_vec());
            plan.remembered.2.push(known.body.to_vec());
            plan.remembered.3.push(known.task.0);
            plan.remembered.4.push(known.at.0);
        }
        for (id, seq) in std::mem::take(&mut self.wanted) {
            plan.wanted.0.push(id);
            plan.wanted.1.push(seq);
        }
        plan.close_counts();
        plan
    }
}

/// Sets the earlier of two times.
fn earlier(slot: &mut Option<Timestamp>, at: Timestamp) {
    *slot = Some(slot.map_or(at, |earliest| earliest.min(at)));
}

/// A task is in a new state, or new itself.
fn entered(before: Option<&Row>, after: &Row, effects: &mut Effects, timers: &mut BTreeSet<(i64, Uuid)>) {
    let state = before.map(|row| row.task.state);
    if state == Some(after.task.state) {
        return;
    }
    if before.is_some() {
        effects.changed.push(after.task.id);
    }
    if before.is_none_or(|row| Ended::of(&row.task).is_none()) {
        effects.ended.extend(Ended::of(&after.task));
    }
    if let Some(at) = after.task.state.timer().filter(|at| state.and_then(|state| state.timer()) != Some(*at)) {
        timers.insert((at.0, after.task.id.0));
        earlier(&mut effects.timer, at);
    }
}

impl Line {
    fn new(id: TaskId, seq: i32, at: Timestamp, entries: &[Entry], written: Option<Written>) -> Self {
        let events = (!entries.is_empty()).then(|| encoding::write_entries(entries));
        let (head, body) = written.map_or((None, None), |written| (Some(written.head), written.body));
        Self { id: id.0, seq, at: at.0, events, head, body }
    }
}

/// Lines of journals, a column at a time.
struct JournalColumns<'a> {
    id: Vec<Uuid>,
    seq: Vec<i32>,
    at: Vec<i64>,
    events: Vec<Option<&'a str>>,
    head: Vec<Option<&'a str>>,
}

impl<'a> JournalColumns<'a> {
    fn of(lines: &'a [Line]) -> Self {
        Self {
            id: lines.iter().map(|line| line.id).collect(),
            seq: lines.iter().map(|line| line.seq).collect(),
            at: lines.iter().map(|line| line.at).collect(),
            events: lines.iter().map(|line| line.events.as_deref()).collect(),
            head: lines.iter().map(|line| line.head.as_deref()).collect(),
        }
    }

    fn columns<'b>(&'b self, bodies: &'b Vec<Option<&'b [u8]>>) -> Columns<'b> {
        vec![
            (&self.id, Type::UUID_ARRAY),
            (&self.seq, Type::INT4_ARRAY),
            (&self.at, Type::INT8_ARRAY),
            (&self.events, Type::TEXT_ARRAY),
            (&self.head, Type::TEXT_ARRAY),
            (bodies, Type::BYTEA_ARRAY),
        ]
    }
}

const APPEND: &str = "INSERT INTO journal (id, seq, at, events, head, body) \
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::bytea[])";
const FORGET_LATE: &str =
    "UPDATE journal SET events = NULL, head = NULL, body = NULL WHERE id = ANY($1::uuid[]) AND events = $2::text";
pub(super) const READ_ALONG: &str = "SELECT j.id, j.seq, j.head, j.body \
    FROM unnest($1::uuid[], $2::integer[]) AS w (id, seq) JOIN journal j ON j.id = w.id AND j.seq = w.seq";
const REMOVE: &str = "DELETE FROM task WHERE id = ANY($1::uuid[])";
const REMOVE_JOURNAL: &str = "DELETE FROM journal WHERE id = ANY($1::uuid[])";
const REMOVE_JOBS: &str = "DELETE FROM job WHERE task = ANY($1::uuid[])";
const SET_CALLS: &str = "INSERT INTO call (id, team, host, rank, since, node) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[]) \
    ON CONFLICT (id) DO UPDATE SET since = EXCLUDED.since, node = EXCLUDED.node";
const DROP_CALLS: &str = "DELETE FROM call WHERE id = ANY($1::uuid[])";
const SET_WEBHOOKS: &str = "INSERT INTO outbox (id, at, node) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) \
    ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at, node = EXCLUDED.node";
const DROP_WEBHOOKS: &str = "DELETE FROM outbox WHERE id = ANY($1::uuid[])";
const SET_POLLS: &str = "INSERT INTO poll (id, at, host, node) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) \
    ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at, node = EXCLUDED.node";
const DROP_POLLS: &str = "DELETE FROM poll WHERE id = ANY($1::uuid[])";
const SET_TIMERS: &str =
    "INSERT INTO timer (at, id) SELECT * FROM unnest($1::bigint[], $2::uuid[]) ON CONFLICT DO NOTHING";
const ADD_ENDED: &str = "INSERT INTO ended (at, id) SELECT * FROM unnest($1::bigint[], $2::uuid[])";
const DROP_ENDED: &str = "DELETE FROM ended AS e USING unnest($1::bigint[], $2::uuid[]) AS u (at, id) \
    WHERE e.at = u.at AND e.id = u.id";
const ADD_BAD: &str = "INSERT INTO ended_badly (team, status, id) SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::uuid[])";
const DROP_BAD: &str = "DELETE FROM ended_badly AS e USING unnest($1::bigint[], $2::smallint[], $3::uuid[]) AS u (team, status, id) \
    WHERE e.team = u.team AND e.status = u.status AND e.id = u.id";
const COUNT: &str = "INSERT INTO counter (part, team, status, tasks) \
    SELECT $1::integer, * FROM unnest($2::bigint[], $3::smallint[], $4::bigint[]) \
    ON CONFLICT (part, team, status) DO UPDATE SET tasks = counter.tasks + EXCLUDED.tasks";
const STAND_FOR: &str = "INSERT INTO job (team, provider, job, task) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::uuid[]) ON CONFLICT DO NOTHING";
const OUTDATED: &str = "DELETE FROM idempotency AS i USING unnest($1::bigint[], $2::bytea[], $3::uuid[]) AS u (team, key, task) \
    WHERE i.team = u.team AND i.key = u.key AND i.task = u.task";
const REMEMBER: &str = "INSERT INTO idempotency (team, key, body, task, at) \
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::uuid[], $5::bigint[])";

/// What is to be written, a table at a time.
#[derive(Default)]
struct Plan {
    part: i32,
    added: Rows,
    changed: Rows,
    removed: Vec<Uuid>,
    removed_journals: Vec<Uuid>,
    journal: Vec<Line>,
    late: Vec<Uuid>,
    calls: (Vec<Uuid>, Vec<i64>, Vec<i64>, Vec<i16>, Vec<i64>, Vec<Option<i64>>),
    dropped_calls: Vec<Uuid>,
    webhooks: (Vec<Uuid>, Vec<i64>, Vec<Option<i64>>),
    dropped_webhooks: Vec<Uuid>,
    polls: (Vec<Uuid>, Vec<i64>, Vec<i64>, Vec<Option<i64>>),
    dropped_polls: Vec<Uuid>,
    timers: (Vec<i64>, Vec<Uuid>),
    ended: (Vec<i64>, Vec<Uuid>),
    dropped_ended: (Vec<i64>, Vec<Uuid>),
    bad: (Vec<i64>, Vec<i16>, Vec<Uuid>),
    dropped_bad: (Vec<i64>, Vec<i16>, Vec<Uuid>),
    changes: BTreeMap<(i64, i16), i64>,
    counts: (Vec<i64>, Vec<i16>, Vec<i64>),
    jobs: (Vec<i64>, Vec<String>, Vec<Vec<u8>>, Vec<Uuid>),
    outdated: (Vec<i64>, Vec<Vec<u8>>, Vec<Uuid>),
    remembered: (Vec<i64>, Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<Uuid>, Vec<i64>),
    wanted: (Vec<Uuid>, Vec<i32>),
}

fn code(row: &Row) -> i16 {
    i16::try_from(facts::status_code(row.task.status())).unwrap_or_default()
}

/// Ends that are few enough to be listed apart.
fn is_bad(row: &Row) -> bool {
    use crate::task::Status;
    matches!(row.task.status(), Status::Failed | Status::Timeout | Status::Cancelled)
}

fn is_called(row: &Row) -> bool {
    matches!(row.task.state, State::Pending { .. } | State::Processing { .. })
}

impl Plan {
    fn task(&mut self, before: Option<&Row>, after: &Row) {
        let Some(before) = before else {
            self.added.push(after);
            return self.count(after, 1);
        };
        let same = before.task == after.task && before.head == after.head && before.delivery == after.delivery;
        if same {
            return;
        }
        self.changed.push(after);
        if before.task.status() == after.task.status() {
            return;
        }
        self.count(before, -1);
        self.count(after, 1);
        if let Some(at) = after.task.completed_at().filter(|_| before.task.completed_at().is_none()) {
            self.ended.0.push(at.0);
            self.ended.1.push(after.task.id.0);
            if is_bad(after) {
                self.bad.0.push(after.task.team.0);
                self.bad.1.push(code(after));
                self.bad.2.push(after.task.id.0);
            }
        }
    }

    fn call(&mut self, before: Option<&Row>, after: &Row, callers: &HashMap<TaskId, i64>, effects: &mut Effects) {
        let task = &after.task;
        let state = before.map(|row| row.task.state);
        if state == Some(task.state) {
            return;
        }
        if !is_called(after) {
            if before.is_some_and(is_called) {
                self.dropped_calls.push(task.id.0);
            }
            return;
        }
        let since = match task.state {
            State::Pending { since } => since,
            _ => task.started_at.unwrap_or(task.created_at),
        };
        let node = callers.get(&task.id).copied().filter(|_| matches!(task.state, State::Processing { .. }));
        effects.ready |= node.is_none();
        self.calls.0.push(task.id.0);
        self.calls.1.push(task.team.0);
        self.calls.2.push(after.host.0);
        self.calls.3.push(-i16::from(task.priority));
        self.calls.4.push(since.0);
        self.calls.5.push(node);
    }

    fn webhook(
        &mut self,
        before: Option<&Row>,
        after: &Row,
        deliverers: &BTreeMap<TaskId, Option<i64>>,
        effects: &mut Effects,
    ) {
        let planned = |row: &Row| row.delivery.and_then(|delivery| delivery.next_attempt_at);
        let id = after.task.id;
        let claim = deliverers.get(&id);
        match (before.and_then(planned), planned(after)) {
            (None, None) => {}
            (Some(_), None) => self.dropped_webhooks.push(id.0),
            (was, Some(at)) if was != Some(at) || claim.is_some() => {
                let node = claim.copied().flatten();
                effects.deliver |= node.is_none();
                self.webhooks.0.push(id.0);
                self.webhooks.1.push(at.0);
                self.webhooks.2.push(node);
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        before: Option<&Row>,
        after: &Row,
        pollers: &BTreeMap<TaskId, Option<i64>>,
        effects: &mut Effects,
    ) {
        let id = after.task.id;
        let claim = pollers.get(&id);
        match (before.and_then(|row| row.task.polling.next_at), after.task.polling.next_at) {
            (None, None) => {}
            (Some(_), None) => self.dropped_polls.push(id.0),
            (was, Some(at)) if was != Some(at) || claim.is_some() => {
                let node = claim.copied().flatten();
                if node.is_none() {
                    earlier(&mut effects.poll, at);
                }
                self.polls.0.push(id.0);
                self.polls.1.push(at.0);
                self.polls.2.push(after.host.0);
                self.polls.3.push(node);
            }
            _ => {}
        }
    }

    fn remove(&mut self, before: &Row, kept_journals: &BTreeSet<TaskId>) {
        let id = before.task.id;
        self.removed.push(id.0);
        if !kept_journals.contains(&id) {
            self.removed_journals.push(id.0);
        }
        self.count(before, -1);
        if before.delivery.is_some_and(|delivery| delivery.next_attempt_at.is_some()) {
            self.dropped_webhooks.push(id.0);
        }
        if let Some(at) = before.task.completed_at() {
            self.dropped_ended.0.push(at.0);
            self.dropped_ended.1.push(id.0);
        }
        if is_bad(before) {
            self.dropped_bad.0.push(before.task.team.0);
            self.dropped_bad.1.push(code(before));
            self.dropped_bad.2.push(id.0);
        }
    }

    fn count(&mut self, row: &Row, change: i64) {
        *self.changes.entry((row.task.team.0, code(row))).or_default() += change;
    }

    fn close_counts(&mut self) {
        for ((team, status), change) in std::mem::take(&mut self.changes) {
            if change != 0 {
                self.counts.0.push(team);
                self.counts.1.push(status);
                self.counts.2.push(change);
            }
        }
    }

    fn count_columns(&self) -> Columns<'_> {
        vec![
            (&self.part, Type::INT4),
            (&self.counts.0, Type::INT8_ARRAY),
            (&self.counts.1, Type::INT2_ARRAY),
            (&self.counts.2, Type::INT8_ARRAY),
        ]
    }

    /// The statements that have something to do. What is removed goes before what is added.
    fn statements(&self) -> Vec<(&'static str, Columns<'_>)> {
        let mut statements: Vec<(&'static str, Columns<'_>)> = Vec::new();
        let by_id = [
            (REMOVE, &self.removed),
            (REMOVE_JOURNAL, &self.removed_journals),
            (REMOVE_JOBS, &self.removed),
            (DROP_CALLS, &self.dropped_calls),
            (DROP_WEBHOOKS, &self.dropped_webhooks),
            (DROP_POLLS, &self.dropped_polls),
        ];
        for (sql, ids) in by_id {
            if !ids.is_empty() {
                statements.push((sql, vec![(ids, Type::UUID_ARRAY)]));
            }
        }
        if !self.late.is_empty() {
            statements.push((FORGET_LATE, vec![(&self.late, Type::UUID_ARRAY), (&*LATE, Type::TEXT)]));
        }
        for (sql, (at, id)) in [(DROP_ENDED, &self.dropped_ended), (ADD_ENDED, &self.ended), (SET_TIMERS, &self.timers)] {
            if !id.is_empty() {
                statements.push((sql, vec![(at, Type::INT8_ARRAY), (id, Type::UUID_ARRAY)]));
            }
        }
        for (sql, (team, status, id)) in [(DROP_BAD, &self.dropped_bad), (ADD_BAD, &self.bad)] {
            if !id.is_empty() {
                let columns: Columns<'_> =
                    vec![(team, Type::INT8_ARRAY), (status, Type::INT2_ARRAY), (id, Type::UUID_ARRAY)];
                statements.push((sql, columns));
            }
        }
        if !self.added.is_empty() {
            statements.push((row::INSERT, self.added.to_insert()));
        }
        if !self.changed.is_empty() {
            statements.push((row::UPDATE, self.changed.to_update()));
        }
        self.queues(&mut statements);
        self.names(&mut statements);
        statements
    }

    fn queues<'a>(&'a self, statements: &mut Vec<(&'static str, Columns<'a>)>) {
        let (id, team, host, rank, since, node) = &self.calls;
        if !id.is_empty() {
            statements.push((
                SET_CALLS,
                vec![
                    (id, Type::UUID_ARRAY),
                    (team, Type::INT8_ARRAY),
                    (host, Type::INT8_ARRAY),
                    (rank, Type::INT2_ARRAY),
                    (since, Type::INT8_ARRAY),
                    (node, Type::INT8_ARRAY),
                ],
            ));
        }
        let (id, at, node) = &self.webhooks;
        if !id.is_empty() {
            statements.push((
                SET_WEBHOOKS,
                vec![(id, Type::UUID_ARRAY), (at, Type::INT8_ARRAY), (node, Type::INT8_ARRAY)],
            ));
        }
        let (id, at, host, node) = &self.polls;
        if !id.is_empty() {
            statements.push((
                SET_POLLS,
                vec![
                    (id, Type::UUID_ARRAY),
                    (at, Type::INT8_ARRAY),
                    (host, Type::INT8_ARRAY),
                    (node, Type::INT8_ARRAY),
                ],
            ));
        }
    }

    fn names<'a>(&'a self, statements: &mut Vec<(&'static str, Columns<'a>)>) {
        let (team, provider, job, task) = &self.jobs;
        if !team.is_empty() {
            statements.push((
                STAND_FOR,
                vec![
                    (team, Type::INT8_ARRAY),
                    (provider, Type::TEXT_ARRAY),
                    (job, Type::BYTEA_ARRAY),
                    (task, Type::UUID_ARRAY),
                ],
            ));
        }
        let (team, key, task) = &self.outdated;
        if !team.is_empty() {
            statements.push((
                OUTDATED,
                vec![(team, Type::INT8_ARRAY), (key, Type::BYTEA_ARRAY), (task, Type::UUID_ARRAY)],
            ));
        }
        let (team, key, body, task, at) = &self.remembered;
        if !team.is_empty() {
            statements.push((
                REMEMBER,
                vec![
                    (team, Type::INT8_ARRAY),
                    (key, Type::BYTEA_ARRAY),
                    (body, Type::BYTEA_ARRAY),
                    (task, Type::UUID_ARRAY),
                    (at, Type::INT8_ARRAY),
                ],
            ));
        }
    }
}

/// How the journal says that a late callback came.
static LATE: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| encoding::write_entries(&[Entry::CallbackLate]));

/// Locks tasks, always in the order of their ids, so that no two transactions wait for each other.
pub(super) async fn lock(client: &Client, ids: &[Uuid]) -> Result<Vec<SqlRow>, tokio_postgres::Error> {
    let sql = format!("SELECT {} FROM task t WHERE t.id = ANY($1::uuid[]) ORDER BY t.id FOR UPDATE", row::COLUMNS);
    client.query_typed(&sql, &[(&ids, Type::UUID_ARRAY)]).await
}

/// Locks those of the tasks that nobody else has locked.
pub(super) async fn lock_free(client: &Client, ids: &[Uuid]) -> Result<Vec<SqlRow>, tokio_postgres::Error> {
    let columns = row::COLUMNS;
    let sql = format!("SELECT {columns} FROM task t WHERE t.id = ANY($1::uuid[]) ORDER BY t.id FOR UPDATE SKIP LOCKED");
    client.query_typed(&sql, &[(&ids, Type::UUID_ARRAY)]).await
}
