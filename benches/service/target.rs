//! The other side of the service's calls: an HTTP server inside the benchmark that answers 200 to all that comes, at once,
//! and tells afterwards what it was.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::failure::Outcome;
use crate::wire::Connection;

/// Told of every request, by path and body, once it has been answered.
pub type Listener = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"accepted\":1}\n";

/// A running target; its connections end when it is dropped.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Target {
    /// Starts one.
    pub async fn start(told: Listener) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, told));
        Ok(Self { address, _tasks: tasks })
    }
}

async fn accept(listener: TcpListener, told: Listener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&told)));
        while connections.try_join_next().is_some() {}
    }
}

/// A connection that breaks is the service's to notice: the task behind it then fails to come to its end.
async fn serve(stream: TcpStream, told: Listener) -> Outcome<()> {
    let mut connection = Connection::over(stream)?;
    loop {
        let (path, body) = match connection.next_request().await? {
            Some((path, body)) => (path, body.to_vec()),
            None => return Ok(()),
        };
        connection.send(ANSWER).await?;
        told(&path, &body);
    }
}
