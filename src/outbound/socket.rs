//! A TCP connection that two can look at: hyper reads and writes it, the pool asks whether it is still sound.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a target may send before the head of its answer is complete: its TLS handshake, interim answers, the head.
const HEAD_BUDGET: usize = 1024 * 1024;

/// What both know of the connection.
pub(super) struct Socket {
    /// The same socket once more, to look at what has arrived without taking it.
    probe: std::net::TcpStream,
    /// How many more bytes may arrive. Without it a stream of interim answers is read at full speed until the
    /// deadline, which may be an hour away.
    budget: AtomicUsize,
}

impl Socket {
    /// A request is about to be sent: its answer's head has a budget.
    pub(super) fn expect_head(&self) {
        self.budget.store(HEAD_BUDGET, Ordering::Relaxed);
    }

    /// The head has come; from here on the reader of the body counts.
    pub(super) fn expect_body(&self) {
        self.budget.store(usize::MAX, Ordering::Relaxed);
    }

    /// Whether the target has said nothing since its last answer: neither a byte nor a goodbye.
    ///
    /// Asks the kernel rather than the runtime, which may not have heard yet. An answer that nobody asked for would
    /// otherwise be taken for the answer to the next request.
    pub(super) fn is_quiet(&self) -> bool {
        let peeked = self.probe.peek(&mut [0]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let left = self.budget.load(Ordering::Relaxed);
        // An error kind that no socket reports, for `error` to put into words.
        let left = left.checked_sub(bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        if left < usize::MAX / 2 {
            self.budget.store(left, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The end of a connection that hyper holds. When it is gone, so is the connection.
pub(super) struct Held {
    stream: TcpStream,
    pub(super) socket: Arc<Socket>,
}

impl Held {
    /// A fresh connection. Fails if the process has no descriptor left.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        let socket = Arc::new(Socket { probe: duplicate(&stream)?, budget: AtomicUsize::new(HEAD_BUDGET) });
        Ok(Self { stream, socket })
    }
}

#[cfg(unix)]
fn duplicate(stream: &TcpStream) -> io::Result<std::net::TcpStream> {
    use std::os::fd::AsFd;
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn duplicate(stream: &TcpStream) -> io::Result<std::net::TcpStream> {
    use std::os::windows::io::AsSocket;
    Ok(stream.as_socket().try_clone_to_owned()?.into())
}

impl Connection for Held {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.socket.spend(buf.filled().len() - before))
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
