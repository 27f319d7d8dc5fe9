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
    connection::{Drain, Handler, Shared, builder, drive},
    sources::Sources,
    wire::say,
};

/// Serves HTTP/1 on `listener` until `stop`, then lets requests under way finish for [`Limits::grace`].
///
/// Dropping the future cuts all connections.
pub async fn serve<H: Handler>(listener: TcpListener, handler: H, limits: Limits, stop: CancellationToken) {
    let http = builder(&limits);
    let shared = Arc::new(Shared { handler, limits, http, drain: Drain::default() });
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
    // Nobody is left waiting in a queue that no one serves.
    drop(listener);
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

    async fn close(mut self) {
        self.shared.drain.begin();
        let all = async { while self.connections.join_next().await.is_some() {} };
        if timeout(self.shared.limits.grace, all).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "Cut connections that did not finish in time");
        }
        self.connections.shutdown().await;
    }
}

/// A connection that failed in the queue is the client's affair. Everything else (no descriptors, no memory) would fail again at
/// once, so it gets time to pass.
async fn pause_after(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    let is_the_clients = matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    );
    if !is_the_clients {
        tracing::warn!(%error, "Could not accept a connection; trying again");
        sleep(PAUSE).await;
    }
}
