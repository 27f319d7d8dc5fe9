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
use super::pages::{Owned, find, owned, reader};
use super::tasks::Many;
use super::who::{SignedIn, insist};
use crate::people::Subject;
use crate::store::{Action, Endpoint, Role, Team, Token};
use crate::task::{Status, Task, TaskId, TeamId};
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
    let Owned { record, team, role } = owned(&ui, who, &id).await?;
    insist(Role::Member, &team, role)?;
    let id = record.task.id;
    let acts = &ui.views.acts;
    let (action, done) = match act.as_str() {
        "cancel" => (Action::CancelTask, acts.cancel(&team, id).await.map(|()| id)),
        "resend" => (Action::ResendWebhook, acts.resend(&team, id).await.map(|()| id)),
        "retry" => (Action::RetryTask, acts.retry(&team, id, &nonce(&ui)).await),
        _ => return Err(refused(StatusCode::NOT_FOUND, "There is no such act.")),
    };
    let shown = done.map_err(|not| refused(not.status, &format!("{}.", not.why)))?;
    note(&ui, who, &team, action, id.to_string()).await;
    Ok(answer::see(&format!("/tasks/{shown}?done={act}&count=1")))
}

/// `POST /tasks/many`: which tasks are meant, and how many they are.
pub async fn many(State(ui): State<Arc<Ui>>, uri: Uri, guarded: Guarded) -> Result<Response, Response> {
    let who = &guarded.who;
    let asked = guarded.form.get("act");
    let act = asked.trim_end_matches("-all");
    let (ids, seen) = if asked.ends_with("-all") {
        (Vec::new(), iso(ui.views.clock.now()))
    } else {
        (picked(&guarded.form), String::new())
    };
    let filters = listed(&guarded.form);
    let chosen = choose(&ui, who, &filters, &seen, &ids).await?;
    let able: Vec<&Task> = chosen.tasks.iter().map(|(_, task)| task).filter(|task| can(act, task)).collect();
    let page = Many {
        act,
        able: by_status(&able),
        unable: chosen.tasks.len() - able.len(),
        ids: &ids,
        filters: &filters,
        seen: &seen,
        more: chosen.more,
        nonce: &nonce(&ui),
    };
    Ok(shown(StatusCode::OK, page.draw(&reader(who, &uri))))
}

/// `POST /tasks/many/do`.
pub async fn many_do(State(ui): State<Arc<Ui>>, guarded: Guarded) -> Result<Response, Response> {
    let (who, form) = (&guarded.who, &guarded.form);
    let act = form.get("act");
    let filters = listed(form);
    let chosen = choose(&ui, who, &filters, form.get("seen"), &picked(form)).await?;
    let (mut done, mut left) = (Vec::new(), 0_usize);
    for (team, task) in chosen.tasks.iter().filter(|(_, task)| can(act, task)) {
        let outcome = match act {
            "retry" => ui.views.acts.retry(team, task.id, form.get("nonce")).await.map(drop),
            _ => ui.views.acts.cancel(team, task.id).await,
        };
        if outcome.is_ok() { done.push(team.id) } else { left += 1 }
    }
    let (act, action) = if act == "retry" { ("retry", Action::RetryTask) } else { ("cancel", Action::CancelTask) };
    for (team, _) in &who.teams {
        let count = done.iter().filter(|id| **id == team.id).count();
        if count > 0 {
            note(&ui, who, team, action, super::words::plural(count as u64, "task", "tasks")).await;
        }
    }
    let list = filters.address();
    let joint = if list.contains('?') { '&' } else { '?' };
    Ok(answer::see(&format!("{list}{joint}done={act}&count={}&left={left}", done.len())))
}

/// The filters of the list that the form stood in.
fn listed(form: &Form) -> Filters {
    Filters::read(form.pairs().filter_map(|(name, value)| Some((name.strip_prefix("f-")?, value))))
}

/// The tasks that were picked.
fn picked(form: &Form) -> Vec<String> {
    form.all("id").take(MANY_MAX).map(str::to_owned).collect()
}

/// Tasks that are meant, each with its team.
struct Chosen<'a> {
    tasks: Vec<(&'a Team, Task)>,
    /// Whether there may be more of them.
    more: bool,
}

/// The tasks that are meant, of teams where this person may act: those that were picked, or else all that fitted the list when
/// it was `seen`. What was created since then is not meant.
async fn choose<'a>(
    ui: &Ui,
    who: &'a SignedIn,
    filters: &Filters,
    seen: &str,
    ids: &[String],
) -> Result<Chosen<'a>, Response> {
    let listed = filters.teams(who.team.id, &who.teams);
    let own: Vec<&(Team, Role)> = listed.iter().copied().filter(|(_, role)| *role >= Role::Member).collect();
    if let (Some((team, role)), true) = (listed.first(), own.is_empty()) {
        insist(Role::Member, team, *role)?;
    }
    let team_of = |id: TeamId| own.iter().find(|(team, _)| team.id == id).map(|(team, _)| team);
    let (mut tasks, mut more) = (Vec::new(), false);
    if ids.is_empty() && !seen.is_empty() {
        let found = find(ui, &filters.seen_at(seen), &own, MANY_MAX, STEPS).await?;
        let found = found.map_err(|wrong| refused(StatusCode::BAD_REQUEST, &wrong))?;
        more = found.next.is_some();
        tasks.extend(found.tasks.into_iter().filter_map(|one| Some((team_of(one.task.team)?, one.task))));
    }
    for id in ids.iter().filter_map(|id| TaskId::parse(id)) {
        // One that is gone, or of a team where they may not, is not theirs to pick.
        let task = ui.store.state(id).await.ok();
        tasks.extend(task.and_then(|task| Some((team_of(task.team)?, task))));
    }
    Ok(Chosen { tasks, more })
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
pub async fn note(ui: &Ui, who: &SignedIn, team: &Team, action: Action, subject: impl Into<Subject>) {
    if let Err(error) = ui.people.record(who.acting(), action, team, subject).await {
        tracing::warn!(%error, "An act could not be written into the audit log");
    }
}
