//! Polls on disk: when each is due, and who has one in hand.

use rusqlite::params;

use super::row::{self, Row};
use super::writer::Writer;
use super::{failed, queries};
use crate::store::{Capacity, ClaimedPoll, StoreError};
use crate::task::{State, TaskId, Timestamp};

/// A due poll whose host has no room is looked at again after this time.
const PUT_OFF_MS: i64 = 1000;

/// Due polls looked at in one act, so that a host without room does not hold up the writer.
const LOOK_MAX: usize = 512;

impl Writer {
    pub(super) fn plan_poll(&mut self, id: TaskId, at: Timestamp) -> Result<(), StoreError> {
        let mut insert =
            self.db.prepare_cached("INSERT OR IGNORE INTO poll (at, key) VALUES (?1, ?2)").map_err(failed)?;
        insert.execute([at.0, id.sort_key()]).map_err(failed)?;
        self.effects.poll = Some(self.effects.poll.map_or(at, |earliest| earliest.min(at)));
        Ok(())
    }

    pub(super) fn unplan_poll(&self, at: i64, key: i64) -> Result<(), StoreError> {
        let delete = self.db.prepare_cached("DELETE FROM poll WHERE at = ?1 AND key = ?2");
        delete.and_then(|mut delete| delete.execute([at, key])).map(drop).map_err(failed)
    }

    pub(super) fn claim_polls(&mut self, capacity: &Capacity, now: Timestamp) -> Result<Vec<ClaimedPoll>, StoreError> {
        let mut capacity = capacity.clone();
        let mut claimed = Vec::new();
        for (at, key) in self.due_polls(now)? {
            if claimed.len() >= capacity.slots {
                break;
            }
            let Some(row) = self.row_by_key(key)?.filter(|row| polls_at(row, at)) else {
                // The task moved on, or was planned anew.
                self.unplan_poll(at, key)?;
                continue;
            };
            let calls = capacity.in_flight.entry(row.host).or_default();
            if *calls >= capacity.per_host {
                self.put_off(row, at, now)?;
                continue;
            }
            *calls += 1;
            let id = row.task.id;
            match self.poll_of(row) {
                Ok(poll) => {
                    self.polling.take(key);
                    claimed.push(poll);
                }
                Err(StoreError::Unreadable(why)) => {
                    tracing::error!(task = %id.0, why, "What a task asks for cannot be read; it is polled no more");
                    self.unplan_poll(at, key)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
    }

    fn poll_of(&self, row: Row) -> Result<ClaimedPoll, StoreError> {
        let (host, answer) = (row.host, queries::payload(&self.db, row.answer)?);
        Ok(ClaimedPoll { record: queries::complete(&self.db, row)?, answer, host })
    }

    fn put_off(&mut self, mut row: Row, at: i64, now: Timestamp) -> Result<(), StoreError> {
        let later = now.plus_millis(PUT_OFF_MS);
        self.unplan_poll(at, row.task.id.sort_key())?;
        row.task.polling.next_at = Some(later);
        row::update_polling(&self.db, &row.task).map_err(failed)?;
        self.plan_poll(row.task.id, later)
    }

    fn due_polls(&self, now: Timestamp) -> Result<Vec<(i64, i64)>, StoreError> {
        // Those under way are still planned, at the front.
        let mut select = self
            .db
            .prepare_cached("SELECT at, key FROM poll WHERE at <= ?1 ORDER BY at, key LIMIT ?2")
            .map_err(failed)?;
        let most = LOOK_MAX + self.polling.len();
        let rows = select.query_map(params![now.0, most], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        let idle = |found: &rusqlite::Result<(i64, i64)>| match found {
            Ok((_, key)) => !self.polling.contains(*key),
            Err(_) => true,
        };
        rows.filter(idle).take(LOOK_MAX).collect::<Result<_, _>>().map_err(failed)
    }

    pub(super) fn next_poll(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT at, key FROM poll ORDER BY at, key LIMIT ?1").map_err(failed)?;
        let rows = select
            .query_map([self.polling.len() + 1], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .map_err(failed)?;
        for found in rows {
            let (at, key) = found.map_err(failed)?;
            if !self.polling.contains(key) {
                return Ok(Some(Timestamp(at)));
            }
        }
        Ok(None)
    }

    pub(super) fn return_poll(&mut self, id: TaskId) {
        self.polling.give_back(id.sort_key());
        self.effects.poll = Some(Timestamp(i64::MIN));
    }
}

fn polls_at(row: &Row, at: i64) -> bool {
    matches!(row.task.state, State::Polling { .. }) && row.task.polling.next_at == Some(Timestamp(at))
}
