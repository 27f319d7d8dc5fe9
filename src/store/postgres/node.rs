//! The nodes that share the store. Each says again and again that it is alive; what one had in hand that has gone silent
//! is taken back by the others. Time is the database's, so that nodes need not agree on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::Postgres;
use super::batch::{self, Batch};
use super::notice;
use super::session::Session;
use crate::store::StoreError;
use crate::task::{Event, State, TaskId, Timestamp};

/// Who this node is: a number that no other node has or had. It gets a new one when the others took it for dead.
#[derive(Default)]
pub(super) struct Me {
    id: AtomicI64,
    /// Until when the others count it as alive, by its own clock.
    alive_until: Mutex<Option<Instant>>,
}

impl Me {
    pub fn id(&self) -> i64 {
        self.id.load(Ordering::Acquire)
    }

    /// Who claims. A node whose word has run out must not: what it claims would be taken back at once.
    pub fn claims(&self) -> Option<i64> {
        let until = *self.alive_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until).then(|| self.id())
    }

    /// It lives; `until` is when it must have claimed the last.
    fn lives(&self, id: i64, until: Instant) {
        self.id.store(id, Ordering::Release);
        *self.alive_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// What a node tells of itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// What people call it.
    pub name: String,
    /// What it does, joined by commas.
    pub roles: String,
    /// Where it listens.
    pub address: String,
    /// How long its word that it is alive holds.
    pub lease: Duration,
}

/// A node as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its number.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// What it does, joined by commas.
    pub roles: String,
    /// Where it listens.
    pub address: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it was heard of last.
    pub seen_at: Timestamp,
    /// Until when it counts as alive.
    pub alive_until: Timestamp,
    /// Calls that it makes just now.
    pub calls: u32,
    /// Whether it is alive.
    pub alive: bool,
}

/// What a heartbeat told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The database's time.
    pub store_time: Timestamp,
    /// How long the answer to that question took.
    pub took: Duration,
    /// How many nodes are alive, this one included.
    pub alive: usize,
    /// Whether the others had taken this node for dead: what it had in hand is no longer its own.
    pub lost: bool,
}

/// Where a task stands, as far as one can tell whether it changed: its status, and how much its journal holds.
pub type Seen = (i16, i32);

/// The database's time in milliseconds.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// What a dead node has in hand; `$1` is a node that counts as dead too, or 0.
const DEAD: &str = "node IS NOT NULL AND (node = $1 OR NOT EXISTS \
    (SELECT FROM node n WHERE n.id = node AND n.alive_until > (extract(epoch FROM clock_timestamp()) * 1000)::bigint))";

/// Tasks taken back in one transaction.
const RESCUE_BATCH: i64 = 200;

