//! Endpoints: one address for the webhooks of all of a team's jobs at a provider, where the provider takes no callback URL
//! with each job. An event finds its task by the job's id, which the target's answer named.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer::{json, raw_json};
use super::auth::{By, Caller};
use super::fields::{Fields, Reader};
use super::openapi::bodies;
use super::problem::{Detail, Problem};
use super::ruled::{self, Heard, Said};
use super::{Api, Shared, check_content_type, last_segment};
use crate::credentials::Kind;
use crate::follow;
use crate::net::body;
use crate::providers::{Callback, Scheme, Template};
use crate::store::{Action, Endpoint, StoreError, Stray};
use crate::task::{CallbackVerdict, Event, Job, Payload, TaskId, TeamId};
use crate::telemetry::metrics::EndpointOutcome;
use crate::vault::Denied;
use crate::wire::Iso;

const BODY_MAX: usize = 16 * 1024;

/// A larger event is not kept for a task that is not known yet.
const STRAY_BYTES_MAX: usize = 1 << 20;

#[derive(Serialize, ToSchema)]
#[schema(as = EndpointAnswer)]
struct Envelope<'a> {
    endpoint: View<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EndpointList)]
struct List<'a> {
    endpoints: Vec<View<'a>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Endpoint)]
struct View<'a> {
    id: String,
    provider: &'a str,
    #[schema(required)]
    secret: Option<&'a str>,
    /// Shown when it is made or rotated.
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
#[utoipa::path(
    post,
    path = "/v1/endpoints",
    operation_id = "createEndpoint",
    tag = "Endpoints",
    request_body = bodies::EndpointGiven,
    responses(
        (status = 201, description = "The endpoint, with its URL", body = Envelope),
        (status = 400, description = "provider must be one of GET /v1/providers whose webhooks are set up per account"),
        (status = 415, description = "Content-Type must be application/json"),
    )
)]
pub async fn create(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    by: By,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    check_content_type(&head.headers)?;
    let text = body::read(body, &head.headers, BODY_MAX, api.limits.body_time).await?;
    let endpoint = make(&api, team.id, &text).await?;
    by.note(&api, Action::CreateEndpoint, &endpoint).await;
    Ok(with_url(&api, StatusCode::CREATED, &endpoint))
}

/// A team's endpoints.
#[utoipa::path(
    get,
    path = "/v1/endpoints",
    operation_id = "listEndpoints",
    tag = "Endpoints",
    responses(
        (status = 200, description = "The team's endpoints, without URLs", body = List),
    )
)]
pub async fn list(State(api): State<Shared>, Extension(Caller(team)): Extension<Caller>) -> Result<Response, Problem> {
    let endpoints = api.store.endpoints(team.id).await?;
    Ok(json(StatusCode::OK, &List { endpoints: endpoints.iter().map(View::of).collect() }))
}

/// Gives an endpoint a new URL; the old one is gone.
#[utoipa::path(
    post,
    path = "/v1/endpoints/{id}/rotate",
    operation_id = "rotateEndpoint",
    tag = "Endpoints",
    params(("id" = uuid::Uuid, Path, description = "The endpoint's id")),
    responses(
        (status = 200, description = "The endpoint with its new URL; the old one is gone", body = Envelope),
        (status = 404, description = "Endpoint not found"),
    )
)]
pub async fn rotate(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    by: By,
    uri: Uri,
) -> Result<Response, Problem> {
    let uid = uid(&uri, "/rotate")?;
    let rotated = rotated(&api, team.id, uid).await?;
    by.note(&api, Action::RotateEndpoint, &rotated).await;
    Ok(with_url(&api, StatusCode::OK, &rotated))
}

/// Gives an endpoint another secret, as the provider changed its own; the URL stays.
#[utoipa::path(
    patch,
    path = "/v1/endpoints/{id}",
    operation_id = "changeEndpointSecret",
    tag = "Endpoints",
    params(("id" = uuid::Uuid, Path, description = "The endpoint's id")),
    request_body = bodies::EndpointSecret,
    responses(
        (status = 200, description = "The endpoint with its new secret", body = Envelope),
        (status = 400, description = "secret must be the vault reference of the provider's webhook secret (tok_…)"),
        (status = 404, description = "Endpoint not found"),
        (status = 415, description = "Content-Type must be application/json"),
    )
)]
pub async fn resecret(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    by: By,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let uid = uid(&head.uri, "")?;
    check_content_type(&head.headers)?;
    let text = body::read(body, &head.headers, BODY_MAX, api.limits.body_time).await?;
    let changed = resecreted(&api, team.id, uid, &text).await?;
    by.note(&api, Action::ResecretEndpoint, &changed).await;
    Ok(json(StatusCode::OK, &Envelope { endpoint: View::of(&changed) }))
}

