//! What callbacks and signals have in common: a stranger with a one-time credential says how a job went.

use std::net::IpAddr;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Api;
use super::answer::{json, json_about};
use super::openapi::{Status, bodies};
use super::problem::Problem;
use crate::net::body;
use crate::net::limit::SlidingLog;
use crate::store::StoreError;
use crate::task::{self, Event, Payload, Refusal, Task, TaskId, Why};
use crate::wire::{Iso, ResultView};

/// How one kind of credential is spoken of.
pub struct Words {
    /// What is said of a credential that is unknown, used up or expired.
    pub gone: &'static str,
}

/// `{"task": …}` with what a stranger may know.
#[derive(Serialize, ToSchema)]
#[schema(as = ResolvedAnswer)]
pub(super) struct Envelope<'a> {
    task: View<'a>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ResolvedTask)]
struct View<'a> {
    id: String,
    #[schema(value_type = Status)]
    status: &'static str,
    #[schema(required, value_type = Option<bodies::TaskResult>)]
    result: Option<ResultView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    created_at: Iso,
    #[schema(required)]
    completed_at: Option<Iso>,
}

impl Api {
    /// Admits a request from `source`, or says how long to wait. Who is exempt has no source.
    pub fn admit(&self, log: &SlidingLog, source: Option<IpAddr>) -> Result<(), Problem> {
        let Some(source) = source else { return Ok(()) };
        let now = Instant::now();
        let admitted = if self.limits.count_refused_only { log.peek(source, now) } else { log.check(source, now) };
        admitted.map_err(|wait| Problem::too_many(wait.0))
    }

    /// Where only refused requests count, counts this one if it was.
    pub fn count_refused(&self, log: &SlidingLog, source: Option<IpAddr>, status: StatusCode) {
        let refused = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT);
        if let Some(source) = source.filter(|_| refused && self.limits.count_refused_only) {
            log.record(source, Instant::now());
        }
    }

    /// What the task's state says to an event, without its body: 404 and 409 come before any fault of the body.
    pub async fn refused_by_state(&self, id: TaskId, event: &Event, words: &Words) -> Result<(), Problem> {
        let task = self.store.state(id).await.map_err(|error| words.problem(error))?;
        match task::step(&task, event, self.clock.now()) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(words.refused(refusal)),
        }
    }

    /// Tells the store, and answers with the task as it is then.
    pub async fn tell(
        &self,
        id: TaskId,
        event: Event,
        payload: Option<Payload>,
        words: &Words,
    ) -> Result<Response, Problem> {
        let told = self.store.transition(id, event, payload.clone(), self.clock.now()).await;
        let task = told.map_err(|error| words.problem(error))?;
        let kept = payload.as_ref().map(|payload| payload.body.clone()).unwrap_or_default();
        let result = match payload {
            _ if !task.status().is_final() => None,
            Some(payload) => Some(payload),
            None => self.store.read(id).await?.result,
        };
        let answer = json_about(StatusCode::OK, &Envelope { task: View::of(&task, result.as_ref()) }, kept.len());
        Ok(body::until_sent(answer, kept))
    }

    /// Answers with the task as it is, untouched.
    pub async fn still(&self, id: TaskId, words: &Words) -> Result<Response, Problem> {
        let task = self.store.state(id).await.map_err(|error| words.problem(error))?;
        Ok(json(StatusCode::OK, &Envelope { task: View::of(&task, None) }))
    }
}

impl Words {
    /// The credential is no good.
    pub fn gone(&self) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, self.gone)
    }

    /// What the store's word means to the caller.
    pub fn problem(&self, error: StoreError) -> Problem {
        match error {
            StoreError::NotFound => self.gone(),
            StoreError::Refused(refusal) => self.refused(refusal),
            other => other.into(),
        }
    }

    fn refused(&self, refusal: Refusal) -> Problem {
        match refusal.why {
            Why::Gone => self.gone(),
            Why::Conflict | Why::Stale => {
                let text = format!("Task is not in waiting/polling state (current: {})", refusal.status.name());
                Problem::new(StatusCode::CONFLICT, text)
            }
        }
    }
}

impl<'a> View<'a> {
    fn of(task: &'a Task, result: Option<&'a Payload>) -> Self {
        Self {
            id: task.id.to_string(),
            status: task.status().name(),
            result: result.map(ResultView),
            error: task.error.as_deref(),
            created_at: Iso(task.created_at),
            completed_at: task.completed_at().map(Iso),
        }
    }
}

/// The answer, whichever it is.
pub fn settle(outcome: Result<Response, Problem>) -> Response {
    outcome.unwrap_or_else(IntoResponse::into_response)
}
