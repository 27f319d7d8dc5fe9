//! What a transaction has to write, as it follows from the tasks as they were and as they are to be: a table at a time, a
//! column at a time, and one statement for each table that has something to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::batch::{Columns, earlier};
use super::ended::{self, Ends};
use super::row::{self, Row, Rows};
use crate::store::encoding::{self, Written};
use crate::store::{Effects, facts};
use crate::task::{Entry, State, TaskId, Timestamp};

/// One part of a task's journal, which is written once.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub id: Uuid,
    pub seq: i32,
    pub at: i64,
    pub events: Option<String>,
    pub head: Option<String>,
    pub body: Option<Bytes>,
}

impl Line {
    pub fn new(id: TaskId, seq: i32, at: Timestamp, entries: &[Entry], written: Option<Written>) -> Self {
        let events = (!entries.is_empty()).then(|| encoding::write_entries(entries));
        let (head, body) = written.map_or((None, None), |written| (Some(written.head), written.body));
        Self { id: id.0, seq, at: at.0, events, head, body }
    }
}

/// Lines of journals, a column at a time.
pub(super) struct JournalColumns<'a> {
    id: Vec<Uuid>,
    seq: Vec<i32>,
    at: Vec<i64>,
    events: Vec<Option<&'a str>>,
    head: Vec<Option<&'a str>>,
    body: Vec<Option<&'a [u8]>>,
}

impl<'a> JournalColumns<'a> {
    pub fn of(lines: &'a [Line]) -> Self {
        Self {
            id: lines.iter().map(|line| line.id).collect(),
            seq: lines.iter().map(|line| line.seq).collect(),
            at: lines.iter().map(|line| line.at).collect(),
            events: lines.iter().map(|line| line.events.as_deref()).collect(),
            head: lines.iter().map(|line| line.head.as_deref()).collect(),
            body: lines.iter().map(|line| line.body.as_deref()).collect(),
        }
    }

    pub fn columns(&self) -> Columns<'_> {
        vec![
            (&self.id, Type::UUID_ARRAY),
            (&self.seq, Type::INT4_ARRAY),
            (&self.at, Type::INT8_ARRAY),
            (&self.events, Type::TEXT_ARRAY),
            (&self.head, Type::TEXT_ARRAY),
            (&self.body, Type::BYTEA_ARRAY),
        ]
    }
}

pub(super) const APPEND: &str = "INSERT INTO journal (id, seq, at, events, head, body) \
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::bytea[])";
const FORGET_LATE: &str =
    "UPDATE journal SET events = NULL, head = NULL, body = NULL WHERE id = ANY($1::uuid[]) AND events = $2::text";
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
const ADD_BAD: &str =
    "INSERT INTO ended_badly (team, status, id) SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::uuid[])";
const DROP_BAD: &str = "DELETE FROM ended_badly AS e USING unnest($1::bigint[], $2::smallint[], $3::uuid[]) AS u (team, status, id) \
    WHERE e.team = u.team AND e.status = u.status AND e.id = u.id";
pub(super) const COUNT: &str = "INSERT INTO counter (part, team, status, tasks) \
    SELECT $1::integer, * FROM unnest($2::bigint[], $3::smallint[], $4::bigint[]) \
    ON CONFLICT (part, team, status) DO UPDATE SET tasks = counter.tasks + EXCLUDED.tasks";
const STAND_FOR: &str = "INSERT INTO job (team, provider, job, task) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::uuid[]) ON CONFLICT DO NOTHING";
const OUTDATED: &str = "DELETE FROM idempotency AS i USING unnest($1::bigint[], $2::bytea[], $3::uuid[]) AS u (team, key, task) \
    WHERE i.team = u.team AND i.key = u.key AND i.task = u.task";
const REMEMBER: &str = "INSERT INTO idempotency (team, key, body, task, at) \
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::uuid[], $5::bigint[])";

/// Calls to be made or under way.
#[derive(Default)]
struct Calls {
    id: Vec<Uuid>,
    team: Vec<i64>,
    host: Vec<i64>,
    rank: Vec<i16>,
    since: Vec<i64>,
    node: Vec<Option<i64>>,
}

/// Idempotency keys that now stand for tasks.
#[derive(Default)]
pub(super) struct Remembered {
    pub team: Vec<i64>,
    pub key: Vec<Vec<u8>>,
    pub body: Vec<Vec<u8>>,
    pub task: Vec<Uuid>,
    pub at: Vec<i64>,
}

