//! Teams, their keys, their webhook secret, and what was done in them.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{KeyView, LineView, TeamView};
use super::{Named, One, Signed, id, only, read};
use crate::api::Shared;
use crate::api::answer::json;
use crate::api::openapi::bodies::people as bodies;
use crate::api::problem::{Detail, Problem};
use crate::people::Secret;
use crate::store::Role;
use crate::wire::Iso;

/// Lines of the audit log on one page.
const LINES: std::ops::RangeInclusive<u32> = 1..=100;
const LINES_PRESET: u32 = 50;

#[derive(Serialize, ToSchema)]
#[schema(as = TeamList)]
struct Teams<'a> {
    teams: Vec<TeamView<'a>>,
}

/// `{"team": …}`.
#[derive(Serialize, ToSchema)]
#[schema(as = TeamAnswer)]
pub struct Team<'a> {
    pub team: TeamView<'a>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKeyAnswer)]
struct Key<'a> {
    api_key: KeyView<'a>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKeyList)]
struct Keys<'a> {
    api_keys: Vec<KeyView<'a>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookSecret)]
struct SecretView<'a> {
    /// Begins with `whsec_`.
    secret: &'a str,
    /// Until when the one before it signs too.
    #[schema(required)]
    old_until: Option<Iso>,
}

/// A page of the audit log; `next` is the `before` of the next one.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
struct Audit<'a> {
    entries: Vec<LineView<'a>>,
    /// None on the last page.
    #[schema(required)]
    next: Option<i64>,
}

/// One's own teams.
#[utoipa::path(
    get,
    path = "/teams",
    operation_id = "listTeams",
    tag = "Teams and keys",
    responses(
        (status = 200, description = "The teams, with what one may do in each", body = Teams),
    ),
    security(("session" = []))
)]
pub async fn list(signed: Signed) -> Response {
    let teams = signed.presence.teams.iter().map(|(team, role)| TeamView::of(team, *role)).collect();
    json(StatusCode::OK, &Teams { teams })
}

/// Makes a team, which one then owns.
///
/// Who owns no team cannot make one.
#[utoipa::path(
    post,
    path = "/teams",
    operation_id = "createTeam",
    tag = "Teams and keys",
    request_body = bodies::Named,
    responses(
        (status = 201, description = "The team", body = Team),
        (status = 400, description = "name must be 1 to 100 visible characters"),
        (status = 403, description = "This needs the role owner"),
        (status = 409, description = "There is a team of this name"),
        (status = 415, description = "Content-Type must be application/json"),
    ),
    security(("session" = []))
)]
pub async fn create(State(api): State<Shared>, signed: Signed, request: Request<Body>) -> Result<Response, Problem> {
    let name = only(&read(&api, request).await?, "name")?;
    let team = api.people.create_team(signed.acting(), &name).await?;
    Ok(json(StatusCode::CREATED, &Team { team: TeamView::of(&team, Role::Owner) }))
}

/// One team.
///
/// For its readers.
#[utoipa::path(
    get,
    path = "/teams/{teamId}",
    operation_id = "getTeam",
    tag = "Teams and keys",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The team", body = Team),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn read_one(State(api): State<Shared>, signed: Signed, Named(team): One) -> Result<Response, Problem> {
    let team = api.people.team(signed.acting(), id(&team, "Team")?, Role::Reader).await?;
    let role = signed.presence.teams.iter().find(|(known, _)| known.id == team.id).map(|(_, role)| *role);
    Ok(json(StatusCode::OK, &Team { team: TeamView::of(&team, role.unwrap_or(Role::Reader)) }))
}

/// A team's API keys, oldest first, revoked ones too.
///
/// For its readers; what a key is nobody is told.
#[utoipa::path(
    get,
    path = "/teams/{teamId}/apikeys",
    operation_id = "listApiKeys",
    tag = "Teams and keys",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The keys", body = Keys),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn keys(State(api): State<Shared>, signed: Signed, Named(team): One) -> Result<Response, Problem> {
    let team = api.people.team(signed.acting(), id(&team, "Team")?, Role::Reader).await?;
    let keys = api.people.keys(&team).await?;
    Ok(json(StatusCode::OK, &Keys { api_keys: keys.iter().map(KeyView::of).collect() }))
}