impl Postgres {
    /// Says that this node is alive, and hears who else is.
    pub async fn beat(&self, calls: usize) -> Result<Beat, StoreError> {
        let introduction = self.introduction.as_ref().ok_or_else(|| super::away("this process is no node"))?;
        let lease = i64::try_from(introduction.lease.as_millis()).unwrap_or(i64::MAX);
        let calls = i32::try_from(calls).unwrap_or(i32::MAX);
        let began = Instant::now();
        let me = self.shared.me.id();
        let session = Session::open(&self.vital).await?;
        let sql = format!(
            "UPDATE node SET seen_at = {NOW_MS}, alive_until = {NOW_MS} + $2, calls = $3 \
             WHERE id = $1 AND alive_until > {NOW_MS}"
        );
        let known =
            session.execute(&sql, vec![(&me, Type::INT8), (&lease, Type::INT8), (&calls, Type::INT4)]).await? == 1;
        let id = if known { me } else { new_id()? };
        if !known {
            let sql = format!(
                "INSERT INTO node (id, name, version, roles, address, started_at, seen_at, alive_until, calls) \
                 VALUES ($1, $2, $3, $4, $5, {NOW_MS}, {NOW_MS}, {NOW_MS} + $6, $7)"
            );
            let version = env!("CARGO_PKG_VERSION");
            let columns: batch::Columns<'_> = vec![
                (&id, Type::INT8),
                (&introduction.name, Type::TEXT),
                (&version, Type::TEXT),
                (&introduction.roles, Type::TEXT),
                (&introduction.address, Type::TEXT),
                (&lease, Type::INT8),
                (&calls, Type::INT4),
            ];
            session.execute(&sql, columns).await?;
        }
        // Well before the others may take its calls up it lets go of them, and must not take up new ones.
        self.shared.me.lives(id, began + introduction.lease * 2 / 3);
        let sql = format!(
            "SELECT {NOW_MS}, count(*) FILTER (WHERE alive_until > {NOW_MS} AND roles LIKE '%dispatch%'), \
             count(*) FILTER (WHERE alive_until > {NOW_MS}) FROM node"
        );
        let asked = Instant::now();
        let row = session.query_one(&sql, vec![]).await?.ok_or(StoreError::NotFound)?;
        let took = asked.elapsed();
        session.close();
        let dispatchers = usize::try_from(row.get::<_, i64>(1)).unwrap_or(1).max(1);
        self.shared.dispatchers.store(dispatchers, Ordering::Release);
        let alive = usize::try_from(row.get::<_, i64>(2)).unwrap_or_default();
        Ok(Beat { store_time: Timestamp(row.get(0)), took, alive, lost: !known && me != 0 })
    }

    /// Where these tasks stand; those that are gone are left out.
    pub async fn look_at(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Seen>, StoreError> {
        let ids: Vec<uuid::Uuid> = tasks.iter().map(|id| id.0).collect();
        let sql = "SELECT id, status, head FROM task WHERE id = ANY($1::uuid[])";
        let rows = self.ask(sql, vec![(&ids, Type::UUID_ARRAY)]).await?;
        Ok(rows.iter().map(|row| (TaskId(row.get(0)), (row.get(1), row.get(2)))).collect())
    }

    /// Says goodbye: what this node still has in hand may be taken back at once.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let session = Session::open(&self.vital).await?;
        session.execute("DELETE FROM node WHERE id = $1", vec![(&self.shared.me.id(), Type::INT8)]).await?;
        session.close();
        Ok(())
    }

    /// All nodes that are known, the oldest first. One that has been silent for a day is forgotten.
    pub async fn nodes(&self) -> Result<Vec<NodeState>, StoreError> {
        let session = Session::open(&self.pool).await?;
        let forget = format!("DELETE FROM node WHERE alive_until < {NOW_MS} - 86400000");
        session.execute(&forget, vec![]).await?;
        let sql = format!(
            "SELECT id, name, version, roles, address, started_at, seen_at, alive_until, calls, alive_until > {NOW_MS} \
             FROM node ORDER BY started_at, id"
        );
        let rows = session.query(&sql, vec![]).await?;
        session.close();
        let node = |row: &tokio_postgres::Row| NodeState {
            id: row.get(0),
            name: row.get(1),
            version: row.get(2),
            roles: row.get(3),
            address: row.get(4),
            started_at: Timestamp(row.get(5)),
            seen_at: Timestamp(row.get(6)),
            alive_until: Timestamp(row.get(7)),
            calls: super::row::number(row.get(8)),
            alive: row.get(9),
        };
        Ok(rows.iter().map(node).collect())
    }

    /// Takes back what dead nodes had in hand: their calls count as interrupted, their webhooks and polls are free again.
    /// Answers how many calls.
    pub async fn rescue(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.take_back(0, now).await
    }

    /// Takes back what dead nodes had in hand, and what the node `own` has.
    pub(super) async fn take_back(&self, own: i64, now: Timestamp) -> Result<usize, StoreError> {
        self.free_claims(own).await?;
        let mut rescued = 0;
        loop {
            let (looked_at, interrupted) = self.interrupt_some(own, now).await?;
            rescued += interrupted;
            if looked_at == 0 || interrupted == 0 {
                return Ok(rescued);
            }
        }
    }

    async fn interrupt_some(&self, own: i64, now: Timestamp) -> Result<(usize, usize), StoreError> {
        let session = Session::begin(&self.pool).await?;
        let sql = format!("SELECT id FROM call WHERE {DEAD} LIMIT $2");
        let dead = session.query(&sql, vec![(&own, Type::INT8), (&RESCUE_BATCH, Type::INT8)]).await?;
        let ids: Vec<uuid::Uuid> = dead.iter().map(|row| row.get(0)).collect();
        if ids.is_empty() {
            session.commit().await?;
            return Ok((0, 0));
        }
        let mut batch = Batch::default();
        batch.hold(&batch::lock_free(&session.link().client, &ids).await.map_err(super::failed)?)?;
        // Between the look and the lock, a living node may have claimed some.
        let sql = format!("SELECT id FROM call WHERE id = ANY($2::uuid[]) AND {DEAD}");
        let still = session.query(&sql, vec![(&own, Type::INT8), (&ids, Type::UUID_ARRAY)]).await?;
        let mut interrupted = 0;
        for row in still {
            let id = TaskId(row.get(0));
            let Ok(row) = batch.row(id) else { continue };
            if let State::Processing { .. } = row.task.state {
                let event = Event::Interrupted { attempt: row.task.attempt };
                batch.transition(id, &event, None, now)?;
                interrupted += 1;
            }
        }
        session.finish(&mut batch, self.shared.part(super::PART_OF_ACTS)).await?;
        self.shared.observer.committed(&batch.effects);
        Ok((ids.len(), interrupted))
    }

    async fn free_claims(&self, own: i64) -> Result<(), StoreError> {
        let session = Session::open(&self.pool).await?;
        let mut effects = crate::store::Effects::default();
        for table in ["outbox", "poll"] {
            let sql = format!(
                "UPDATE {table} SET node = NULL WHERE id IN \
                 (SELECT id FROM {table} WHERE {DEAD} ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED)"
            );
            if session.execute(&sql, vec![(&own, Type::INT8)]).await? > 0 {
                effects.deliver |= table == "outbox";
                effects.poll = effects.poll.or((table == "poll").then_some(Timestamp(i64::MIN)));
            }
        }
        session.execute(&notice::forget_old(), vec![]).await?;
        session.close();
        self.shared.observer.committed(&effects);
        Ok(())
    }
}

/// A number that no node has or had.
pub(super) fn new_id() -> Result<i64, StoreError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok((i64::from_le_bytes(bytes) & i64::MAX).max(1))
}