/// What is to be written, a table at a time.
#[derive(Default)]
pub(super) struct Plan {
    part: i32,
    added: Rows,
    changed: Rows,
    removed: Vec<Uuid>,
    removed_journals: Vec<Uuid>,
    pub journal: Vec<Line>,
    pub late: Vec<Uuid>,
    calls: Calls,
    dropped_calls: Vec<Uuid>,
    webhooks: (Vec<Uuid>, Vec<i64>, Vec<Option<i64>>),
    dropped_webhooks: Vec<Uuid>,
    polls: (Vec<Uuid>, Vec<i64>, Vec<i64>, Vec<Option<i64>>),
    dropped_polls: Vec<Uuid>,
    pub timers: (Vec<i64>, Vec<Uuid>),
    ended: Vec<(i64, Uuid)>,
    ends: Ends,
    dropped_ended: (Vec<i64>, Vec<Uuid>),
    bad: (Vec<i64>, Vec<i16>, Vec<Uuid>),
    dropped_bad: (Vec<i64>, Vec<i16>, Vec<Uuid>),
    changes: BTreeMap<(i64, i16), i64>,
    pub counts: (Vec<i64>, Vec<i16>, Vec<i64>),
    pub jobs: (Vec<i64>, Vec<String>, Vec<Vec<u8>>, Vec<Uuid>),
    pub outdated: (Vec<i64>, Vec<Vec<u8>>, Vec<Uuid>),
    pub remembered: Remembered,
    pub wanted: (Vec<Uuid>, Vec<i32>),
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
    /// A plan whose counts go into this part of the counters.
    pub fn for_part(part: i32) -> Self {
        Self { part, ..Self::default() }
    }

    pub fn task(&mut self, before: Option<&Row>, after: &Row) {
        let Some(before) = before else {
            self.added.push(after);
            let written = [after.answer, after.result, after.progress].into_iter().any(|seq| seq.is_some());
            if written || after.delivery.is_some() || after.task.error.is_some() {
                // It comes from another store, with a history.
                self.changed.push(after);
            }
            self.end(after);
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
        if before.task.completed_at().is_none() {
            self.end(after);
        }
    }

    /// Notes a task that has ended, if it has.
    fn end(&mut self, row: &Row) {
        let Some(at) = row.task.completed_at() else { return };
        self.ended.push((at.0, row.task.id.0));
        if is_bad(row) {
            self.bad.0.push(row.task.team.0);
            self.bad.1.push(code(row));
            self.bad.2.push(row.task.id.0);
        }
    }

    pub fn call(&mut self, before: Option<&Row>, after: &Row, callers: &HashMap<TaskId, i64>, effects: &mut Effects) {
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
        self.calls.id.push(task.id.0);
        self.calls.team.push(task.team.0);
        self.calls.host.push(after.host.0);
        self.calls.rank.push(-i16::from(task.priority));
        self.calls.since.push(since.0);
        self.calls.node.push(node);
    }

    pub fn webhook(
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

    pub fn poll(
        &mut self,
        before: Option<&Row>,
        after: &Row,
        pollers: &BTreeMap<TaskId, Option<i64>>,
        effects: &mut Effects,
    ) {
        let id = after.task.id;
        let claim = pollers.get(&id);
        match (before.and_then(|row| row.task.polling.next_at), after.task.polling.next_at) {
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

    pub fn remove(&mut self, before: &Row, kept_journals: &BTreeSet<TaskId>) {
        let id = before.task.id;
        self.removed.push(id.0);
        if !kept_journals.contains(&id) {
            self.removed_journals.push(id.0);
        }
        self.count(before, -1);
        // One transaction may have ended the task and removed it.
        if is_called(before) {
            self.dropped_calls.push(id.0);
        }
        if before.task.polling.next_at.is_some() {
            self.dropped_polls.push(id.0);
        }
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

    /// Whether the task is removed: then nothing is written about it any more.
    pub fn removes(&self, id: Uuid) -> bool {
        self.removed.contains(&id)
    }

    fn count(&mut self, row: &Row, change: i64) {
        *self.changes.entry((row.task.team.0, code(row))).or_default() += change;
    }

    /// All tasks are in it.
    pub fn close(&mut self) {
        self.ends = Ends::of(std::mem::take(&mut self.ended));
        for ((team, status), change) in std::mem::take(&mut self.changes) {
            if change != 0 {
                self.counts.0.push(team);
                self.counts.1.push(status);
                self.counts.2.push(change);
            }
        }
    }

    pub fn count_columns(&self) -> Columns<'_> {
        vec![
            (&self.part, Type::INT4),
            (&self.counts.0, Type::INT8_ARRAY),
            (&self.counts.1, Type::INT2_ARRAY),
            (&self.counts.2, Type::INT8_ARRAY),
        ]
    }

    /// The statements that have something to do. What is removed goes before what is added.
    pub fn statements(&self) -> Vec<(&'static str, Columns<'_>)> {
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
        for (sql, (at, id)) in [(ended::DROP, &self.dropped_ended), (SET_TIMERS, &self.timers)] {
            if !id.is_empty() {
                statements.push((sql, vec![(at, Type::INT8_ARRAY), (id, Type::UUID_ARRAY)]));
            }
        }
        if !self.ends.is_empty() {
            statements.push((ended::ADD, self.ends.columns()));
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
        let Calls { id, team, host, rank, since, node } = &self.calls;
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
            statements
                .push((SET_WEBHOOKS, vec![(id, Type::UUID_ARRAY), (at, Type::INT8_ARRAY), (node, Type::INT8_ARRAY)]));
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
            statements
                .push((OUTDATED, vec![(team, Type::INT8_ARRAY), (key, Type::BYTEA_ARRAY), (task, Type::UUID_ARRAY)]));
        }
        let Remembered { team, key, body, task, at } = &self.remembered;
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
static LATE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| encoding::write_entries(&[Entry::CallbackLate]));
