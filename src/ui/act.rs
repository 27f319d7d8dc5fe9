//! What people do: to one task, or to many with a count first. Whatever is done is written into the audit log.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use uuid::Uuid;

use super::Ui;
use super::answer::{self, html as shown};
use super::filters::Filters;
use super::form::{Form, Guarded, refused};
use super::pages::{owned, reader};
use super::tasks::Many;
use super::who::{SignedIn, unavailable};
use crate::people::Subject;
use crate::store::{Action, Endpoint, Role, Team, Token};
use crate::task::{Status, Task, TaskId};
use crate::wire::iso;

/// So many tasks are taken by one act.
const MANY_MAX: usize = 1000;

/// So many are looked at to find them.
const STEPS: usize = 100_000;

/// Why something was not done: in words, and as the status of an answer.
#[derive(Debug)]
pub struct NotDone {
    /// The status that says so.
    pub status: StatusCode,
    /// In words, without a full stop.
    pub why: String,
}

/// The fields of a form, named as in the body of a request.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// The rules by which callers do the same; the service hands them in.
#[async_trait]
pub trait Acts: Send + Sync + 'static {
    /// Cancels a task of the team.
    async fn cancel(&self, team: &Team, id: TaskId) -> Result<(), NotDone>;
    /// Delivers its completion webhook once more.
    async fn resend(&self, team: &Team, id: TaskId) -> Result<(), NotDone>;
    /// Makes a new task that does what it did; the same `once` makes no second one.
    async fn retry(&self, team: &Team, id: TaskId, once: &str) -> Result<TaskId, NotDone>;
    /// Makes an endpoint (`provider`, `secret`); answers it with its URL.
    async fn create_endpoint(&self, team: &Team, fields: Fields) -> Result<(Endpoint, Option<String>), NotDone>;
    /// Gives an endpoint a new URL.
    async fn rotate_endpoint(&self, team: &Team, uid: Uuid) -> Result<(Endpoint, Option<String>), NotDone>;
    /// Gives an endpoint another secret (`secret`).
    async fn resecret_endpoint(&self, team: &Team, uid: Uuid, fields: Fields) -> Result<Endpoint, NotDone>;
    /// Removes an endpoint.
    async fn delete_endpoint(&self, team: &Team, uid: Uuid) -> Result<Endpoint, NotDone>;
    /// Puts a value into the vault (`name`, `value`, `allowedHosts`, `use`).
    async fn create_token(&self, team: &Team, fields: Fields) -> Result<Token, NotDone>;
    /// Stops a token from working.
    async fn revoke_token(&self, team: &Team, id: &str) -> Result<Token, NotDone>;
}

/// `POST /tasks/{id}/{act}`.
pub async fn one(
    State(ui): State<Arc<Ui>>,
    Path((id, act)): Path<(String, String)>,
    guarded: Guarded,
) -> Result<Response, Response> {
    let who = &guarded.who;
    who.needs(Role::Member)?;
    let id = owned(&ui, who, &id).await?.task.id;
    let acts = &ui.views.acts;
    let (action, done) = match act.as_str() {
        "cancel" => (Action::CancelTask, acts.cancel(&who.team, id).await.map(|()| id)),
        "resend" => (Action::ResendWebhook, acts.resend(&who.team, id).await.map(|()| id)),
        "retry" => (Action::RetryTask, acts.retry(&who.team, id, &nonce(&ui)).await),
        _ => return Err(refused(StatusCode::NOT_FOUND, "There is no such act.")),
    };
    let shown = done.map_err(|not| refused(not.status, &format!("{}.", not.why)))?;
    note(&ui, who, action, id.to_string()).await;
    Ok(answer::see(&format!("/tasks/{shown}?done={act}&count=1")))
}

