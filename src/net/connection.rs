//! One client's connection: requests in order, each behind a judge and a panic barrier, and a single timer that ends the
//! connection when the client is late with whatever it owes.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Request, StatusCode, header::CONNECTION};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    answer::Refusal,
    head,
    progress::{Mark, Phase, Progress},
    wire::Wire,
};

/// The other end of the socket that a request came in on; a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The answer to one request.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

impl Handler for Router {
    async fn handle(&self, request: Request<Incoming>) -> Response {
        let Ok(response) = tower::Service::call(&mut self.clone(), request).await;
        response
    }
}

/// What all connections share.
pub(super) struct Shared<H> {
    pub(super) handler: H,
    pub(super) limits: Limits,
    pub(super) http: http1::Builder,
    pub(super) drain: Arc<Drain>,
}

/// Tells connections to finish. The flag is there because asking a token takes a lock that all connections would share.
#[derive(Default)]
pub(super) struct Drain {
    token: CancellationToken,
    has_begun: AtomicBool,
}

impl Drain {
    pub(super) fn begin(&self) {
        // The flag first: a task that the token wakes must find it set.
        self.has_begun.store(true, Relaxed);
        self.token.cancel();
    }
}

/// The settings of the HTTP library. Its own header timeout stays off, because it makes and registers a timer for each request.
/// Half-closed connections are allowed as far as the library goes, because it would keep a second buffer of 8 KiB for each
/// held request to notice those who hang up: the wire does without.
pub(super) fn builder(limits: &Limits) -> http1::Builder {
    const READ_AHEAD: usize = 128 * 1024;
    let mut http = http1::Builder::new();
    http.half_close(true)
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_headers(limits.header_fields)
        .max_buf_size(READ_AHEAD.max(limits.header_bytes));
    http
}

/// Serves a client until one of the two ends the connection.
pub(super) async fn drive<H: Handler>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<H>>) {
    let progress = Arc::new(Progress::new());
    let wire = Wire::new(stream, Arc::clone(&progress), shared.limits.uri_bytes);
    let service = service_fn(|request| respond(&shared, peer, &progress, request));
    let mut conn = shared.http.serve_connection(TokioIo::new(wire), service);

    let ended = {
        let timer = pin!(sleep_until(Instant::now()));
        let mut deadline = Deadline::new(timer);
        let mut drained = pin!(shared.drain.token.cancelled());
        // Registers for the wake-up; from there on the flag tells.
        poll_fn(|cx| Poll::Ready(drained.as_mut().poll(cx).is_ready())).await;
        poll_fn(|cx| {
            if !deadline.is_hurried && shared.drain.has_begun.load(Relaxed) {
                deadline.hurry();
            }
            if let Poll::Ready(outcome) = Pin::new(&mut conn).poll(cx) {
                return Poll::Ready(Ended::ByLibrary(outcome));
            }
            deadline.poll(cx, progress.mark(), &shared.limits).map(Ended::Late)
        })
        .await
    };
    last_word(ended, &progress, &conn.into_parts().io.into_inner());
}

enum Ended {
    ByLibrary(hyper::Result<()>),
    Late(Phase),
}

/// What a client hears that was cut off before its request reached a handler.
fn last_word(ended: Ended, progress: &Progress, wire: &Wire) {
    match ended {
        Ended::Late(Phase::Head) => wire.refuse(Refusal::TOO_SLOW),
        // An HTTP/2 preface gets no answer from the library.
        Ended::ByLibrary(Err(error)) if error.is_parse() && progress.is_before_handling() && !wire.has_refused() => {
            wire.refuse(Refusal::MALFORMED);
        }
        Ended::ByLibrary(Err(error)) => tracing::debug!(%error, "A connection ended early"),
        Ended::ByLibrary(Ok(())) | Ended::Late(_) => {}
    }
}

