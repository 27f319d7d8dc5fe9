//! An embedded store in a folder of its own that is removed at the end.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asyncqueue::store::NoObserver;
use asyncqueue::store::sqlite::{Options, Sqlite};

/// An embedded store that leaves nothing behind.
pub struct Scratch {
    store: Option<Sqlite>,
    folder: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("asyncqueue-store-{}-{number}", std::process::id()));
        let store = Some(open(&folder));
        Self { store, folder }
    }

    /// Closes the store and opens it again.
    #[allow(dead_code, reason = "not every test that shares this file reopens")]
    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.folder));
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

fn open(folder: &Path) -> Sqlite {
    let fatal = Arc::new(|why: &str| panic!("{why}"));
    Sqlite::open(Options { path: folder.join("queue.db"), observer: Arc::new(NoObserver), fatal }).unwrap()
}
