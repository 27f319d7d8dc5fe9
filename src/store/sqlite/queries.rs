//! What is read from the store, by readers and by the writer; and the few writes about teams and keys.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::failed;
use super::redo::Known;
use super::row::{self, Row};
use crate::store::{
    ApiKey, Counts, EventRecord, IDEMPOTENCY_MS, Idempotency, ListQuery, NewTeam, Page, Seal, StoreError, TaskRecord,
    Team, encoding, facts,
};
use crate::task::{Entry, Payload, Request, Status, Task, TaskId, TeamId, Timestamp};

pub(super) fn meta(db: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut select = db.prepare_cached("SELECT value FROM meta WHERE name = ?1").map_err(failed)?;
    select.query_row([name], |row| row.get(0)).optional().map_err(failed)
}

pub(super) fn set_meta(db: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![name, value]).map_err(failed)?;
    Ok(())
}

/// Writes, so that it is known whether writing works; there is no cheaper proof.
pub(super) fn ping(db: &Connection) -> Result<(), StoreError> {
    // Another value each time: a row that stays the same would not be written.
    let sql = "INSERT INTO meta (name, value) VALUES ('ping', x'31') \
               ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS BLOB)";
    db.prepare_cached(sql).and_then(|mut write| write.execute([])).map_err(failed)?;
    Ok(())
}

pub(super) fn next_timer(db: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let mut select = db.prepare_cached("SELECT at FROM timer ORDER BY at LIMIT 1").map_err(failed)?;
    select.query_row([], |row| row.get(0).map(Timestamp)).optional().map_err(failed)
}

pub(super) fn state(db: &Connection, id: TaskId, behind: Option<&Row>) -> Result<Task, StoreError> {
    row::load(db, id, behind).map_err(failed)?.map(|row| row.task).ok_or(StoreError::NotFound)
}

pub(super) fn read(db: &Connection, id: TaskId, behind: Option<&Row>) -> Result<TaskRecord, StoreError> {
    // One snapshot for row and bodies: between two, the task may be removed and its journal's numbers used again.
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let row = row::load(&snapshot, id, behind).map_err(failed)?.ok_or(StoreError::NotFound)?;
    complete(&snapshot, row)
}

pub(super) fn answer(db: &Connection, id: TaskId, behind: Option<&Row>) -> Result<Option<Payload>, StoreError> {
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let row = row::load(&snapshot, id, behind).map_err(failed)?.ok_or(StoreError::NotFound)?;
    payload(&snapshot, row.answer)
}

/// The task that an idempotency key stands for; or the number of its row, if it stands for nothing any more.
pub(super) fn known_key(
    db: &Connection,
    team: TeamId,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Option<Result<TaskId, i64>>, StoreError> {
    let sql = "SELECT id, body, task, at FROM idempotency WHERE team = ?1 AND key = ?2";
    let mut find = db.prepare_cached(sql).map_err(failed)?;
    let found = find
        .query_row(params![team.0, idempotency.key], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        })
        .optional()
        .map_err(failed)?;
    let Some((number, body, key, at)) = found else {
        return Ok(None);
    };
    let fresh = now.millis_since(Timestamp(at)) < IDEMPOTENCY_MS;
    match row::load_by_key(db, key).map_err(failed)? {
        Some(_) if fresh && body != idempotency.body => Err(StoreError::KeyReused),
        Some(row) if fresh => Ok(Some(Ok(row.task.id))),
        _ => Ok(Some(Err(number))),
    }
}

/// Fetches what was written once.
pub(super) fn complete(db: &Connection, row: Row) -> Result<TaskRecord, StoreError> {
    Ok(TaskRecord {
        request: request(db, row.request)?,
        key_number: row.key_number,
        result: payload(db, row.result)?,
        progress: payload(db, row.progress)?,
        delivery: row.delivery,
        task: row.task,
    })
}

pub(super) fn request(db: &Connection, id: i64) -> Result<Request, StoreError> {
    let (head, body) = written(db, id)?;
    encoding::read_request(&head, body)
}

pub(super) fn payload(db: &Connection, id: Option<i64>) -> Result<Option<Payload>, StoreError> {
    let Some(id) = id else { return Ok(None) };
    let (head, body) = written(db, id)?;
    encoding::read_payload(&head, body).map(Some)
}

