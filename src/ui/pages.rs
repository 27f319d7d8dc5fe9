//! What is answered at each address: asks the store what a page needs, and hands it to the page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri, header};

use super::answer::{self, html as shown};
use super::filters::Filters;
use super::form::{Guarded, refused};
use super::frame::{Reader, Theme};
use super::overview::Overview;
use super::task::TaskPage;
use super::tasks::{TasksPage, first_command};
use super::who::{Person, SignedIn, unavailable};
use super::{Ui, audit, enter, filters, providers, settings};
use crate::store::browse::{Found, Search, search_teams};
use crate::store::{Counts, EventRecord, Role, StoreError, TaskRecord, Team};
use crate::task::{Entry, Status, TaskId, TeamId};

/// So many tasks are on a page of the list.
const PAGE: usize = 50;

/// So many tasks are looked at for one page.
const STEPS: usize = 20_000;

/// So many are looked at for what does not get on.
const STUCK_STEPS: usize = 1_000;

/// So many of the last hour's failures are looked at for their reasons.
const FAILED_MAX: usize = 50;

/// Milliseconds.
const HOUR: i64 = 3_600_000;

/// So many lines of the audit log are on a page.
const LINES: u32 = 100;

type Shared = State<Arc<Ui>>;

/// Who looks, as the frame of each page says it.
pub fn reader(who: &SignedIn, uri: &Uri) -> Reader {
    let here = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    who.person.reader(here).unwrap_or_default()
}

