//! What people look for. Tasks are walked along keys and small tables that are there anyway, a bounded number at a time.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::batch::Columns;
use super::row::{self, Row};
use super::session::Session;
use crate::store::browse::{Browse, Found, REQUEST_STEPS, Search, Stuck, Summary, UNDELIVERED_MAX, waiting_since};
use crate::store::{Counts, StoreError, encoding, facts};
use crate::task::{Status, TaskId, TeamId, Timestamp};

/// Tasks looked at in one statement.
const CHUNK: usize = 500;

/// A small table with no more rows than this is read as a whole.
const FEW: i64 = 20_000;

#[async_trait]
impl Browse for Postgres {
    async fn search(&self, search: Search) -> Result<Found, StoreError> {
        let session = Session::snapshot(&self.pool).await?;
        let found = walk(&session, &search).await?;
        session.commit().await?;
        Ok(found)
    }

    async fn stuck(&self, team: TeamId, steps: usize) -> Result<Stuck, StoreError> {
        let session = Session::snapshot(&self.pool).await?;
        let due = longest_due(&session, team, steps).await?;
        let (waiting, all_waiting) = longest_waiting(&session, team, steps).await?;
        let (undelivered, all_undelivered) = undelivered(&session, team, steps).await?;
        session.commit().await?;
        Ok(Stuck { due, waiting, all_waiting, undelivered, all_undelivered })
    }

    async fn depths(&self) -> Result<BTreeMap<TeamId, Counts>, StoreError> {
        let sql = "SELECT team, status, sum(tasks)::bigint FROM counter GROUP BY team, status HAVING sum(tasks) > 0";
        let mut depths = BTreeMap::<TeamId, Counts>::new();
        for row in self.ask(sql, vec![]).await? {
            let (status, tasks) = read_count(&row, 1);
            depths.entry(TeamId(row.get(0))).or_default().insert(status, tasks);
        }
        Ok(depths)
    }

    async fn depth(&self, team: TeamId) -> Result<Counts, StoreError> {
        let sql =
            "SELECT status, sum(tasks)::bigint FROM counter WHERE team = $1 GROUP BY status HAVING sum(tasks) > 0";
        let rows = self.ask(sql, vec![(&team.0, Type::INT8)]).await?;
        Ok(rows.iter().map(|row| read_count(row, 0)).collect())
    }
}

fn read_count(row: &SqlRow, first: usize) -> (Status, u64) {
    let status = facts::status_of(i64::from(row.get::<_, i16>(first)));
    (status, u64::try_from(row.get::<_, i64>(first + 1)).unwrap_or_default())
}

/// Walks from the newest candidate to the oldest, until the page is full or the steps are used up.
async fn walk(session: &Session, search: &Search) -> Result<Found, StoreError> {
    let sql = candidates(session, search.status).await?;
    let mut found = Found { tasks: Vec::new(), next: None, looked_at: 0 };
    let (from, mut beyond) = bounds(search);
    let (mut steps, mut last) = (search.steps, None);
    loop {
        // One more than may be looked at, so that it shows whether there are more.
        let chunk = CHUNK.min(steps.saturating_add(1));
        let limit = i64::try_from(chunk).unwrap_or(i64::MAX);
        let columns: Columns<'_> =
            vec![(&search.team.0, Type::INT8), (&from, Type::UUID), (&beyond, Type::UUID), (&limit, Type::INT8)];
        let rows = session.query(&sql, columns).await?;
        let rows: Vec<Row> = rows.iter().map(row::read).collect::<Result<_, _>>()?;
        // Whatever fits is shown, unless its request is asked too.
        let room = if search.asks_the_request() { chunk } else { search.limit - found.tasks.len() };
        let fitting: Vec<Row> = rows.iter().filter(|row| fits(row, search)).take(room).cloned().collect();
        let mut heads = heads(session, &fitting).await?;
        for row in &rows {
            if found.tasks.len() == search.limit || steps == 0 {
                found.next = last;
                return Ok(found);
            }
            last = Some(row.task.id);
            found.looked_at += 1;
            steps -= 1;
            let Some(head) = heads.remove(&row.task.id) else { continue };
            if search.asks_the_request() {
                steps = steps.saturating_sub(REQUEST_STEPS - 1);
            }
            found.tasks.extend(judge(row, &head, search)?);
        }
        if rows.len() < chunk {
            return Ok(found);
        }
        beyond = last.map_or(beyond, |id| id.0);
    }
}

