//! HTTP/1.1 as the load client speaks it: a request written whole, an answer read by its `content-length`.
//!
//! It shares two cores with the server that it measures, so it does as little as it can get away with.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::{Outcome, fail};

/// More header fields than any server here sends.
const MAX_FIELDS: usize = 64;
/// Room for one of our requests or answers; it grows when a larger one comes.
const ROOM: usize = 4096;

/// One keep-alive connection, used for one exchange at a time.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a server said.
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The body, whole.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// Insists on a status; the message shows what came instead.
    pub fn expect(&self, status: u16, what: &str) -> Outcome<()> {
        if self.status == status {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        fail(format!("{what} was answered {} instead of {status}: {body}", self.status))
    }
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Outcome<Self> {
        Self::over(TcpStream::connect(address).await?)
    }

    /// Takes a connection that someone else made.
    pub fn over(stream: TcpStream) -> Outcome<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ROOM] })
    }

    /// Sends a rendered request and reads its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Outcome<Answer<'_>> {
        self.send(request).await?;
        let Some((status, head, end)) = self.receive(answer_head).await? else {
            return fail("the server closed a connection instead of answering");
        };
        Ok(Answer { status, body: &self.buffer[head..end] })
    }

    /// Writes bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Waits for a request; nothing when the client has gone.
    pub async fn next_request(&mut self) -> Outcome<Option<(String, &[u8])>> {
        let Some((path, head, end)) = self.receive(request_head).await? else {
            return Ok(None);
        };
        Ok(Some((path, &self.buffer[head..end])))
    }

    /// Reads one message, whose head `parse` understands: what it made of it, and where the body lies in the buffer.
    async fn receive<T>(&mut self, parse: fn(&[u8]) -> Outcome<Option<Head<T>>>) -> Outcome<Option<(T, usize, usize)>> {
        let mut filled = 0;
        let head = loop {
            let read = self.fill(filled).await?;
            if read == 0 {
                return if filled == 0 { Ok(None) } else { fail("a connection was closed in the middle of a message") };
            }
            filled += read;
            if let Some(head) = parse(&self.buffer[..filled])? {
                break head;
            }
        };
        let end = head.length + head.content_length;
        while filled < end {
            match self.fill(filled).await? {
                0 => return fail("a connection was closed in the middle of a message"),
                read => filled += read,
            }
        }
        if filled > end {
            return fail("more bytes came than the message announced");
        }
        Ok(Some((head.start, head.length, end)))
    }

    async fn fill(&mut self, filled: usize) -> Outcome<usize> {
        if filled == self.buffer.len() {
            self.buffer.resize(filled * 2, 0);
        }
        Ok(self.stream.read(&mut self.buffer[filled..]).await?)
    }
}

/// The start line's meaning and the framing of a message.
struct Head<T> {
    start: T,
    length: usize,
    content_length: usize,
}

fn answer_head(bytes: &[u8]) -> Outcome<Option<Head<u16>>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = answer.parse(bytes)? else {
        return Ok(None);
    };
    let start = answer.code.unwrap_or_default();
    Ok(Some(Head { start, length, content_length: content_length(answer.headers)? }))
}

fn request_head(bytes: &[u8]) -> Outcome<Option<Head<String>>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes)? else {
        return Ok(None);
    };
    let start = request.path.unwrap_or_default().to_owned();
    Ok(Some(Head { start, length, content_length: content_length(request.headers)? }))
}

/// The body's length; none announced means no body, since nothing here is ever chunked.
fn content_length(fields: &[httparse::Header<'_>]) -> Outcome<usize> {
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value).unwrap_or_default();
            return digits.parse().or_else(|_| fail(format!("content-length is {digits:?}")));
        }
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return fail("a message came chunked; every body here has a length");
        }
    }
    Ok(0)
}