/// Removes an endpoint.
#[utoipa::path(
    delete,
    path = "/v1/endpoints/{id}",
    operation_id = "deleteEndpoint",
    tag = "Endpoints",
    params(("id" = uuid::Uuid, Path, description = "The endpoint's id")),
    responses(
        (status = 200, description = "The endpoint as it was", body = Envelope),
        (status = 404, description = "Endpoint not found"),
    )
)]
pub async fn delete(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    by: By,
    uri: Uri,
) -> Result<Response, Problem> {
    let uid = uid(&uri, "")?;
    let endpoint = deleted(&api, team.id, uid).await?;
    by.note(&api, Action::DeleteEndpoint, &endpoint).await;
    Ok(json(StatusCode::OK, &Envelope { endpoint: View::of(&endpoint) }))
}

fn with_url(api: &Api, status: StatusCode, endpoint: &Endpoint) -> Response {
    json(status, &Envelope { endpoint: View { url: url(api, endpoint), ..View::of(endpoint) } })
}

/// Where the provider's events go. None if it was made with a secret of the service that is gone.
pub(super) fn url(api: &Api, endpoint: &Endpoint) -> Option<String> {
    let token = api.keyring.derive(Kind::Endpoint, TaskId(endpoint.address), endpoint.key_number)?;
    Some(format!("{}endpoints/{token}", api.callback_base))
}

/// Makes the endpoint that a request's body asks for.
pub(super) async fn make(api: &Api, team: TeamId, text: &[u8]) -> Result<Endpoint, Problem> {
    let (provider, secret) = parse(text)?;
    check_secret(api, team, secret.as_deref()).await?;
    let (uid, now) = api.ids.make();
    let (address, _) = api.ids.make();
    let endpoint = Endpoint {
        uid: uid.0,
        address: address.0,
        team,
        provider,
        secret,
        key_number: api.keyring.current(),
        created_at: now,
    };
    api.store.create_endpoint(endpoint.clone()).await?;
    Ok(endpoint)
}

/// Gives an endpoint of the team a new address.
pub(super) async fn rotated(api: &Api, team: TeamId, uid: Uuid) -> Result<Endpoint, Problem> {
    let (address, _) = api.ids.make();
    api.store.rotate_endpoint(team, uid, address.0, api.keyring.current()).await.map_err(missing)
}

/// Gives an endpoint of the team the secret that a request's body names.
pub(super) async fn resecreted(api: &Api, team: TeamId, uid: Uuid, text: &[u8]) -> Result<Endpoint, Problem> {
    let owned = api.store.endpoints(team).await?;
    let endpoint = owned.iter().find(|endpoint| endpoint.uid == uid).ok_or_else(no_endpoint)?;
    let fields = Fields::parse(text, &["secret"])?;
    let mut reader = Reader::new(&fields);
    let secret = secret(&mut reader, &follow::templates_of_account(&endpoint.provider));
    reader.finish()?;
    check_secret(api, team, secret.as_deref()).await?;
    api.store.resecret_endpoint(team, uid, secret).await.map_err(missing)
}

/// Removes an endpoint of the team, and answers it as it was.
pub(super) async fn deleted(api: &Api, team: TeamId, uid: Uuid) -> Result<Endpoint, Problem> {
    api.store.delete_endpoint(team, uid).await.map_err(missing)
}

fn parse(text: &[u8]) -> Result<(String, Option<String>), Problem> {
    let fields = Fields::parse(text, &["provider", "secret"])?;
    let mut reader = Reader::new(&fields);
    let provider = reader.string("provider").unwrap_or_default();
    let templates = follow::templates_of_account(&provider);
    if templates.is_empty() {
        let text = match follow::template_named(&provider) {
            Some(template) => {
                format!("{} takes a callback URL with each job; use provider and useCallback", template.name)
            }
            None => "provider must be one of GET /v1/providers whose webhooks are set up per account".to_owned(),
        };
        reader.refuse("provider", text);
    }
    let secret = secret(&mut reader, &templates);
    // The account's own name, so that the jobs of all its templates are found.
    let account = templates.first().and_then(|template| template.account()).unwrap_or(&provider).to_owned();
    reader.finish()?;
    Ok((account, secret))
}

/// The reference of the account's webhook secret, which it has to have where the provider signs.
fn secret(reader: &mut Reader<'_, '_>, templates: &[&Template]) -> Option<String> {
    let secret = reader.string("secret");
    if scheme(templates).is_some() && secret.is_none() {
        reader.refuse("secret", "secret must be the vault reference of the provider's webhook secret (tok_…)");
    }
    secret
}

