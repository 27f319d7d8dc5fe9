//! Transactions outside of the lanes: reads, claims, and what is seldom done. Each has a connection of the pool to itself.

use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError, TimeoutType};
use tokio_postgres::Row as SqlRow;

use super::batch::{Batch, Bodies, Columns};
use super::connect::{BEGIN, Connector, Link};
use super::{away, failed, unconfirmed};
use crate::store::StoreError;

/// Connections beside those of the lanes.
pub(super) const CONNECTIONS: usize = 8;

/// How long to wait for a free connection, and for a new one.
const WAIT: Duration = Duration::from_secs(2);

/// How long one round trip may take before its connection is taken for dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the pool.
pub(super) fn pool(connector: Connector, connections: usize) -> Result<Pool<Connector>, StoreError> {
    Pool::builder(connector)
        .max_size(connections)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .recycle_timeout(Some(WAIT))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// A connection of the pool. One that is given up midway is closed, and its transaction with it.
pub(super) struct Session {
    link: Option<Object<Connector>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            drop(Object::take(link));
        }
    }
}

impl Session {
    pub async fn open(pool: &Pool<Connector>) -> Result<Self, StoreError> {
        let link = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => failed(error),
            PoolError::Timeout(TimeoutType::Wait) => away("all connections are busy"),
            PoolError::Timeout(_) => away("the database does not answer"),
            _ => away("the pool of connections is closed"),
        })?;
        Ok(Self { link: Some(link) })
    }

    /// A connection with a transaction on it.
    pub async fn begin(pool: &Pool<Connector>) -> Result<Self, StoreError> {
        let session = Self::open(pool).await?;
        session.command(BEGIN).await?;
        Ok(session)
    }

    /// A connection with a transaction that sees one moment throughout.
    pub async fn snapshot(pool: &Pool<Connector>) -> Result<Self, StoreError> {
        let session = Self::open(pool).await?;
        session.command("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        Ok(session)
    }

    pub fn link(&self) -> &Link {
        self.link.as_ref().expect("it is there until the session ends")
    }

    async fn command(&self, sql: &str) -> Result<(), StoreError> {
        bounded(self.link().client.batch_execute(sql)).await
    }

    pub async fn query(&self, sql: &str, columns: Columns<'_>) -> Result<Vec<SqlRow>, StoreError> {
        bounded(self.link().client.query_typed(sql, &columns)).await
    }

    pub async fn query_one(&self, sql: &str, columns: Columns<'_>) -> Result<Option<SqlRow>, StoreError> {
        Ok(self.query(sql, columns).await?.into_iter().next())
    }

    pub async fn execute(&self, sql: &str, columns: Columns<'_>) -> Result<u64, StoreError> {
        bounded(self.link().client.execute_typed(sql, &columns)).await
    }

    /// Commits, and gives the connection back.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.command("COMMIT").await?;
        if self.link().was_warned() {
            return Err(unconfirmed());
        }
        self.link = None;
        Ok(())
    }

    /// Writes what the batch holds, commits, and gives the connection back.
    pub async fn finish(mut self, batch: &mut Batch, part: i32) -> Result<Bodies, StoreError> {
        batch.begun = true;
        let committed = tokio::time::timeout(PATIENCE, batch.commit(self.link(), part)).await;
        let bodies = committed.map_err(|_| away("the database does not answer"))??;
        self.link = None;
        Ok(bodies)
    }

    /// Gives the connection back; there is no transaction on it.
    pub fn close(mut self) {
        self.link = None;
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome.map_err(failed),
        Err(_) => Err(away("the database does not answer")),
    }
}
