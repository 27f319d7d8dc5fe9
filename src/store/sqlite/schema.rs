//! The layout on disk, and how an older one becomes it. Forward only.
//!
//! - `task`: the small hot row, keyed by the id's leading 63 bits. `at` is the state's own time: due, since, lease,
//!   deadline or end. Bodies are elsewhere, so a status change rewrites about a hundred bytes.
//! - `journal`: everything that is written once — request, answers, results, history — appended in commit order, each
//!   row pointing to the task's row before it. No index: a task's rows are found by walking back from `task.head`.
//! - `timer`, `outbox`: what becomes due when. A timer is left behind when its task moves on, and dropped when it fires.
//! - `redo`: changes of tasks that are appended first and swept into `task` later.
//! - `ended`: what retention removes, in the order of the ends.

use rusqlite::Connection;

use crate::store::StoreError;

/// One script per version; a script that has been released never changes.
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The version that this program writes.
pub(super) fn version() -> usize {
    MIGRATIONS.len()
}

/// Brings the database up to date; refuses one that a newer program wrote.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let found: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(super::failed)?;
    if found > version() {
        let text = format!("it was written by a newer version (layout {found}; this program knows {})", version());
        return Err(StoreError::Unavailable(text));
    }
    for (index, script) in MIGRATIONS.iter().enumerate().skip(found) {
        let apply = |db: &mut Connection| {
            let step = db.transaction()?;
            step.execute_batch(script)?;
            step.pragma_update(None, "user_version", index + 1)?;
            step.commit()
        };
        apply(db).map_err(super::failed)?;
    }
    Ok(())
}
