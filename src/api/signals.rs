//! `POST /v1/signals/:token`: somebody whom the application trusts tells how the job went.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Request};

use super::compact::compact;
use super::fields::{Fields, Reader};
use super::openapi::bodies;
use super::problem::Problem;
use super::told::{self, Words, settle};
use super::{Api, Shared, last_segment};
use crate::credentials::Kind;
use crate::net::{Peer, body};
use crate::task::{Event, Payload, TaskId};

const WORDS: Words = Words { gone: "Invalid or expired signal token" };

/// What is said of a job that failed without a word.
const FAILED: &str = "Signalled as failed";

/// Resolves the task that the token was given out for.
#[utoipa::path(
    post,
    path = "/v1/signals/{token}",
    operation_id = "signalTask",
    tag = "Callbacks and signals",
    params(("token" = String, Path, description = "64 hex characters: the credential", pattern = "^[0-9a-f]{64}$")),
    request_body = bodies::Signal,
    responses(
        (status = 200, description = "The task as it is now", body = told::Envelope),
        (status = 404, description = "Invalid or expired signal token"),
        (status = 409, description = "Task is not in waiting/polling state (current: completed)"),
        (status = 429, description = "Rate limit exceeded"),
        (status = 400, description = "status must be completed or failed"),
    ),
    security(())
)]
pub async fn receive(State(api): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let source = api.source(head.extensions.get::<Peer>(), &head.headers);
    let response = match api.admit(&api.signal_log, source) {
        Err(problem) => settle(Err(problem)),
        Ok(()) => {
            let response = settle(resolve(&api, last_segment(head.uri.path()), &head.headers, body).await);
            api.count_refused(&api.signal_log, source, response.status());
            response
        }
    };
    api.metrics.signal_answered(response.status().as_u16());
    response
}

async fn resolve(api: &Api, token: &str, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let task = api.keyring.open(Kind::Signal, token).ok_or_else(|| WORDS.gone())?;
    let parsed = match body::read(body, headers, api.limits.callback_bytes, api.limits.body_time).await {
        Ok(text) => parse(&text),
        Err(error) => Err(error.into()),
    };
    match parsed {
        Ok((event, result)) => api.tell(task, event, result.map(Payload::told), &WORDS).await,
        Err(problem) => Err(fault(api, task, problem).await),
    }
}

async fn fault(api: &Api, task: TaskId, problem: Problem) -> Problem {
    let event = Event::Signal { error: None, result: false };
    api.refused_by_state(task, &event, &WORDS).await.err().unwrap_or(problem)
}

fn parse(text: &[u8]) -> Result<(Event, Option<Bytes>), Problem> {
    let fields = Fields::parse(text, &["status", "result", "error"])?;
    let mut reader = Reader::new(&fields);
    let status = reader.string("status");
    let error = reader.string("error");
    let failed = match status.as_deref() {
        Some("completed") => false,
        Some("failed") => true,
        _ => {
            reader.refuse("status", "status must be completed or failed");
            false
        }
    };
    if !failed && error.is_some() {
        reader.refuse("error", "error goes with status failed");
    }
    reader.finish()?;
    let result = fields.raw("result").and_then(|raw| compact(&Bytes::copy_from_slice(raw.as_bytes())));
    let error = failed.then(|| error.unwrap_or_else(|| FAILED.to_owned()));
    Ok((Event::Signal { error, result: result.is_some() }, result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_says_how_it_went() {
        let (event, result) = parse(br#"{"status":"completed","result":{ "a": 1 }}"#).unwrap();
        assert_eq!(event, Event::Signal { error: None, result: true });
        assert_eq!(result.unwrap(), r#"{"a":1}"#);
        let (event, result) = parse(br#"{"status":"failed","error":"no"}"#).unwrap();
        assert_eq!((event, result), (Event::Signal { error: Some("no".into()), result: false }, None));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in
            ["", "[]", "{}", r#"{"status":"done"}"#, r#"{"status":"failed","error":1}"#, r#"{"status":"failed","x":1}"#]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
