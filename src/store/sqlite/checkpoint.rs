//! Keeps the write-ahead log short. Most of it is moved into the database by a thread of its own, beside the writer;
//! a log that is restarted only when nobody writes would grow for ever under steady load, so the writer moves the
//! short rest itself once the log is long.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;

use crate::store::StoreError;

/// From this many pages on the log is worth moving (4 KiB each: 40 MiB). A page that changed many times is moved once,
/// so moving seldom costs less.
const MOVE_AT: u64 = 10_240;

/// From this many pages on the writer waits for the log to be moved rather than let it grow (50 MiB).
const WAIT_AT: u64 = 12_800;

/// After a restart that met a reader, the next one is tried this many pages later.
const TRY_AGAIN: u64 = 512;

/// The writer's side: knows how long the log is, and whom to tell.
pub(super) struct Log {
    pages: Arc<AtomicU64>,
    /// At this many pages the writer restarts the log; out of reach until the log has been moved.
    restart_at: Arc<AtomicU64>,
    mover: SyncSender<()>,
}

impl Log {
    /// Watches the writer's connection, and starts the thread that moves the log through `db`.
    pub fn start(
        writer: &mut Connection,
        db: Connection,
        fatal: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let pages = Arc::new(AtomicU64::new(0));
        let count = pages.clone();
        writer
            .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, now| {
                count.store(u64::try_from(now).unwrap_or_default(), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(super::failed)?;
        let restart_at = Arc::new(AtomicU64::new(u64::MAX));
        let moved = restart_at.clone();
        // Room for one word: a mover that is at work need not be told twice.
        let (mover, told) = sync_channel(1);
        std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || move_whenever_told(&db, &told, &moved, &*fatal))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { pages, restart_at, mover })
    }

    /// Called by the writer between two commits.
    pub fn after_commit(&self, writer: &Connection) -> Result<(), StoreError> {
        let pages = self.pages.load(Ordering::Relaxed);
        let restart_at = self.restart_at.load(Ordering::Acquire);
        if pages >= restart_at || pages >= WAIT_AT {
            let done = restart(writer, pages)?;
            self.restart_at.store(if done { u64::MAX } else { pages + TRY_AGAIN }, Ordering::Release);
            if done {
                self.pages.store(0, Ordering::Relaxed);
            }
        } else if pages >= MOVE_AT && restart_at == u64::MAX {
            let _ = self.mover.try_send(());
        }
        Ok(())
    }
}

fn move_whenever_told(db: &Connection, told: &Receiver<()>, moved: &AtomicU64, fatal: &dyn Fn(&str)) {
    while told.recv().is_ok() {
        // The second pass moves what was written during the first, so that little is left for the writer.
        let passes = checkpoint(db, "PASSIVE").and_then(|_| checkpoint(db, "PASSIVE"));
        match passes {
            Err(StoreError::Damaged(error)) => fatal(&error),
            Err(error) => tracing::warn!(%error, "The log could not be moved; trying again after the next commits"),
            Ok(_) => moved.store(0, Ordering::Release),
        }
        // What was said meanwhile has been done.
        while told.try_recv().is_ok() {}
    }
}

/// Makes the log and its index as long as they get, so that neither has to grow on a disk that is full, and a commit
/// overwrites blocks that are there: a sync then has no file length and no block map to write.
///
/// The log is filled up by a transaction that is taken back, through `db`, whose small cache spills. What is in the log
/// stays there: moving it would take the room that the index needs, where there is little.
/// Only `SQLite` itself may do this: a file of ours on the index would drop its locks when it is closed.
/// A disk that has no room for it is left as it was.
pub(super) fn reserve(db: &Connection, database: &Path) -> Result<(), StoreError> {
    let used: u64 = db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).map_err(super::failed)?;
    let log = std::fs::OpenOptions::new().write(true).open(log_path(database)).map_err(no_room)?;
    let before = log.metadata().map_err(no_room)?.len();
    // What does not fit into the cache (1 MiB) is written to the log, and a page in it has a header of 24 bytes.
    let spilled = i64::try_from((WAIT_AT + 512).saturating_sub(used) * 4096).unwrap_or(i64::MAX);
    let filled = db
        .execute_batch("BEGIN IMMEDIATE; CREATE TABLE reserve (bytes BLOB);")
        .and_then(|()| db.execute("INSERT INTO reserve VALUES (zeroblob(?1))", [spilled]));
    // After some errors, a full disk among them, it has been taken back already.
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").map_err(super::failed)?;
    }
    match filled {
        Ok(_) => log.sync_all().map_err(no_room),
        Err(error) => {
            log.set_len(before).map_err(no_room)?;
            Err(super::failed(error))
        }
    }
}

fn no_room(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Restarts the log; beyond the bound the writer waits a while for the mover to be out of the way.
fn restart(writer: &Connection, pages: u64) -> Result<bool, StoreError> {
    let tries = if pages >= WAIT_AT { 100 } else { 1 };
    for _ in 0..tries {
        if checkpoint(writer, "RESTART")? {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(false)
}

/// True if it went all the way; false if a reader or the other checkpoint was in the way.
fn checkpoint(db: &Connection, mode: &str) -> Result<bool, StoreError> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let busy: i64 = db.query_row(&sql, [], |row| row.get(0)).map_err(super::failed)?;
    Ok(busy == 0)
}

/// How long the log of the database at `path` is, bytes.
pub fn log_bytes(path: &Path) -> u64 {
    std::fs::metadata(log_path(path)).map_or(0, |log| log.len())
}

fn log_path(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}
