//! The hot row: how a task's changing part is laid out in columns.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;

use super::batch::Columns;
use crate::store::facts::{self, Facts};
use crate::store::{HostId, StoreError, encoding};
use crate::task::{Delivery, Task, TaskId, TeamId, Then, Timestamp};

/// A task's row, with the numbers of what was written once. The request is number 0 of each task's journal.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub task: Task,
    pub host: HostId,
    pub key_number: u32,
    /// The newest journal row of this task.
    pub head: i32,
    pub answer: Option<i32>,
    pub result: Option<i32>,
    pub progress: Option<i32>,
    pub delivery: Option<Delivery>,
    /// Attempts to deliver beyond the first, 0 to 10.
    pub hook_retries: u32,
}

/// The columns that [`read`] reads, of a table `t`.
pub(super) const COLUMNS: &str = "t.id, t.team, t.host, t.status, t.priority, t.at, t.max_wait, t.created_at, \
    t.started_at, t.flags, t.max_retries, t.attempt, t.retries, t.key_number, t.head, t.answer, t.result, t.progress, \
    t.hook_status, t.hook_attempts, t.hook_code, t.hook_next, t.error, t.polling";

pub(super) fn read(row: &SqlRow) -> Result<Row, StoreError> {
    let flags = i64::from(row.try_get::<_, i32>(9).map_err(super::failed)?);
    let polling = row.get::<_, Option<&str>>(23).and_then(encoding::read_polling);
    let facts = Facts::new(flags, polling.map(|(policy, _)| policy));
    let at = Timestamp(row.get(5));
    let status = i64::from(row.get::<_, i16>(3));
    let error: Option<&[u8]> = row.get(22);
    let task = Task {
        id: TaskId(row.get(0)),
        team: TeamId(row.get(1)),
        priority: u8::try_from(row.get::<_, i16>(4)).unwrap_or_default(),
        policy: facts.policy(number(row.get(10)), row.get(6)),
        created_at: Timestamp(row.get(7)),
        state: facts.state(status, at),
        attempt: number(row.get(11)),
        retry_count: number(row.get(12)),
        started_at: row.get::<_, Option<i64>>(8).map(Timestamp),
        accepted: facts.accepted(),
        late: facts.late(),
        polling: polling.map(|(_, polling)| polling).unwrap_or_default(),
        error: error.map(|error| String::from_utf8_lossy(error).into_owned()),
    };
    Ok(Row {
        task,
        host: HostId(row.get(2)),
        key_number: number(row.get(13)),
        head: row.get(14),
        answer: row.get(15),
        result: row.get(16),
        progress: row.get(17),
        delivery: read_delivery(row),
        hook_retries: facts.hook_retries(),
    })
}

fn read_delivery(row: &SqlRow) -> Option<Delivery> {
    Some(Delivery {
        status: facts::read_delivery_status(i64::from(row.get::<_, Option<i16>>(18)?)),
        attempts: row.get::<_, Option<i32>>(19).map(number).unwrap_or_default(),
        last_status_code: row.get::<_, Option<i32>>(20).and_then(|code| u16::try_from(code).ok()),
        next_attempt_at: row.get::<_, Option<i64>>(21).map(Timestamp),
    })
}

