//! Moving from an embedded store to a shared one, and bringing a shared one up to date.

use std::path::Path;
use std::sync::Arc;

use super::in_words;
use crate::clock::Clock;
use crate::config::Database;
use crate::store::postgres::{self, Postgres};
use crate::store::sqlite::{self, BEHIND_MAX, Sqlite};
use crate::store::transfer::{Enter, Leave, Moved, TABLES};
use crate::store::{NoObserver, Store};
use crate::task::TaskId;

/// Tasks moved in one transaction.
const BATCH: usize = 200;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tasks that are in the new store now.
    pub tasks: usize,
    /// Of those, calls that were under way when the old store was left; they count as interrupted.
    pub interrupted: usize,
    /// Rows of everything else.
    pub rows: usize,
}

/// Copies all that an embedded store holds into a shared one, and compares the two. Can be stopped and run again; it then
/// goes on where it was. `tell` hears how far it is.
///
/// Fails with a text for people if one of the two cannot be opened, or if they differ afterwards.
pub async fn copy(
    from: &Path,
    to: &Database,
    clock: &dyn Clock,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Summary, String> {
    let Database::Postgres(url) = to else { return Err("what is copied to is a postgres:// database".to_owned()) };
    if !from.is_file() {
        return Err(format!("there is no database at {}", from.display()));
    }
    let fatal = Arc::new(|why: &str| tracing::error!(why, "The disk failed"));
    let (path, observer) = (from.to_owned(), Arc::new(NoObserver));
    let old = Sqlite::open(sqlite::Options { path, observer, fatal, behind_max: BEHIND_MAX }).map_err(in_words)?;
    let new = Box::pin(open(url.expose())).await?;
    let mut rows = 0;
    for table in TABLES {
        let found = old.rows(table).await.map_err(in_words)?;
        rows += found.len();
        new.take_rows(table, found).await.map_err(in_words)?;
    }
    tell(&format!("{rows} rows of teams, keys, secrets, endpoints and people are there"));
    let mut after = new.moved_up_to().await.map_err(in_words)?;
    let mut moved = 0;
    loop {
        let tasks = old.tasks_after(after, BATCH).await.map_err(in_words)?;
        let Some(last) = tasks.last() else { break };
        after = Some(last.task.id);
        moved += tasks.len();
        new.take_tasks(tasks, clock.now()).await.map_err(in_words)?;
        if moved % (50 * BATCH) == 0 {
            tell(&format!("{moved} tasks are there"));
        }
    }
    tell("comparing");
    let summary = Summary { rows, ..compare(&old, &new).await? };
    for table in TABLES.iter().filter(|table| table.name != "meta") {
        let (mut left, mut entered) = (old.rows(table).await, new.rows(table).await);
        let [left, entered] = [&mut left, &mut entered].map(|rows| {
            rows.as_mut()
                .map(|rows| rows.iter().map(|row| format!("{row:?}")).collect::<std::collections::BTreeSet<_>>())
        });
        let (left, entered) = (left.map_err(|error| error.to_string())?, entered.map_err(|error| error.to_string())?);
        if !left.is_subset(&entered) {
            return Err(format!("the table {} differs", table.name));
        }
    }
    Ok(summary)
}

/// Compares every task by a checksum of all that it is and holds.
async fn compare(old: &Sqlite, new: &Postgres) -> Result<Summary, String> {
    let (mut summary, mut after) = (Summary::default(), None);
    loop {
        let left = old.tasks_after(after, BATCH).await.map_err(in_words)?;
        let Some(last) = left.last().map(|moved| moved.task.id) else { return Ok(summary) };
        let entered = until(new, after, last).await?;
        if left.len() != entered.len() {
            return Err(format!("{} tasks up to {last} are {} in the new store", left.len(), entered.len()));
        }
        for (left, entered) in left.iter().zip(&entered) {
            // Whose call was under way was changed by the move.
            let same = left.task.id == entered.task.id && (left.is_called() || left.digest() == entered.digest());
            if !same {
                return Err(format!("task {} differs in the new store; did something serve it already?", left.task.id));
            }
            summary.tasks += 1;
            summary.interrupted += usize::from(left.is_called());
        }
        after = Some(last);
    }
}

async fn until(new: &Postgres, after: Option<TaskId>, last: TaskId) -> Result<Vec<Moved>, String> {
    let mut entered = new.tasks_after(after, BATCH + 1).await.map_err(in_words)?;
    entered.retain(|moved| moved.task.id <= last);
    Ok(entered)
}

/// Brings the layout of a shared store up to date; answers which version it had, 0 for an empty database.
pub async fn migrate(database: &Database) -> Result<i32, String> {
    let Database::Postgres(url) = database else {
        return Err("an embedded store is brought up to date when it is opened; this is for postgres://".to_owned());
    };
    Box::pin(Postgres::migrate(url.expose())).await.map_err(in_words)
}

/// The nodes of a shared store.
pub async fn nodes(database: &Database) -> Result<Vec<postgres::NodeState>, String> {
    let Database::Postgres(url) = database else {
        return Err("an embedded store has one node; this is for postgres://".to_owned());
    };
    let store = Box::pin(open(url.expose())).await?;
    store.ping().await.map_err(in_words)?;
    store.nodes().await.map_err(in_words)
}

async fn open(url: &str) -> Result<Postgres, String> {
    let (url, observer) = (url.to_owned(), Arc::new(NoObserver));
    let options = postgres::Options { url, observer, introduction: None, require_sync: false };
    Postgres::open(options).await.map_err(in_words)
}
