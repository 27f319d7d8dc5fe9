//! An embedded store in a folder of its own that is removed at the end.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asyncqueue::store::NoObserver;
use asyncqueue::store::sqlite::{Options, Sqlite};

/// So few rows may be behind that some are swept all the time.
const BEHIND_MAX: usize = 16;

/// An embedded store that leaves nothing behind.
pub struct Scratch {
    store: Option<Sqlite>,
    folder: PathBuf,
    lives: u32,
}

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("asyncqueue-store-{}-{number}", std::process::id()));
        let store = Some(open(&file(&folder, 0)));
        Self { store, folder, lives: 0 }
    }

    /// Opens the store again: by turns as its files were before it was closed, which is how a kill leaves them, and as
    /// they were afterwards. Nobody may be using it.
    #[allow(dead_code, reason = "not every test that shares this file reopens")]
    pub fn reopen(&mut self) {
        let (before, after) = (file(&self.folder, self.lives), file(&self.folder, self.lives + 1));
        let is_kill = self.lives.is_multiple_of(2);
        if is_kill {
            copy(&before, &after);
        }
        self.store = None;
        if !is_kill {
            copy(&before, &after);
        }
        self.lives += 1;
        self.store = Some(open(&after));
    }
}

impl Deref for Scratch {
    type Target = Sqlite;

    fn deref(&self) -> &Sqlite {
        self.store.as_ref().expect("the store is open")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.store = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn file(folder: &Path, life: u32) -> PathBuf {
    folder.join(format!("queue-{life}.db"))
}

/// The database with its log, as far as it has one.
fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let beside = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if beside(from).exists() {
            std::fs::copy(beside(from), beside(to)).unwrap();
        }
    }
}

fn open(path: &Path) -> Sqlite {
    let (observer, fatal) = (Arc::new(NoObserver), Arc::new(|why: &str| panic!("{why}")));
    Sqlite::open(Options { path: path.to_owned(), observer, fatal, behind_max: BEHIND_MAX }).unwrap()
}
