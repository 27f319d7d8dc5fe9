//! `POST /v1/tasks` and `POST /v1/tasks/:id/retry`: new tasks.

use std::sync::PoisonError;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::answer::json_about;
use super::auth::Caller;
use super::openapi::bodies;
use super::problem::Problem;
use super::view::{CreatedView, TaskView};
use super::{Api, Shared, tasks};
use crate::credentials::Kind;
use crate::follow;
use crate::net::body;
use crate::providers::Template;
use crate::store::{Created, HostId, Idempotency, NewTask, StoreError, TaskRecord, Team};
use crate::task::{PollPolicy, Request, Task, TaskId, TeamId, Then};

mod following;
mod request;
mod targets;

use request::Asked;
pub use targets::Targets;

/// The longest idempotency key.
const KEY_MAX: usize = 255;

/// Tasks that create tasks may do so this often in a row; a longer row is most likely one that never ends.
const DEPTH_MAX: u32 = 5;

/// Creates a task.
#[utoipa::path(
    post,
    path = "/v1/tasks",
    operation_id = "createTask",
    tag = "Tasks",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated creation answer the first one, for 24 hours", min_length = 1, max_length = 255)),
    request_body = bodies::Creation,
    responses(
        (status = 201, description = "The new task, with the credentials that are shown once", body = CreatedView),
        (status = 200, description = "The first creation with this Idempotency-Key, once more (`Idempotent-Replay: true`)", body = CreatedView),
        (status = 400, description = "targetUrl is required"),
        (status = 409, description = "A request with this Idempotency-Key is in flight"),
        (status = 415, description = "Content-Type must be application/json"),
        (status = 422, description = "Idempotency-Key was already used with a different request body"),
    )
)]
pub async fn create(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    super::check_content_type(&head.headers)?;
    let depth = depth(&head.headers)?;
    let key = idempotency_key(&head.headers)?;
    let text = body::read(body, &head.headers, api.limits.task_bytes, api.limits.body_time).await?;
    let idempotency = key.map(|key| Idempotency { key, body: Sha256::digest(&text).into() });
    let _creating = idempotency.map(|idempotency| Creating::begin(&api, team.id, idempotency.key)).transpose()?;
    let answer = match checked(&api, team.id, &text, depth).await {
        Ok(asked) => store(&api, &team, asked, idempotency).await?,
        Err(problem) => match before(&api, team.id, idempotency).await? {
            // What was created once is not judged anew: a secret may have been revoked since.
            Some(id) => replay(&api, &team, id).await?,
            None => return Err(problem),
        },
    };
    Ok(body::until_sent(answer, text))
}

async fn checked<'a>(api: &Api, team: TeamId, text: &'a [u8], depth: u32) -> Result<Asked<'a>, Problem> {
    let mut asked = request::parse(text, api)?;
    asked.request.depth = depth;
    request::check_references(api, team, &asked.request).await?;
    asked.policy.then = expecting_events(api, team, &asked).await?;
    Ok(asked)
}

/// The task that the same creation made before.
async fn before(api: &Api, team: TeamId, idempotency: Option<Idempotency>) -> Result<Option<TaskId>, Problem> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    Ok(api.store.created_before(team, idempotency, api.clock.now()).await?)
}

/// A team that has an endpoint for the provider's account expects a webhook for each job, as if it had passed a URL on.
async fn expecting_events(api: &Api, team: TeamId, asked: &Asked<'_>) -> Result<Then, Problem> {
    let account = follow::template(&asked.request.follow).and_then(Template::account);
    match (asked.policy.then, account) {
        (Then::Poll(poll), Some(account)) if !poll.eases => {
            let endpoints = api.store.endpoints(team).await?;
            let eases = endpoints.iter().any(|endpoint| endpoint.provider == account);
            Ok(Then::Poll(PollPolicy { eases, ..poll }))
        }
        (then, _) => Ok(then),
    }
}

/// Creates a task that does once more what a final one did.
#[utoipa::path(
    post,
    path = "/v1/tasks/{id}/retry",
    operation_id = "retryTask",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id")),
    responses(
        (status = 201, description = "A new task of the same request", body = CreatedView),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
        (status = 400, description = "Token not found: tok_…"),
        (status = 409, description = "Task has not ended (current: waiting)"),
    )
)]
pub async fn retry(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: http::Uri,
) -> Result<Response, Problem> {
    let id = tasks::id_before(uri.path(), "/retry")?;
    let asked = repeated(&api, &team, id).await?;
    store(&api, &team, asked, None).await
}

/// What a final task did, to be done once more.
pub(super) async fn repeated(api: &Api, team: &Team, id: TaskId) -> Result<Asked<'static>, Problem> {
    let before = tasks::owned(api, team, id).await?;
    if !before.task.status().is_final() {
        let text = format!("Task has not ended (current: {})", before.task.status().name());
        return Err(Problem::new(StatusCode::CONFLICT, text));
    }
    let request = Request { retry_of: Some(id), ..before.request };
    let host = request::host_of(&request, api)?;
    request::check_references(api, team.id, &request).await?;
    Ok(Asked { request, body: None, host, policy: before.task.policy, priority: before.task.priority })
}

