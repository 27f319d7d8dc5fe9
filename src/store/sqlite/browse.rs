//! What people look for. Tasks are walked along keys and indexes that are there anyway, a bounded number at a time, in a
//! snapshot: a reader is never long in the way of others, and never in the writer's.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, Row as SqlRow, params};

use super::redo::Known;
use super::row::{self, Row};
use super::{Sqlite, failed};
use crate::store::browse::{Browse, Found, REQUEST_STEPS, Search, Stuck, Summary, UNDELIVERED_MAX, waiting_since};
use crate::store::{Counts, StoreError, encoding, facts};
use crate::task::{State, Status, TaskId, TeamId, Timestamp};

#[async_trait]
impl Browse for Sqlite {
    async fn search(&self, search: Search) -> Result<Found, StoreError> {
        let known = self.behind.known();
        self.readers.run(move |db| self::search(db, &search, &known)).await
    }

    async fn stuck(&self, team: TeamId, steps: usize) -> Result<Stuck, StoreError> {
        let known = self.behind.known();
        self.readers.run(move |db| self::stuck(db, team, steps, &known)).await
    }

    async fn depths(&self) -> Result<BTreeMap<TeamId, Counts>, StoreError> {
        self.readers.run(depths).await
    }

    async fn depth(&self, team: TeamId) -> Result<Counts, StoreError> {
        self.readers.run(move |db| self::depth(db, team)).await
    }
}

/// Where so few timers are, all that waits is found by them.
const FEW_TIMERS: usize = 20_000;

/// What is looked at of a task before its request is.
struct Glimpse {
    key: i64,
    id: TaskId,
    status: i64,
    host: i64,
    hook_status: Option<i64>,
    request: i64,
    head: i64,
}

const GLIMPSE: &str = "SELECT key, low, status, host, hook_status, request, head FROM task";

fn search(db: &Connection, search: &Search, known: &Known) -> Result<Found, StoreError> {
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let few = search.status == Some(Status::Waiting) && few_timers(&snapshot)?;
    let mut select = snapshot.prepare_cached(&candidates(search.status, few)).map_err(failed)?;
    let (lowest, beyond) = search.keys();
    let most = i64::try_from(search.steps.saturating_add(1)).unwrap_or(i64::MAX);
    let mut rows = select.query(params![search.team.0, lowest, beyond, most]).map_err(failed)?;
    let mut found = Found { tasks: Vec::new(), next: None, looked_at: 0 };
    let mut steps = search.steps;
    let mut last = None;
    while let Some(row) = rows.next().map_err(failed)? {
        if found.tasks.len() == search.limit || steps == 0 {
            found.next = last;
            break;
        }
        let glimpse = read_glimpse(row).map_err(failed)?.updated(known);
        last = Some(glimpse.id);
        found.looked_at += 1;
        steps -= 1;
        if !fits(&glimpse, search) {
            continue;
        }
        if search.asks_the_request() {
            steps = steps.saturating_sub(REQUEST_STEPS - 1);
        }
        found.tasks.extend(look_into(&snapshot, &glimpse, search, known)?);
    }
    Ok(found)
}

/// The statement that walks from the newest candidate to the oldest. Where an index holds a status's tasks it is named:
/// with a range of keys beside it, the planner takes the team's for as good.
pub(super) fn candidates(status: Option<Status>, few: bool) -> String {
    let (index, filter) = match status.map(|status| (status, facts::status_code(status))) {
        Some((Status::Waiting, _)) if few => ("", "key IN (SELECT key FROM timer) AND +team = ?1".to_owned()),
        None | Some((Status::Waiting | Status::Completed, _)) => ("", "team = ?1".to_owned()),
        Some((_, code)) => {
            ("INDEXED BY task_by_status", format!("team = ?1 AND status = {code} AND status NOT IN (3, 5)"))
        }
    };
    format!("{GLIMPSE} {index} WHERE {filter} AND key >= ?2 AND key < ?3 ORDER BY key DESC LIMIT ?4")
}

fn few_timers(db: &Connection) -> Result<bool, StoreError> {
    Ok(next_keys(db, "SELECT key FROM timer ORDER BY at LIMIT ?1", FEW_TIMERS)?.len() <= FEW_TIMERS)
}

fn read_glimpse(row: &SqlRow<'_>) -> rusqlite::Result<Glimpse> {
    let key = row.get(0)?;
    Ok(Glimpse {
        key,
        id: TaskId::from_key(key, row.get(1)?),
        status: row.get(2)?,
        host: row.get(3)?,
        hook_status: row.get(4)?,
        request: row.get(5)?,
        head: row.get(6)?,
    })
}

impl Glimpse {
    fn updated(self, known: &Known) -> Self {
        let Some(row) = known.newer(self.key, self.head) else { return self };
        Self {
            status: facts::status_code(row.task.status()),
            hook_status: row.delivery.map(|hook| facts::write_delivery_status(hook.status)),
            ..self
        }
    }
}

/// The row with this key, if there is one.
fn row_by_key(db: &Connection, key: i64, known: &Known) -> Result<Option<Row>, StoreError> {
    Ok(row::load_by_key(db, key).map_err(failed)?.map(|row| known.newest(row)))
}

fn fits(glimpse: &Glimpse, search: &Search) -> bool {
    search.status.is_none_or(|status| glimpse.status == facts::status_code(status))
        && search.webhook.is_none_or(|status| glimpse.hook_status == Some(facts::write_delivery_status(status)))
        && search.host.is_none_or(|host| glimpse.host == host.0)
}

