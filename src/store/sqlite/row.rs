//! The hot row: how a task's changing part is laid out in columns.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde::{Deserialize, Serialize};

use crate::store::facts::{self, Facts};
use crate::store::{HostId, StoreError, encoding};
use crate::task::{Delivery, DeliveryStatus, Status, Task, TaskId, TeamId, Then, Timestamp};

/// A task's row, with pointers to what was written once.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub task: Task,
    pub host: HostId,
    pub key_number: u32,
    /// The newest journal row of this task.
    pub head: i64,
    pub request: i64,
    pub answer: Option<i64>,
    pub result: Option<i64>,
    pub progress: Option<i64>,
    pub delivery: Option<Delivery>,
    /// Attempts to deliver beyond the first, 0 to 10.
    pub hook_retries: u32,
}

const SELECT: &str = "SELECT key, low, team, host, status, at, priority, flags, max_retries, max_wait, attempt, retries, \
    created_at, started_at, error, key_number, head, request, answer, result, progress, \
    hook_status, hook_attempts, hook_code, hook_next, polling FROM task";

pub(super) fn select(rest: &str) -> String {
    format!("{SELECT} {rest}")
}

/// The row with this id, if there is one; as `behind` has it, unless the table's is as new.
pub(super) fn load(db: &Connection, id: TaskId, behind: Option<&Row>) -> rusqlite::Result<Option<Row>> {
    let row = load_by_key(db, id.sort_key())?.filter(|row| row.task.id == id);
    Ok(row.map(|row| row.or_newer(behind)))
}

/// The row with this key, if there is one.
pub(super) fn load_by_key(db: &Connection, key: i64) -> rusqlite::Result<Option<Row>> {
    const BY_KEY: &str = "SELECT key, low, team, host, status, at, priority, flags, max_retries, max_wait, attempt, \
        retries, created_at, started_at, error, key_number, head, request, answer, result, progress, \
        hook_status, hook_attempts, hook_code, hook_next, polling FROM task WHERE key = ?1";
    db.prepare_cached(BY_KEY)?.query_row([key], read).optional()
}

pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let polling = row.get_ref(25)?.as_str_or_null()?.and_then(encoding::read_polling);
    let facts = Facts::new(row.get(7)?, polling.map(|(policy, _)| policy));
    let task = Task {
        id: TaskId::from_key(row.get(0)?, row.get(1)?),
        team: TeamId(row.get(2)?),
        priority: row.get(6)?,
        policy: facts.policy(row.get(8)?, row.get(9)?),
        created_at: Timestamp(row.get(12)?),
        state: facts.state(row.get(4)?, Timestamp(row.get(5)?)),
        attempt: row.get(10)?,
        retry_count: row.get(11)?,
        started_at: row.get::<_, Option<i64>>(13)?.map(Timestamp),
        accepted: facts.accepted(),
        late: facts.late(),
        polling: polling.map(|(_, polling)| polling).unwrap_or_default(),
        error: row.get(14)?,
    };
    Ok(Row {
        task,
        host: HostId(row.get(3)?),
        key_number: row.get(15)?,
        head: row.get(16)?,
        request: row.get(17)?,
        answer: row.get(18)?,
        result: row.get(19)?,
        progress: row.get(20)?,
        delivery: read_delivery(row)?,
        hook_retries: facts.hook_retries(),
    })
}

impl Row {
    /// The other one, if it is newer.
    pub fn or_newer(self, other: Option<&Self>) -> Self {
        other.filter(|other| other.head > self.head).cloned().unwrap_or(self)
    }

    /// Whether a completion webhook is still to be delivered.
    pub fn is_delivering(&self) -> bool {
        self.delivery.is_some_and(|delivery| delivery.status == DeliveryStatus::Pending)
    }
}

/// A completion webhook: its status, its attempts, the latest answer's code, and when the next attempt is due.
type Hook = (i64, u32, Option<u16>, Option<i64>);

fn read_delivery(row: &SqlRow<'_>) -> rusqlite::Result<Option<Delivery>> {
    let Some(status) = row.get(21)? else {
        return Ok(None);
    };
    Ok(Some(delivery((status, row.get(22)?, row.get(23)?, row.get(24)?))))
}

fn delivery((status, attempts, last_status_code, next): Hook) -> Delivery {
    let status = facts::read_delivery_status(status);
    Delivery { status, attempts, last_status_code, next_attempt_at: next.map(Timestamp) }
}

fn hook(delivery: Delivery) -> Hook {
    let Delivery { status, attempts, last_status_code, next_attempt_at } = delivery;
    (facts::write_delivery_status(status), attempts, last_status_code, next_attempt_at.map(|at| at.0))
}