async fn store(
    api: &Api,
    team: &Team,
    asked: Asked<'_>,
    idempotency: Option<Idempotency>,
) -> Result<Response, Problem> {
    let body = asked.body;
    match insert(api, team, asked, idempotency).await? {
        Ok(record) => Ok(answer(api, team, StatusCode::CREATED, &record, body)),
        Err(before) => replay(api, team, before).await,
    }
}

/// How many ids are tried for a task.
const TRIES: usize = 3;

/// Adds a task; answers it, or the id of the one that the same creation made before.
pub(super) async fn insert(
    api: &Api,
    team: &Team,
    asked: Asked<'_>,
    idempotency: Option<Idempotency>,
) -> Result<Result<TaskRecord, TaskId>, Problem> {
    let key_number = api.keyring.current();
    for _ in 0..TRIES {
        let (id, now) = api.ids.make();
        let task = Task::new(id, team.id, asked.priority, asked.policy, asked.request.delay_until, now);
        let new =
            NewTask { task: task.clone(), request: asked.request.clone(), host: asked.host, key_number, idempotency };
        match api.store.create(new).await {
            Ok(Created::New) => return Ok(Ok(fresh(task, asked.request, key_number))),
            Ok(Created::Before(id)) => return Ok(Err(id)),
            // Only a clock that was set back makes an id twice; the next one will do.
            Err(StoreError::Taken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Taken.into())
}

/// The task as it is at its creation.
fn fresh(task: Task, request: Request, key_number: u32) -> TaskRecord {
    TaskRecord { task, request, key_number, result: None, progress: None, delivery: None }
}

/// Answers as the first creation was answered, credentials included.
async fn replay(api: &Api, team: &Team, id: TaskId) -> Result<Response, Problem> {
    let record = api.store.read(id).await?;
    let (task, request) = (record.task, record.request);
    let first = Task::new(id, team.id, task.priority, task.policy, request.delay_until, task.created_at);
    let mut response = answer(api, team, StatusCode::OK, &fresh(first, request, record.key_number), None);
    response.headers_mut().insert("idempotent-replay", HeaderValue::from_static("true"));
    Ok(response)
}

/// The call's body goes out as it came in, where that is at hand.
fn answer(api: &Api, team: &Team, status: StatusCode, record: &TaskRecord, body: Option<&RawValue>) -> Response {
    let credential =
        |wanted: bool, kind| wanted.then(|| api.keyring.derive(kind, record.task.id, record.key_number)).flatten();
    let callback_id = record.task.policy.callback.then(|| {
        let class = follow::class(&record.request.follow);
        api.keyring.derive_classed(Kind::Callback, record.task.id, class, record.key_number)
    });
    let callback_id = callback_id.flatten();
    let signal_token = credential(record.task.policy.signal, Kind::Signal);
    let callback_url = callback_id.as_ref().map(|id| format!("{}{id}", api.callback_base));
    let task = TaskView::of(record, team.uid).created(callback_id.as_deref(), body);
    let bytes = record.request.body.as_ref().map_or(0, String::len);
    json_about(status, &CreatedView { task, callback_url, signal_token }, bytes)
}

/// How deep in a row of tasks that create tasks this one lies: a call of a task says so to what it calls.
fn depth(headers: &HeaderMap) -> Result<u32, Problem> {
    let given: Vec<&HeaderValue> = headers.get_all("x-asyncqueue-depth").iter().collect();
    let depth = match given[..] {
        [] => Some(0),
        [value] => value.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    let text = format!("X-AsyncQueue-Depth must be at most {DEPTH_MAX}: tasks seem to create tasks in a loop");
    depth.filter(|depth| *depth <= DEPTH_MAX).ok_or_else(|| Problem::bad_request(text))
}

/// The SHA-256 of the idempotency key, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(key) = values.next() else { return Ok(None) };
    if values.next().is_some() || key.is_empty() || key.len() > KEY_MAX {
        return Err(Problem::bad_request(format!("Idempotency-Key must be 1 to {KEY_MAX} characters, given once")));
    }
    Ok(Some(Sha256::digest(key.as_bytes()).into()))
}

/// A creation with an idempotency key that is under way; another one with the same key has to wait its turn.
struct Creating<'a> {
    api: &'a Api,
    place: (TeamId, [u8; 32]),
}

impl<'a> Creating<'a> {
    fn begin(api: &'a Api, team: TeamId, key: [u8; 32]) -> Result<Self, Problem> {
        let place = (team, key);
        let mut creating = api.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if !creating.insert(place) {
            let text = "A request with this Idempotency-Key is in flight";
            return Err(Problem::new(StatusCode::CONFLICT, text));
        }
        Ok(Self { api, place })
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.api.creating.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

/// The number of a target host: equal hosts have equal numbers, and nobody finds another host for a given number.
fn host_id(authority: &str) -> HostId {
    let digest = Sha256::digest(authority.as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    HostId(i64::from_be_bytes(number))
}
