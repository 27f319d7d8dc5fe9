//! The layout of the database, and how an older one is brought up to date: forward only, under a lock.

use std::time::Duration;

use tokio_postgres::Client;

use super::{away, failed};
use crate::store::StoreError;

/// Each entry brings the database from the version of its place to the next.
const STEPS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// Brings the database up to date; answers the version that it had.
pub(super) async fn migrate(client: &Client) -> Result<i32, StoreError> {
    // Two nodes that start at once may both try to make the table; the second finds it then.
    let make = "CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)";
    for _ in 0..3 {
        if client.batch_execute(make).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.batch_execute("BEGIN; LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE").await.map_err(failed)?;
    let outcome = bring_up(client).await;
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await.map_err(failed)?;
    outcome
}

async fn bring_up(client: &Client) -> Result<i32, StoreError> {
    let rows = client.query_typed("SELECT version FROM schema_version", &[]).await.map_err(failed)?;
    let found: i32 = rows.first().map_or(0, |row| row.get(0));
    let known = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    if found > known {
        return Err(away(&format!(
            "the database was written by a newer version (its layout is {found}, this program knows {known}); \
             use that version, or a newer one"
        )));
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        client.batch_execute(step).await.map_err(failed)?;
    }
    if found < known {
        let record = format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({known})");
        client.batch_execute(&record).await.map_err(failed)?;
    }
    Ok(found)
}

/// Refuses a server that acknowledges commits before a standby has them: a failover would lose them.
pub(super) async fn check_sync(client: &Client) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit')";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    let row = rows.first().ok_or(StoreError::NotFound)?;
    let (standbys, commit): (String, String) = (row.get(0), row.get(1));
    if standbys.trim().is_empty() {
        return Err(away(
            "require-sync is set, but the server has no synchronous standby: synchronous_standby_names is empty",
        ));
    }
    if !matches!(commit.as_str(), "on" | "remote_apply") {
        return Err(away(&format!("require-sync is set, but synchronous_commit is {commit} on the server")));
    }
    Ok(())
}