fn written(db: &Connection, id: i64) -> Result<(String, Option<Vec<u8>>), StoreError> {
    let mut select = db.prepare_cached("SELECT head, body FROM journal WHERE id = ?1").map_err(failed)?;
    let found = select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(failed)?;
    found.ok_or_else(|| StoreError::Unreadable(format!("journal row {id} is missing")))
}

pub(super) fn list(db: &Connection, query: ListQuery, known: Known) -> Result<Page, StoreError> {
    // One snapshot for the page and its total.
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let known = known.until(&snapshot)?;
    let total = self::total(&snapshot, query)?;
    // A page behind the end is not looked for, and the last page stops at the last row that is known to be there.
    let limit = u64::from(query.limit).min(total.saturating_sub(query.offset));
    if limit == 0 {
        return Ok(Page { records: Vec::new(), rest: Vec::new(), total });
    }
    let all = self::total(&snapshot, ListQuery { status: None, ..query })?;
    let rows = rows_of(&snapshot, query, limit, total * RARE < all, &known)?;
    let weighed = rows.into_iter().map(|row| bytes_of(&snapshot, &row).map(|bytes| (row, bytes)));
    let (whole, rest) = Page::split(weighed.collect::<Result<_, _>>()?, query.room);
    Ok(Page {
        records: whole.into_iter().map(|row| complete(&snapshot, row)).collect::<Result<_, _>>()?,
        rest: rest.into_iter().map(|(row, bytes)| (row.task.id, bytes)).collect(),
        total,
    })
}

fn rows_of(db: &Connection, query: ListQuery, limit: u64, few: bool, known: &Known) -> Result<Vec<Row>, StoreError> {
    if let Some(status) = query.status.filter(|status| row::is_unindexed(*status) && !known.is_empty()) {
        return rows_by_walking(db, query, (status, limit), few, known);
    }
    let mut select = db.prepare_cached(&page_of(query.status, few)).map_err(failed)?;
    let values = params![query.team.0, integer(limit), integer(query.offset)];
    let rows: Vec<Row> = collect(select.query_map(values, row::read))?;
    Ok(rows.into_iter().map(|row| known.newest(row)).collect())
}

/// The page of those in a status that rows may have which are behind.
fn rows_by_walking(
    db: &Connection,
    query: ListQuery,
    (status, limit): (Status, u64),
    few: bool,
    known: &Known,
) -> Result<Vec<Row>, StoreError> {
    let code = facts::status_code(status);
    let mut select = db.prepare_cached(&walk(status, few)).map_err(failed)?;
    let mut rows = select.query([query.team.0]).map_err(failed)?;
    let (mut passed, mut found) = (0, Vec::new());
    while (found.len() as u64) < limit
        && let Some(row) = rows.next().map_err(failed)?
    {
        let (key, in_place, head) = read_step(row).map_err(failed)?;
        let now = known.newer(key, head).map_or(in_place, |row| facts::status_code(row.task.status()));
        if now != code {
            continue;
        }
        passed += 1;
        if passed > query.offset {
            let row = row::load_by_key(db, key).map_err(failed)?.ok_or(StoreError::NotFound)?;
            found.push(known.newest(row));
        }
    }
    Ok(found)
}

const STEP: &str = "SELECT key, status, head FROM task";

fn read_step(row: &SqlRow<'_>) -> rusqlite::Result<(i64, i64, i64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// The statement that walks from the newest task that may be in the status to the oldest.
pub(super) fn walk(status: Status, few: bool) -> String {
    format!("{STEP} WHERE {} ORDER BY key DESC", candidates(status, few))
}

/// Those that may be in a status which no index is of. Where few of many wait, their timers find them: whatever waits has one.
fn candidates(status: Status, few: bool) -> &'static str {
    if few && status == Status::Waiting { "key IN (SELECT key FROM timer) AND +team = ?1" } else { "team = ?1" }
}

