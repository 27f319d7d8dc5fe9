//! Signing in at an OpenID provider: the way there and the way back.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::enter::{Next, let_in, login_form};
use super::{Sso, Ui, cookie, plain, who};
use crate::oidc::{Failed, Handshake, Person, Returned};
use crate::people::{Visitor, Vouched, Wrong};
use crate::store::Identity;

/// Longer places to go to afterwards are not remembered.
const NEXT_MAX: usize = 1024;

/// `GET /login/oidc`: sends the browser to the provider.
pub async fn go(State(ui): State<Arc<Ui>>, Query(Next { next }): Query<Next>) -> Response {
    let Some(sso) = &ui.oidc else { return plain::see("/login") };
    let handshake = Handshake::begin();
    let place = match sso.oidc.way_there(&handshake).await {
        Ok(place) => place,
        Err(failed) => return refused(&ui, &failed),
    };
    let mut response = plain::see("/");
    let Ok(place) = HeaderValue::try_from(place) else { return plain::see("/login") };
    response.headers_mut().insert(header::LOCATION, place);
    let next = if next.len() > NEXT_MAX { "/" } else { plain::local(&next) };
    let attempt = format!("{}.{}", handshake.expose(), URL_SAFE_NO_PAD.encode(next));
    response.headers_mut().append(header::SET_COOKIE, cookie::give_attempt(&attempt, ui.is_secure()));
    response
}

/// `GET /login/oidc/callback`: the browser is back.
pub async fn come_back(
    State(ui): State<Arc<Ui>>,
    headers: HeaderMap,
    visitor: Visitor,
    Query(returned): Query<Returned>,
) -> Response {
    let Some(sso) = &ui.oidc else { return plain::see("/login") };
    let mut response = match attempt(&ui, &headers) {
        Some((handshake, next)) => match sso.oidc.arrived(&handshake, &returned).await {
            Ok(person) => enter(&ui, sso, person, &next, &visitor).await,
            Err(failed) => refused(&ui, &failed),
        },
        None => refused(&ui, &Failed::Stray),
    };
    response.headers_mut().append(header::SET_COOKIE, cookie::take_attempt(ui.is_secure()));
    response
}

/// The attempt that the browser holds, and where it wanted to go.
fn attempt(ui: &Ui, headers: &HeaderMap) -> Option<(Handshake, String)> {
    let held = cookie::read_attempt(headers, ui.is_secure())?;
    let (handshake, next) = held.split_once('.')?;
    let next = String::from_utf8(URL_SAFE_NO_PAD.decode(next).ok()?).ok()?;
    Some((Handshake::resume(handshake)?, next))
}

async fn enter(ui: &Ui, sso: &Sso, person: Person, next: &str, visitor: &Visitor) -> Response {
    let domain =
        person.email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain.to_lowercase());
    let vouched = Vouched {
        identity: Identity { issuer: person.issuer, subject: person.subject },
        email: person.email,
        name: person.name,
        may_sign_up: domain.is_some_and(|domain| sso.allowed_domains.contains(&domain)),
    };
    match ui.people.sign_in_by(vouched, visitor).await {
        Ok(entered) => let_in(ui, &entered, next),
        Err(Wrong::Store(error)) => who::unavailable(&error),
        Err(_) => {
            let why = "There is no account for you here. Ask somebody who owns a team to invite you.";
            plain::answer(StatusCode::FORBIDDEN, login_form(ui, "", "", Some(why)))
        }
    }
}

/// What went wrong is for the log; whoever tried is told that it did.
fn refused(ui: &Ui, failed: &Failed) -> Response {
    tracing::warn!(error = %failed, "Single sign-on failed");
    let (status, why) = match failed {
        Failed::Stray => (StatusCode::BAD_REQUEST, "That took too long, or was begun elsewhere. Try again."),
        Failed::Refused(_) => (StatusCode::FORBIDDEN, "The provider did not let you in."),
        Failed::Provider(_) => (StatusCode::BAD_GATEWAY, "Single sign-on does not work just now. Try again later."),
    };
    plain::answer(status, login_form(ui, "", "", Some(why)))
}
