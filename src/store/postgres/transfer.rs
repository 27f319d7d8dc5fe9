//! Moving into the shared store, and looking at what has arrived.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::batch::{self, Batch, Columns};
use super::row::Row;
use super::session::Session;
use super::{PART_OF_ACTS, Postgres, away, failed};
use crate::store::transfer::{Cell, Enter, Kind, Leave, Line, Moved, Table};
use crate::store::{Idempotency, StoreError};
use crate::task::{Event, Job, TaskId, Timestamp};

/// Under which name the last task is kept that a move has taken in.
const MOVED_UP_TO: &str = "moved up to";

#[async_trait]
impl Enter for Postgres {
    async fn take_tasks(&self, tasks: Vec<Moved>, now: Timestamp) -> Result<(), StoreError> {
        let Some(last) = tasks.last().map(|moved| moved.task.id) else { return Ok(()) };
        let ids: Vec<Uuid> = tasks.iter().map(|moved| moved.task.id.0).collect();
        self.make_partitions(&ids).await?;
        let session = Session::begin(&self.pool).await?;
        let mut batch = Batch::default();
        batch.hold(&batch::lock(session.link(), &ids).await.map_err(failed)?)?;
        for moved in tasks {
            if !batch.has(moved.task.id) {
                take(&mut batch, moved, now)?;
            }
        }
        let sql =
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value";
        let value = last.0.as_bytes().to_vec();
        session.execute(sql, vec![(&MOVED_UP_TO, Type::TEXT), (&value, Type::BYTEA)]).await?;
        session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        Ok(())
    }

    async fn take_rows(&self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        let session = Session::begin(&self.pool).await?;
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
            table.name,
            names.join(", "),
            places.join(", ")
        );
        for row in rows {
            let values = table.columns.iter().zip(row).map(|((_, kind), cell)| value(*kind, cell));
            let values: Vec<(Box<dyn ToSql + Sync + Send>, Type)> = values.collect::<Result<_, _>>()?;
            let columns: Columns<'_> =
                values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
            session.execute(&sql, columns).await?;
        }
        if let Some(column) = table.numbered {
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{0}', '{column}'), greatest((SELECT max({column}) FROM {0}), 1))",
                table.name
            );
            session.query(&sql, vec![]).await?;
        }
        session.commit().await
    }

    async fn moved_up_to(&self) -> Result<Option<TaskId>, StoreError> {
        let known = self.read_meta(MOVED_UP_TO).await?;
        Ok(known.and_then(|bytes| Uuid::from_slice(&bytes).ok()).map(TaskId))
    }
}

/// Puts a task among those that the transaction adds.
fn take(batch: &mut Batch, moved: Moved, now: Timestamp) -> Result<(), StoreError> {
    let (id, attempt, is_called) = (moved.task.id, moved.task.attempt, moved.is_called());
    let seq = |mark: Option<usize>| mark.and_then(|place| i32::try_from(place).ok());
    let [answer, result, progress] = moved.marks.map(seq);
    let head = i32::try_from(moved.lines.len()).unwrap_or(i32::MAX) - 1;
    let row = Row {
        task: moved.task,
        host: moved.host,
        key_number: moved.key_number,
        head,
        answer,
        result,
        progress,
        delivery: moved.delivery,
        hook_retries: moved.hook_retries,
    };
    if let Some((idempotency, at)) = moved.idempotency {
        batch.remember_since(&row.task, &idempotency, at);
    }
    for job in moved.jobs {
        batch.stand_for(row.task.team, job, id);
    }
    for (number, line) in (0..).zip(moved.lines) {
        batch.take_line(id, number, line);
    }
    batch.take(row);
    if is_called {
        batch.transition(id, &Event::Interrupted { attempt }, None, now)?;
    }
    Ok(())
}

fn value(kind: Kind, cell: Cell) -> Result<(Box<dyn ToSql + Sync + Send>, Type), StoreError> {
    let column = match kind {
        Kind::Number => Type::INT8,
        Kind::Small => Type::INT2,
        Kind::Switch => Type::BOOL,
        Kind::Text => Type::TEXT,
        Kind::AnyText | Kind::Bytes => Type::BYTEA,
        Kind::Uuid => Type::UUID,
    };
    let odd = || away(&format!("a value of the store that is left is no {kind:?}"));
    let value: Box<dyn ToSql + Sync + Send> = match (kind, cell) {
        (_, Cell::Nothing) => Box::new(None::<Nothing>),
        (Kind::Number, Cell::Number(number)) => Box::new(number),
        (Kind::Small, Cell::Number(number)) => Box::new(i16::try_from(number).map_err(|_| odd())?),
        (Kind::Switch, Cell::Number(number)) => Box::new(number != 0),
        (Kind::Text, Cell::Text(text)) => Box::new(text.replace('\0', "\u{fffd}")),
        (Kind::AnyText, Cell::Text(text)) => Box::new(text.into_bytes()),
        (Kind::Bytes | Kind::AnyText, Cell::Bytes(bytes)) => Box::new(bytes),
        (Kind::Uuid, Cell::Bytes(bytes)) => Box::new(Uuid::from_slice(&bytes).map_err(|_| odd())?),
        _ => return Err(odd()),
    };
    Ok((value, column))
}

