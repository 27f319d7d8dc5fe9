//! Changes of rows that are not in their place yet.
//!
//! A callback changes a task somewhere in the middle of the table, and a page of 4 KiB is written for a hundred bytes. So
//! such a change, if it concerns no index, is first appended to a table of its own (`redo`), whose pages many changes share,
//! and the changed row is kept in memory. Once there are many, the older half is swept into place in the order of the keys,
//! so that what is on one page is written together: with each commit twice as many as came in, so that nobody waits for it.
//!
//! Whoever loads a row asks here first; whoever looks through many asks what is behind before, and takes whichever row is
//! newer. At start the table is read back: a kill finds everything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rpds::HashTrieMapSync;
use rusqlite::Connection;

use super::failed;
use super::row::{self, Changed, Row};
use crate::store::StoreError;
use crate::task::TaskId;

/// Sweeping begins with so many rows that came in: fewer are not worth finding their pages.
const STEP: usize = 32;

/// A commit sweeps twice as many rows as came in, and as if not more than this came in.
const WITH_OTHERS: usize = 512;

/// Rows that are swept in one commit at the end, when nobody waits for an answer.
const LUMP: usize = 4096;

/// Fewer rows than this are not worth a round.
const LEAST: usize = 8;

/// While little is asked of the service, a round begins with this part of the rows that may be behind in a rush: there is
/// time for it then, and less to read back after a kill.
const CALM: usize = 8;

/// No row is behind.
const NONE: i64 = i64::MAX;

/// The rows that are behind, as they are now, for readers. All of it has been committed.
#[derive(Clone, Default)]
pub(super) struct Behind(Arc<RwLock<Known>>);

/// Rows that were behind at one time. To copy it costs nothing, however many they are.
#[derive(Clone, Default)]
pub(super) struct Known {
    rows: HashTrieMapSync<i64, Arc<Row>>,
    /// The journal row that tells of the newest change.
    newest: i64,
}

impl Behind {
    /// The task's row, if the one in the table may be behind. Asked before a snapshot is taken: what this one points to is
    /// in the snapshot then, and if the table has a newer one, that is in it too.
    pub fn row(&self, id: TaskId) -> Option<Arc<Row>> {
        self.look().rows.get(&id.sort_key()).cloned()
    }

    /// All rows that may be behind. Asked before a snapshot is taken, as above.
    pub fn known(&self) -> Known {
        self.look().clone()
    }

