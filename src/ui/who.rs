//! Who is looking at a page. Whoever is not signed in is sent to the page where that is done.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri, header};
use maud::html;

use super::frame::{Reader, Theme};
use super::{Ui, cookie, form, plain};
use crate::credentials::Bearer;
use crate::net::{Peer, client_address};
use crate::people::{Acting, Visitor};
use crate::store::{Account, Presence, Role, Team};

/// Somebody who is signed in, in a team or in none.
#[derive(Clone)]
pub struct Person {
    /// The session and all that belongs to it.
    pub presence: Arc<Presence>,
    /// Where they are.
    pub visitor: Visitor,
    /// Goes into every form, as the field `csrf`.
    pub csrf: String,
    /// How they want pages to look.
    pub theme: Theme,
    bearer: Arc<Bearer>,
}

/// Somebody who is signed in, with the team that they look at.
#[derive(Clone)]
pub struct SignedIn {
    /// Whose account it is.
    pub account: Account,
    /// Which team's things are shown.
    pub team: Team,
    /// What they may do there.
    pub role: Role,
    /// All their teams.
    pub teams: Vec<(Team, Role)>,
    /// Goes into every form, as the field `csrf`.
    pub csrf: String,
    /// The person.
    pub person: Person,
}

/// Who can send a form.
pub trait Sender: Sized + Send {
    /// Who sends this request, or the answer for somebody who is not signed in.
    fn of(
        ui: &Ui,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        uri: &Uri,
    ) -> impl Future<Output = Result<Self, Response>> + Send;

    /// Whether a form was made for this session.
    fn made_form(&self, token: &str) -> bool;
}

impl Person {
    /// What they do is done by them, from where they are.
    pub fn acting(&self) -> Acting<'_> {
        Acting { presence: &self.presence, visitor: &self.visitor }
    }
}

impl Person {
    /// The team that they look at, and what they may do there; none if they are in no team.
    pub fn team(&self) -> Option<&(Team, Role)> {
        let Presence { session, teams, .. } = &*self.presence;
        teams.iter().find(|(team, _)| Some(team.id) == session.team).or(teams.first())
    }

    /// Who looks, as the frame of each page says it; none if they are in no team.
    pub fn reader(&self, here: &str) -> Option<Reader> {
        let (team, role) = self.team()?;
        let names = |team: &Team| (team.uid.to_string(), team.name.clone());
        Some(Reader {
            name: self.presence.account.name.clone(),
            role: role.name(),
            team: names(team),
            teams: self.presence.teams.iter().map(|(team, _)| names(team)).collect(),
            csrf: self.csrf.clone(),
            theme: self.theme,
            here: here.to_owned(),
        })
    }
}

impl Sender for Person {
    async fn of(ui: &Ui, headers: &HeaderMap, peer: Option<&Peer>, uri: &Uri) -> Result<Self, Response> {
        let elsewhere = || to_sign_in(headers, uri);
        let bearer = cookie::read(headers, ui.is_secure()).ok_or_else(elsewhere)?;
        let presence = ui.people.present(&bearer).await.map_err(|error| unavailable(&error))?.ok_or_else(elsewhere)?;
        let csrf = bearer.form_token();
        let theme = Theme::chosen(headers);
        Ok(Self { presence, visitor: visitor(ui, headers, peer), csrf, theme, bearer: Arc::new(bearer) })
    }

    fn made_form(&self, token: &str) -> bool {
        self.bearer.made_form(token)
    }
}

impl SignedIn {
    /// What they do is done by them, from where they are.
    pub fn acting(&self) -> Acting<'_> {
        self.person.acting()
    }

    /// Insists on a role in this team.
    #[expect(clippy::result_large_err, reason = "it is what the handler answers")]
    pub fn needs(&self, role: Role) -> Result<(), Response> {
        insist(role, &self.team, self.role)
    }
}

/// Insists on a role of somebody who has this one in the team.
#[expect(clippy::result_large_err, reason = "it is what the handler answers")]
pub fn insist(needs: Role, team: &Team, has: Role) -> Result<(), Response> {
    if has >= needs {
        return Ok(());
    }
    let text = format!("This needs the role {} in {}; yours is {}.", needs.name(), team.name, has.name());
    Err(form::refused(StatusCode::FORBIDDEN, &text))
}

impl Sender for SignedIn {
    async fn of(ui: &Ui, headers: &HeaderMap, peer: Option<&Peer>, uri: &Uri) -> Result<Self, Response> {
        let person = Person::of(ui, headers, peer, uri).await?;
        let (team, role) = person.team().cloned().ok_or_else(no_team)?;
        let (account, teams) = (person.presence.account.clone(), person.presence.teams.clone());
        let csrf = person.csrf.clone();
        Ok(Self { account, team, role, teams, csrf, person })
    }

    fn made_form(&self, token: &str) -> bool {
        self.person.made_form(token)
    }
}

impl FromRequestParts<Arc<Ui>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, ui: &Arc<Ui>) -> Result<Self, Response> {
        Self::of(ui, &parts.headers, parts.extensions.get(), &parts.uri).await
    }
}

impl FromRequestParts<Arc<Ui>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, ui: &Arc<Ui>) -> Result<Self, Response> {
        Self::of(ui, &parts.headers, parts.extensions.get(), &parts.uri).await
    }
}

/// Where a request comes from.
impl FromRequestParts<Arc<Ui>> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, ui: &Arc<Ui>) -> Result<Self, Self::Rejection> {
        Ok(visitor(ui, &parts.headers, parts.extensions.get()))
    }
}

fn visitor(ui: &Ui, headers: &HeaderMap, peer: Option<&Peer>) -> Visitor {
    let address = peer.map(|Peer(peer)| client_address(*peer, headers, &ui.trusted_proxies));
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Visitor::new(address, agent.unwrap_or_default())
}

/// A reader of a page is sent to sign in and back; a script is told that it has to.
fn to_sign_in(headers: &HeaderMap, uri: &Uri) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/event-stream") || headers.contains_key("x-asyncqueue-part") {
        return form::refused(StatusCode::UNAUTHORIZED, "You are not signed in any more.");
    }
    let place = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if place == "/" {
        return plain::see("/login");
    }
    let next: String = url::form_urlencoded::byte_serialize(place.as_bytes()).collect();
    plain::see(&format!("/login?next={next}"))
}

fn no_team() -> Response {
    let text = html! {
        p { "You are in no team. Ask somebody who owns one to invite you." }
        p { a href="/account" { "Your account" } }
    };
    plain::answer(StatusCode::FORBIDDEN, plain::alone("No team", text))
}

/// The fault is ours, and passes.
pub fn unavailable(error: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%error, "A page could not be shown");
    let text = html! { p { "The service cannot read just now. Try again in a moment." } };
    plain::answer(StatusCode::SERVICE_UNAVAILABLE, plain::alone("Try again", text))
}