/// A small number that is never negative.
pub(super) fn number(value: i32) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// The same, on its way into the database.
pub(super) fn small(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Rows on their way into the database, a column at a time.
#[derive(Default)]
pub(super) struct Rows {
    id: Vec<uuid::Uuid>,
    team: Vec<i64>,
    host: Vec<i64>,
    status: Vec<i16>,
    priority: Vec<i16>,
    at: Vec<i64>,
    max_wait: Vec<i64>,
    created_at: Vec<i64>,
    started_at: Vec<Option<i64>>,
    flags: Vec<i32>,
    max_retries: Vec<i32>,
    attempt: Vec<i32>,
    retries: Vec<i32>,
    key_number: Vec<i32>,
    head: Vec<i32>,
    answer: Vec<Option<i32>>,
    result: Vec<Option<i32>>,
    progress: Vec<Option<i32>>,
    hook_status: Vec<Option<i16>>,
    hook_attempts: Vec<Option<i32>>,
    hook_code: Vec<Option<i32>>,
    hook_next: Vec<Option<i64>>,
    error: Vec<Option<Vec<u8>>>,
    polling: Vec<Option<String>>,
}

/// Adds rows.
pub(super) const INSERT: &str = "INSERT INTO task (id, team, host, status, priority, at, max_wait, created_at, \
    started_at, flags, max_retries, attempt, retries, key_number, head, polling) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::bigint[], \
    $7::bigint[], $8::bigint[], $9::bigint[], $10::integer[], $11::integer[], $12::integer[], $13::integer[], \
    $14::integer[], $15::integer[], $16::text[])";

/// Writes all that can change of rows.
pub(super) const UPDATE: &str = "UPDATE task AS t SET status = u.status, at = u.at, started_at = u.started_at, \
    flags = u.flags, attempt = u.attempt, retries = u.retries, head = u.head, answer = u.answer, result = u.result, \
    progress = u.progress, hook_status = u.hook_status, hook_attempts = u.hook_attempts, hook_code = u.hook_code, \
    hook_next = u.hook_next, error = u.error, polling = u.polling \
    FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::integer[], $6::integer[], $7::integer[], \
    $8::integer[], $9::integer[], $10::integer[], $11::integer[], $12::smallint[], $13::integer[], $14::integer[], \
    $15::bigint[], $16::bytea[], $17::text[]) AS u (id, status, at, started_at, flags, attempt, retries, head, answer, \
    result, progress, hook_status, hook_attempts, hook_code, hook_next, error, polling) WHERE t.id = u.id";

impl Rows {
    pub fn push(&mut self, row: &Row) {
        let task = &row.task;
        let (status, at) = facts::write_state(&task.state);
        let code = |number: i64| i16::try_from(number).unwrap_or_default();
        self.id.push(task.id.0);
        self.team.push(task.team.0);
        self.host.push(row.host.0);
        self.status.push(code(status));
        self.priority.push(i16::from(task.priority));
        self.at.push(at.0);
        self.max_wait.push(task.policy.max_wait_ms);
        self.created_at.push(task.created_at.0);
        self.started_at.push(task.started_at.map(|at| at.0));
        self.flags.push(i32::try_from(facts::write_flags(task, row.hook_retries)).unwrap_or_default());
        self.max_retries.push(small(task.policy.max_retries));
        self.attempt.push(small(task.attempt));
        self.retries.push(small(task.retry_count));
        self.key_number.push(small(row.key_number));
        self.head.push(row.head);
        self.answer.push(row.answer);
        self.result.push(row.result);
        self.progress.push(row.progress);
        let hook = row.delivery;
        self.hook_status.push(hook.map(|hook| code(facts::write_delivery_status(hook.status))));
        self.hook_attempts.push(hook.map(|hook| small(hook.attempts)));
        self.hook_code.push(hook.and_then(|hook| hook.last_status_code).map(i32::from));
        self.hook_next.push(hook.and_then(|hook| hook.next_attempt_at).map(|at| at.0));
        self.error.push(task.error.as_ref().map(|error| error.as_bytes().to_vec()));
        self.polling.push(match task.policy.then {
            Then::Poll(policy) => Some(encoding::write_polling(policy, task.polling)),
            Then::Finish | Then::Wait => None,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// What [`INSERT`] takes.
    pub fn to_insert(&self) -> Columns<'_> {
        vec![
            (&self.id, Type::UUID_ARRAY),
            (&self.team, Type::INT8_ARRAY),
            (&self.host, Type::INT8_ARRAY),
            (&self.status, Type::INT2_ARRAY),
            (&self.priority, Type::INT2_ARRAY),
            (&self.at, Type::INT8_ARRAY),
            (&self.max_wait, Type::INT8_ARRAY),
            (&self.created_at, Type::INT8_ARRAY),
            (&self.started_at, Type::INT8_ARRAY),
            (&self.flags, Type::INT4_ARRAY),
            (&self.max_retries, Type::INT4_ARRAY),
            (&self.attempt, Type::INT4_ARRAY),
            (&self.retries, Type::INT4_ARRAY),
            (&self.key_number, Type::INT4_ARRAY),
            (&self.head, Type::INT4_ARRAY),
            (&self.polling, Type::TEXT_ARRAY),
        ]
    }

    /// What [`UPDATE`] takes.
    pub fn to_update(&self) -> Columns<'_> {
        vec![
            (&self.id, Type::UUID_ARRAY),
            (&self.status, Type::INT2_ARRAY),
            (&self.at, Type::INT8_ARRAY),
            (&self.started_at, Type::INT8_ARRAY),
            (&self.flags, Type::INT4_ARRAY),
            (&self.attempt, Type::INT4_ARRAY),
            (&self.retries, Type::INT4_ARRAY),
            (&self.head, Type::INT4_ARRAY),
            (&self.answer, Type::INT4_ARRAY),
            (&self.result, Type::INT4_ARRAY),
            (&self.progress, Type::INT4_ARRAY),
            (&self.hook_status, Type::INT2_ARRAY),
            (&self.hook_attempts, Type::INT4_ARRAY),
            (&self.hook_code, Type::INT4_ARRAY),
            (&self.hook_next, Type::INT8_ARRAY),
            (&self.error, Type::BYTEA_ARRAY),
            (&self.polling, Type::TEXT_ARRAY),
        ]
    }
}
