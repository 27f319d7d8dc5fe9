//! Reading tasks, and what their owner may do with them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use tokio::time::Instant;

use super::answer::json;
use super::auth::Caller;
use super::problem::Problem;
use super::view::{Envelope, EventsView, TaskView};
use super::{Api, Shared};
use crate::store::{StoreError, TaskRecord, Team};
use crate::task::{Event, Task, TaskId};

/// The longest a request is held.
const WAIT_MAX: u64 = 25;

/// One task; with `?wait=N` held until its status changes.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}",
    operation_id = "getTask",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id"), ("wait" = Option<usize>, Query, description = "Seconds to hold the request until the task's status changes; more than 25 is taken as 25", minimum = 0)),
    responses(
        (status = 200, description = "The task; with `wait` once its status has changed, or the time is over", body = Envelope),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
        (status = 400, description = "wait must be an integer from 0 to 25"),
    )
)]
pub async fn read(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = id_before(uri.path(), "")?;
    let wait = wait(&uri)?;
    if !wait.is_zero() {
        hold(&api, &team, id, wait).await?;
    }
    let record = owned(&api, &team, id).await?;
    Ok(one(&record, &team))
}

/// Waits until the task's status is another than it is now, for as long as `wait`.
async fn hold(api: &Arc<Api>, team: &Team, id: TaskId, wait: Duration) -> Result<(), Problem> {
    let deadline = Instant::now() + wait;
    let waiter = api.waiters.register(id);
    let mut changed = waiter.changed();
    let first = owned_state(api, team, id).await?;
    if first.status().is_final() {
        return Ok(());
    }
    let _open = api.metrics.long_poll_opened();
    while let Some(Ok(())) = api.stopping.run_until_cancelled(tokio::time::timeout_at(deadline, changed)).await {
        changed = waiter.changed();
        if owned_state(api, team, id).await?.status() != first.status() {
            break;
        }
    }
    Ok(())
}

/// Everything a task went through.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/events",
    operation_id = "listTaskEvents",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id")),
    responses(
        (status = 200, description = "Its history, oldest first", body = EventsView),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
    )
)]
pub async fn events(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = id_before(uri.path(), "/events")?;
    owned_state(&api, &team, id).await?;
    let events = api.store.events(id).await?;
    Ok(json(StatusCode::OK, &EventsView::of(&events)))
}

/// Gives a task up.
#[utoipa::path(
    post,
    path = "/v1/tasks/{id}/cancel",
    operation_id = "cancelTask",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id")),
    responses(
        (status = 200, description = "The task, cancelled", body = Envelope),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
        (status = 409, description = "Task cannot be cancelled (current: processing)"),
    )
)]
pub async fn cancel(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = id_before(uri.path(), "/cancel")?;
    Ok(one(&give_up(&api, &team, id).await?, &team))
}

/// Cancels a task of the team; its provider is asked to stop the job, where it can be asked.
pub async fn give_up(api: &Api, team: &Team, id: TaskId) -> Result<TaskRecord, Problem> {
    owned_state(api, team, id).await?;
    match api.store.transition(id, Event::Cancel, None, api.clock.now()).await {
        Ok(_) => {
            let record = owned(api, team, id).await?;
            if record.request.follow.poll_config.is_some() {
                // Best effort: where the queue is full, the provider is not told.
                let _ = api.cancelled.try_send(id);
            }
            Ok(record)
        }
        Err(StoreError::Refused(refusal)) => {
            let text = format!("Task cannot be cancelled (current: {})", refusal.status.name());
            Err(Problem::new(StatusCode::CONFLICT, text))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a final task at once.
#[utoipa::path(
    delete,
    path = "/v1/tasks/{id}",
    operation_id = "deleteTask",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id")),
    responses(
        (status = 200, description = "The task as it was", body = Envelope),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
        (status = 409, description = "Task has not ended (current: waiting)"),
    )
)]
pub async fn delete(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = id_before(uri.path(), "")?;
    let record = owned(&api, &team, id).await?;
    match api.store.delete(id).await {
        Ok(()) => Ok(one(&record, &team)),
        Err(StoreError::Refused(refusal)) => {
            let text = format!("Task has not ended (current: {})", refusal.status.name());
            Err(Problem::new(StatusCode::CONFLICT, text))
        }
        Err(error) => Err(error.into()),
    }
}

/// Delivers the completion webhook once more.
#[utoipa::path(
    post,
    path = "/v1/tasks/{id}/webhook/resend",
    operation_id = "resendWebhook",
    tag = "Tasks",
    params(("id" = uuid::Uuid, Path, description = "The task's id")),
    responses(
        (status = 200, description = "The task; its completion webhook is due at once", body = Envelope),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Task not found"),
        (status = 409, description = "Task has no completion webhook"),
    )
)]
pub async fn resend(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = id_before(uri.path(), "/webhook/resend")?;
    send_again(&api, &team, id).await?;
    Ok(one(&owned(&api, &team, id).await?, &team))
}

