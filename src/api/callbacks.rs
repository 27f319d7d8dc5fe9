//! `POST /v1/callbacks/:callbackId`: the AI provider tells how its job went. The id is the credential.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, Request, StatusCode};

use super::compact::compact;
use super::problem::Problem;
use super::told::{Words, settle};
use super::{Api, Shared, last_segment, ruled};
use crate::credentials::Kind;
use crate::follow::{self, Class};
use crate::net::{Peer, body};
use crate::task::{CallbackVerdict, Event, Payload, TaskId};

const WORDS: Words = Words { gone: "Invalid or expired callback ID" };

/// Resolves the task that the id was given out for.
pub async fn receive(State(api): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let opened = api.keyring.open_classed(Kind::Callback, last_segment(head.uri.path()));
    let opened = opened.map(|(task, class)| (task, follow::read_class(class)));
    if let Some(refused) = other_method(&head.method, opened.map(|(_, class)| class)) {
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

/// A method that the task does not take. Told before anything is counted; only the task itself may know better.
fn other_method(method: &Method, class: Option<Class>) -> Option<Problem> {
    match class {
        Some(Class::OfTask) => None,
        Some(Class::Of(template)) => ruled::other_method(method, template.callback()).err(),
        Some(Class::Plain) | None => (method != Method::POST).then(Problem::post_only),
    }
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
        Some(body) => api.tell(task, event, Some(Payload::told(body)), &WORDS).await,
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
