//! The way to the server: a URL as libpq takes it, TLS as the URL says, and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use futures_util::StreamExt;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

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
}

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
        Ok(Link { client, warned, spoiled: AtomicBool::new(false) })
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
