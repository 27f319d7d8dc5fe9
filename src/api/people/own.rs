//! Signing in, and what everybody decides about themselves.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::view::{AccountView, SessionView, TeamView};
use super::{One, Signed, id, only, read, required};
use crate::api::Shared;
use crate::api::answer::json;
use crate::api::fields::{Fields, Reader};
use crate::api::problem::Problem;
use crate::people::{Issued, Visitor};
use crate::wire::Iso;

/// A token with what is to be known of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ticket<'a> {
    token: &'a str,
    expires_at: Iso,
    account: AccountView<'a>,
}

/// `{"account": …, "teams": […]}`.
#[derive(Serialize)]
struct Me<'a> {
    account: AccountView<'a>,
    teams: Vec<TeamView<'a>>,
}

/// `{"sessions": […]}`.
#[derive(Serialize)]
struct Sessions<'a> {
    sessions: Vec<SessionView<'a>>,
}

/// `{"revoked": true}`.
#[derive(Serialize)]
pub struct Revoked {
    pub revoked: bool,
}

/// Signs somebody in.
pub async fn sign_in(State(api): State<Shared>, visitor: Visitor, request: Request<Body>) -> Result<Response, Problem> {
    let text = Zeroizing::new(read(&api, request).await?.to_vec());
    let fields = Fields::parse(&text, &["email", "password"])?;
    let mut reader = Reader::new(&fields);
    let (email, password) = (required(&mut reader, "email"), required(&mut reader, "password"));
    reader.finish()?;
    let issued = api.people.sign_in_by_api(&email, Zeroizing::new(password), &visitor).await?;
    Ok(token(StatusCode::OK, &issued))
}

/// Another token for a session that lasts.
pub async fn renew(State(api): State<Shared>, signed: Signed) -> Response {
    token(StatusCode::OK, &api.people.issue(&signed.presence.session, signed.presence.account.clone()))
}

/// Shows a token.
pub fn token(status: StatusCode, issued: &Issued) -> Response {
    let Issued { token, expires_at, account } = issued;
    json(status, &Ticket { token, expires_at: Iso(*expires_at), account: AccountView::of(account) })
}

/// Ends the session that a token stands for.
pub async fn sign_out(State(api): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    api.people.sign_out(&signed.presence, &signed.visitor).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked: true }))
}

/// Who one is, and where.
pub async fn me(signed: Signed) -> Response {
    let teams = signed.presence.teams.iter().map(|(team, role)| TeamView::of(team, *role)).collect();
    json(StatusCode::OK, &Me { account: AccountView::of(&signed.presence.account), teams })
}

/// Another name.
pub async fn rename(State(api): State<Shared>, signed: Signed, request: Request<Body>) -> Result<Response, Problem> {
    let name = only(&read(&api, request).await?, "name")?;
    api.people.rename(signed.acting(), &name).await?;
    let account = crate::store::Account { name: name.trim().to_owned(), ..signed.presence.account.clone() };
    let teams = signed.presence.teams.iter().map(|(team, role)| TeamView::of(team, *role)).collect();
    Ok(json(StatusCode::OK, &Me { account: AccountView::of(&account), teams }))
}

/// Another password; all other sessions end.
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

/// One's own sessions.
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
pub async fn end_session(State(api): State<Shared>, signed: Signed, Path(session): One) -> Result<Response, Problem> {
    api.people.end_session(signed.acting(), id(&session, "Session")?).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked: true }))
}