/// Makes the completion webhook of a team's task due again.
pub async fn send_again(api: &Api, team: &Team, id: TaskId) -> Result<(), Problem> {
    owned_state(api, team, id).await?;
    match api.store.resend(id, api.clock.now()).await {
        Ok(_) => Ok(()),
        Err(StoreError::Refused(refusal)) => {
            let text = format!("Task has not ended (current: {})", refusal.status.name());
            Err(Problem::new(StatusCode::CONFLICT, text))
        }
        Err(StoreError::NotFound) => Err(Problem::new(StatusCode::CONFLICT, "Task has no completion webhook")),
        Err(error) => Err(error.into()),
    }
}

/// The task id in a path, in front of `suffix`.
pub fn id_before(path: &str, suffix: &str) -> Result<TaskId, Problem> {
    let id = path.strip_suffix(suffix).and_then(|path| TaskId::parse(super::last_segment(path)));
    id.ok_or_else(Problem::no_task)
}

/// The task, if it is the team's own.
pub async fn owned(api: &Api, team: &Team, id: TaskId) -> Result<TaskRecord, Problem> {
    let record = api.store.read(id).await?;
    check_owner(&record.task, team)?;
    Ok(record)
}

async fn owned_state(api: &Api, team: &Team, id: TaskId) -> Result<Task, Problem> {
    let task = api.store.state(id).await?;
    check_owner(&task, team)?;
    Ok(task)
}

fn check_owner(task: &Task, team: &Team) -> Result<(), Problem> {
    if task.team == team.id { Ok(()) } else { Err(Problem::new(StatusCode::FORBIDDEN, "Access denied")) }
}

fn one(record: &TaskRecord, team: &Team) -> Response {
    json(StatusCode::OK, &Envelope { task: TaskView::of(record, team.uid) })
}

fn wait(uri: &Uri) -> Result<Duration, Problem> {
    let mut seconds = 0;
    for (name, value) in parameters(uri) {
        if name == "wait" {
            seconds = digits(&value).ok_or_else(|| Problem::bad_request("wait must be an integer from 0 to 25"))?;
        }
    }
    Ok(Duration::from_secs(seconds.min(WAIT_MAX)))
}

/// A number in plain decimal digits, nothing else.
pub fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The parameters of a query, decoded.
pub fn parameters(uri: &Uri) -> Vec<(String, String)> {
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_a_whole_number_and_at_most_25() {
        let seconds =
            |query: &str| wait(&format!("/v1/tasks/x?{query}").parse().unwrap()).map(|wait| wait.as_secs()).ok();
        assert_eq!(seconds("wait=0"), Some(0));
        assert_eq!(seconds("wait=7"), Some(7));
        assert_eq!(seconds("wait=26"), Some(25));
        assert_eq!(seconds("wait=99999999999999999999"), Some(25));
        for odd in ["wait=-1", "wait=abc", "wait=1.5", "wait=", "wait=+1"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }
}