/// Between which ids tasks are walked: from the first, and below the second. Ids begin with the time.
fn bounds(search: &Search) -> (Uuid, Uuid) {
    let first_of = |at: Timestamp| {
        let millis = u64::try_from(at.0).unwrap_or_default();
        Uuid::from_u128(u128::from(millis & 0xffff_ffff_ffff) << 80)
    };
    let until = search.until.map_or(Uuid::max(), first_of);
    let beyond = search.before.map_or(until, |id| id.0.min(until));
    (search.from.map_or(Uuid::nil(), first_of), beyond)
}

/// The statement that walks; each of its rows is a step. The planner has no choice in what it reads first: what is rare it
/// would look for among all tasks.
async fn candidates(session: &Session, status: Option<Status>) -> Result<String, StoreError> {
    let columns = row::COLUMNS;
    let Some((table, code)) = status.and_then(|status| Some((table_of(status)?, facts::status_code(status)))) else {
        return Ok(team_walk());
    };
    let walk = match table {
        "ended_badly" => format!(
            "SELECT {columns} FROM ended_badly b JOIN task t ON t.id = b.id WHERE b.team = $1 AND b.status = {code} \
             AND b.id >= $2 AND b.id < $3 ORDER BY b.id DESC LIMIT $4"
        ),
        table if is_small(session, table).await? => format!(
            "SELECT {columns} FROM task t WHERE t.id = ANY(ARRAY(SELECT id FROM {table} WHERE id >= $2 AND id < $3)) \
             AND t.team = $1 AND t.status = {code} ORDER BY t.id DESC LIMIT $4"
        ),
        // Its key begins with the time, so that it cannot be walked by id.
        "timer" => team_walk(),
        // Other teams' tasks are steps too.
        table => format!(
            "SELECT {columns} FROM (SELECT id FROM {table} WHERE id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4) w \
             JOIN task t ON t.id = w.id ORDER BY w.id DESC"
        ),
    };
    Ok(walk)
}

/// The table beside the hot one that holds all tasks in this status, if one does.
fn table_of(status: Status) -> Option<&'static str> {
    match status {
        Status::Pending | Status::Processing => Some("call"),
        Status::Delayed | Status::Waiting => Some("timer"),
        Status::Polling => Some("poll"),
        Status::Failed | Status::Timeout | Status::Cancelled => Some("ended_badly"),
        Status::Completed => None,
    }
}

fn team_walk() -> String {
    let columns = row::COLUMNS;
    format!("SELECT {columns} FROM task t WHERE t.team = $1 AND t.id >= $2 AND t.id < $3 ORDER BY t.id DESC LIMIT $4")
}

/// Whether a table, or what is selected from one, has so few rows that they are read as a whole.
pub(super) async fn is_small(session: &Session, table: &str) -> Result<bool, StoreError> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT $1) AS few");
    let row = session.query_one(&sql, vec![(&(FEW + 1), Type::INT8)]).await?;
    Ok(row.is_none_or(|row| row.get::<_, i64>(0) <= FEW))
}

fn fits(row: &Row, search: &Search) -> bool {
    row.task.team == search.team
        && search.status.is_none_or(|status| row.task.status() == status)
        && search.webhook.is_none_or(|status| row.delivery.is_some_and(|delivery| delivery.status == status))
        && search.host.is_none_or(|host| row.host == host)
}

