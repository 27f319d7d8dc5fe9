//! A page of tasks. Tasks may hold results of many mebibytes, so a page that is not small goes out task by task: what it
//! takes of memory is its largest task, and that has to find room first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, Uri};
use hyper::body::{Body as HttpBody, Frame};

use super::Shared;
use super::answer::{json, raw_json};
use super::auth::Caller;
use super::openapi::Status as StatusDoc;
use super::problem::Problem;
use super::room::Lease;
use super::tasks::{digits, parameters};
use super::view::{ListView, Pagination, TaskView};
use crate::store::{ListQuery, Page, StoreError, Team};
use crate::task::{Status, TaskId};

/// So many bytes of bodies are read at once and answered in one piece.
const ROOM: u64 = 256 * 1024;

/// A page of the team's tasks.
#[utoipa::path(
    get,
    path = "/v1/tasks",
    operation_id = "listTasks",
    tag = "Tasks",
    params(("status" = Option<StatusDoc>, Query, description = "Only those in this status"), ("limit" = Option<u32>, Query, description = "At most this many; 20 without it", minimum = 1, maximum = 100), ("offset" = Option<u64>, Query, description = "After this many", minimum = 0, maximum = 1_000_000_000)),
    responses(
        (status = 200, description = "A page, newest first", body = ListView),
        (status = 400, description = "limit must be an integer from 1 to 100"),
    )
)]
pub async fn list(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = list_query(&uri, &team)?;
    let page = api.store.list(query).await?;
    let pagination = pagination(query, &page);
    let tasks: Vec<_> = page.records.iter().map(|record| TaskView::of(record, team.uid)).collect();
    if page.rest.is_empty() {
        return Ok(json(StatusCode::OK, &ListView { tasks, pagination }));
    }
    let largest = page.rest.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
    let lease = api.room.lease(team.id, largest).await?;
    let mut start = b"{\"tasks\":[".to_vec();
    for (number, task) in tasks.iter().enumerate() {
        start.extend_from_slice(if number == 0 { b"" } else { b"," });
        write(&mut start, task);
    }
    let mut end = b"],\"pagination\":".to_vec();
    write(&mut end, &pagination);
    end.push(b'}');
    let rest = Rest {
        needs_comma: !tasks.is_empty(),
        left: page.rest.into_iter().map(|(id, _)| id).collect(),
        end: Some(end.into()),
        _lease: lease,
        api,
        team,
    };
    Ok(raw_json(StatusCode::OK, Body::new(Paged { ready: Some(start.into()), next: None, rest: Some(rest) })))
}

fn pagination(query: ListQuery, page: &Page) -> Pagination {
    let shown = (page.records.len() + page.rest.len()) as u64;
    let has_more = shown > 0 && query.offset + shown < page.total;
    Pagination { total: page.total, limit: query.limit, offset: query.offset, has_more }
}

fn write(text: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(text, value).expect("plain data is always JSON");
}

/// What is still to be sent of a page.
struct Rest {
    api: Shared,
    team: Arc<Team>,
    left: VecDeque<TaskId>,
    needs_comma: bool,
    end: Option<Bytes>,
    /// Held until the last byte was taken.
    _lease: Lease,
}

impl Rest {
    /// The next task as text, or the page's end. A task that was removed meanwhile is left out.
    async fn next(mut self) -> Result<(Option<Bytes>, Self), StoreError> {
        while let Some(id) = self.left.pop_front() {
            let record = match self.api.store.read(id).await {
                Ok(record) => record,
                Err(StoreError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            let mut text = Vec::new();
            text.extend_from_slice(if self.needs_comma { b"," } else { b"" });
            self.needs_comma = true;
            write(&mut text, &TaskView::of(&record, self.team.uid));
            return Ok((Some(text.into()), self));
        }
        Ok((self.end.take(), self))
    }
}

type Next = Pin<Box<dyn Future<Output = Result<(Option<Bytes>, Rest), StoreError>> + Send>>;

/// A page as a body. The next task is read when the connection has taken what was there.
struct Paged {
    ready: Option<Bytes>,
    next: Option<Next>,
    rest: Option<Rest>,
}

impl HttpBody for Paged {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(ready))));
        }
        if let Some(rest) = self.rest.take() {
            self.next = Some(Box::pin(rest.next()));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let outcome = std::task::ready!(next.as_mut().poll(cx));
        self.next = None;
        // A page that breaks off is cut short on the wire, where nobody can take it for whole.
        Poll::Ready(match outcome {
            Ok((text, rest)) => {
                self.rest = text.is_some().then_some(rest);
                text.map(|text| Ok(Frame::data(text)))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

fn list_query(uri: &Uri, team: &Team) -> Result<ListQuery, Problem> {
    let mut query = ListQuery { team: team.id, status: None, limit: 20, offset: 0, room: ROOM };
    let mut seen = Vec::new();
    for (name, value) in parameters(uri) {
        if seen.contains(&name) {
            return Err(Problem::bad_request(format!("Duplicate parameter: {}", shown(&name))));
        }
        match name.as_str() {
            "status" => query.status = Some(status(&value)?),
            "limit" => query.limit = limit(&value)?,
            "offset" => query.offset = offset(&value)?,
            _ => continue,
        }
        seen.push(name);
    }
    Ok(query)
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn status(text: &str) -> Result<Status, Problem> {
    let names = Status::ALL.map(Status::name).join(", ");
    Status::from_name(text).ok_or_else(|| Problem::bad_request(format!("status must be one of {names}")))
}

fn limit(text: &str) -> Result<u32, Problem> {
    let wanted = digits(text).filter(|limit| (1..=100).contains(limit)).and_then(|limit| u32::try_from(limit).ok());
    wanted.ok_or_else(|| Problem::bad_request("limit must be an integer from 1 to 100"))
}

fn offset(text: &str) -> Result<u64, Problem> {
    const MOST: u64 = 1_000_000_000;
    let wanted = digits(text).filter(|offset| *offset <= MOST);
    wanted.ok_or_else(|| Problem::bad_request(format!("offset must be an integer from 0 to {MOST}")))
}
