//! What this node has in hand, as it knows it. What the database says that it has and it knows nothing of, it never got:
//! the commit that gave it was answered by nobody.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::batch::{self, Batch};
use super::session::Session;
use super::{PART_OF_ACTS, Postgres, failed};
use crate::store::{Effects, StoreError};
use crate::task::{Event, State, TaskId, Timestamp};

/// Keys in hand, of one kind.
#[derive(Debug, Default)]
pub(super) struct Hand {
    /// How often each was taken. One that the others had rescued may be claimed here again before its first claim is given
    /// back.
    held: Mutex<HashMap<TaskId, u32>>,
    /// Strangers of the last look. What was claimed a moment ago may only not be known yet.
    suspects: Mutex<HashSet<TaskId>>,
}

impl Hand {
    pub fn take(&self, ids: impl IntoIterator<Item = TaskId>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            *held.entry(id).or_default() += 1;
        }
    }

    pub fn give_back(&self, id: TaskId) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = held.get_mut(&id) {
            *times -= 1;
            if *times == 0 {
                held.remove(&id);
            }
        }
    }

    fn has(&self, id: TaskId) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Those that are said to be in hand, and were strangers at the last look too.
    fn strangers(&self, said: impl IntoIterator<Item = TaskId>) -> Vec<TaskId> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: HashSet<TaskId> = said.into_iter().filter(|id| !held.contains_key(id)).collect();
        drop(held);
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let strangers = unknown.intersection(&suspects).copied().collect();
        *suspects = unknown;
        strangers
    }
}

/// What this node has in hand, by kind.
#[derive(Debug, Default)]
pub(super) struct Hands {
    pub calls: Hand,
    pub webhooks: Hand,
    pub polls: Hand,
}

impl Postgres {
    /// Gives back what the database says that this node has and the node never got. To be called now and then: a claim
    /// counts as unknown once two looks have found it so. Answers how many there were.
    pub async fn return_strangers(&self, now: Timestamp) -> Result<usize, StoreError> {
        let hands = &self.shared.hands;
        let calls = hands.calls.strangers(self.claimed_in("call").await?);
        let webhooks = hands.webhooks.strangers(self.claimed_in("outbox").await?);
        let polls = hands.polls.strangers(self.claimed_in("poll").await?);
        let strangers = calls.len() + webhooks.len() + polls.len();
        self.give_calls_back(&calls, now).await?;
        for id in webhooks {
            self.free("outbox", id, Effects { deliver: true, ..Effects::default() }).await?;
        }
        for id in polls {
            self.free("poll", id, Effects { poll: Some(Timestamp(i64::MIN)), ..Effects::default() }).await?;
        }
        Ok(strangers)
    }

    async fn claimed_in(&self, table: &str) -> Result<Vec<TaskId>, StoreError> {
        let sql = format!("SELECT id FROM {table} WHERE node = $1");
        let rows = self.ask(&sql, vec![(&self.shared.me.id(), Type::INT8)]).await?;
        Ok(rows.iter().map(|row| TaskId(row.get(0))).collect())
    }

    async fn give_calls_back(&self, ids: &[TaskId], now: Timestamp) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let session = Session::begin(&self.pool).await?;
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let mut batch = Batch::default();
        batch.hold(&batch::lock(session.link(), &ids).await.map_err(failed)?)?;
        let sql = "SELECT id FROM call WHERE id = ANY($1::uuid[]) AND node = $2";
        let hands = &self.shared.hands.calls;
        let still = session.query(sql, vec![(&ids, Type::UUID_ARRAY), (&self.shared.me.id(), Type::INT8)]).await?;
        for row in still {
            let id = TaskId(row.get(0));
            // It may have come into our hands after all, between the look and the lock.
            if hands.has(id) {
                continue;
            }
            let Ok(row) = batch.row(id) else { continue };
            if let State::Processing { .. } = row.task.state {
                let event = Event::Returned { attempt: row.task.attempt, started_at: row.task.started_at };
                batch.transition(id, &event, None, now)?;
            }
        }
        session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        self.shared.observer.committed(&batch.effects);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_one_that_two_looks_found() {
        let hand = Hand::default();
        let (known, unknown) = (TaskId(Uuid::from_u128(1)), TaskId(Uuid::from_u128(2)));
        hand.take([known]);
        assert_eq!(hand.strangers([known, unknown]), []);
        assert_eq!(hand.strangers([known, unknown]), [unknown]);
        assert_eq!(hand.strangers([known]), []);
        hand.give_back(known);
        assert_eq!(hand.strangers([known]), []);
        assert_eq!(hand.strangers([known]), [known]);
    }

    #[test]
    fn what_was_taken_twice_is_in_hand_until_it_was_given_back_twice() {
        let (hand, id) = (Hand::default(), TaskId(Uuid::from_u128(1)));
        hand.take([id]);
        hand.take([id]);
        hand.give_back(id);
        assert!(hand.has(id));
        hand.give_back(id);
        assert!(!hand.has(id));
    }
}
