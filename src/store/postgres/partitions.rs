//! The journal's partitions: one a day, by the time in the task's id. They are made ahead of time, and dropped whole once
//! retention has removed the last task of their day; what is dropped leaves nothing to vacuum.
//!
//! So retention removes a task and leaves its lines to the drop, if that is near: at most a twentieth of the retention away.
//! Where a task that has not ended holds its day up for longer, the others' lines are deleted after all.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::failed;
use crate::store::StoreError;
use crate::task::{TaskId, Timestamp};

const DAY_MS: i64 = 86_400_000;

/// Days that have a partition before they come.
const AHEAD: i64 = 3;

/// By which part of the time that tasks are kept their lines may stay longer, before the end of their day and after it.
const MARGIN: i64 = 20;

/// Lines looked at in one statement.
const CHUNK: usize = 10_000;

/// What is known of the days, by their numbers since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    /// Those that have a partition.
    there: BTreeSet<i64>,
    /// Those of them that could not be dropped yet.
    put_off: BTreeSet<i64>,
    /// Those of them that nobody waits for any more: lines that were left are deleted.
    cleared: BTreeSet<i64>,
    /// Those for which a partition could not be made.
    refused: BTreeSet<i64>,
}

impl Days {
    /// Whether retention, which removes this task now, leaves its lines to be dropped with its day.
    pub fn drop_with_day(&self, id: TaskId, cutoff: Cutoff) -> bool {
        let day = day_of(id);
        self.there.contains(&day) && end_of(day).abs_diff(cutoff.before.0) <= cutoff.margin().unsigned_abs()
    }

    /// Whether there may be something to drop.
    pub fn may_drop(&self, cutoff: Cutoff) -> bool {
        self.there.difference(&self.put_off).next().is_some_and(|day| *day < day_at(cutoff.before))
    }

    /// Makes the partitions of these tasks' days, where nobody tried before.
    pub async fn make_for(&mut self, client: &Client, ids: &[Uuid]) -> Result<(), StoreError> {
        if !self.lack(ids) {
            return Ok(());
        }
        self.there = known(client).await?;
        for day in ids.iter().map(|id| day_of(TaskId(*id))).collect::<BTreeSet<_>>() {
            self.make(client, day).await?;
        }
        Ok(())
    }

    /// Whether a partition is to be made for one of these tasks.
    pub fn lack(&self, ids: &[Uuid]) -> bool {
        ids.iter().map(|id| day_of(TaskId(*id))).any(|day| !self.there.contains(&day) && !self.refused.contains(&day))
    }

    /// Makes a day's partition, if it is missing. Where there are lines of that day already, or somebody else makes it at
    /// the same time, the day goes without: its lines lie in the default partition.
    async fn make(&mut self, client: &Client, day: i64) -> Result<(), StoreError> {
        if self.there.contains(&day) || self.refused.contains(&day) {
            return Ok(());
        }
        let (from, to, name) = (first_of(day), first_of(day + 1), name(day));
        // Attached rather than made in its place, so that whoever writes to another day goes on meanwhile. The default
        // partition is searched for lines of this day; that must not take long either.
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '2s'; \
             CREATE TABLE {name} (LIKE journal INCLUDING INDEXES INCLUDING STORAGE) \
             WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1); \
             ALTER TABLE journal ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}'); COMMIT"
        );
        if attempt(client, &sql, day, "A day's partition was not made; its lines go to the default one").await? {
            self.there.insert(day);
        } else {
            self.refused.insert(day);
        }
        Ok(())
    }
}

/// What retention removes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutoff {
    /// Whatever ended before.
    pub before: Timestamp,
    /// The time.
    pub now: Timestamp,
}

impl Cutoff {
    fn margin(self) -> i64 {
        self.now.0.saturating_sub(self.before.0).max(0) / MARGIN
    }
}

/// The day of a task.
fn day_of(id: TaskId) -> i64 {
    // The first 48 bits of the id are milliseconds.
    i64::try_from(id.0.as_u128() >> 80).unwrap_or_default() / DAY_MS
}

/// The first day that is not over at this moment.
fn day_at(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_MS)
}

fn end_of(day: i64) -> i64 {
    (day + 1) * DAY_MS
}

fn name(day: i64) -> String {
    format!("journal_{day}")
}

/// The first id of a day.
fn first_of(day: i64) -> Uuid {
    let millis = u128::try_from(day * DAY_MS).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}