/// The task, if its request fits too.
fn look_into(
    db: &Connection,
    glimpse: &Glimpse,
    search: &Search,
    known: &Known,
) -> Result<Option<Summary>, StoreError> {
    let (method, target_url, provider) = head(db, glimpse.request)?;
    if !search.fits_request(glimpse.id, &target_url, provider.as_deref()) {
        return Ok(None);
    }
    let row = row_by_key(db, glimpse.key, known)?.ok_or(StoreError::NotFound)?;
    Ok(Some(Summary { task: row.task, method, target_url, provider, delivery: row.delivery }))
}

fn head(db: &Connection, request: i64) -> Result<(crate::task::Method, String, Option<String>), StoreError> {
    let mut select = db.prepare_cached("SELECT head FROM journal WHERE id = ?1").map_err(failed)?;
    let text: String = select.query_row([request], |row| row.get(0)).map_err(failed)?;
    encoding::read_request_head(&text)
}

fn summary(db: &Connection, row: Row) -> Result<Summary, StoreError> {
    let (method, target_url, provider) = head(db, row.request)?;
    Ok(Summary { task: row.task, method, target_url, provider, delivery: row.delivery })
}

fn stuck(db: &Connection, team: TeamId, steps: usize, known: &Known) -> Result<Stuck, StoreError> {
    let snapshot = db.unchecked_transaction().map_err(failed)?;
    let due = longest_due(&snapshot, team, steps)?;
    let (waiting, all_waiting) = longest_waiting(&snapshot, team, steps, known)?;
    let (undelivered, all_undelivered) = undelivered(&snapshot, team, steps, known)?;
    Ok(Stuck { due, waiting, all_waiting, undelivered, all_undelivered })
}

/// The statement that finds the oldest of a team's pending tasks.
pub(super) const PENDING: &str = "WHERE team = ?1 AND status = 0 AND status NOT IN (3, 5) ORDER BY key LIMIT ?2";

fn longest_due(db: &Connection, team: TeamId, steps: usize) -> Result<Option<Summary>, StoreError> {
    let mut select = db.prepare_cached(&row::select(PENDING)).map_err(failed)?;
    let mut rows = select.query(params![team.0, steps]).map_err(failed)?;
    let mut longest: Option<(Timestamp, Row)> = None;
    while let Some(row) = rows.next().map_err(failed)? {
        let row = row::read(row).map_err(failed)?;
        if let State::Pending { since } = row.task.state
            && longest.as_ref().is_none_or(|(earliest, _)| since < *earliest)
        {
            longest = Some((since, row));
        }
    }
    longest.map(|(_, row)| summary(db, row)).transpose()
}

fn longest_waiting(
    db: &Connection,
    team: TeamId,
    steps: usize,
    known: &Known,
) -> Result<(Option<Summary>, bool), StoreError> {
    let keys = next_keys(db, "SELECT key FROM timer ORDER BY at LIMIT ?1", steps)?;
    let all = keys.len() <= steps;
    let mut longest: Option<(Timestamp, TaskId, Row)> = None;
    for key in keys.into_iter().take(steps) {
        let row = row_by_key(db, key, known)?.filter(|row| row.task.team == team);
        if let Some(row) = row
            && let Some(since) = waiting_since(&row.task)
            && longest.as_ref().is_none_or(|(earliest, id, _)| (since, row.task.id) < (*earliest, *id))
        {
            longest = Some((since, row.task.id, row));
        }
    }
    let longest = longest.map(|(_, _, row)| summary(db, row)).transpose()?;
    Ok((longest, all))
}

fn undelivered(db: &Connection, team: TeamId, steps: usize, known: &Known) -> Result<(Vec<Summary>, bool), StoreError> {
    let keys = next_keys(db, "SELECT key FROM outbox ORDER BY at, key LIMIT ?1", steps)?;
    let mut all = keys.len() <= steps;
    let mut found = Vec::new();
    for key in keys.into_iter().take(steps) {
        let Some(row) = row_by_key(db, key, known)?.filter(|row| row.task.team == team) else {
            continue;
        };
        if found.len() == UNDELIVERED_MAX {
            all = false;
            break;
        }
        found.push(summary(db, row)?);
    }
    Ok((found, all))
}

/// One key more than the steps allow, so that it shows whether there are more.
fn next_keys(db: &Connection, sql: &str, steps: usize) -> Result<Vec<i64>, StoreError> {
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let keys = select.query_map([steps.saturating_add(1)], |row| row.get(0)).map_err(failed)?;
    keys.collect::<Result<_, _>>().map_err(failed)
}

fn depths(db: &Connection) -> Result<BTreeMap<TeamId, Counts>, StoreError> {
    let mut select = db.prepare_cached("SELECT team, status, tasks FROM counter WHERE tasks > 0").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    let mut depths = BTreeMap::<TeamId, Counts>::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let (team, status, tasks) = read_counter(row).map_err(failed)?;
        depths.entry(team).or_default().insert(status, tasks);
    }
    Ok(depths)
}

fn depth(db: &Connection, team: TeamId) -> Result<Counts, StoreError> {
    let sql = "SELECT team, status, tasks FROM counter WHERE team = ?1 AND tasks > 0";
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let counts = select.query_map([team.0], read_counter).map_err(failed)?;
    counts.map(|row| row.map(|(_, status, tasks)| (status, tasks)).map_err(failed)).collect()
}

fn read_counter(row: &SqlRow<'_>) -> rusqlite::Result<(TeamId, Status, u64)> {
    let tasks: i64 = row.get(2)?;
    Ok((TeamId(row.get(0)?), facts::status_of(row.get(1)?), u64::try_from(tasks).unwrap_or_default()))
}
