//! Endpoints: one address for the webhooks of all of a team's jobs at a provider, where the provider takes no callback URL
//! with each job. An event finds its task by the job's id, which the target's answer named.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Request, StatusCode, Uri};
use serde::Serialize;
use uuid::Uuid;

use super::answer::{json, raw_json};
use super::auth::Caller;
use super::fields::{Fields, Reader};
use super::problem::{Detail, Problem};
use super::ruled::{self, Heard, Said};
use super::{Api, Shared, check_content_type, last_segment};
use crate::credentials::Kind;
use crate::follow;
use crate::net::body;
use crate::providers::{Callback, Template};
use crate::store::{Endpoint, StoreError, Stray};
use crate::task::{Event, Job, TaskId};
use crate::telemetry::metrics::EndpointOutcome;
use crate::vault::Denied;
use crate::wire::Iso;

const BODY_MAX: usize = 16 * 1024;

/// A larger event is not kept for a task that is not known yet.
const STRAY_BYTES_MAX: usize = 1 << 20;

#[derive(Serialize)]
struct Envelope<'a> {
    endpoint: View<'a>,
}

#[derive(Serialize)]
struct List<'a> {
    endpoints: Vec<View<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: String,
    provider: &'a str,
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    created_at: Iso,
}

impl<'a> View<'a> {
    fn of(endpoint: &'a Endpoint) -> Self {
        Self {
            id: endpoint.uid.to_string(),
            provider: &endpoint.provider,
            secret: endpoint.secret.as_deref(),
            url: None,
            created_at: Iso(endpoint.created_at),
        }
    }
}

/// Makes an endpoint; its URL is shown now and after a rotation.
pub async fn create(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    check_content_type(&head.headers)?;
    let text = body::read(body, &head.headers, BODY_MAX, api.limits.body_time).await?;
    let (provider, secret) = parse(&text)?;
    if let Some(id) = &secret {
        api.vault.live(team.id, id).await.map_err(no_secret)?;
    }
    let (uid, now) = api.ids.make();
    let (address, _) = api.ids.make();
    let endpoint = Endpoint {
        uid: uid.0,
        address: address.0,
        team: team.id,
        provider,
        secret,
        key_number: api.keyring.current(),
        created_at: now,
    };
    api.store.create_endpoint(endpoint.clone()).await?;
    Ok(with_url(&api, StatusCode::CREATED, &endpoint))
}

/// A team's endpoints.
pub async fn list(State(api): State<Shared>, Extension(Caller(team)): Extension<Caller>) -> Result<Response, Problem> {
    let endpoints = api.store.endpoints(team.id).await?;
    Ok(json(StatusCode::OK, &List { endpoints: endpoints.iter().map(View::of).collect() }))
}

/// Gives an endpoint a new URL; the old one is gone.
pub async fn rotate(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let uid = uid(&uri, "/rotate")?;
    let (address, _) = api.ids.make();
    let rotated = api.store.rotate_endpoint(team.id, uid, address.0, api.keyring.current()).await;
    Ok(with_url(&api, StatusCode::OK, &rotated.map_err(missing)?))
}

/// Removes an endpoint.
pub async fn delete(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let uid = uid(&uri, "")?;
    let endpoint = api.store.delete_endpoint(team.id, uid).await.map_err(missing)?;
    Ok(json(StatusCode::OK, &Envelope { endpoint: View::of(&endpoint) }))
}

fn with_url(api: &Api, status: StatusCode, endpoint: &Endpoint) -> Response {
    let token = api.keyring.derive(Kind::Endpoint, TaskId(endpoint.address), endpoint.key_number);
    let url = token.map(|token| format!("{}endpoints/{token}", api.callback_base));
    json(status, &Envelope { endpoint: View { url, ..View::of(endpoint) } })
}

fn parse(text: &[u8]) -> Result<(String, Option<String>), Problem> {
    let fields = Fields::parse(text, &["provider", "secret"])?;
    let mut reader = Reader::new(&fields);
    let provider = reader.string("provider").unwrap_or_default();
    let template = follow::template_named(&provider);
    match template {
        None => reader.refuse("provider", "provider must be the id of one of GET /v1/providers"),
        Some(template) if !template.is_account_level() => {
            let text = format!("{} takes a callback URL with each job; use provider and useCallback", template.name);
            reader.refuse("provider", text);
        }
        Some(_) => {}
    }
    let secret = reader.string("secret");
    let signed = template.and_then(Template::callback).is_some_and(|callback| callback.signature.is_some());
    if signed && secret.is_none() {
        reader.refuse("secret", "secret must be the vault reference of the provider's webhook secret (tok_…)");
    }
    reader.finish()?;
    Ok((provider, secret))
}

