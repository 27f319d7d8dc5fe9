//! Callbacks of tasks that follow a provider, or a rule of their own: what was sent is checked, read and judged before
//! the task hears of it.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};

use super::answer::{json, raw_json};
use super::compact::compact;
use super::problem::Problem;
use super::told::Words;
use super::{Api, last_segment};
use crate::follow::{self, Class};
use crate::net::body;
use crate::net::body::BodyError;
use crate::providers::{Callback, CallbackRule, Content, Delivery, Reading, Scheme, Template, redact};
use crate::store::StoreError;
use crate::task::{CallbackVerdict, Event, Left, Payload, TaskId, TeamId, placeholder};

/// A webhook that was understood.
pub struct Heard {
    /// What it says.
    pub verdict: CallbackVerdict,
    /// What it brought.
    pub payload: Payload,
    /// The provider's own id of the job that it is about.
    pub job: Option<String>,
}

/// What a webhook turned out to be.
pub enum Said {
    /// News of a job.
    Heard(Heard),
    /// A test of the URL, which wants this JSON text back.
    Challenge(String),
}

/// How callbacks of a task are read.
struct Terms<'a> {
    team: TeamId,
    callback: Option<&'static Callback>,
    rule: Option<Cow<'a, CallbackRule>>,
    /// How they are signed, and the secret's reference.
    scheme: Option<Cow<'a, Scheme>>,
    secret: Option<String>,
}

/// A template's keys are public, and belong to no team.
const NO_TEAM: TeamId = TeamId(0);

impl Terms<'static> {
    /// As the class of the callback id tells, or else the task.
    async fn find(api: &Api, id: TaskId, class: Class, words: &Words) -> Result<Self, Problem> {
        if let Class::Of(template) = class
            && let Some(callback) = template.callback()
        {
            let rule = Some(Cow::Borrowed(&callback.rule));
            let scheme = callback.signature.as_ref().map(Cow::Borrowed);
            return Ok(Self { team: NO_TEAM, callback: Some(callback), rule, scheme, secret: None });
        }
        let record = api.store.read(id).await.map_err(|error| words.problem(error))?;
        let request = record.request;
        let callback = follow::template(&request.follow).and_then(Template::callback);
        let scheme = callback.and_then(|callback| callback.signature.as_ref());
        let scheme = scheme.map(|scheme| Cow::Owned(scheme.for_request(request.body.as_deref())));
        let rule = follow::rule(&request.follow);
        Ok(Self { team: record.task.team, callback, rule, scheme, secret: request.follow.callback_secret })
    }
}