    /// How many rows are behind.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.look().rows.size()
    }

    fn look(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// With what changed until the snapshot was taken, so that rows and counters are of one moment.
    pub fn until(mut self, snapshot: &Connection) -> Result<Self, StoreError> {
        for (key, (head, changed)) in read(snapshot, self.newest)? {
            if let Some(before) = row::load_by_key(snapshot, key).map_err(failed)?.map(|row| self.newest(row))
                && before.head < head
            {
                self.rows.insert_mut(key, Arc::new(changed.apply(before, head)));
            }
        }
        Ok(self)
    }

    /// The row as it is known, unless the table's, with this head, is as new.
    pub fn newer(&self, key: i64, head: i64) -> Option<&Row> {
        self.rows.get(&key).map(|row| &**row).filter(|row| row.head > head)
    }

    /// Whichever row is newer.
    pub fn newest(&self, row: Row) -> Row {
        let known = self.rows.get(&row.task.id.sort_key());
        row.or_newer(known.map(|row| &**row))
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What the table has beyond a journal row: for each key the newest change, and the journal row that tells of it.
fn read(db: &Connection, beyond: i64) -> Result<BTreeMap<i64, (i64, Changed)>, StoreError> {
    let mut select = db.prepare_cached("SELECT id, changed FROM redo WHERE id > ?1 ORDER BY id").map_err(failed)?;
    let mut rows = select.query([beyond]).map_err(failed)?;
    let mut newest = BTreeMap::new();
    while let Some(found) = rows.next().map_err(failed)? {
        let (head, text): (i64, String) = (found.get(0).map_err(failed)?, found.get(1).map_err(failed)?);
        let changed = row::read_changed(&text)?;
        newest.insert(changed.key(), (head, changed));
    }
    Ok(newest)
}

/// The writer's side.
#[derive(Default)]
pub(super) struct Redo {
    behind: Behind,
    /// The keys of the rows that are behind, by the journal row that tells of the change.
    by_age: BTreeMap<i64, i64>,
    /// What the transaction under way changes, in order: rows that are behind now, or not any more.
    draft: Vec<(i64, Option<Arc<Row>>)>,
    /// Where in the draft a key's latest change is.
    latest: HashMap<i64, usize>,
    /// Keys of the round under way, the last one first.
    round: Vec<i64>,
    /// Rows that came in since some were swept.
    came_in: usize,
    /// Rows that were added to the table since the latest round began. A row that changes again and again is in it as often.
    added: usize,
    /// The table has rows that nobody needs.
    is_littered: bool,
    /// So many rows may be behind in a rush.
    full: usize,
}

impl Redo {
    /// Reads back what the table has. Sweeps when `full` rows are behind.
    pub fn load(db: &Connection, full: usize) -> Result<Self, StoreError> {
        let mut redo = Self { is_littered: true, full: full.max(LEAST), ..Self::default() };
        let all = read(db, i64::MIN)?;
        let newest = all.values().map(|(head, _)| *head).max();
        for (key, (head, changed)) in all {
            // Nothing is said of a task that was removed, nor of a change that its row has, or a later one.
            if let Some(before) = row::load_by_key(db, key).map_err(failed)?.filter(|before| before.head < head) {
                redo.set(key, Some(Arc::new(changed.apply(before, head))));
            }
        }
        redo.draft.sort_by_key(|(_, row)| row.as_ref().map(|row| row.head));
        redo.commit();
        // What was swept before need not be read again by each list.
        redo.behind.0.write().unwrap_or_else(PoisonError::into_inner).newest = newest.unwrap_or_default();
        Ok(redo)
    }

    /// For readers.
    pub fn behind(&self) -> Behind {
        self.behind.clone()
    }

    /// The row, if it is behind.
    pub fn get(&self, key: i64) -> Option<Arc<Row>> {
        match self.latest.get(&key).and_then(|at| self.draft.get(*at)) {
            Some((_, row)) => row.clone(),
            None => self.behind.look().rows.get(&key).cloned(),
        }
    }

    /// Keeps a row whose change is told by a new journal row, its head.
    pub fn put(&mut self, db: &Connection, row: &Row) -> rusqlite::Result<()> {
        let mut insert = db.prepare_cached("INSERT INTO redo (id, changed) VALUES (?1, ?2)")?;
        insert.execute((row.head, row::write_changed(row)))?;
        self.added += 1;
        self.set(row.task.id.sort_key(), Some(Arc::new(row.clone())));
        Ok(())
    }

    /// The row is in its place, or gone.
    pub fn forget(&mut self, key: i64) {
        if self.get(key).is_some() {
            self.set(key, None);
        }
    }

    fn set(&mut self, key: i64, row: Option<Arc<Row>>) {
        self.latest.insert(key, self.draft.len());
        self.draft.push((key, row));
    }

    /// How far the transaction has come.
    pub fn mark(&self) -> usize {
        self.draft.len()
    }

    /// What was done since `mark` is taken back.
    pub fn roll_back(&mut self, mark: usize) {
        self.draft.truncate(mark);
        // What was removed from the table with it is there again.
        self.is_littered = true;
        self.latest = self.draft.iter().map(|(key, _)| *key).zip(0..).collect();
    }

    /// The transaction is on disk.
    pub fn commit(&mut self) {
        if self.draft.is_empty() {
            return;
        }
        self.came_in += self.draft.iter().filter(|(_, row)| row.is_some()).count();
        let mut shared = self.behind.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in self.draft.drain(..) {
            if let Some(before) = shared.rows.get(&key) {
                self.by_age.remove(&before.head);
            }
            match row {
                Some(row) => {
                    self.by_age.insert(row.head, key);
                    shared.newest = row.head;
                    shared.rows.insert_mut(key, row);
                }
                None => drop(shared.rows.remove_mut(&key)),
            }
        }
        drop(shared);
        self.latest.clear();
    }

    /// The oldest row of the table that is needed: what is behind, or comes to be with the transaction under way.
    fn oldest(&self) -> i64 {
        let coming = self.draft.iter().filter_map(|(_, row)| Some(row.as_ref()?.head)).min();
        let behind = self.by_age.first_key_value().map(|(head, _)| *head);
        behind.into_iter().chain(coming).min().unwrap_or(NONE)
    }

    /// Whether so many rows came in that it is time to [`tidy`](Self::tidy).
    pub fn should_tidy(&self, in_a_rush: bool) -> bool {
        self.came_in >= STEP.min(self.full / 4)
            && (self.is_littered || !self.round.is_empty() || self.should_begin(in_a_rush))
    }

    /// Whether so many rows are behind that a round begins.
    fn should_begin(&self, in_a_rush: bool) -> bool {
        let most = if in_a_rush { self.full } else { (self.full / CALM).max(LEAST) };
        self.by_age.len() >= most || self.added >= 2 * most
    }

    /// Sweeps twice as many rows into place as came in, in the order of their keys, and removes from the table some that
    /// were swept before. What is taken back is still behind, and is swept in a later round.
    pub fn tidy(&mut self, db: &Connection, in_a_rush: bool) -> rusqlite::Result<()> {
        let came_in = std::mem::take(&mut self.came_in);
        // Between rounds all the rows came in that the next one is of; nobody waits for half of them.
        let most = 2 * came_in.min(if self.round.is_empty() { STEP } else { WITH_OTHERS });
        if self.is_littered {
            let mut delete = db.prepare_cached(
                "DELETE FROM redo WHERE id IN (SELECT id FROM redo WHERE id < ?1 ORDER BY id LIMIT ?2)",
            )?;
            self.is_littered = delete.execute((self.oldest(), most))? == most;
        }
        if self.round.is_empty() && self.should_begin(in_a_rush) {
            self.added = 0;
            self.round = self.by_age.values().take(self.by_age.len().div_ceil(2)).copied().collect();
            self.round.sort_unstable_by(|one, other| other.cmp(one));
            // The round before has ended.
            self.is_littered = true;
        }
        let keys = self.round.split_off(self.round.len().saturating_sub(most));
        self.is_littered |= self.round.is_empty();
        keys.into_iter().rev().try_for_each(|key| self.sweep(db, key))
    }

    /// Sweeps some of the rows, and says whether any are left.
    pub fn sweep_some(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        let mut keys: Vec<i64> = self.by_age.values().take(LUMP).copied().collect();
        keys.sort_unstable();
        let is_last = keys.len() == self.by_age.len();
        keys.into_iter().try_for_each(|key| self.sweep(db, key))?;
        if is_last {
            db.execute("DELETE FROM redo", [])?;
        }
        Ok(!is_last)
    }

    fn sweep(&mut self, db: &Connection, key: i64) -> rusqlite::Result<()> {
        if let Some(row) = self.get(key) {
            row::update(db, &row)?;
            self.set(key, None);
        }
        Ok(())
    }
}
