//! One request over one connection, with certainty about whether it left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::error::describe_http;
use super::socket::Socket;

/// What a target may spend on the head of an answer. The number of fields is capped at 100 by hyper itself.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An HTTP connection. Whoever has it has it alone; dropping it closes it.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// Weak, so that asking after a connection does not keep it open.
    socket: Weak<Socket>,
    pub(super) born: Instant,
    _driver: AbortOnDropHandle<()>,
}

/// A request that has been answered, up to the body.
pub(super) struct Live {
    pub(super) response: Response<Incoming>,
    pub(super) wire: Wire,
}

/// Why no answer's head came.
pub(super) enum SendError {
    /// Not a byte was written; the request comes back.
    Returned { request: Box<Request<Full<Bytes>>>, text: String },
    /// The target may have seen it.
    Broken(String),
}

impl Wire {
    /// Speaks HTTP/1 over a fresh stream; nothing is written yet.
    pub(super) async fn start<T>(stream: T, socket: &Arc<Socket>) -> hyper::Result<Self>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let mut http = http1::Builder::new();
        // No more is read ahead than a head may have: otherwise hyper reads up to 400 KiB of a body that nobody asked on for.
        http.max_header_size(MAX_HEAD_BYTES).max_buf_size(MAX_HEAD_BYTES);
        let (sender, connection) = http.handshake(stream).await?;
        let driver = tokio::spawn(async move {
            // Its errors reach the request that is under way; without one they are nobody's.
            let _ = connection.await;
        });
        let socket = Arc::downgrade(socket);
        Ok(Self { sender, socket, born: Instant::now(), _driver: AbortOnDropHandle::new(driver) })
    }

    /// Sends `request`. While it is out, and when it fails in a way that leaves doubt, `sent` is true.
    pub(super) async fn send(mut self, request: Request<Full<Bytes>>, sent: &AtomicBool) -> Result<Live, SendError> {
        self.each_socket(Socket::expect_head);
        let before = sent.swap(true, Ordering::AcqRel);
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                self.each_socket(Socket::expect_body);
                Ok(Live { response, wire: self })
            }
            Err(mut failed) => {
                let text = describe_http(failed.error());
                let Some(request) = failed.take_message() else {
                    return Err(SendError::Broken(text));
                };
                sent.store(before, Ordering::Release);
                Err(SendError::Returned { request: Box::new(request), text })
            }
        }
    }

    /// Waits until another request could be sent; an error says that it never can.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        self.sender.ready().await
    }

    /// Whether the connection is open and idle and the target has said nothing that nobody asked for.
    pub(super) fn is_sound(&self) -> bool {
        self.sender.is_ready() && self.socket.upgrade().is_some_and(|socket| socket.is_quiet())
    }

    fn each_socket(&self, tell: impl Fn(&Socket)) {
        if let Some(socket) = self.socket.upgrade() {
            tell(&socket);
        }
    }
}
