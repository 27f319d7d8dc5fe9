//! Which tasks ended when: one row for what ended in one commit, since a row of its own for each task would be a good part
//! of what a task's end costs. Retention walks the rows by time, removes the tasks, and keeps of a row what has to wait.

use std::collections::HashSet;

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::batch::{Batch, Columns};
use super::partitions::Cutoff;
use super::row::{self, Row};
use super::session::Session;
use super::{PART_OF_ACTS, Postgres};
use crate::store::{IDEMPOTENCY_MS, StoreError};
use crate::task::{TaskId, Timestamp};

/// Tasks in one row. So many fit into 2 kB; what is longer would be kept apart from its row.
const TASKS_MAX: usize = 100;

/// How far apart the ends in one row may be, ms. All its tasks are as old as the one that ended last, and a move brings
/// those of weeks in one commit.
const SPAN_MS: i64 = 1000;

/// Tasks that retention looks at in one transaction; the last row may bring some more.
const LOOK: i64 = 256;

/// A task that was deleted and is brought back by a move may find its row.
pub(super) const ADD: &str = "INSERT INTO ended AS e (at, id, others) \
    SELECT u.at, u.id, ($3::uuid[])[u.first_other:u.last_other] \
    FROM unnest($1::bigint[], $2::uuid[], $4::integer[], $5::integer[]) AS u (at, id, first_other, last_other) \
    ON CONFLICT (at, id) DO UPDATE SET others = e.others || EXCLUDED.others";

/// Drops the rows of tasks that are alone in theirs. What is left of the others is for retention to find.
pub(super) const DROP: &str = "DELETE FROM ended AS e USING unnest($1::bigint[], $2::uuid[]) AS u (at, id) \
    WHERE e.at = u.at AND e.id = u.id AND e.others = '{}'";

/// All tasks that ended, as a table of ids.
pub(super) const IDS: &str = "(SELECT unnest(array_append(others, id)) AS id FROM ended) AS e";

/// Locks the next rows that are old enough, as far as nobody else works on them. It walks no farther than it has to, for it
/// counts the tasks on the way.
const NEXT: &str = "WITH walked AS (SELECT at, id, cardinality(others) + 1 AS tasks FROM ended \
        WHERE at < $1 AND (at, id) > ($2, $3) ORDER BY at, id LIMIT $4), \
    summed AS (SELECT at, id, sum(tasks) OVER (ORDER BY at, id) - tasks AS passed FROM walked) \
    SELECT e.at, e.id, e.others FROM summed s JOIN ended e ON e.at = s.at AND e.id = s.id \
    WHERE s.passed < $4 ORDER BY e.at, e.id FOR UPDATE OF e SKIP LOCKED";

/// Rows on their way into the database, a column at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    at: Vec<i64>,
    id: Vec<Uuid>,
    /// The other tasks of all rows, and from where to where each row's are, counted from 1.
    others: Vec<Uuid>,
    first_other: Vec<i32>,
    last_other: Vec<i32>,
}

impl Ends {
    /// The rows for what ended in one commit.
    pub fn of(mut ended: Vec<(i64, Uuid)>) -> Self {
        ended.sort_unstable();
        let (mut ends, mut rest) = (Self::default(), &ended[..]);
        while let Some((earliest, _)) = rest.first() {
            let is_near = |(at, _): &&(i64, Uuid)| at.saturating_sub(*earliest) <= SPAN_MS;
            let (tasks, later) = rest.split_at(rest.iter().take(TASKS_MAX).take_while(is_near).count());
            ends.push(tasks.last().map_or(*earliest, |(at, _)| *at), tasks.iter().map(|(_, id)| *id));
            rest = later;
        }
        ends
    }

    /// Adds a row for these tasks, if there are any.
    fn push(&mut self, at: i64, mut ids: impl Iterator<Item = Uuid>) {
        let place = |others: &[Uuid]| i32::try_from(others.len()).unwrap_or(i32::MAX);
        let Some(id) = ids.next() else { return };
        self.at.push(at);
        self.id.push(id);
        self.first_other.push(place(&self.others) + 1);
        self.others.extend(ids);
        self.last_other.push(place(&self.others));
    }

    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub fn columns(&self) -> Columns<'_> {
        vec![
            (&self.at, Type::INT8_ARRAY),
            (&self.id, Type::UUID_ARRAY),
            (&self.others, Type::UUID_ARRAY),
            (&self.first_other, Type::INT4_ARRAY),
            (&self.last_other, Type::INT4_ARRAY),
        ]
    }
}

/// A row as it was found.
struct Found {
    at: i64,
    /// The first is the one in the row's key.
    ids: Vec<Uuid>,
}

impl Found {
    fn read(row: &SqlRow) -> Self {
        let mut ids = vec![row.get(1)];
        ids.extend(row.get::<_, Vec<Uuid>>(2));
        Self { at: row.get(0), ids }
    }
}

impl Postgres {
    pub(super) async fn remove_old(
        &self,
        before: Timestamp,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let (cutoff, mut removed, mut after) = (Cutoff { before, now }, 0, (i64::MIN, Uuid::nil()));
        // Rows that only have tasks which must wait, or are gone, are gone past.
        while removed < limit {
            let Some((some, last)) = self.remove_some(cutoff, limit - removed, after).await? else { break };
            removed += some;
            after = last;
        }
        self.forget_keys(limit, now).await?;
        if removed < limit {
            self.see_to_partitions(now, Some(cutoff)).await?;
        }
        Ok(removed)
    }