/// `POST /tasks/many`: which tasks are meant, and how many they are.
pub async fn many(State(ui): State<Arc<Ui>>, uri: Uri, guarded: Guarded) -> Result<Response, Response> {
    let who = &guarded.who;
    who.needs(Role::Member)?;
    let asked = guarded.form.get("act");
    let act = asked.trim_end_matches("-all");
    let mut filters = asked.ends_with("-all").then(|| meant(&guarded.form));
    if let Some(filters) = filters.as_mut().filter(|filters| filters.until.is_empty()) {
        // What is created from now on was not seen, and is not meant.
        filters.until = iso(ui.views.clock.now());
    }
    let ids: Vec<String> = guarded.form.all("id").take(MANY_MAX).map(str::to_owned).collect();
    let (tasks, more) = choose(&ui, who, filters.as_ref(), &ids).await?;
    let able: Vec<&Task> = tasks.iter().filter(|task| can(act, task)).collect();
    let page = Many {
        act,
        able: by_status(&able),
        unable: tasks.len() - able.len(),
        ids: if filters.is_some() { &[] } else { &ids },
        filters: filters.as_ref(),
        more,
        nonce: &nonce(&ui),
    };
    Ok(shown(StatusCode::OK, page.draw(&reader(who, &uri))))
}

/// `POST /tasks/many/do`.
pub async fn many_do(State(ui): State<Arc<Ui>>, guarded: Guarded) -> Result<Response, Response> {
    let who = &guarded.who;
    who.needs(Role::Member)?;
    let act = guarded.form.get("act");
    let ids: Vec<String> = guarded.form.all("id").take(MANY_MAX).map(str::to_owned).collect();
    let filters = ids.is_empty().then(|| meant(&guarded.form));
    let (tasks, _) = choose(&ui, who, filters.as_ref(), &ids).await?;
    let (mut done, mut left) = (0_usize, 0_usize);
    for task in tasks.iter().filter(|task| can(act, task)) {
        let outcome = match act {
            "retry" => ui.views.acts.retry(&who.team, task.id, guarded.form.get("nonce")).await.map(drop),
            _ => ui.views.acts.cancel(&who.team, task.id).await,
        };
        if outcome.is_ok() { done += 1 } else { left += 1 }
    }
    let action = if act == "retry" { Action::RetryTask } else { Action::CancelTask };
    if done > 0 {
        note(&ui, who, action, super::words::plural(done as u64, "task", "tasks")).await;
    }
    let act = if act == "retry" { "retry" } else { "cancel" };
    Ok(answer::see(&format!("/tasks?done={act}&count={done}&left={left}")))
}

/// The filters of the list that the form stood in. What was created since is not meant.
fn meant(form: &Form) -> Filters {
    Filters::read(form.pairs().filter_map(|(name, value)| Some((name.strip_prefix("f-")?, value))))
}

/// The tasks that are meant, and whether there may be more of them.
async fn choose(
    ui: &Ui,
    who: &SignedIn,
    filters: Option<&Filters>,
    ids: &[String],
) -> Result<(Vec<Task>, bool), Response> {
    if let Some(filters) = filters {
        let search = filters.search(who.team.id, MANY_MAX, STEPS);
        let search = search.map_err(|wrong| refused(StatusCode::BAD_REQUEST, &wrong))?;
        let found = ui.views.browse.search(search).await.map_err(|error| unavailable(&error))?;
        return Ok((found.tasks.into_iter().map(|summary| summary.task).collect(), found.next.is_some()));
    }
    let mut tasks = Vec::new();
    for id in ids.iter().filter_map(|id| TaskId::parse(id)) {
        // One that is gone, or another team's, is nobody's to pick.
        tasks.extend(ui.store.state(id).await.ok().filter(|task| task.team == who.team.id));
    }
    Ok((tasks, false))
}

fn can(act: &str, task: &Task) -> bool {
    let status = task.status();
    match act {
        "retry" => status.is_final(),
        "cancel" => !status.is_final() && status != Status::Processing,
        _ => false,
    }
}

fn by_status(tasks: &[&Task]) -> Vec<(Status, usize)> {
    let count = |status: Status| (status, tasks.iter().filter(|task| task.status() == status).count());
    Status::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// Something that nobody had before.
fn nonce(ui: &Ui) -> String {
    ui.views.ids.make().0.to_string()
}

/// Writes down what was done. It is done already, so that a failure is only logged.
pub async fn note(ui: &Ui, who: &SignedIn, action: Action, subject: impl Into<Subject>) {
    if let Err(error) = ui.people.record(who.acting(), action, &who.team, subject).await {
        tracing::warn!(%error, "An act could not be written into the audit log");
    }
}
