//! Teams, their keys, their webhook secret, and what was done in them.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Serialize;

use super::view::{KeyView, LineView, TeamView};
use super::{One, Signed, id, only, read};
use crate::api::Shared;
use crate::api::answer::json;
use crate::api::problem::{Detail, Problem};
use crate::people::Secret;
use crate::store::Role;
use crate::wire::Iso;

/// Lines of the audit log on one page.
const LINES: std::ops::RangeInclusive<u32> = 1..=100;
const LINES_PRESET: u32 = 50;

#[derive(Serialize)]
struct Teams<'a> {
    teams: Vec<TeamView<'a>>,
}

/// `{"team": …}`.
#[derive(Serialize)]
pub struct Team<'a> {
    pub team: TeamView<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key<'a> {
    api_key: KeyView<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keys<'a> {
    api_keys: Vec<KeyView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretView<'a> {
    secret: &'a str,
    old_until: Option<Iso>,
}

/// A page of the audit log; `next` is the `before` of the next one.
#[derive(Serialize)]
struct Audit<'a> {
    entries: Vec<LineView<'a>>,
    next: Option<i64>,
}

/// One's own teams.
pub async fn list(signed: Signed) -> Response {
    let teams = signed.presence.teams.iter().map(|(team, role)| TeamView::of(team, *role)).collect();
    json(StatusCode::OK, &Teams { teams })
}

/// Makes a team.
pub async fn create(State(api): State<Shared>, signed: Signed, request: Request<Body>) -> Result<Response, Problem> {
    let name = only(&read(&api, request).await?, "name")?;
    let team = api.people.create_team(signed.acting(), &name).await?;
    Ok(json(StatusCode::CREATED, &Team { team: TeamView::of(&team, Role::Owner) }))
}

/// One team.
pub async fn read_one(State(api): State<Shared>, signed: Signed, Path(team): One) -> Result<Response, Problem> {
    let team = api.people.team(signed.acting(), id(&team, "Team")?, Role::Reader).await?;
    let role = signed.presence.teams.iter().find(|(known, _)| known.id == team.id).map(|(_, role)| *role);
    Ok(json(StatusCode::OK, &Team { team: TeamView::of(&team, role.unwrap_or(Role::Reader)) }))
}

/// A team's keys, revoked ones too.
pub async fn keys(State(api): State<Shared>, signed: Signed, Path(team): One) -> Result<Response, Problem> {
    let team = api.people.team(signed.acting(), id(&team, "Team")?, Role::Reader).await?;
    let keys = api.people.keys(&team).await?;
    Ok(json(StatusCode::OK, &Keys { api_keys: keys.iter().map(KeyView::of).collect() }))
}

/// Makes a key, which is shown this once.
pub async fn create_key(
    State(api): State<Shared>,
    signed: Signed,
    Path(team): One,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let team = id(&team, "Team")?;
    api.people.team(signed.acting(), team, Role::Owner).await?;
    let name = only(&read(&api, request).await?, "name")?;
    let made = api.people.create_key(signed.acting(), team, &name).await?;
    Ok(json(StatusCode::CREATED, &Key { api_key: KeyView::of(&made.key).with_key(made.secret.expose()) }))
}

/// Stops a key from working.
pub async fn revoke_key(State(api): State<Shared>, signed: Signed, Path(key): One) -> Result<Response, Problem> {
    let key = api.people.revoke_key(signed.acting(), id(&key, "API key")?).await?;
    Ok(json(StatusCode::OK, &Key { api_key: KeyView::of(&key) }))
}

/// What a team signs with.
pub async fn secret(State(api): State<Shared>, signed: Signed, Path(team): One) -> Result<Response, Problem> {
    Ok(show(&api.people.secret(signed.acting(), id(&team, "Team")?).await?))
}

/// Replaces it.
pub async fn rotate_secret(State(api): State<Shared>, signed: Signed, Path(team): One) -> Result<Response, Problem> {
    Ok(show(&api.people.rotate_secret(signed.acting(), id(&team, "Team")?).await?))
}

fn show(secret: &Secret) -> Response {
    json(StatusCode::OK, &SecretView { secret: &secret.secret, old_until: secret.old_until.map(Iso) })
}

/// What was done in a team, newest first.
pub async fn audit(
    State(api): State<Shared>,
    signed: Signed,
    Path(team): One,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let team = id(&team, "Team")?;
    api.people.team(signed.acting(), team, Role::Owner).await?;
    let (before, limit) = page(query.as_deref().unwrap_or_default())?;
    let lines = api.people.audit(signed.acting(), team, before, limit).await?;
    let next = (lines.len() == limit as usize).then(|| lines.last().map(|(number, _)| *number)).flatten();
    Ok(json(StatusCode::OK, &Audit { entries: lines.iter().map(LineView::of).collect(), next }))
}

fn page(query: &str) -> Result<(Option<i64>, u32), Problem> {
    let (mut before, mut limit) = (None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = |field: &str, wanted: &str| {
            let message = format!("{field} must be {wanted}, given once");
            Problem::invalid(vec![Detail { field: field.to_owned(), message }])
        };
        match &*name {
            "before" if before.is_none() => {
                before = Some(value.parse().map_err(|_| wrong("before", "a number from an answer"))?);
            }
            "limit" if limit.is_none() => {
                let number = value.parse().ok().filter(|number| LINES.contains(number));
                limit = Some(number.ok_or_else(|| wrong("limit", "an integer from 1 to 100"))?);
            }
            "before" | "limit" => return Err(wrong(&name, "one value")),
            _ => {}
        }
    }
    Ok((before, limit.unwrap_or(LINES_PRESET)))
}
