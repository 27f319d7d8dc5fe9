//! `POST /v1/callbacks/:callbackId`: the AI provider tells how its job went. The id is the credential.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, Request, StatusCode};

use super::compact::compact;
use super::problem::Problem;
use super::told::{self, Words, settle};
use super::{Api, Shared, last_segment, ruled};
use crate::credentials::Kind;
use crate::follow::{self, Class};
use crate::net::{Peer, body};
use crate::providers::Template;
use crate::task::{CallbackVerdict, Event, Payload, TaskId};

const WORDS: Words = Words { gone: "Invalid or expired callback ID" };

/// Resolves the task that the id was given out for.
#[utoipa::path(
    post,
    path = "/v1/callbacks/{callbackId}",
    operation_id = "receiveCallback",
    tag = "Callbacks and signals",
    params(("callbackId" = String, Path, description = "64 hex characters: the credential", pattern = "^[0-9a-f]{64}$")),
    request_body(content = serde_json::Value, description = "The provider's webhook, whole", content_type = "application/json"),
    responses(
        (status = 200, description = "The task as it is now", body = told::Envelope),
        (status = 404, description = "Invalid or expired callback ID"),
        (status = 409, description = "Task is not in waiting/polling state (current: completed)"),
        (status = 429, description = "Rate limit exceeded"),
        (status = 400, description = "Request body must be valid JSON"),
        (status = 401, description = "Invalid provider signature"),
    ),
    security(())
)]
pub async fn receive(State(api): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let opened = api.keyring.open_classed(Kind::Callback, last_segment(head.uri.path()));
    let opened = opened.map(|(task, class)| (task, follow::read_class(class)));
    if let Err(refused) = check_method(&api, &head.method, opened).await {
        return refused.into_response();
    }
    let source = api.source(head.extensions.get::<Peer>(), &head.headers);
    let response = match api.admit(&api.callback_log, source) {
        Err(problem) => settle(Err(problem)),
        Ok(()) => {
            let response = settle(resolve(&api, opened, &head, body).await);
            api.count_refused(&api.callback_log, source, response.status());
            response
        }
    };
    api.metrics.callback_answered(response.status().as_u16());
    response
}

/// Refuses a method that the task does not take, before anything is counted. Where only the task knows, it is asked; an
/// id that was never given out does not get so far.
async fn check_method(api: &Api, method: &Method, opened: Option<(TaskId, Class)>) -> Result<(), Problem> {
    let callback = match opened {
        _ if method == Method::POST => return Ok(()),
        Some((_, Class::Of(template))) => template.callback(),
        Some((task, Class::OfTask)) => ruled::template_of(api, task).await?.and_then(Template::callback),
        Some((_, Class::Plain)) | None => None,
    };
    ruled::other_method(method, callback).map(drop)
}

async fn resolve(api: &Api, opened: Option<(TaskId, Class)>, head: &Parts, body: Body) -> Result<Response, Problem> {
    let (task, class) = opened.ok_or_else(|| WORDS.gone())?;
    if !matches!(class, Class::Plain) {
        return ruled::resolve(api, task, class, head, body, &WORDS).await;
    }
    let event = Event::Callback { verdict: CallbackVerdict::Done, early: api.limits.early };
    let text = match body::read(body, &head.headers, api.limits.callback_bytes, api.limits.body_time).await {
        Ok(text) => text,
        Err(error) => return Err(fault(api, task, &event, error.into()).await),
    };
    match compact(&text) {
        Some(told) => {
            let answer = api.tell(task, event, Some(Payload::told(told)), &WORDS).await?;
            // What was told is a copy where there was white space; the room is the text's.
            Ok(body::until_sent(answer, text))
        }
        None => {
            let invalid = Problem::new(StatusCode::BAD_REQUEST, "Request body must be valid JSON");
            Err(fault(api, task, &event, invalid).await)
        }
    }
}

/// A fault of the body is told only if the id is live and its task can be resolved.
async fn fault(api: &Api, task: TaskId, event: &Event, problem: Problem) -> Problem {
    api.refused_by_state(task, event, &WORDS).await.err().unwrap_or(problem)
}