/// No value, of whatever type the column has.
#[derive(Debug)]
struct Nothing;

impl ToSql for Nothing {
    fn to_sql(
        &self,
        _: &Type,
        _: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(tokio_postgres::types::IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

#[async_trait]
impl Leave for Postgres {
    async fn tasks_after(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Moved>, StoreError> {
        let session = Session::snapshot(&self.pool).await?;
        let (after, limit) = (after.map_or(Uuid::nil(), |id| id.0), i64::try_from(limit).unwrap_or(i64::MAX));
        let sql = "SELECT id FROM task WHERE id > $1 ORDER BY id LIMIT $2";
        let found = session.query(sql, vec![(&after, Type::UUID), (&limit, Type::INT8)]).await?;
        let ids: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
        let mut rows = self.read_rows(&session, &ids).await?;
        let mut lines = lines_of(&session, &ids).await?;
        let mut jobs = jobs_of(&session, &ids).await?;
        let mut keys = keys_of(&session, &ids).await?;
        session.commit().await?;
        let moved = |id: Uuid| {
            let id = TaskId(id);
            let row = rows.remove(&id)?;
            let (lines, jobs) = (lines.remove(&id).unwrap_or_default(), jobs.remove(&id).unwrap_or_default());
            Some(moved(row, lines, jobs, keys.remove(&id)))
        };
        Ok(ids.into_iter().filter_map(moved).collect())
    }

    async fn rows(&self, table: &'static Table) -> Result<Vec<Vec<Cell>>, StoreError> {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let rows = self.ask(&format!("SELECT {} FROM {} ORDER BY 1", names.join(", "), table.name), vec![]).await?;
        let cells =
            |row: &SqlRow| table.columns.iter().enumerate().map(|(index, (_, kind))| cell(row, index, *kind)).collect();
        Ok(rows.iter().map(cells).collect())
    }
}

fn moved(row: Row, lines: Vec<Line>, jobs: Vec<Job>, key: Option<(Idempotency, Timestamp)>) -> Moved {
    let place = |seq: Option<i32>| seq.and_then(|seq| usize::try_from(seq).ok());
    Moved {
        host: row.host,
        key_number: row.key_number,
        delivery: row.delivery,
        hook_retries: row.hook_retries,
        marks: [place(row.answer), place(row.result), place(row.progress)],
        lines,
        jobs,
        idempotency: key,
        task: row.task,
    }
}

async fn lines_of(session: &Session, ids: &[Uuid]) -> Result<HashMap<TaskId, Vec<Line>>, StoreError> {
    let sql = "SELECT id, at, events, head, body FROM journal WHERE id = ANY($1::uuid[]) ORDER BY id, seq";
    let mut lines = HashMap::<TaskId, Vec<Line>>::new();
    for row in session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await? {
        let line = Line {
            at: Timestamp(row.get(1)),
            events: row.get(2),
            head: row.get(3),
            body: row.get::<_, Option<Vec<u8>>>(4).map(Into::into),
        };
        lines.entry(TaskId(row.get(0))).or_default().push(line);
    }
    Ok(lines)
}

async fn jobs_of(session: &Session, ids: &[Uuid]) -> Result<HashMap<TaskId, Vec<Job>>, StoreError> {
    let sql = "SELECT task, provider, job FROM job WHERE task = ANY($1::uuid[]) ORDER BY provider, job";
    let mut jobs = HashMap::<TaskId, Vec<Job>>::new();
    for row in session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await? {
        let job = Job { provider: row.get(1), id: String::from_utf8_lossy(row.get(2)).into_owned() };
        jobs.entry(TaskId(row.get(0))).or_default().push(job);
    }
    Ok(jobs)
}

async fn keys_of(session: &Session, ids: &[Uuid]) -> Result<HashMap<TaskId, (Idempotency, Timestamp)>, StoreError> {
    let sql = "SELECT task, key, body, at FROM idempotency WHERE task = ANY($1::uuid[])";
    let hash = |bytes: &[u8]| bytes.try_into().unwrap_or_default();
    let key = |row: &SqlRow| {
        let idempotency = Idempotency { key: hash(row.get(1)), body: hash(row.get(2)) };
        (TaskId(row.get(0)), (idempotency, Timestamp(row.get(3))))
    };
    Ok(session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await?.iter().map(key).collect())
}

fn cell(row: &SqlRow, index: usize, kind: Kind) -> Cell {
    let found = match kind {
        Kind::Number => row.get::<_, Option<i64>>(index).map(Cell::Number),
        Kind::Small => row.get::<_, Option<i16>>(index).map(|number| Cell::Number(number.into())),
        Kind::Switch => row.get::<_, Option<bool>>(index).map(|is| Cell::Number(is.into())),
        Kind::Text => row.get::<_, Option<String>>(index).map(Cell::Text),
        Kind::AnyText => {
            row.get::<_, Option<&[u8]>>(index).map(|bytes| Cell::Text(String::from_utf8_lossy(bytes).into_owned()))
        }
        Kind::Bytes => row.get::<_, Option<Vec<u8>>>(index).map(Cell::Bytes),
        Kind::Uuid => row.get::<_, Option<Uuid>>(index).map(|uuid| Cell::Bytes(uuid.as_bytes().to_vec())),
    };
    found.unwrap_or(Cell::Nothing)
}
