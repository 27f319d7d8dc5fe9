//! The socket as the HTTP library sees it. It lets us watch the bytes on their way in, and give the library's own empty error answers a body
//! on their way out.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    answer::Refusal,
    progress::{Phase, Progress},
};

/// A watched socket.
pub(super) struct Wire {
    stream: TcpStream,
    progress: Arc<Progress>,
    uri_bytes: usize,
    refusal: Option<Rewritten>,
    is_shut: bool,
}

/// An answer of ours that goes out in place of the library's.
struct Rewritten {
    bytes: Vec<u8>,
    written: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>, uri_bytes: usize) -> Self {
        Self { stream, progress, uri_bytes, refusal: None, is_shut: false }
    }

    /// Says a last word if the client is there to hear it.
    pub(super) fn refuse(&self, refusal: Refusal) {
        say(&self.stream, refusal);
    }

    pub(super) fn has_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Writes our answer, then claims that the library's `bytes` were written.
    fn poll_rewrite(&mut self, cx: &mut Context<'_>, head: &[u8], length: usize) -> Poll<io::Result<usize>> {
        let refusal = match &mut self.refusal {
            Some(refusal) => refusal,
            none => {
                self.progress.refuse();
                let bytes = refusal_for(head, self.progress.request_line_len() > self.uri_bytes).to_bytes();
                none.insert(Rewritten { bytes, written: 0 })
            }
        };
        while refusal.written < refusal.bytes.len() {
            let rest = &refusal.bytes[refusal.written..];
            refusal.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(length))
    }

    fn watch(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.progress.wrote(outcome.is_pending());
        outcome
    }

    /// Whether the client closed its side; registers for the moment in which it does. Looks without taking, so that nobody
    /// needs a buffer for what does not come.
    fn has_hung_up(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut byte = [0];
        match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(seen) => Ok(seen? == 0),
            Poll::Pending => Ok(false),
        }
    }

    /// Reads and forgets until the client has closed its side; the connection's deadline ends this.
    fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Writes a refusal without waiting. Whoever does not take a few hundred bytes at once goes without.
pub(super) fn say(stream: &TcpStream, refusal: Refusal) {
    // The connection ends either way.
    let _ = stream.try_write(&refusal.to_bytes());
}

/// The status is at the same place in every status line.
fn refusal_for(head: &[u8], has_long_line: bool) -> Refusal {
    match head.get(9..12) {
        Some(b"414") => Refusal::URI_TOO_LONG,
        Some(b"431") if has_long_line => Refusal::URI_TOO_LONG,
        Some(b"431") => Refusal::HEADER_TOO_LARGE,
        Some(b"408") => Refusal::TOO_SLOW,
        _ => Refusal::MALFORMED,
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        let fresh = &buf.filled()[before..];
        if !fresh.is_empty() {
            self.progress.read(fresh);
        }
        outcome
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = if self.progress.is_before_handling() {
            self.poll_rewrite(cx, bytes, bytes.len())
        } else {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        };
        self.watch(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = if self.progress.is_before_handling() {
            let length = slices.iter().map(|slice| slice.len()).sum();
            let head = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            self.poll_rewrite(cx, head, length)
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
        };
        self.watch(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.progress.flushed();
        if self.progress.is_held() && self.has_hung_up(cx)? {
            return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, "the client hung up before its answer")));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
            self.progress.enter(Phase::Closing);
        }
        if self.progress.is_unread() { self.poll_forget(cx) } else { Poll::Ready(Ok(())) }
    }
}
