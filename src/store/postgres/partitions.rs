//! The journal's partitions: one a day, by the time in the task's id. They are made ahead of time, and dropped whole once
//! retention has removed the last task of their day; what is dropped leaves nothing to vacuum.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use uuid::Uuid;

use super::failed;
use crate::store::StoreError;
use crate::task::{TaskId, Timestamp};

const DAY_MS: i64 = 86_400_000;

/// Days that have a partition before they come.
const AHEAD: i64 = 3;

/// The days that have a partition, by their number since 1970.
pub(super) type Days = BTreeSet<i64>;

/// The day of a task.
pub(super) fn day_of(id: TaskId) -> i64 {
    // The first 48 bits of the id are milliseconds.
    i64::try_from(id.0.as_u128() >> 80).unwrap_or_default() / DAY_MS
}

/// The first day that is not over at this moment.
pub(super) fn day_at(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_MS)
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
pub(super) async fn known(client: &Client) -> Result<Days, StoreError> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
        WHERE i.inhparent = 'journal'::regclass";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).strip_prefix("journal_")?.parse().ok()).collect())
}

/// Makes the partitions of today and the days to come that are missing. Where there are rows of such a day already, or
/// somebody else makes it at the same time, the day goes without: its rows lie in the default partition.
pub(super) async fn make_ahead(client: &Client, now: Timestamp) -> Result<Days, StoreError> {
    let mut days = known(client).await?;
    let today = day_at(now);
    for day in (today..today + AHEAD).filter(|day| !days.contains(day)).collect::<Vec<_>>() {
        let (from, to, name) = (first_of(day), first_of(day + 1), name(day));
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = '2s'; \
             CREATE TABLE {name} PARTITION OF journal FOR VALUES FROM ('{from}') TO ('{to}') \
             WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1); \
             COMMIT"
        );
        match client.batch_execute(&sql).await {
            Ok(()) => drop(days.insert(day)),
            Err(error) => {
                client.batch_execute("ROLLBACK").await.map_err(failed)?;
                let error = failed(error);
                tracing::debug!(day, %error, "A day's partition was not made; its rows go to the default one");
            }
        }
    }
    Ok(days)
}

/// Drops the partitions of days that were over before this moment and have no task any more. Answers how many.
pub(super) async fn drop_old(client: &Client, before: Timestamp) -> Result<usize, StoreError> {
    let mut dropped = 0;
    for day in known(client).await?.into_iter().take_while(|day| *day < day_at(before)) {
        let (from, to, name) = (first_of(day), first_of(day + 1), name(day));
        let sql = format!("SELECT 1 FROM task WHERE id >= '{from}' AND id < '{to}' LIMIT 1");
        if !client.query_typed(&sql, &[]).await.map_err(failed)?.is_empty() {
            continue;
        }
        // Writers wait for this lock, so it is not waited for long.
        let sql = format!("BEGIN; SET LOCAL lock_timeout = '500ms'; DROP TABLE {name}; COMMIT");
        match client.batch_execute(&sql).await {
            Ok(()) => dropped += 1,
            Err(error) => {
                client.batch_execute("ROLLBACK").await.map_err(failed)?;
                let error = failed(error);
                tracing::debug!(day, %error, "A day's partition could not be dropped; trying again later");
            }
        }
    }
    Ok(dropped)
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