fn uid(uri: &Uri, suffix: &str) -> Result<Uuid, Problem> {
    let path = uri.path().strip_suffix(suffix).unwrap_or_default();
    Uuid::try_parse(last_segment(path)).map_err(|_| no_endpoint())
}

fn no_endpoint() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Endpoint not found")
}

fn missing(error: StoreError) -> Problem {
    match error {
        StoreError::NotFound => no_endpoint(),
        other => other.into(),
    }
}

fn no_secret(denied: Denied) -> Problem {
    match denied {
        Denied::Store(error) => error.into(),
        denied => Problem::invalid(vec![Detail { field: "secret".to_owned(), message: denied.to_string() }]),
    }
}

/// A provider tells of one of its jobs. Strangers' and repeated events are answered 200: the provider cannot know better.
pub async fn receive(State(api): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    match take(&api, &head, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn take(api: &Api, head: &Parts, body: Body) -> Result<Response, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "Invalid endpoint");
    let address = api.keyring.open(Kind::Endpoint, last_segment(head.uri.path())).ok_or_else(unknown)?;
    let endpoint = api.store.find_endpoint(address.0).await.map_err(|error| match error {
        StoreError::NotFound => unknown(),
        other => other.into(),
    })?;
    let template = follow::template_named(&endpoint.provider);
    let callback = template.and_then(Template::callback).ok_or_else(unknown)?;
    if head.method == http::Method::OPTIONS {
        return Ok(acknowledged());
    }
    if let Some(answer) = ruled::other_method(&head.method, Some(callback))? {
        return Ok(answer);
    }
    let text = body::read(body, &head.headers, ruled::limit(api, Some(callback)), api.limits.body_time).await?;
    if let Some(scheme) = &callback.signature {
        let secret = endpoint.secret.as_deref();
        api.check_signature(endpoint.team, scheme, secret, &head.headers, &text).await?;
    }
    match ruled::understand(Some(&callback.rule), head.uri.query(), &head.headers, &text)? {
        Said::Challenge(answer) => Ok(raw_json(StatusCode::OK, answer)),
        Said::Heard(heard) => {
            let outcome = tell(api, &endpoint, callback, heard).await?;
            api.metrics.endpoint_event(outcome);
            Ok(acknowledged())
        }
    }
}

fn acknowledged() -> Response {
    json(StatusCode::OK, &serde_json::json!({"ok": true}))
}

/// Tells the task that an event is about; an event without a task waits for one.
async fn tell(api: &Api, endpoint: &Endpoint, callback: &Callback, heard: Heard) -> Result<EndpointOutcome, Problem> {
    let Some(id) = heard.job.clone() else { return Ok(EndpointOutcome::Ignored) };
    let job = Job { provider: endpoint.provider.clone(), id };
    let payload = match heard.verdict {
        crate::task::CallbackVerdict::Interim => ruled::without_secrets(heard.payload, callback),
        _ => heard.payload,
    };
    match api.store.find_job(endpoint.team, job.clone()).await {
        Ok(task) => {
            let event = Event::Callback { verdict: heard.verdict, early: api.limits.early };
            match api.store.transition(task, event, Some(payload), api.clock.now()).await {
                Ok(_) => Ok(EndpointOutcome::Matched),
                Err(StoreError::Refused(_) | StoreError::NotFound) => Ok(EndpointOutcome::Ignored),
                Err(error) => Err(error.into()),
            }
        }
        Err(StoreError::NotFound) if payload.body.len() > STRAY_BYTES_MAX => Ok(EndpointOutcome::Ignored),
        Err(StoreError::NotFound) => {
            let stray = Stray {
                id: 0,
                team: endpoint.team,
                provider: job.provider,
                job: job.id,
                at: api.clock.now(),
                verdict: heard.verdict,
                body: payload.body,
            };
            api.store.keep_stray(stray).await?;
            Ok(EndpointOutcome::Early)
        }
        Err(error) => Err(error.into()),
    }
}