/// Which days have a partition.
async fn known(client: &Client) -> Result<BTreeSet<i64>, StoreError> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
        WHERE i.inhparent = 'journal'::regclass";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).strip_prefix("journal_")?.parse().ok()).collect())
}

/// Makes the partitions of today and the days to come that are missing. What was put off or refused before is tried again.
pub(super) async fn make_ahead(client: &Client, now: Timestamp) -> Result<Days, StoreError> {
    let mut days = Days { there: known(client).await?, ..Days::default() };
    let today = day_at(now);
    for day in today..today + AHEAD {
        days.make(client, day).await?;
    }
    Ok(days)
}

/// Drops the partitions of days that were over before the cutoff and have no task any more. What is left of them is put off.
/// `known_before` is what was known of the days before.
pub(super) async fn drop_old(
    client: &Client,
    days: &mut Days,
    known_before: &Days,
    cutoff: Cutoff,
) -> Result<(), StoreError> {
    let over = ..day_at(cutoff.before);
    for day in days.there.range(over).copied().collect::<Vec<_>>() {
        if !has_tasks(client, day).await? {
            drop_day(client, day).await?;
        } else if end_of(day) + cutoff.margin() < cutoff.before.0 {
            if !known_before.cleared.contains(&day) {
                delete_leftovers(client, day).await?;
            }
            days.cleared.insert(day);
        }
    }
    days.there = known(client).await?;
    days.put_off = days.there.range(over).copied().collect();
    Ok(())
}

async fn has_tasks(client: &Client, day: i64) -> Result<bool, StoreError> {
    let found = client.query_typed(&tasks_of(day), &[]).await.map_err(failed)?;
    Ok(!found.is_empty())
}

fn tasks_of(day: i64) -> String {
    format!("SELECT 1 FROM task WHERE id >= '{}' AND id < '{}' LIMIT 1", first_of(day), first_of(day + 1))
}

/// Drops a day, if there is still no task of it once nobody writes. Everybody waits for this lock, so it is not waited for
/// long; and it is taken and given back in one round trip, lest a node that stops midway keep it.
async fn drop_day(client: &Client, day: i64) -> Result<(), StoreError> {
    let (name, tasks) = (name(day), tasks_of(day));
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '500ms'; LOCK TABLE ONLY journal IN ACCESS EXCLUSIVE MODE; \
         DO $$ BEGIN IF NOT EXISTS ({tasks}) THEN DROP TABLE {name}; END IF; END $$; COMMIT"
    );
    attempt(client, &sql, day, "A day's partition could not be dropped; trying again in an hour").await.map(drop)
}

/// Deletes the lines of tasks that are no more, a chunk at a time.
async fn delete_leftovers(client: &Client, day: i64) -> Result<(), StoreError> {
    let (name, last) = (name(day), Uuid::from_u128(first_of(day + 1).as_u128() - 1));
    let end = format!("SELECT id FROM {name} WHERE id > $1 ORDER BY id OFFSET {CHUNK} LIMIT 1");
    let delete = format!(
        "DELETE FROM {name} j WHERE j.id > $1 AND j.id <= $2 AND NOT EXISTS (SELECT 1 FROM task t WHERE t.id = j.id)"
    );
    let mut after = Uuid::from_u128(first_of(day).as_u128().saturating_sub(1));
    while after < last {
        let found = client.query_typed(&end, &[(&after, Type::UUID)]).await.map_err(failed)?;
        let upto: Uuid = found.first().map_or(last, |row| row.get(0));
        client.execute_typed(&delete, &[(&after, Type::UUID), (&upto, Type::UUID)]).await.map_err(failed)?;
        after = upto;
    }
    Ok(())
}

/// Executes a transaction that need not succeed now; answers whether it did.
async fn attempt(client: &Client, sql: &str, day: i64, otherwise: &str) -> Result<bool, StoreError> {
    let Err(error) = client.batch_execute(sql).await else { return Ok(true) };
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    tracing::info!(day, error = %failed(error), "{otherwise}");
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_of_the_day_in_its_id() {
        let at = |millis: u64| TaskId::from_parts(millis, 7, 9);
        let day = u64::try_from(DAY_MS).unwrap();
        assert_eq!(
            [at(day * 20_000 - 1), at(day * 20_000), at(day * 20_001 - 1)].map(day_of),
            [19_999, 20_000, 20_000]
        );
        assert!(first_of(20_000) <= at(day * 20_000).0 && at(day * 20_001 - 1).0 < first_of(20_001));
    }
}