fn integer(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How long a task's bodies are; SQLite knows without reading them.
fn bytes_of(db: &Connection, row: &Row) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(sum(length(body)), 0) FROM journal WHERE id IN (?1, ?2, ?3)";
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let bytes: i64 =
        select.query_row(params![row.request, row.result, row.progress], |row| row.get(0)).map_err(failed)?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// One in so many is few.
const RARE: u64 = 16;

/// The statement that reads a page, in such words that an index is found.
pub(super) fn page_of(status: Option<Status>, few: bool) -> String {
    let filter = match status.map(|status| (status, facts::status_code(status))) {
        None => "team = ?1".to_owned(),
        Some((status, code)) if row::is_unindexed(status) => {
            format!("{} AND status = {code}", candidates(status, few))
        }
        Some((_, code)) => format!("team = ?1 AND status = {code} AND status NOT IN (3, 5)"),
    };
    row::select(&format!("WHERE {filter} ORDER BY key DESC LIMIT ?2 OFFSET ?3"))
}

fn total(db: &Connection, query: ListQuery) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(sum(tasks), 0) FROM counter WHERE team = ?1 AND (?2 IS NULL OR status = ?2)";
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let status = query.status.map(facts::status_code);
    let total: i64 = select.query_row(params![query.team.0, status], |row| row.get(0)).map_err(failed)?;
    Ok(u64::try_from(total).unwrap_or_default())
}

pub(super) fn events(db: &Connection, id: TaskId, behind: Option<&Row>) -> Result<Vec<EventRecord>, StoreError> {
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let row = row::load(&snapshot, id, behind).map_err(failed)?.ok_or(StoreError::NotFound)?;
    let mut pages = Vec::new();
    let mut next = Some(row.head);
    let mut select = snapshot
        .prepare_cached(
            "SELECT prev, at, events, CASE WHEN events LIKE '%callback.late%' THEN body END FROM journal WHERE id = ?1",
        )
        .map_err(failed)?;
    while let Some(at) = next {
        let (prev, time, entries, body): (_, i64, Option<String>, Option<Vec<u8>>) =
            select.query_row([at], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).map_err(failed)?;
        let mut records = entries.map_or(Ok(Vec::new()), |text| encoding::read_entries(Timestamp(time), &text))?;
        if let Some(late) = records.iter_mut().find(|record| record.entry == Entry::CallbackLate) {
            late.body = body.map(Into::into);
        }
        pages.push(records);
        next = prev;
    }
    let created = EventRecord { at: row.task.created_at, entry: Entry::Created, body: None };
    Ok(std::iter::once(created).chain(pages.into_iter().rev().flatten()).collect())
}

pub(super) fn counts(db: &Connection) -> Result<Counts, StoreError> {
    let mut select = db.prepare_cached("SELECT status, sum(tasks) FROM counter GROUP BY status").map_err(failed)?;
    let rows = select.query_map([], |row| Ok((facts::status_of(row.get(0)?), row.get::<_, i64>(1)?)));
    let rows: Vec<_> = collect(rows)?;
    Ok(rows.into_iter().map(|(status, tasks)| (status, u64::try_from(tasks).unwrap_or_default())).collect())
}

const TEAM: &str = "SELECT id, uid, name, created_at, rate_limit, secret, old_secret, old_secret_until FROM team";