/// The one timer of a connection. It is only ever set earlier, or again once it has fired: a busy connection leaves it alone, so
/// that requests cost no timer.
struct Deadline<'a> {
    timer: Pin<&'a mut Sleep>,
    is_set: bool,
    seen: Option<Mark>,
    due: Option<Instant>,
    /// Whether the service is stopping.
    is_hurried: bool,
}

impl<'a> Deadline<'a> {
    fn new(timer: Pin<&'a mut Sleep>) -> Self {
        Self { timer, is_set: false, seen: None, due: None, is_hurried: false }
    }

    /// From here on nobody gets long for a head or the rest of one.
    fn hurry(&mut self) {
        self.is_hurried = true;
        self.seen = None;
    }

    /// Ready with the phase in which the client was late.
    fn poll(&mut self, cx: &mut Context<'_>, mark: Mark, limits: &Limits) -> Poll<Phase> {
        if self.seen != Some(mark) {
            self.seen = Some(mark);
            let phase = mark.phase();
            let most = if self.is_hurried { hurried(phase) } else { Duration::MAX };
            self.due = allowance(phase, limits).map(|allowance| Instant::now() + allowance.min(most));
        }
        let Some(due) = self.due else { return Poll::Pending };
        if self.is_set && self.timer.deadline() <= due && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.is_set = true;
        self.timer.as_mut().reset(due);
        self.timer.as_mut().poll(cx).map(|()| mark.phase())
    }
}

/// How long a phase may take while the service stops: a request that is on its way has arrived by then.
fn hurried(phase: Phase) -> Duration {
    match phase {
        Phase::Fresh | Phase::Idle => Duration::from_millis(50),
        Phase::Head => Duration::from_secs(1),
        _ => Duration::MAX,
    }
}

/// How long a client may leave us in a phase. In `Handling` the handler decides; it reads bodies against a deadline.
fn allowance(phase: Phase, limits: &Limits) -> Option<Duration> {
    match phase {
        Phase::Fresh => Some(limits.first_byte),
        Phase::Idle => Some(limits.idle),
        Phase::Head => Some(limits.header),
        Phase::Flushing | Phase::Blocked => Some(limits.write_stall),
        Phase::Closing => Some(limits.linger),
        Phase::Handling => None,
    }
}

fn respond<H: Handler>(
    shared: &Shared<H>,
    peer: SocketAddr,
    progress: &Arc<Progress>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Watched>, Infallible>> + use<H> {
    let headers = request.headers();
    let is_plain = progress.begin(headers.len(), head::body_framing(headers));
    let verdict = if is_plain { head::judge(&request, shared.limits.uri_bytes) } else { Err(Refusal::MALFORMED) };
    request.extensions_mut().insert(Peer(peer));
    let handler = shared.handler.clone();
    let progress = Arc::clone(progress);
    let drain = Arc::clone(&shared.drain);
    async move {
        let mut response = match verdict {
            Ok(()) => close_if_unread(guarded(&handler, request).await, &progress),
            Err(refusal) => refusal.into_response(),
        };
        if drain.has_begun.load(Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Watched { body, progress }))
    }
}

/// Runs the handler. A panic costs its own request and nothing else.
async fn guarded<H: Handler>(handler: &H, request: Request<Incoming>) -> Response {
    let mut answer = pin!(handler.handle(request));
    let outcome = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
        Err(_) => Poll::Ready(None),
    });
    outcome.await.unwrap_or_else(|| {
        tracing::error!("A handler panicked; its request was answered 500");
        Refusal::BROKEN.into_response()
    })
}

/// Where a body is left unread or was broken, the client has to hear that the connection ends.
fn close_if_unread(mut response: Response, progress: &Progress) -> Response {
    let is_last = match response.status() {
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => true,
        StatusCode::BAD_REQUEST => progress.is_lost(),
        StatusCode::SERVICE_UNAVAILABLE => progress.is_unread(),
        _ => false,
    };
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body whose end the connection is told of.
struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.progress.answered();
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