/// What requests say beside their bodies, by task.
async fn heads(session: &Session, rows: &[Row]) -> Result<HashMap<TaskId, String>, StoreError> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.task.id.0).collect();
    let sql = "SELECT id, head FROM journal WHERE id = ANY($1::uuid[]) AND seq = 0";
    let found = session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await?;
    let head = |row: &SqlRow| (TaskId(row.get(0)), row.get::<_, Option<String>>(1).unwrap_or_default());
    Ok(found.iter().map(head).collect())
}

/// The task, if its request fits too.
fn judge(row: &Row, head: &str, search: &Search) -> Result<Option<Summary>, StoreError> {
    let summary = summary(row, head)?;
    let is_it = search.fits_request(row.task.id, &summary.target_url, summary.provider.as_deref());
    Ok(is_it.then_some(summary))
}

fn summary(row: &Row, head: &str) -> Result<Summary, StoreError> {
    let (method, target_url, provider) = encoding::read_request_head(head)?;
    Ok(Summary { task: row.task.clone(), method, target_url, provider, delivery: row.delivery })
}

async fn summaries(session: &Session, rows: &[Row]) -> Result<Vec<Summary>, StoreError> {
    let heads = heads(session, rows).await?;
    let known = rows.iter().filter_map(|row| heads.get(&row.task.id).map(|head| summary(row, head)));
    known.collect()
}

/// The longest due of the team's own queue, as far as the steps go, and of the oldest tasks to be called at all.
async fn longest_due(session: &Session, team: TeamId, steps: usize) -> Result<Option<Summary>, StoreError> {
    let sql = format!(
        "SELECT {} FROM ((SELECT id, since FROM call WHERE node IS NULL AND team = $1 \
         ORDER BY team, host, rank, since, id LIMIT $2) UNION \
         SELECT id, since FROM (SELECT id, since, team, node FROM call ORDER BY id LIMIT $2) front \
         WHERE node IS NULL AND team = $1) c \
         JOIN task t ON t.id = c.id WHERE t.status = 0 ORDER BY c.since, c.id LIMIT 1",
        row::COLUMNS
    );
    let steps = i64::try_from(steps).unwrap_or(i64::MAX);
    let rows = session.query(&sql, vec![(&team.0, Type::INT8), (&steps, Type::INT8)]).await?;
    let rows: Vec<Row> = rows.iter().map(row::read).collect::<Result<_, _>>()?;
    Ok(summaries(session, &rows).await?.pop())
}

async fn longest_waiting(session: &Session, team: TeamId, steps: usize) -> Result<(Option<Summary>, bool), StoreError> {
    let (rows, all) = front_of(session, "timer", steps).await?;
    let waiting = |row: &Row| waiting_since(&row.task).map(|since| (since, row.task.id));
    let longest = rows.into_iter().filter(|row| row.task.team == team && waiting(row).is_some()).min_by_key(waiting);
    let longest: Vec<Row> = longest.into_iter().collect();
    Ok((summaries(session, &longest).await?.pop(), all))
}

async fn undelivered(session: &Session, team: TeamId, steps: usize) -> Result<(Vec<Summary>, bool), StoreError> {
    let (rows, mut all) = front_of(session, "outbox", steps).await?;
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| row.task.team == team).collect();
    if rows.len() > UNDELIVERED_MAX {
        rows.truncate(UNDELIVERED_MAX);
        all = false;
    }
    Ok((summaries(session, &rows).await?, all))
}

/// The tasks at the front of a table by time, and whether those are all.
async fn front_of(session: &Session, table: &str, steps: usize) -> Result<(Vec<Row>, bool), StoreError> {
    let most = i64::try_from(steps.saturating_add(1)).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {}, w.at AS due FROM (SELECT id, at FROM {table} ORDER BY at, id LIMIT $1) w \
         LEFT JOIN task t ON t.id = w.id ORDER BY w.at, w.id",
        row::COLUMNS
    );
    let rows = session.query(&sql, vec![(&most, Type::INT8)]).await?;
    let all = rows.len() <= steps;
    let there = rows.iter().take(steps).filter(|row| row.get::<_, Option<Uuid>>(0).is_some());
    Ok((there.map(row::read).collect::<Result<_, _>>()?, all))
}