    /// Removes what is old enough in the next rows, in one transaction; answers how many tasks, and which row was the last.
    async fn remove_some(
        &self,
        cutoff: Cutoff,
        limit: usize,
        (at, id): (i64, Uuid),
    ) -> Result<Option<(usize, (i64, Uuid))>, StoreError> {
        let session = Session::begin(&self.pool).await?;
        let columns: Columns<'_> =
            vec![(&cutoff.before.0, Type::INT8), (&at, Type::INT8), (&id, Type::UUID), (&LOOK, Type::INT8)];
        let rows: Vec<Found> = session.query(NEXT, columns).await?.iter().map(Found::read).collect();
        let Some(last) = rows.last().map(|row| (row.at, row.ids[0])) else {
            session.commit().await?;
            return Ok(None);
        };
        let ids: Vec<Uuid> = rows.iter().flat_map(|row| row.ids.iter().copied()).collect();
        let mut batch = Batch::default();
        batch.hold(&lock_settled(&session, &ids, limit).await?)?;
        let old: Vec<TaskId> = batch.rows().filter(|row| is_settled(row)).map(|row| row.task.id).collect();
        for id in &old {
            batch.remove(*id);
            if self.days().drop_with_day(*id, cutoff) {
                batch.kept_journals.insert(*id);
            }
        }
        let sql = "SELECT id FROM task WHERE id = ANY($1::uuid[])";
        let there = session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await?;
        let mut left: HashSet<Uuid> = there.iter().map(|row| row.get(0)).collect();
        for id in &old {
            left.remove(&id.0);
        }
        keep(&session, &rows, &left).await?;
        session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        self.shared.observer.committed(&batch.effects);
        Ok(Some((old.len(), last)))
    }

    /// Removes outdated idempotency keys.
    async fn forget_keys(&self, limit: usize, now: Timestamp) -> Result<(), StoreError> {
        let (outdated, limit) = (now.plus_millis(-IDEMPOTENCY_MS).0, i64::try_from(limit).unwrap_or(i64::MAX));
        let sql = "DELETE FROM idempotency WHERE (team, key) IN \
            (SELECT team, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2)";
        let session = Session::begin(&self.pool).await?;
        session.execute(sql, vec![(&outdated, Type::INT8), (&limit, Type::INT8)]).await?;
        session.commit().await
    }
}

/// Locks those of the tasks that may be removed and that nobody else has locked, the oldest first.
async fn lock_settled(session: &Session, ids: &[Uuid], limit: usize) -> Result<Vec<SqlRow>, StoreError> {
    // A webhook that is still to be delivered keeps its task.
    let sql = format!(
        "SELECT {} FROM task t WHERE t.id = ANY($1::uuid[]) AND t.hook_status IS DISTINCT FROM 0 \
         ORDER BY t.at, t.id LIMIT $2 FOR UPDATE SKIP LOCKED",
        row::COLUMNS
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    session.query(&sql, vec![(&ids, Type::UUID_ARRAY), (&limit, Type::INT8)]).await
}

fn is_settled(row: &Row) -> bool {
    row.task.status().is_final() && row.delivery.is_none_or(|delivery| delivery.next_attempt_at.is_none())
}

/// Keeps of these rows the tasks that are left.
async fn keep(session: &Session, rows: &[Found], left: &HashSet<Uuid>) -> Result<(), StoreError> {
    let (mut ats, mut ids, mut kept) = (Vec::new(), Vec::new(), Ends::default());
    for row in rows.iter().filter(|row| row.ids.iter().any(|id| !left.contains(id))) {
        ats.push(row.at);
        ids.push(row.ids[0]);
        kept.push(row.at, row.ids.iter().copied().filter(|id| left.contains(id)));
    }
    if ids.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM ended AS e USING unnest($1::bigint[], $2::uuid[]) AS u (at, id) \
        WHERE e.at = u.at AND e.id = u.id";
    session.execute(sql, vec![(&ats, Type::INT8_ARRAY), (&ids, Type::UUID_ARRAY)]).await?;
    if !kept.is_empty() {
        session.execute(ADD, kept.columns()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i64) -> Uuid {
        Uuid::from_u128(u128::try_from(number).unwrap())
    }

    /// Each row: its time, and its tasks.
    fn rows(ended: Vec<(i64, Uuid)>) -> Vec<(i64, Vec<Uuid>)> {
        let ends = Ends::of(ended);
        let place = |number: i32| usize::try_from(number).unwrap();
        let row = |index: usize| {
            let others = &ends.others[place(ends.first_other[index]) - 1..place(ends.last_other[index])];
            (ends.at[index], [&[ends.id[index]], others].concat())
        };
        (0..ends.at.len()).map(row).collect()
    }

    #[test]
    fn what_ends_in_one_commit_has_one_row_with_its_latest_end() {
        assert!(Ends::of(Vec::new()).is_empty());
        assert_eq!(rows(vec![(7, id(1))]), [(7, vec![id(1)])]);
        assert_eq!(rows(vec![(9, id(1)), (7, id(2)), (8, id(3))]), [(9, vec![id(2), id(3), id(1)])]);
    }

    #[test]
    fn a_row_is_bounded_in_time_and_in_length() {
        let far = vec![(0, id(1)), (SPAN_MS, id(2)), (SPAN_MS + 1, id(3)), (i64::MAX, id(4))];
        assert_eq!(rows(far), [(SPAN_MS, vec![id(1), id(2)]), (SPAN_MS + 1, vec![id(3)]), (i64::MAX, vec![id(4)])]);
        let many = rows((0..250).map(|number| (5, id(number))).collect());
        assert_eq!(many.iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>(), [100, 100, 50]);
    }
}
