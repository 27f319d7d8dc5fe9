//! `GET /v1/tasks/:id/stream`: every status that a task goes through, as server-sent events, without asking again and again.
//!
//! What is told comes from the task's history, so that a client that comes back is told exactly what it missed. A stream
//! at rest is a registration and a timer: nothing is read until a commit changes its task.

mod changes;
mod seats;

use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Frame;
use tokio::time::timeout;

use super::auth::{self, Caller};
use super::problem::Problem;
use super::{Shared, tasks};
use crate::store::Team;
use crate::task::{Status, TaskId};
use crate::telemetry::metrics::Open;
use crate::waiters::Waiter;
use changes::{Change, Place};
use seats::Seat;
pub use seats::Seats;

/// A comment this often keeps proxies from taking the connection for dead, and finds out who has gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client should wait before it comes back, milliseconds.
const COME_BACK_MS: u32 = 1000;

/// Tells each status of a task, from where the client left off.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/stream",
    operation_id = "streamTask",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id"), ("Last-Event-ID" = Option<String>, Header, description = "Begin after this event")),
    responses(
        (status = 200, description = "Each status as a server-sent event, until the final one", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The final status was told before: there is nothing more to come"),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
    )
)]
pub async fn stream(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let id = tasks::id_before(request.uri().path(), "/stream")?;
    let headers = request.headers();
    let waiter = api.waiters.register(id);
    let record = tasks::owned(&api, &team, id).await?;
    let first = changes::first_status(record.request.delay_until, record.task.created_at);
    let place = left_off(headers, record.task.status());
    if place.is_at_the_end() {
        // There is nothing more to come, ever: this tells an event source so.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let seat = api.streams.take(team.id).ok_or_else(|| Problem::busy("Too many streams are open"))?;
    let open = api.metrics.stream_opened();
    let watch = Watch { api, team, id, headers: credentials(headers), waiter, first, place, greeted: false };
    Ok(event_stream(Telling::new(watch, (seat, open))))
}

/// Where the client was. What is no id of this task's means the beginning.
fn left_off(headers: &HeaderMap, now: Status) -> Place {
    let place = headers.get("last-event-id").and_then(|id| Place::parse(id.to_str().ok()?));
    place.filter(|place| !place.is_at_the_end() || place.status == Some(now)).unwrap_or_default()
}

/// The headers that say who asks; a key that is revoked meanwhile ends the stream.
fn credentials(headers: &HeaderMap) -> HeaderMap {
    let wanted = headers.iter().filter(|(name, _)| **name == header::AUTHORIZATION || *name == "x-api-key");
    wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn event_stream(telling: Telling) -> Response {
    let mut response = Response::new(Body::new(telling));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Nginx would hold events back until it has a buffer full of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One client that is told of one task.
struct Watch {
    api: Shared,
    team: Arc<Team>,
    id: TaskId,
    headers: HeaderMap,
    waiter: Waiter,
    first: Status,
    place: Place,
    greeted: bool,
}

impl Watch {
    /// What to write next; none at the end: the task's, the service's, or the key's.
    async fn next(&mut self) -> Option<Bytes> {
        if self.place.is_at_the_end() {
            return None;
        }
        loop {
            // Before the look at the task, so that no change falls between the two.
            let changed = self.waiter.changed();
            if !self.may_go_on().await {
                return None;
            }
            let news = self.news().await?;
            if let Some(last) = news.last() {
                drop(changed);
                let text = self.written(&news);
                self.place = last.place();
                return Some(text);
            }
            match self.api.stopping.run_until_cancelled(timeout(HEARTBEAT, changed)).await {
                None => return None,
                Some(Ok(())) => {}
                Some(Err(_)) => return self.may_go_on().await.then(|| Bytes::from_static(b":\n\n")),
            }
        }
    }

    /// Whether the key is still good.
    async fn may_go_on(&self) -> bool {
        let team = auth::authenticate(&self.api, &self.headers).await;
        team.is_ok_and(|team| team.id == self.team.id)
    }

    /// What the client has not been told yet. None if the store cannot say: the client comes back.
    async fn news(&self) -> Option<Vec<Change>> {
        loop {
            let events = self.api.store.events(self.id).await.ok()?;
            let mut changes = changes::of(&events, self.first);
            let state = self.api.store.state(self.id).await.ok()?.state;
            if let Some(due) = Change::due(&changes, state) {
                // The state was read after the history, and may be ahead of it.
                if self.api.store.events(self.id).await.ok()?.len() != events.len() {
                    continue;
                }
                changes.push(due);
            }
            let has_ended = changes.last().is_some_and(|last| last.status.is_final());
            changes.retain(|change| self.place.comes_before(change));
            // Who claims to have been told more than there is waits for nothing.
            return Some(changes).filter(|changes| !(has_ended && changes.is_empty()));
        }
    }

    fn written(&mut self, news: &[Change]) -> Bytes {
        let mut text = String::new();
        if !self.greeted {
            self.greeted = true;
            let _ = writeln!(text, "retry: {COME_BACK_MS}\n");
        }
        for change in news {
            change.write(self.id, &mut text);
        }
        Bytes::from(text)
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Watch)>> + Send>>;

/// The body of such an answer. The next piece is made when the client has taken the last; what a client leaves lying is
/// one piece, and one who goes takes all of it along.
struct Telling {
    next: Option<Next>,
    _held: (Seat, Open),
}

impl Telling {
    fn new(watch: Watch, held: (Seat, Open)) -> Self {
        Self { next: Some(piece(watch)), _held: held }
    }
}

fn piece(mut watch: Watch) -> Next {
    Box::pin(async move { watch.next().await.map(|text| (text, watch)) })
}

impl hyper::body::Body for Telling {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let made = ready!(next.as_mut().poll(cx));
        let (text, watch) = made.unzip();
        self.next = watch.map(piece);
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }
}