/// Makes an API key, which is shown this once.
///
/// For owners.
#[utoipa::path(
    post,
    path = "/teams/{teamId}/apikeys",
    operation_id = "createApiKey",
    tag = "Teams and keys",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    request_body = bodies::Named,
    responses(
        (status = 201, description = "The key", body = Key),
        (status = 400, description = "name must be 1 to 100 visible characters"),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found"),
        (status = 415, description = "Content-Type must be application/json"),
    ),
    security(("session" = []))
)]
pub async fn create_key(
    State(api): State<Shared>,
    signed: Signed,
    Named(team): One,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let team = id(&team, "Team")?;
    api.people.team(signed.acting(), team, Role::Owner).await?;
    let name = only(&read(&api, request).await?, "name")?;
    let made = api.people.create_key(signed.acting(), team, &name).await?;
    Ok(json(StatusCode::CREATED, &Key { api_key: KeyView::of(&made.key).with_key(made.secret.expose()) }))
}

/// Stops an API key from working, within a second.
///
/// For owners of the key's team.
#[utoipa::path(
    post,
    path = "/apikeys/{keyId}/revoke",
    operation_id = "revokeApiKey",
    tag = "Teams and keys",
    params(("keyId" = uuid::Uuid, Path, description = "The key's id")),
    responses(
        (status = 200, description = "The key, revoked", body = Key),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "API key not found"),
        (status = 409, description = "The API key is revoked already"),
    ),
    security(("session" = []))
)]
pub async fn revoke_key(State(api): State<Shared>, signed: Signed, Named(key): One) -> Result<Response, Problem> {
    let key = api.people.revoke_key(signed.acting(), id(&key, "API key")?).await?;
    Ok(json(StatusCode::OK, &Key { api_key: KeyView::of(&key) }))
}

/// What a team signs calls and completion webhooks with.
///
/// For owners. That it was looked at is in the audit log.
#[utoipa::path(
    get,
    path = "/teams/{teamId}/secret",
    operation_id = "getWebhookSecret",
    tag = "Teams and keys",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The secret", body = SecretView),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn secret(State(api): State<Shared>, signed: Signed, Named(team): One) -> Result<Response, Problem> {
    Ok(show(&api.people.secret(signed.acting(), id(&team, "Team")?).await?))
}

/// Replaces what a team signs with; the old secret signs too for a while.
///
/// For owners.
#[utoipa::path(
    post,
    path = "/teams/{teamId}/secret/rotate",
    operation_id = "rotateWebhookSecret",
    tag = "Teams and keys",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The new secret, and until when the old one signs too", body = SecretView),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn rotate_secret(State(api): State<Shared>, signed: Signed, Named(team): One) -> Result<Response, Problem> {
    Ok(show(&api.people.rotate_secret(signed.acting(), id(&team, "Team")?).await?))
}

fn show(secret: &Secret) -> Response {
    json(StatusCode::OK, &SecretView { secret: &secret.secret, old_until: secret.old_until.map(Iso) })
}

/// What was done in a team, newest first.
///
/// For owners.
#[utoipa::path(
    get,
    path = "/teams/{teamId}/audit",
    operation_id = "listAuditEntries",
    tag = "Teams and keys",
    params(
        ("teamId" = uuid::Uuid, Path, description = "The team's id"),
        ("limit" = Option<u32>, Query, description = "At most this many; 50 without it", minimum = 1, maximum = 100),
        ("before" = Option<i64>, Query, description = "Only entries with a smaller number: the next of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the audit log", body = Audit),
        (status = 400, description = "limit must be an integer from 1 to 100, given once\nbefore must be a number from an answer, given once"),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn audit(
    State(api): State<Shared>,
    signed: Signed,
    Named(team): One,
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