pub(super) fn create_team(db: &Connection, new: &NewTeam, seal: &Seal, now: Timestamp) -> Result<Team, StoreError> {
    let taken: Option<i64> = db
        .query_row("SELECT id FROM team WHERE name = ?1", [&new.name], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    if taken.is_some() {
        return Err(StoreError::Taken);
    }
    let insert = "INSERT INTO team (uid, name, created_at, rate_limit, secret) VALUES (?1, ?2, ?3, ?4, x'')";
    db.execute(insert, params![new.uid, new.name, now.0, new.rate_limit]).map_err(failed)?;
    let id = TeamId(db.last_insert_rowid());
    db.execute("UPDATE team SET secret = ?2 WHERE id = ?1", params![id.0, seal(id)]).map_err(failed)?;
    team(db, id)
}

pub(super) fn teams(db: &Connection) -> Result<Vec<Team>, StoreError> {
    let mut select = db.prepare_cached(&format!("{TEAM} ORDER BY id")).map_err(failed)?;
    collect(select.query_map([], read_team))
}

pub(super) fn team(db: &Connection, id: TeamId) -> Result<Team, StoreError> {
    let mut select = db.prepare_cached(&format!("{TEAM} WHERE id = ?1")).map_err(failed)?;
    select.query_row([id.0], read_team).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

pub(super) fn team_of(db: &Connection, uid: uuid::Uuid) -> Result<Team, StoreError> {
    let mut select = db.prepare_cached(&format!("{TEAM} WHERE uid = ?1")).map_err(failed)?;
    select.query_row([uid], read_team).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

fn read_team(row: &SqlRow<'_>) -> rusqlite::Result<Team> {
    let old_secret: Option<Vec<u8>> = row.get(6)?;
    let until = Timestamp(row.get::<_, Option<i64>>(7)?.unwrap_or_default());
    Ok(Team {
        id: TeamId(row.get(0)?),
        uid: row.get(1)?,
        name: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
        rate_limit: row.get(4)?,
        secret: row.get(5)?,
        old_secret: old_secret.map(|secret| (secret, until)),
    })
}

pub(super) fn rotate_secret(
    db: &Connection,
    id: TeamId,
    sealed: &[u8],
    old_until: Timestamp,
) -> Result<Team, StoreError> {
    let sql = "UPDATE team SET old_secret = secret, old_secret_until = ?3, secret = ?2 WHERE id = ?1";
    db.execute(sql, params![id.0, sealed, old_until.0]).map_err(failed)?;
    team(db, id)
}

pub(super) fn set_rate_limit(db: &Connection, id: TeamId, limit: Option<u32>) -> Result<Team, StoreError> {
    db.execute("UPDATE team SET rate_limit = ?2 WHERE id = ?1", params![id.0, limit]).map_err(failed)?;
    team(db, id)
}

const KEY: &str = "SELECT uid, team, name, prefix, hash, created_at, revoked_at FROM api_key";

pub(super) fn create_key(db: &Connection, key: &ApiKey) -> Result<(), StoreError> {
    let sql =
        "INSERT OR IGNORE INTO api_key (uid, team, name, prefix, hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![key.uid, key.team.0, key.name, key.prefix, key.hash, key.created_at.0];
    match db.execute(sql, values).map_err(failed)? {
        0 => Err(StoreError::Taken),
        _ => Ok(()),
    }
}

pub(super) fn keys(db: &Connection, team: TeamId) -> Result<Vec<ApiKey>, StoreError> {
    let mut select = db.prepare_cached(&format!("{KEY} WHERE team = ?1 ORDER BY id")).map_err(failed)?;
    collect(select.query_map([team.0], read_key))
}

pub(super) fn revoke_key(db: &Connection, uid: uuid::Uuid, now: Timestamp) -> Result<ApiKey, StoreError> {
    let sql = "UPDATE api_key SET revoked_at = ?2 WHERE uid = ?1 AND revoked_at IS NULL";
    if db.execute(sql, params![uid, now.0]).map_err(failed)? == 0 {
        return Err(StoreError::NotFound);
    }
    let mut select = db.prepare_cached(&format!("{KEY} WHERE uid = ?1")).map_err(failed)?;
    select.query_row([uid], read_key).map_err(failed)
}

pub(super) fn key_of(db: &Connection, uid: uuid::Uuid) -> Result<ApiKey, StoreError> {
    let mut select = db.prepare_cached(&format!("{KEY} WHERE uid = ?1")).map_err(failed)?;
    select.query_row([uid], read_key).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

pub(super) fn find_key(db: &Connection, hash: &[u8; 32]) -> Result<(ApiKey, Team), StoreError> {
    let mut select = db.prepare_cached(&format!("{KEY} WHERE hash = ?1 AND revoked_at IS NULL")).map_err(failed)?;
    let key = select.query_row([hash], read_key).optional().map_err(failed)?.ok_or(StoreError::NotFound)?;
    let team = team(db, key.team)?;
    Ok((key, team))
}

fn read_key(row: &SqlRow<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        uid: row.get(0)?,
        team: TeamId(row.get(1)?),
        name: row.get(2)?,
        prefix: row.get(3)?,
        hash: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        revoked_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
    })
}

fn collect<T, F>(rows: rusqlite::Result<rusqlite::MappedRows<'_, F>>) -> Result<Vec<T>, StoreError>
where
    F: FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
{
    rows.and_then(Iterator::collect).map_err(failed)
}
