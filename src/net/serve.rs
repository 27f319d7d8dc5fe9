//! The accept loop. It is our own because the stock one closes no slow client, has no cap, and lets a stop wait for ever.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    address::bucket,
    answer::Refusal,
    connection::{Handler, Shared, builder, drive},
    sources::Sources,
    wire::say,
};

/// At most this many connections are let in when the listener is closed: as many as a queue usually holds.
const QUEUE_MAX: usize = 4096;

/// Serves HTTP/1 on `listener` until `stop`, then lets requests under way finish for [`Limits::grace`].
///
/// Dropping the future cuts all connections.
pub async fn serve<H: Handler>(listener: TcpListener, handler: H, limits: Limits, stop: CancellationToken) {
    let http = builder(&limits);
    let shared = Arc::new(Shared { handler, limits, http, drain: Arc::default() });
    let mut door = Door { shared, sources: Sources::default(), connections: JoinSet::new() };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = door.connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => door.admit(stream, peer),
                Err(error) => pause_after(&error).await,
            },
        }
    }
    door.admit_queued(listener);
    door.close().await;
}

struct Door<H> {
    shared: Arc<Shared<H>>,
    sources: Sources,
    connections: JoinSet<()>,
}

impl<H: Handler> Door<H> {
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let limits = &self.shared.limits;
        if self.connections.len() >= limits.connections {
            return say(&stream, Refusal::BUSY);
        }
        let seat = match limits.connections_per_source {
            0 => None,
            most => match self.sources.seat(bucket(peer.ip()), most) {
                None => return say(&stream, Refusal::BUSY),
                seat => seat,
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "A connection was gone before it was served");
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.connections.spawn(async move {
            drive(stream, peer, shared).await;
            drop(seat);
        });
    }

    /// Lets in who connected before the listener goes, so that nobody is cut off who waits in its queue. On a busy machine that
    /// can be many.
    fn admit_queued(&mut self, listener: TcpListener) {
        // Asked directly: the runtime may not have heard yet that somebody is there.
        let Ok(listener) = listener.into_std() else { return };
        // A flood of new connections must not hold up the stop.
        for _ in 0..QUEUE_MAX {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    stream.map_or_else(
                        |error| tracing::debug!(%error, "A queued connection was lost"),
                        |stream| self.admit(stream, peer),
                    );
                }
                Err(error) if is_the_clients(&error) => {}
                Err(_) => break,
            }
        }
    }

    async fn close(mut self) {
        self.shared.drain.begin();
        let all = async { while self.connections.join_next().await.is_some() {} };
        if timeout(self.shared.limits.grace, all).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "Cut connections that did not finish in time");
        }
        self.connections.shutdown().await;
    }
}

/// Whether a connection failed in the queue by its client's doing.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

/// A connection that failed in the queue is the client's affair. Everything else (no descriptors, no memory) would fail again at
/// once, so it gets time to pass.
async fn pause_after(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    if !is_the_clients(error) {
        tracing::warn!(%error, "Could not accept a connection; trying again");
        sleep(PAUSE).await;
    }
}
