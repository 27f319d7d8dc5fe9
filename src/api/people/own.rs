//! Signing in, and what everybody decides about themselves.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::view::{AccountView, SessionView, TeamView};
use super::{Named, One, Signed, id, only, read, required};
use crate::api::Shared;
use crate::api::answer::json;
use crate::api::fields::{Fields, Reader};
use crate::api::openapi::bodies::people as bodies;
use crate::api::problem::Problem;
use crate::people::{Issued, Visitor};
use crate::wire::Iso;

/// A token with what is to be known of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SignedIn)]
pub struct Ticket<'a> {
    token: &'a str,
    expires_at: Iso,
    account: AccountView<'a>,
}

/// `{"account": …, "teams": […]}`.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    account: AccountView<'a>,
    teams: Vec<TeamView<'a>>,
}

/// `{"sessions": […]}`.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionList)]
struct Sessions<'a> {
    sessions: Vec<SessionView<'a>>,
}

/// `{"revoked": true}`.
#[derive(Serialize, ToSchema)]
pub struct Revoked {
    pub revoked: bool,
}

/// Signs somebody in, for 15 minutes; the token can be renewed.
#[utoipa::path(
    post,
    path = "/signin",
    operation_id = "signIn",
    tag = "Accounts and sessions",
    request_body = bodies::SignIn,
    responses(
        (status = 200, description = "A token, and whose it is", body = Ticket),
        (status = 400, description = "email is required\npassword is required"),
        (status = 401, description = "E-mail address or password is wrong"),
        (status = 415, description = "Content-Type must be application/json"),
        (status = 429, description = "Rate limit exceeded"),
    ),
    security(())
)]
pub async fn sign_in(State(api): State<Shared>, visitor: Visitor, request: Request<Body>) -> Result<Response, Problem> {
    let text = Zeroizing::new(read(&api, request).await?.to_vec());
    let fields = Fields::parse(&text, &["email", "password"])?;
    let mut reader = Reader::new(&fields);
    let (email, password) = (required(&mut reader, "email"), required(&mut reader, "password"));
    reader.finish()?;
    let issued = api.people.sign_in_by_api(&email, Zeroizing::new(password), &visitor).await?;
    Ok(token(StatusCode::OK, &issued))
}

/// Another token for the same session.
#[utoipa::path(
    post,
    path = "/signin/renew",
    operation_id = "renewToken",
    tag = "Accounts and sessions",
    responses(
        (status = 200, description = "Another token", body = Ticket),
    ),
    security(("session" = []))
)]
pub async fn renew(State(api): State<Shared>, signed: Signed) -> Response {
    token(StatusCode::OK, &api.people.issue(&signed.presence.session, signed.presence.account.clone()))
}

/// Shows a token.
pub fn token(status: StatusCode, issued: &Issued) -> Response {
    let Issued { token, expires_at, account } = issued;
    json(status, &Ticket { token, expires_at: Iso(*expires_at), account: AccountView::of(account) })
}

/// Ends the session that a token stands for.
#[utoipa::path(
    post,
    path = "/signout",
    operation_id = "signOut",
    tag = "Accounts and sessions",
    responses(
        (status = 200, description = "The session and its tokens are over", body = Revoked),
    ),
    security(("session" = []))
)]
pub async fn sign_out(State(api): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    api.people.sign_out(&signed.presence, &signed.visitor).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked: true }))
}

/// Who one is, and where.
#[utoipa::path(
    get,
    path = "/me",
    operation_id = "getMe",
    tag = "Accounts and sessions",
    responses(
        (status = 200, description = "The account and its teams", body = Me),
    ),
    security(("session" = []))
)]
pub async fn me(signed: Signed) -> Response {
    let teams = signed.presence.teams.iter().map(|(team, role)| TeamView::of(team, *role)).collect();
    json(StatusCode::OK, &Me { account: AccountView::of(&signed.presence.account), teams })
}

/// Gives oneself another name.
#[utoipa::path(
    post,
    path = "/me/name",
    operation_id = "renameAccount",
    tag = "Accounts and sessions",
    request_body = bodies::Named,
    responses(
        (status = 200, description = "The account as it is now, and its teams", body = Me),
        (status = 400, description = "name must be 1 to 100 visible characters"),
        (status = 415, description = "Content-Type must be application/json"),
    ),
    security(("session" = []))
)]
pub async fn rename(State(api): State<Shared>, signed: Signed, request: Request<Body>) -> Result<Response, Problem> {
    let name = only(&read(&api, request).await?, "name")?;
    api.people.rename(signed.acting(), &name).await?;
    let account = crate::store::Account { name: name.trim().to_owned(), ..signed.presence.account.clone() };
    let teams = signed.presence.teams.iter().map(|(team, role)| TeamView::of(team, *role)).collect();
    Ok(json(StatusCode::OK, &Me { account: AccountView::of(&account), teams }))
}

/// Takes another password; all other sessions end.
#[utoipa::path(
    post,
    path = "/me/password",
    operation_id = "setPassword",
    tag = "Accounts and sessions",
    request_body = bodies::PasswordGiven,
    responses(
        (status = 200, description = "The sessions that are left", body = Sessions),
        (status = 400, description = "The current password is wrong\nThe password must have at least 12 characters\nThe password must have at most 256 bytes\nThe password is easy to guess: take several words that do not belong together"),
        (status = 415, description = "Content-Type must be application/json"),
        (status = 429, description = "Rate limit exceeded"),
    ),
    security(("session" = []))
)]
pub async fn set_password(
    State(api): State<Shared>,
    signed: Signed,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let text = Zeroizing::new(read(&api, request).await?.to_vec());
    let fields = Fields::parse(&text, &["current", "password"])?;
    let mut reader = Reader::new(&fields);
    let (current, password) = (required(&mut reader, "current"), required(&mut reader, "password"));
    reader.finish()?;
    api.people.set_password(signed.acting(), Zeroizing::new(current), Zeroizing::new(password)).await?;
    sessions_of(&api, &signed).await
}

/// One's own sessions, newest first.
#[utoipa::path(
    get,
    path = "/sessions",
    operation_id = "listSessions",
    tag = "Accounts and sessions",
    responses(
        (status = 200, description = "The sessions that last", body = Sessions),
    ),
    security(("session" = []))
)]
pub async fn sessions(State(api): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    sessions_of(&api, &signed).await
}

async fn sessions_of(api: &Shared, signed: &Signed) -> Result<Response, Problem> {
    let sessions = api.people.sessions(signed.acting()).await?;
    let current = signed.presence.session.uid;
    let sessions = sessions.iter().map(|session| SessionView::of(session, current)).collect();
    Ok(json(StatusCode::OK, &Sessions { sessions }))
}

/// Ends one of one's own sessions.
#[utoipa::path(
    post,
    path = "/sessions/{sessionId}/revoke",
    operation_id = "revokeSession",
    tag = "Accounts and sessions",
    params(("sessionId" = uuid::Uuid, Path, description = "The session's id")),
    responses(
        (status = 200, description = "The session and its tokens are over", body = Revoked),
        (status = 404, description = "Session not found"),
    ),
    security(("session" = []))
)]
pub async fn end_session(State(api): State<Shared>, signed: Signed, Named(session): One) -> Result<Response, Problem> {
    api.people.end_session(signed.acting(), id(&session, "Session")?).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked: true }))
}
