//! Pages that stay fresh: a stream of server-sent events says that there is news, and the page fetches itself again.
//!
//! There is one beat for all who look. It beats at most every two seconds, only while somebody looks and only if a commit
//! changed something; a commit does no more for it than set a flag.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use hyper::body::Frame;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::answer;
use crate::waiters::Waiter;

/// The time between two beats.
const BEAT: Duration = Duration::from_secs(2);

/// A comment this often keeps proxies from taking the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream ends after this time; the browser opens another, and is asked anew who it is.
const LONGEST: Duration = Duration::from_secs(300);

/// So many streams may be open at once.
const STREAMS_MAX: usize = 200;

/// The beat.
pub struct Live {
    changed: AtomicBool,
    beat: watch::Sender<u64>,
    looked_at: Notify,
    seats: Arc<Semaphore>,
    stopping: CancellationToken,
    every: Duration,
    heartbeat: Duration,
}

impl Live {
    /// Nobody looks yet; streams end with `stopping`.
    pub fn new(stopping: CancellationToken) -> Self {
        Self::with(stopping, BEAT, HEARTBEAT)
    }

    fn with(stopping: CancellationToken, every: Duration, heartbeat: Duration) -> Self {
        Self {
            every,
            heartbeat,
            changed: AtomicBool::new(false),
            beat: watch::Sender::new(0),
            looked_at: Notify::new(),
            seats: Arc::new(Semaphore::new(STREAMS_MAX)),
            stopping,
        }
    }

    /// A commit changed something.
    pub fn changed(&self) {
        self.changed.store(true, Relaxed);
    }

    /// Beats until the service stops.
    pub async fn run(self: Arc<Self>) {
        self.stopping.run_until_cancelled(self.beat()).await;
    }

    async fn beat(&self) {
        loop {
            if self.beat.receiver_count() == 0 {
                self.looked_at.notified().await;
            }
            sleep(self.every).await;
            if self.changed.swap(false, Relaxed) {
                self.beat.send_modify(|count| *count += 1);
            }
        }
    }

    /// A stream of news, of one task or of all; none if there are too many.
    pub fn stream(self: &Arc<Self>, task: Option<Waiter>) -> Option<Response> {
        let seat = self.seats.clone().try_acquire_owned().ok()?;
        let source = match task {
            Some(waiter) => Source::Task(waiter),
            None => Source::All(self.beat.subscribe()),
        };
        self.looked_at.notify_one();
        let telling =
            Telling { live: self.clone(), source, over: Instant::now() + LONGEST, greeted: false, _seat: seat };
        let mut response = Response::new(Body::new(Pieces(Some(piece(telling)))));
        let headers = response.headers_mut();
        answer::secure(headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Nginx would hold events back until it has a buffer full of them.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Some(response)
    }
}

enum Source {
    Task(Waiter),
    All(watch::Receiver<u64>),
}

struct Telling {
    live: Arc<Live>,
    source: Source,
    over: Instant,
    greeted: bool,
    _seat: OwnedSemaphorePermit,
}

const NEWS: &[u8] = b"event: news\ndata: \n\n";

impl Telling {
    /// What to write next; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(Bytes::from_static(b"retry: 3000\n\n"));
        }
        if Instant::now() >= self.over {
            return None;
        }
        let stopping = self.live.stopping.clone();
        let news = stopping.run_until_cancelled(timeout(self.live.heartbeat, self.source.news())).await?;
        // What changed while the last piece was written is not heard of; of one task it is cheap to look again.
        let look = news.is_ok() || matches!(self.source, Source::Task(_));
        Some(Bytes::from_static(if look { NEWS } else { b":\n\n" }))
    }
}

impl Source {
    async fn news(&mut self) {
        match self {
            Self::Task(waiter) => {
                waiter.changed().await;
                // What follows at once is told together.
                sleep(Duration::from_millis(150)).await;
            }
            // The sender lives as long as the stream.
            Self::All(beat) => drop(beat.changed().await),
        }
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Telling)>> + Send>>;

fn piece(mut telling: Telling) -> Next {
    Box::pin(async move { telling.next().await.map(|text| (text, telling)) })
}

/// The body of such an answer: the next piece is made when the browser has taken the last.
struct Pieces(Option<Next>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.0 else { return Poll::Ready(None) };
        let (text, telling) = ready!(next.as_mut().poll(cx)).unzip();
        self.0 = telling.map(piece);
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn next(response: &mut Response) -> String {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn all_who_look_share_one_beat_and_only_for_news() {
        let live = Arc::new(Live::with(CancellationToken::new(), Duration::from_millis(5), Duration::from_secs(1)));
        let beating = tokio::spawn(live.clone().run());
        let mut streams = [live.stream(None).unwrap(), live.stream(None).unwrap()];
        for stream in &mut streams {
            assert_eq!(next(stream).await, "retry: 3000\n\n");
        }
        for _ in 0..1000 {
            live.changed();
        }
        for stream in &mut streams {
            assert_eq!(next(stream).await, "event: news\ndata: \n\n");
            assert_eq!(next(stream).await, ":\n\n", "a thousand changes are one piece of news");
        }
        beating.abort();
    }

    #[tokio::test]
    async fn streams_are_bounded_and_end_with_the_service() {
        let stop = CancellationToken::new();
        let live = Arc::new(Live::new(stop.clone()));
        let mut streams: Vec<_> = (0..STREAMS_MAX).map(|_| live.stream(None).unwrap()).collect();
        assert!(live.stream(None).is_none());
        drop(streams.pop());
        let mut last = live.stream(None).unwrap();
        next(&mut last).await;
        stop.cancel();
        assert!(last.body_mut().frame().await.is_none());
    }
}