/// Adds a row. False if the key is taken.
pub(super) fn insert(db: &Connection, row: &Row) -> rusqlite::Result<bool> {
    let task = &row.task;
    let (status, at) = facts::write_state(&task.state);
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO task (key, low, team, host, status, at, priority, flags, max_retries, max_wait, \
         attempt, retries, created_at, key_number, head, request, polling) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    let added = insert.execute(params![
        task.id.sort_key(),
        task.id.low_bits(),
        task.team.0,
        row.host.0,
        status,
        at.0,
        task.priority,
        facts::write_flags(task, row.hook_retries),
        task.policy.max_retries,
        task.policy.max_wait_ms,
        task.attempt,
        task.retry_count,
        task.created_at.0,
        row.key_number,
        row.head,
        row.request,
        write_polling(task),
    ])?;
    Ok(added == 1)
}

fn write_polling(task: &Task) -> Option<String> {
    match task.policy.then {
        Then::Poll(policy) => Some(encoding::write_polling(policy, task.polling)),
        Then::Finish | Then::Wait => None,
    }
}

/// Writes how far polling has come; most tasks never poll, so it is no part of the common update.
pub(super) fn update_polling(db: &Connection, task: &Task) -> rusqlite::Result<()> {
    let mut update = db.prepare_cached("UPDATE task SET polling = ?2 WHERE key = ?1")?;
    update.execute(params![task.id.sort_key(), write_polling(task)])?;
    Ok(())
}

/// Statuses that the index on status leaves out.
pub(super) fn is_unindexed(status: Status) -> bool {
    matches!(status, Status::Waiting | Status::Completed)
}

/// Whether a change leaves a row where it is in every index.
pub(super) fn are_indexed_alike(before: &Task, after: &Task) -> bool {
    is_unindexed(before.status()) && is_unindexed(after.status()) && before.polling == after.polling
}

/// Writes all that can change.
pub(super) fn update(db: &Connection, row: &Row) -> rusqlite::Result<()> {
    let task = &row.task;
    let (status, at) = facts::write_state(&task.state);
    let hook = row.delivery.map(hook);
    let mut update = db.prepare_cached(
        "UPDATE task SET status = ?2, at = ?3, flags = ?4, attempt = ?5, retries = ?6, started_at = ?7, error = ?8, \
         head = ?9, answer = ?10, result = ?11, progress = ?12, \
         hook_status = ?13, hook_attempts = ?14, hook_code = ?15, hook_next = ?16 WHERE key = ?1",
    )?;
    update.execute(params![
        task.id.sort_key(),
        status,
        at.0,
        facts::write_flags(task, row.hook_retries),
        task.attempt,
        task.retry_count,
        task.started_at.map(|at| at.0),
        task.error,
        row.head,
        row.answer,
        row.result,
        row.progress,
        hook.map(|hook| hook.0),
        hook.map(|hook| hook.1),
        hook.and_then(|hook| hook.2),
        hook.and_then(|hook| hook.3),
    ])?;
    Ok(())
}

/// The columns that change, as the redo table keeps them.
#[derive(Serialize, Deserialize)]
pub(super) struct Changed(
    /// The key.
    i64,
    /// Status, its time, and the small facts.
    (i64, i64, i64),
    /// Attempts, retries, and when the latest attempt started.
    (u32, u32, Option<i64>),
    /// Why it failed.
    Option<String>,
    /// Answer, result, and progress.
    [Option<i64>; 3],
    /// The completion webhook.
    Option<Hook>,
);

/// Writes down the columns that change.
pub(super) fn write_changed(row: &Row) -> String {
    let task = &row.task;
    let (status, at) = facts::write_state(&task.state);
    let changed = Changed(
        task.id.sort_key(),
        (status, at.0, facts::write_flags(task, row.hook_retries)),
        (task.attempt, task.retry_count, task.started_at.map(|at| at.0)),
        task.error.clone(),
        [row.answer, row.result, row.progress],
        row.delivery.map(hook),
    );
    encoding::to_json(&changed)
}

/// Reads what [`write_changed`] wrote.
pub(super) fn read_changed(text: &str) -> Result<Changed, StoreError> {
    encoding::from_json(text)
}

impl Changed {
    /// Whose row it is.
    pub fn key(&self) -> i64 {
        self.0
    }

    /// The row after the change that the journal row `head` tells of.
    pub fn apply(self, mut row: Row, head: i64) -> Row {
        let Self(_, (status, at, flags), (attempt, retry_count, started_at), error, bodies, hook) = self;
        let facts = Facts::new(flags, None);
        row.task.state = facts.state(status, Timestamp(at));
        (row.task.accepted, row.task.late) = (facts.accepted(), facts.late());
        (row.task.attempt, row.task.retry_count) = (attempt, retry_count);
        row.task.started_at = started_at.map(Timestamp);
        row.task.error = error;
        row.head = head;
        [row.answer, row.result, row.progress] = bodies;
        row.delivery = hook.map(delivery);
        row
    }
}
