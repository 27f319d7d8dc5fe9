//! Keeps the write-ahead log short. Most of it is moved into the database by a thread of its own, beside the writer;
//! a log that is restarted only when nobody writes would grow for ever under steady load, so the writer moves the
//! short rest itself once the log is long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;

use crate::store::StoreError;

/// From this many pages on the log is worth moving (4 KiB each: 8 MiB).
const MOVE_AT: u64 = 2048;

/// From this many pages on the log must be restarted (48 MiB).
const RESTART_AT: u64 = 12_288;

/// The writer's side: knows how long the log is, and whom to tell.
pub(super) struct Log {
    pages: Arc<AtomicU64>,
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
        // Room for one word: a mover that is at work need not be told twice.
        let (mover, told) = sync_channel(1);
        std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || move_whenever_told(&db, &told, &*fatal))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { pages, mover })
    }

    /// Called by the writer between two commits.
    pub fn after_commit(&self, writer: &Connection) -> Result<(), StoreError> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages >= MOVE_AT {
            let _ = self.mover.try_send(());
        }
        if pages >= RESTART_AT && checkpoint(writer, "RESTART")? {
            self.pages.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn move_whenever_told(db: &Connection, told: &Receiver<()>, fatal: &dyn Fn(&str)) {
    while told.recv().is_ok() {
        match checkpoint(db, "PASSIVE") {
            Err(StoreError::Damaged(error)) => fatal(&error),
            Err(error) => tracing::warn!(%error, "The log could not be moved; trying again after the next commits"),
            Ok(_) => {}
        }
    }
}

/// True if it went all the way; false if a reader or the other checkpoint was in the way.
fn checkpoint(db: &Connection, mode: &str) -> Result<bool, StoreError> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let busy: i64 = db.query_row(&sql, [], |row| row.get(0)).map_err(super::failed)?;
    Ok(busy == 0)
}

/// How long the log of the database at `path` is, bytes.
pub fn log_bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |log| log.len())
}
