//! Whether a connection leads to one process of the server for as long as it lasts. Only then may anything be kept in its
//! session; behind a pooler the next transaction may meet another session, with other people's statements in it.
//!
//! A server names the process that serves a connection when it is made, for whoever wants to cancel a query. A pooler
//! makes up a number of its own. The library does not tell the number, but writes it to any stream that it is given.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The code of a message that asks for TLS (`SSLRequest` of PostgreSQL's protocol).
const SSL_REQUEST: i32 = 80_877_103;

/// Whether the process that was named is the one that answers.
pub(super) async fn is_direct(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let Some(named) = named(client).await else { return Ok(false) };
    let rows = client.query_typed("SELECT pg_backend_pid()", &[]).await?;
    Ok(rows.first().is_some_and(|row| row.get::<_, i32>(0) == named))
}

/// The process that was named when the connection was made.
async fn named(client: &Client) -> Option<i32> {
    let (mut ours, theirs) = duplex(64);
    let token = client.cancel_token();
    let (_, named) = tokio::join!(token.cancel_query_raw(theirs, Unencrypted), read(&mut ours));
    named.ok()
}

async fn read(stream: &mut DuplexStream) -> io::Result<i32> {
    loop {
        let (_length, code) = (stream.read_i32().await?, stream.read_i32().await?);
        if code != SSL_REQUEST {
            return stream.read_i32().await;
        }
        stream.write_all(b"S").await?;
    }
}

/// Goes on without encryption where the connection itself is encrypted: nothing leaves this process.
struct Unencrypted;

struct Plain(DuplexStream);

impl TlsConnect<DuplexStream> for Unencrypted {
    type Stream = Plain;
    type Error = Infallible;
    type Future = Ready<Result<Plain, Infallible>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(Plain(stream)))
    }
}

impl TlsStream for Plain {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
