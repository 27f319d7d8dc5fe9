//! The way to the server: a URL as libpq takes it, TLS as the URL says, and connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use futures_util::StreamExt;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::batch::Columns;
use super::direct;
use super::tls::{self, Trust};
use crate::store::StoreError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// How long the server may leave what was sent unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Where the server waits for its standby, and warns if it gives that up.
const WAIT_FOR_STANDBY: &str = "SyncRepWaitForLSN";

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
}

/// One connection.
pub(super) struct Link {
    pub client: Client,
    /// A commit did not wait for the standby to its end.
    warned: Arc<AtomicBool>,
    /// Nobody knows what became of the last transaction, so nothing may be run again on this connection.
    spoiled: AtomicBool,
    /// Statements that the session keeps; none where it may not keep anything.
    prepared: Option<Mutex<HashMap<&'static str, Statement>>>,
}

/// What a session of its own keeps for each of its transactions. Statements that stay are planned once, perhaps while their
/// tables were small: then, too, by their indexes.
const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '5s'; SET lock_timeout = '4s'; SET jit = off; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off";

/// How a transaction begins on a connection that cannot keep that; one that is left open, because its node froze, must
/// not hold up the others.
pub(super) const BEGIN: &str =
    "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL lock_timeout = '4s'";

impl Link {
    /// Whether a commit since this was asked last may not be on the standby's disk. It holds here all the same.
    pub fn was_warned(&self) -> bool {
        let warned = self.warned.swap(false, Ordering::AcqRel);
        self.spoiled.fetch_or(warned, Ordering::AcqRel);
        warned
    }

    /// Whether it was ever so.
    pub fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Acquire)
    }

    /// Has the session keep settings and statements, if it is one for as long as the connection lasts.
    pub async fn settle(mut self) -> Result<Self, tokio_postgres::Error> {
        if direct::is_direct(&self.client).await? {
            self.client.batch_execute(SETTINGS).await?;
            self.prepared = Some(Mutex::default());
        }
        Ok(self)
    }

    /// Whether the session keeps statements.
    pub fn keeps_statements(&self) -> bool {
        self.prepared.is_some()
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(if self.prepared.is_some() { "BEGIN" } else { BEGIN }).await
    }

    /// Prepares a statement where the session keeps it. Before a pipeline, so that what is sent keeps its order.
    pub async fn prepare(&self, sql: &'static str, columns: &Columns<'_>) -> Result<(), tokio_postgres::Error> {
        let Some(prepared) = &self.prepared else { return Ok(()) };
        if !locked(prepared).contains_key(sql) {
            let types: Vec<Type> = columns.iter().map(|(_, kind)| kind.clone()).collect();
            let statement = self.client.prepare_typed(sql, &types).await?;
            locked(prepared).insert(sql, statement);
        }
        Ok(())
    }

    /// Runs a statement, by its kept form if there is one.
    pub async fn query(&self, sql: &'static str, columns: &Columns<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.prepared.as_ref().and_then(|prepared| locked(prepared).get(sql).cloned());
        match statement {
            Some(statement) => {
                let values: Vec<_> = columns.iter().map(|(value, _)| *value).collect();
                self.client.query(&statement, &values).await
            }
            None => self.client.query_typed(sql, columns).await,
        }
    }

    /// Ends a transaction that failed. Answers whether another one can be made here: not if the server is gone, and not if it
    /// takes no writes any more, because another one has become the primary.
    pub async fn takes_more(&self) -> bool {
        if self.client.is_closed() || self.client.batch_execute("ROLLBACK").await.is_err() {
            return false;
        }
        let asked = self.client.query_typed("SELECT current_setting('transaction_read_only')", &[]).await;
        asked.is_ok_and(|rows| rows.first().is_some_and(|row| row.get::<_, &str>(0) == "off"))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connector {
    /// Reads a URL: `postgres://user:password@host:port,host:port/database?sslmode=…&target_session_attrs=…`. Beside what
    /// libpq calls so, `sslrootcert` names a file of certificates to trust.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let (rest, trust) = Trust::take_from(url)?;
        let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            StoreError::Unavailable(format!("the database URL cannot be read: {cause}"))
        })?;
        if trust.is_verified() {
            config.ssl_mode(SslMode::Require);
        }
        // A server that does not take writes is of no use, whatever else it may be good for.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT).tcp_user_timeout(UNACKNOWLEDGED);
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("asyncqueue");
        }
        Ok(Self { config, tls: MakeRustlsConnect::new(tls::config(&trust)?) })
    }

    /// A new connection.
    pub async fn open(&self) -> Result<Link, tokio_postgres::Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let warned = Arc::new(AtomicBool::new(false));
        let warning = warned.clone();
        tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.severity() == "WARNING"
                {
                    tracing::warn!(code = notice.code().code(), "The database warns: {}", notice.message());
                    // Told by the place in the server's source: the text is in the server's language.
                    if notice.routine() == Some(WAIT_FOR_STANDBY) {
                        warning.store(true, Ordering::Release);
                    }
                }
            }
        });
        Ok(Link { client, warned, spoiled: AtomicBool::new(false), prepared: None })
    }
}

impl managed::Manager for Connector {
    type Type = Link;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Link, Self::Error> {
        self.open().await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Self::Error> {
        if link.client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}
