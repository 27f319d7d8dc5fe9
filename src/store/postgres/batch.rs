//! What one transaction works on: the tasks that it holds, as they were and as they are to be. Commands change them in
//! memory, one after the other; what has to be written follows from the difference, and goes out in one round trip.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use futures_util::future::{join_all, join3};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row as SqlRow};
use uuid::Uuid;

use super::connect::Link;
use super::plan::{APPEND, COUNT, JournalColumns, Line, Plan};
use super::row::{self, Row};
use super::{failed, unconfirmed};
use crate::store::encoding::{self, Written};
use crate::store::{Effects, Ended, Idempotency, StoreError, transfer};
use crate::task::{Delivery, Entry, Job, Keep, Payload, Request, Step, Task, TaskId, TeamId, Timestamp};

/// Values for a statement, each with its type: so a statement needs no preparing, and works behind any pooler.
pub(super) type Columns<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

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

/// Work in progress.
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
    /// Whether its transaction has begun; otherwise it does with its commit.
    pub begun: bool,
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

    /// A task that comes from another store.
    pub fn take(&mut self, row: Row) {
        self.tasks.insert(row.task.id, Held { before: None, after: Some(row) });
    }

    /// A line of the journal of such a task.
    pub fn take_line(&mut self, id: TaskId, seq: i32, line: transfer::Line) {
        let transfer::Line { at, events, head, body } = line;
        self.journal.push(Line { id: id.0, seq, at: at.0, events, head, body });
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

    /// A job now stands for the task.
    pub fn stand_for(&mut self, team: TeamId, job: Job, id: TaskId) {
        self.jobs.insert((team, job.provider, job.id.into_bytes(), id.0));
        self.effects.matched = true;
    }

    pub fn set_timer(&mut self, at: Timestamp, id: TaskId) {
        self.timers.insert((at.0, id.0));
        earlier(&mut self.effects.timer, at);
    }

    /// An idempotency key now stands for this task.
    pub fn remember(&mut self, task: &Task, idempotency: &Idempotency) {
        self.remember_since(task, idempotency, task.created_at);
    }

    /// The same, since a time of its own.
    pub fn remember_since(&mut self, task: &Task, idempotency: &Idempotency, at: Timestamp) {
        let place = (task.team, idempotency.key);
        let known = Known { body: idempotency.body, task: task.id, at, is_there: true };
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

    /// Writes everything, commits, and answers what was to be read along. Begins the
    /// transaction, too, if nothing had to be read before.
    pub async fn commit(&mut self, link: &Link, part: i32) -> Result<Bodies, StoreError> {
        let plan = self.plan(part);
        let journal = JournalColumns::of(&plan.journal);
        let mut statements = plan.statements();
        if !plan.journal.is_empty() {
            statements.push((APPEND, journal.columns()));
        }
        let wanted = !plan.wanted.0.is_empty();
        if wanted {
            statements.push((READ_ALONG, vec![(&plan.wanted.0, Type::UUID_ARRAY), (&plan.wanted.1, Type::INT4_ARRAY)]));
        }
        // Counters come last: their rows are the only ones that writers of unrelated tasks share.
        if !plan.counts.0.is_empty() {
            statements.push((COUNT, plan.count_columns()));
        }
        // Parts of journals are looked for by a plan of their own: a kept one would look at all days.
        for (sql, columns) in statements.iter().filter(|(sql, _)| *sql != READ_ALONG) {
            link.prepare(sql, columns).await.map_err(failed)?;
        }
        let begin = async { if self.begun { Ok(()) } else { link.begin().await } };
        let sent = join_all(statements.iter().map(|(sql, columns)| link.query(sql, columns)));
        let (begun, outcomes, committed) = join3(begin, sent, link.client.batch_execute("COMMIT")).await;
        begun.map_err(failed)?;
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
        let mut plan = Plan::for_part(part);
        plan.journal = std::mem::take(&mut self.journal);
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
        let journal = std::mem::take(&mut plan.journal);
        plan.journal = journal.into_iter().filter(|line| !plan.removes(line.id)).collect();
        self.jobs.retain(|(.., id)| !plan.removes(*id));
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
            plan.remembered.team.push(team.0);
            plan.remembered.key.push(key.to_vec());
            plan.remembered.body.push(known.body.to_vec());
            plan.remembered.task.push(known.task.0);
            plan.remembered.at.push(known.at.0);
        }
        for (id, seq) in std::mem::take(&mut self.wanted) {
            plan.wanted.0.push(id);
            plan.wanted.1.push(seq);
        }
        plan.close();
        plan
    }
}

/// Sets the earlier of two times.
pub(super) fn earlier(slot: &mut Option<Timestamp>, at: Timestamp) {
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

/// Reads parts of journals. That the ids are said twice spares the planner all days but theirs.
pub(super) const READ_ALONG: &str = "SELECT j.id, j.seq, j.head, j.body \
    FROM unnest($1::uuid[], $2::integer[]) AS w (id, seq) JOIN journal j ON j.id = w.id AND j.seq = w.seq \
    WHERE j.id = ANY($1::uuid[])";

/// Locks tasks, always in the order of their ids, so that no two transactions wait for each other.
pub(super) async fn lock(link: &Link, ids: &[Uuid]) -> Result<Vec<SqlRow>, tokio_postgres::Error> {
    link.query(&LOCK, &vec![(&ids, Type::UUID_ARRAY)]).await
}

pub(super) static LOCK: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM task t WHERE t.id = ANY($1::uuid[]) ORDER BY t.id FOR UPDATE", row::COLUMNS)
});

/// Locks those of the tasks that nobody else has locked.
pub(super) async fn lock_free(client: &Client, ids: &[Uuid]) -> Result<Vec<SqlRow>, tokio_postgres::Error> {
    let columns = row::COLUMNS;
    let sql = format!("SELECT {columns} FROM task t WHERE t.id = ANY($1::uuid[]) ORDER BY t.id FOR UPDATE SKIP LOCKED");
    client.query_typed(&sql, &[(&ids, Type::UUID_ARRAY)]).await
}
