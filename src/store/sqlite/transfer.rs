//! Leaving the embedded store.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::redo::Known;
use super::row::{self, Row};
use super::{Sqlite, failed};
use crate::store::transfer::{Cell, Leave, Line, Moved, Table};
use crate::store::{Idempotency, StoreError};
use crate::task::{Job, TaskId, Timestamp};

#[async_trait]
impl Leave for Sqlite {
    async fn tasks_after(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Moved>, StoreError> {
        let known = self.behind.known();
        self.readers.run(move |db| tasks_after(db, after, limit, &known)).await
    }

    async fn rows(&self, table: &'static Table) -> Result<Vec<Vec<Cell>>, StoreError> {
        self.readers.run(move |db| rows(db, table)).await
    }
}

fn tasks_after(db: &Connection, after: Option<TaskId>, limit: usize, known: &Known) -> Result<Vec<Moved>, StoreError> {
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let sql = row::select("WHERE key > ?1 ORDER BY key LIMIT ?2");
    let mut select = snapshot.prepare_cached(&sql).map_err(failed)?;
    let after = after.map_or(-1, TaskId::sort_key);
    let rows = select.query_map(params![after, limit], row::read).map_err(failed)?;
    let rows: Vec<Row> = rows.collect::<Result<_, _>>().map_err(failed)?;
    rows.into_iter().map(|row| moved(&snapshot, known.newest(row)).map_err(failed)).collect()
}

fn moved(db: &Connection, row: Row) -> rusqlite::Result<Moved> {
    let (lines, places) = lines(db, row.head)?;
    let place = |number: Option<i64>| number.and_then(|number| places.get(&number).copied());
    Ok(Moved {
        host: row.host,
        key_number: row.key_number,
        delivery: row.delivery,
        hook_retries: row.hook_retries,
        marks: [place(row.answer), place(row.result), place(row.progress)],
        lines,
        jobs: jobs(db, row.task.id)?,
        idempotency: idempotency(db, row.task.id)?,
        task: row.task,
    })
}

/// A task's journal from its request on, and where each of its rows is in it.
fn lines(db: &Connection, head: i64) -> rusqlite::Result<(Vec<Line>, BTreeMap<i64, usize>)> {
    let mut select = db.prepare_cached("SELECT prev, at, events, head, body FROM journal WHERE id = ?1")?;
    let (mut numbers, mut lines) = (Vec::new(), Vec::new());
    let mut next = Some(head);
    while let Some(number) = next {
        let (prev, line) = select.query_row([number], |row| {
            let body: Option<Vec<u8>> = row.get(4)?;
            let line =
                Line { at: Timestamp(row.get(1)?), events: row.get(2)?, head: row.get(3)?, body: body.map(Into::into) };
            Ok((row.get::<_, Option<i64>>(0)?, line))
        })?;
        numbers.push(number);
        lines.push(line);
        next = prev;
    }
    lines.reverse();
    Ok((lines, numbers.into_iter().rev().zip(0..).collect()))
}

fn jobs(db: &Connection, id: TaskId) -> rusqlite::Result<Vec<Job>> {
    let mut select = db.prepare_cached("SELECT provider, job FROM job WHERE task = ?1 ORDER BY provider, job")?;
    let jobs = select.query_map([id.sort_key()], |row| Ok(Job { provider: row.get(0)?, id: row.get(1)? }))?;
    jobs.collect()
}

fn idempotency(db: &Connection, id: TaskId) -> rusqlite::Result<Option<(Idempotency, Timestamp)>> {
    let mut select = db.prepare_cached("SELECT key, body, at FROM idempotency WHERE task = ?1")?;
    let read =
        |row: &rusqlite::Row<'_>| Ok((Idempotency { key: row.get(0)?, body: row.get(1)? }, Timestamp(row.get(2)?)));
    select.query_row([id.sort_key()], read).optional()
}

fn rows(db: &Connection, table: &Table) -> Result<Vec<Vec<Cell>>, StoreError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let sql = format!("SELECT {} FROM {} ORDER BY 1", names.join(", "), table.name);
    let mut select = db.prepare(&sql).map_err(failed)?;
    let cell = |value: ValueRef<'_>| match value {
        ValueRef::Integer(number) => Cell::Number(number),
        // No column holds fractions.
        ValueRef::Null | ValueRef::Real(_) => Cell::Nothing,
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    };
    let read = |row: &rusqlite::Row<'_>| (0..names.len()).map(|index| row.get_ref(index).map(cell)).collect();
    let rows = select.query_map([], read).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}
