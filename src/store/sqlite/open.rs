//! Opening the store: private files, one owner, the settings that durability rests on, read back.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::checkpoint::{self, Log};
use super::readers::Readers;
use super::writer::{self, Shared};
use super::{Options, Sqlite, failed, schema};
use crate::store::StoreError;

/// `SQLite` before this version could corrupt a WAL that two connections restarted at once.
const OLDEST_SAFE: i32 = 3_051_003;

/// Threads that read.
const READERS: usize = 2;

/// Page cache of the writer, KiB (the pragma takes a negative number for KiB).
const WRITER_CACHE: i64 = 48 * 1024;

/// Page cache of each reader, KiB.
const READER_CACHE: i64 = 4 * 1024;

pub(super) fn open(options: Options) -> Result<Sqlite, StoreError> {
    let path = &options.path;
    let named = |error: StoreError| match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{}: {text}", path.display())),
        StoreError::Damaged(text) => StoreError::Damaged(format!("{}: {text}", path.display())),
        other => other,
    };
    make_private(path).map_err(|error| unusable(path, &error))?;
    let lock = lock(path)?;
    let mut db = connect(path, WRITER_CACHE).map_err(named)?;
    schema::migrate(&mut db).map_err(named)?;
    let mover = connect(path, 1024).map_err(named)?;
    match checkpoint::reserve(&mover, path) {
        Err(error @ StoreError::Damaged(_)) => return Err(named(error)),
        Err(error) => tracing::warn!(%error, "No room was reserved for the log; is the disk full?"),
        Ok(()) => {}
    }
    let readers = (0..READERS).map(|_| connect_reader(path)).collect::<Result<_, _>>().map_err(named)?;
    let log = Log::start(&mut db, mover, options.fatal.clone())?;
    // The writer alone writes: it never needs to wait for a lock, and a restart of the log that meets a reader is
    // tried again after the next commit instead.
    db.busy_timeout(Duration::ZERO).map_err(failed)?;
    let runtime = tokio::runtime::Handle::try_current().ok();
    let shared = Shared { observer: options.observer, fatal: options.fatal, log, runtime, lock };
    let (writer, behind) = writer::start(db, shared, options.behind_max)?;
    Ok(Sqlite { writer, readers: Readers::start(readers)?, behind, path: options.path })
}

pub(super) fn in_use(path: &Path) -> bool {
    match File::open(lock_path(path)) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

pub(super) async fn backup(from: PathBuf, to: PathBuf) -> Result<(), StoreError> {
    let copy = move || {
        // Made beforehand, because SQLite would make it readable by others.
        let file = new_private(&to).map_err(|error| unusable(&to, &error))?;
        let copied = copy_into(&from, &to).and_then(|()| file.sync_all().map_err(|error| unusable(&to, &error)));
        if copied.is_err() {
            // A copy that is not whole must not be taken for one.
            let _ = std::fs::remove_file(&to);
        }
        copied
    };
    tokio::task::spawn_blocking(copy).await.map_err(|error| StoreError::Unavailable(error.to_string()))?
}

/// Not by a reader's connection: one that may only query may not write the copy either.
fn copy_into(from: &Path, to: &Path) -> Result<(), StoreError> {
    let db = connect(from, READER_CACHE)?;
    db.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(failed)?;
    Ok(())
}

fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // SQLite gives its log the permissions of the database file.
    match new_private(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn new_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock = lock_path(path);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let file = file.map_err(|error| unusable(&lock, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{} is in use by another process; an embedded store has one owner", path.display());
            Err(StoreError::Unavailable(text))
        }
        Err(TryLockError::Error(error)) => Err(unusable(&lock, &error)),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    PathBuf::from(lock)
}

fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let db = connect(path, READER_CACHE)?;
    db.pragma_update(None, "query_only", true).map_err(failed)?;
    Ok(db)
}

fn connect(path: &Path, cache_kib: i64) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < OLDEST_SAFE {
        let text = format!("SQLite {} can damage its log; 3.51.3 or newer is needed", rusqlite::version());
        return Err(StoreError::Unavailable(text));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    expect(&mode, "wal", "journal_mode")?;
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; \
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 67108864;",
    )
    .map_err(failed)?;
    db.pragma_update(None, "cache_size", -cache_kib).map_err(failed)?;
    // Durability is a setting of the connection, so it is read back on every one.
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).map_err(failed)?;
    expect(&synchronous.to_string(), "2", "synchronous")?;
    // Plans depend on the schema alone. Otherwise statements would be planned anew for each value that is bound.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn expect(found: &str, wanted: &str, name: &str) -> Result<(), StoreError> {
    if found == wanted {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "{name} is {found} and cannot be set to {wanted}; is it a network file system?"
    )))
}

fn unusable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