/// `POST /theme`.
pub async fn set_theme(guarded: Guarded<Person>) -> Response {
    let mut response = answer::see(guarded.form.get("back"));
    let cookie = Theme::named(guarded.form.get("theme")).cookie();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// `GET /`.
pub async fn overview(State(ui): Shared, who: SignedIn, uri: Uri) -> Result<Response, Response> {
    let now = ui.views.clock.now();
    let failed = Search {
        status: Some(Status::Failed),
        from: Some(now.plus_millis(-HOUR)),
        ..Search::all(who.team.id, FAILED_MAX, STUCK_STEPS)
    };
    let browse = &ui.views.browse;
    let (counts, stuck, failed) =
        tokio::try_join!(browse.depth(who.team.id), browse.stuck(who.team.id, STUCK_STEPS), browse.search(failed))
            .map_err(|error| unavailable(&error))?;
    let nodes = match &ui.views.shared {
        Some(store) => store.nodes().await.map_err(|error| unavailable(&error))?,
        None => Vec::new(),
    };
    let page = Overview {
        stats: &ui.views.stats.of(who.team.id),
        started: ui.views.stats.started(),
        counts: &counts,
        stuck: &stuck,
        failed: &failed.tasks,
        now,
        reader: &reader(&who, &uri),
        first: &first_command(&ui.base_url),
        node: [&ui.views.node, env!("CARGO_PKG_VERSION"), ui.views.backend],
        nodes: &nodes,
    };
    Ok(shown(StatusCode::OK, page.draw()))
}

/// `GET /tasks`.
pub async fn tasks(State(ui): Shared, who: SignedIn, uri: Uri) -> Result<Response, Response> {
    let filters = Filters::of_query(uri.query().unwrap_or_default());
    if let Some(id) = filters.task()
        && ui.store.state(id).await.is_ok_and(|task| who.teams.iter().any(|(team, _)| team.id == task.team))
    {
        return Ok(answer::see(&format!("/tasks/{id}")));
    }
    let teams = filters.teams(who.team.id, &who.teams);
    let found = find(&ui, &filters, &teams, PAGE, STEPS).await?;
    let mut counts = Counts::new();
    for (team, _) in &teams {
        let depth = ui.views.browse.depth(team.id).await.map_err(|error| unavailable(&error))?;
        for (status, count) in depth {
            *counts.entry(status).or_default() += count;
        }
    }
    let status = if found.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let said = done(&uri);
    let page = TasksPage {
        filters: &filters,
        found,
        counts: &counts,
        now: ui.views.clock.now(),
        reader: &reader(&who, &uri),
        teams: &teams,
        done: said.as_deref(),
        first: &first_command(&ui.base_url),
    };
    Ok(shown(status, page.draw()))
}

/// A page of these teams' tasks that fit, or what is wrong with the filters.
pub async fn find(
    ui: &Ui,
    filters: &Filters,
    teams: &[&(Team, Role)],
    limit: usize,
    steps: usize,
) -> Result<Result<Found, String>, Response> {
    let ids: Vec<TeamId> = teams.iter().map(|(team, _)| team.id).collect();
    let Some(first) = ids.first() else {
        return Ok(Err("You are in no such team.".to_owned()));
    };
    let search = match filters.search(*first, limit, steps) {
        Ok(search) => search,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let found = search_teams(&*ui.views.browse, &ids, search).await;
    found.map(Ok).map_err(|error| unavailable(&error))
}

/// What an act left to say, in the address that it led to. Only numbers and words of ours come back.
fn done(uri: &Uri) -> Option<String> {
    let query = uri.query()?;
    let value = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    let number = |name| value(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let what = match value("done")?.as_str() {
        "cancel" => "cancelled",
        "retry" => "retried",
        "resend" => "told to send its webhook again",
        _ => return None,
    };
    let (count, left) = (number("count"), number("left"));
    let tasks = super::words::plural(count, "task was", "tasks were");
    let left = if left > 0 { format!(" {} could not be.", super::words::count(left)) } else { String::new() };
    Some(format!("{tasks} {what}.{left}"))
}

/// A task of one of the reader's teams, with the team and what they may do there.
pub struct Owned {
    /// The task.
    pub record: TaskRecord,
    /// Whose it is.
    pub team: Team,
    /// The reader's role there.
    pub role: Role,
}

/// The task of this id, if it is of one of the reader's teams.
pub async fn owned(ui: &Ui, who: &SignedIn, id: &str) -> Result<Owned, Response> {
    let missing = || refused(StatusCode::NOT_FOUND, "There is no such task in your teams.");
    let id = TaskId::parse(id).ok_or_else(missing)?;
    let record = ui.store.read(id).await.map_err(|error| match error {
        StoreError::NotFound => missing(),
        error => unavailable(&error),
    })?;
    let own = who.teams.iter().find(|(team, _)| team.id == record.task.team);
    let (team, role) = own.cloned().ok_or_else(missing)?;
    Ok(Owned { record, team, role })
}

/// `GET /tasks/{id}`.
pub async fn task(State(ui): Shared, who: SignedIn, Path(id): Path<String>, uri: Uri) -> Result<Response, Response> {
    let Owned { record, team, role } = owned(&ui, &who, &id).await?;
    let events = history(&ui, &record).await?;
    let said = done(&uri);
    let page = TaskPage {
        record: &record,
        events: &events,
        now: ui.views.clock.now(),
        reader: &reader(&who, &uri),
        elsewhere: (team.id != who.team.id).then_some(&team.name),
        may_act: role >= Role::Member,
        done: said.as_deref(),
    };
    Ok(shown(StatusCode::OK, page.draw()))
}

async fn history(ui: &Ui, record: &TaskRecord) -> Result<Vec<EventRecord>, Response> {
    ui.store.events(record.task.id).await.map_err(|error| unavailable(&error))
}

/// `GET /tasks/{id}/{part}`: a body as it is, to be saved and never to be shown.
pub async fn download(
    State(ui): Shared,
    who: SignedIn,
    Path((id, part)): Path<(String, String)>,
) -> Result<Response, Response> {
    let Owned { record, .. } = owned(&ui, &who, &id).await?;
    let missing = || refused(StatusCode::NOT_FOUND, "The task has no such body.");
    let bytes = match part.as_str() {
        "result" => record.result.map(|payload| payload.body),
        "progress" => record.progress.map(|payload| payload.body),
        "request-body" => record.request.body.map(Into::into),
        "late-callback" => {
            let events = history(&ui, &record).await?;
            events.into_iter().find(|event| event.entry == Entry::CallbackLate).and_then(|event| event.body)
        }
        _ => None,
    };
    Ok(attachment(&format!("{id}-{part}"), bytes.ok_or_else(missing)?))
}

fn attachment(name: &str, bytes: bytes::Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    answer::secure(headers);
    let policy = HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{name}.txt\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// `GET /live`, or `GET /live?task=…`: a stream that says when there is news.
pub async fn live(State(ui): Shared, who: SignedIn, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let query = query.unwrap_or_default();
    let waiter = match query.strip_prefix("task=") {
        Some(id) => Some(ui.views.waiters.register(owned(&ui, &who, id).await?.record.task.id)),
        None => None,
    };
    let full = || refused(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open; reload this one for news.");
    ui.views.live.stream(waiter).ok_or_else(full)
}

/// `GET /providers`.
pub async fn providers(State(ui): Shared, who: SignedIn, uri: Uri) -> Response {
    let templates: Vec<_> = filters::templates().collect();
    let minute = ui.views.clock.now().0.div_euclid(60_000);
    let stats = ui.views.stats.of(who.team.id);
    shown(StatusCode::OK, providers::page(&templates, &stats, minute, &reader(&who, &uri)))
}

/// `GET /audit`.
pub async fn audit(State(ui): Shared, who: SignedIn, uri: Uri) -> Result<Response, Response> {
    let before = uri.query().and_then(|query| query.strip_prefix("before=")).and_then(|text| text.parse().ok());
    let lines = ui.people.audit(who.acting(), who.team.uid, before, LINES).await;
    let lines = lines.map_err(|wrong| refused(enter::status(&wrong), &wrong.to_string()))?;
    let keys = ui.people.keys(&who.team).await.map_err(|error| unavailable(&error))?;
    let full = lines.len() == LINES as usize;
    let next = lines.last().filter(|_| full).map(|(number, _)| *number);
    Ok(shown(StatusCode::OK, audit::page(&lines, &keys, next, ui.views.clock.now(), &reader(&who, &uri))))
}

/// `GET /settings`.
pub async fn settings(State(ui): Shared, who: SignedIn, uri: Uri) -> Response {
    let values = (who.role >= Role::Owner).then_some(&*ui.views.settings);
    shown(StatusCode::OK, settings::page(values, &reader(&who, &uri)))
}