async fn check_secret(api: &Api, team: TeamId, secret: Option<&str>) -> Result<(), Problem> {
    match secret {
        Some(id) => api.vault.live(team, id).await.map(drop).map_err(no_secret),
        None => Ok(()),
    }
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
#[utoipa::path(
    post,
    path = "/v1/callbacks/endpoints/{token}",
    operation_id = "receiveEndpointEvent",
    tag = "Callbacks and signals",
    params(("token" = String, Path, description = "64 hex characters: the credential", pattern = "^[0-9a-f]{64}$")),
    request_body(content = serde_json::Value, description = "An event of the account, whole", content_type = "application/json"),
    responses(
        (status = 200, description = "Whatever the event means for us", body = bodies::Acknowledged),
        (status = 400, description = "Request body must be valid JSON"),
        (status = 401, description = "Invalid provider signature"),
        (status = 404, description = "Invalid endpoint"),
    ),
    security(())
)]
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
    let templates = follow::templates_of_account(&endpoint.provider);
    let first = templates.first().and_then(|template| template.callback()).ok_or_else(unknown)?;
    // The address is registered with a provider, which may test it so first.
    if head.method == Method::OPTIONS {
        return Ok(json(StatusCode::OK, &serde_json::json!({"ok": true})));
    }
    if let Some(answer) = ruled::other_method(&head.method, Some(first))? {
        return Ok(answer);
    }
    let text = body::read_as_it_is(body, &head.headers, ruled::limit(api, Some(first)), api.limits.body_time).await?;
    if let Some(scheme) = scheme(&templates) {
        let secret = endpoint.secret.as_deref();
        api.check_signature(endpoint.team, scheme, secret, &head.headers, &text).await?;
    }
    body::check_coding(&head.headers)?;
    let mut heard = Vec::new();
    for template in templates {
        let Some(callback) = template.callback() else { continue };
        match ruled::understand(Some(&callback.rule), head.uri.query(), &head.headers, &text)? {
            Said::Challenge(answer) => return Ok(raw_json(StatusCode::OK, answer)),
            Said::Heard(news) => heard.push((template, callback, news)),
        }
    }
    let outcome = tell(api, &endpoint, heard).await?;
    api.metrics.endpoint_event(outcome);
    Ok(acknowledged())
}

fn scheme<'a>(templates: &[&'a Template]) -> Option<&'a Scheme> {
    templates.iter().find_map(|template| template.callback()?.signature.as_ref())
}

fn acknowledged() -> Response {
    json(StatusCode::OK, &serde_json::json!({"ok": true}))
}

/// What the rules of an account's templates say of one event.
type Readings = Vec<(&'static Template, &'static Callback, Heard)>;

/// The reading by the rule of this template; or the one that takes the event for more than news.
fn best(mut readings: Readings, template: Option<&Template>) -> Option<(&'static Callback, Heard)> {
    let own = readings.iter().position(|(known, ..)| template.is_some_and(|template| template.id == known.id));
    let says_more = |(_, _, heard): &(_, _, Heard)| heard.verdict != CallbackVerdict::Interim;
    let place = own.or_else(|| readings.iter().position(says_more)).unwrap_or(0);
    (place < readings.len()).then(|| readings.swap_remove(place)).map(|(_, callback, heard)| (callback, heard))
}

/// Tells the task that an event is about; an event without a task waits for one.
async fn tell(api: &Api, endpoint: &Endpoint, readings: Readings) -> Result<EndpointOutcome, Problem> {
    for (_, _, heard) in &readings {
        let Some(id) = heard.job.clone() else { continue };
        match api.store.find_job(endpoint.team, Job { provider: endpoint.provider.clone(), id }).await {
            Ok(task) => return resolve(api, task, readings).await,
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    keep(api, endpoint, readings).await
}

async fn resolve(api: &Api, task: TaskId, readings: Readings) -> Result<EndpointOutcome, Problem> {
    let followed = match api.store.read(task).await {
        Ok(record) => record.request.follow,
        Err(StoreError::NotFound) => return Ok(EndpointOutcome::Ignored),
        Err(error) => return Err(error.into()),
    };
    let Some((callback, mut heard)) = best(readings, follow::template(&followed)) else {
        return Ok(EndpointOutcome::Ignored);
    };
    heard.verdict = follow::own_verdict(&followed, &heard.payload.body).unwrap_or(heard.verdict);
    let payload = payload(callback, &heard);
    let event = Event::Callback { verdict: heard.verdict, early: api.limits.early };
    match api.store.transition(task, event, Some(payload), api.clock.now()).await {
        Ok(_) => Ok(EndpointOutcome::Matched),
        Err(StoreError::Refused(_) | StoreError::NotFound) => Ok(EndpointOutcome::Ignored),
        Err(error) => Err(error.into()),
    }
}

async fn keep(api: &Api, endpoint: &Endpoint, readings: Readings) -> Result<EndpointOutcome, Problem> {
    let Some((callback, heard)) = best(readings, None) else { return Ok(EndpointOutcome::Ignored) };
    let payload = payload(callback, &heard);
    let Some(job) = heard.job.filter(|_| payload.body.len() <= STRAY_BYTES_MAX) else {
        return Ok(EndpointOutcome::Ignored);
    };
    let stray = Stray {
        id: 0,
        team: endpoint.team,
        provider: endpoint.provider.clone(),
        job,
        at: api.clock.now(),
        verdict: heard.verdict,
        body: payload.body,
    };
    api.store.keep_stray(stray).await?;
    Ok(EndpointOutcome::Early)
}

fn payload(callback: &Callback, heard: &Heard) -> Payload {
    match heard.verdict {
        CallbackVerdict::Interim => ruled::without_secrets(heard.payload.clone(), callback),
        _ => heard.payload.clone(),
    }
}