/// The template that a task follows; none where the task is gone.
pub async fn template_of(api: &Api, id: TaskId) -> Result<Option<&'static Template>, Problem> {
    match api.store.read(id).await {
        Ok(record) => Ok(follow::template(&record.request.follow)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Resolves a task by its rule, or takes note.
pub async fn resolve(
    api: &Api,
    id: TaskId,
    class: Class,
    head: &Parts,
    body: Body,
    words: &Words,
) -> Result<Response, Problem> {
    let terms = Terms::find(api, id, class, words).await?;
    if let Some(answer) = other_method(&head.method, terms.callback)? {
        return Ok(answer);
    }
    let event = |verdict| Event::Callback { verdict, early: api.limits.early };
    match read(api, &terms, head, body).await {
        Ok(Said::Challenge(answer)) => Ok(raw_json(StatusCode::OK, answer)),
        Ok(Said::Heard(heard)) if is_stale(api, id, &terms, &heard).await? => {
            api.refused_by_state(id, &event(CallbackVerdict::Interim), words).await?;
            note(api, id, Left::OtherJob).await?;
            api.still(id, words).await
        }
        Ok(Said::Heard(heard)) => {
            let interim = heard.verdict == CallbackVerdict::Interim;
            let payload = if interim { shown(api, heard.payload, &terms, head) } else { heard.payload };
            api.tell(id, event(heard.verdict), Some(payload), words).await
        }
        Err(problem) => {
            api.refused_by_state(id, &event(CallbackVerdict::Interim), words).await?;
            if problem.status() == StatusCode::PAYLOAD_TOO_LARGE {
                note(api, id, Left::TooLarge { limit: limit(api, terms.callback) }).await?;
            }
            Err(problem)
        }
    }
}

/// What the template says of a method other than POST: an answer, or that it is not taken.
pub fn other_method(method: &Method, callback: Option<&Callback>) -> Result<Option<Response>, Problem> {
    let taken: &[String] = callback.map(|callback| callback.methods.as_slice()).unwrap_or_default();
    match method {
        &Method::POST => Ok(None),
        method if !taken.iter().any(|known| known == method.as_str()) => Err(match taken {
            [] => Problem::post_only(),
            taken => Problem::only(taken.join(", ")),
        }),
        &Method::OPTIONS => Ok(Some(json(StatusCode::OK, &serde_json::json!({"ok": true})))),
        _ => Ok(None),
    }
}

/// Reads, verifies and judges a webhook.
async fn read(api: &Api, terms: &Terms<'_>, head: &Parts, body: Body) -> Result<Said, Problem> {
    let text = body::read_as_it_is(body, &head.headers, limit(api, terms.callback), api.limits.body_time).await?;
    if let Some(scheme) = &terms.scheme {
        api.check_signature(terms.team, scheme, terms.secret.as_deref(), &head.headers, &text).await?;
    }
    body::check_coding(&head.headers)?;
    understand(terms.rule.as_deref(), head.uri.query(), &head.headers, &text)
}

/// Judges a webhook by a rule; without one it is a plain callback.
pub fn understand(
    rule: Option<&CallbackRule>,
    query: Option<&str>,
    headers: &HeaderMap,
    text: &Bytes,
) -> Result<Said, Problem> {
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "Request body must be valid JSON");
    let Some(rule) = rule else {
        let body = compact(text).ok_or_else(invalid)?;
        return Ok(Said::Heard(Heard { verdict: CallbackVerdict::Done, payload: Payload::told(body), job: None }));
    };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let reading = rule.read(&Delivery { query, content_type, body: text }).map_err(|_| invalid())?;
    let Reading { verdict, job_id, content } = reading;
    let verdict = match follow::verdict(verdict) {
        Ok(verdict) => verdict,
        Err(challenge) => return Ok(Said::Challenge(challenge)),
    };
    let payload = match content {
        Content::Json(_) => Payload::told(compact(text).ok_or_else(invalid)?),
        Content::Text(text) => Payload::told(Bytes::from(text)),
        Content::Binary { content_type, bytes } => Payload {
            headers: vec![("content-type".to_owned(), content_type)],
            ..Payload::told(Bytes::copy_from_slice(bytes))
        },
    };
    Ok(Said::Heard(Heard { verdict, payload, job: job_id }))
}

/// How large a webhook may be.
pub fn limit(api: &Api, callback: Option<&Callback>) -> usize {
    let own = callback.and_then(|callback| callback.max_bytes).unwrap_or_default();
    own.max(api.limits.callback_bytes)
}

/// Bad news, or none yet, of another job than the one that the target's answer named: an earlier attempt's. Good news is
/// taken from any.
async fn is_stale(api: &Api, id: TaskId, terms: &Terms<'_>, heard: &Heard) -> Result<bool, Problem> {
    let (Some(rule), Some(job)) = (&terms.rule, &heard.job) else { return Ok(false) };
    if heard.verdict == CallbackVerdict::Done || rule.id_spelled_otherwise {
        return Ok(false);
    }
    // Of a task that has ended nothing is stale: what comes late is refused, and kept.
    let Ok(record) = api.store.read(id).await else { return Ok(false) };
    let Some(answer) = api.store.answer(id).await.ok().flatten().filter(|_| !record.task.status().is_final()) else {
        return Ok(false);
    };
    let ours = match follow::template(&record.request.follow) {
        Some(template) => follow::job_id(template, &answer),
        None => follow::job_id_by_rule(rule, &answer),
    };
    Ok(ours.is_some_and(|ours| ours != *job))
}

/// News as they may be shown: without the callback URL, and without the secrets that the provider sends along.
fn shown(api: &Api, payload: Payload, terms: &Terms<'_>, head: &Parts) -> Payload {
    let url = format!("{}{}", api.callback_base, last_segment(head.uri.path()));
    let payload = placeholder::hide(payload, &url);
    match terms.callback {
        Some(callback) => without_secrets(payload, callback),
        None => payload,
    }
}

/// News without the secrets that the provider sends along.
pub fn without_secrets(mut payload: Payload, callback: &Callback) -> Payload {
    if let Cow::Owned(redacted) = redact(&payload.body, &callback.redact) {
        payload.body = Bytes::from(redacted);
    }
    payload
}

/// Writes down that a callback came and was left alone.
async fn note(api: &Api, id: TaskId, left: Left) -> Result<(), Problem> {
    match api.store.transition(id, Event::CallbackLeft(left), None, api.clock.now()).await {
        Ok(_) | Err(StoreError::Refused(_) | StoreError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::NoRoom => Self::unavailable(),
            _ => Self::new(error.status(), error.to_string()),
        }
    }
}
