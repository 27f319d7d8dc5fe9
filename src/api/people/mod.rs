//! The management API: teams, keys, members and sessions, for signed-in people and their programs. It takes a signed
//! token, never an API key and never a cookie; what may be done with it is decided in [`crate::people`].

mod members;
mod own;
mod teams;
mod view;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::fields::{Fields, Reader};
use super::problem::{Detail, Problem};
use super::{Api, Shared, check_content_type};
use crate::net::{Peer, body, client_address};
use crate::people::{Acting, Visitor, Wrong};
use crate::store::{Presence, Role};

/// The largest body of a request.
const BODY_MAX: usize = 16 * 1024;

/// The management API's routes, which describe themselves.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(own::sign_in))
        .routes(routes!(own::renew))
        .routes(routes!(own::sign_out))
        .routes(routes!(own::me))
        .routes(routes!(own::rename))
        .routes(routes!(own::set_password))
        .routes(routes!(own::sessions))
        .routes(routes!(own::end_session))
        .routes(routes!(teams::list, teams::create))
        .routes(routes!(teams::read_one))
        .routes(routes!(teams::keys, teams::create_key))
        .routes(routes!(teams::revoke_key))
        .routes(routes!(teams::secret))
        .routes(routes!(teams::rotate_secret))
        .routes(routes!(teams::audit))
        .routes(routes!(members::list, members::add))
        .routes(routes!(members::set_role))
        .routes(routes!(members::remove))
        .routes(routes!(members::invitations, members::invite))
        .routes(routes!(members::revoke_invitation))
        .routes(routes!(members::accept))
}

/// Somebody with a token that is in force.
pub struct Signed {
    presence: Arc<Presence>,
    visitor: Visitor,
}

impl Signed {
    fn acting(&self) -> Acting<'_> {
        Acting { presence: &self.presence, visitor: &self.visitor }
    }
}

impl FromRequestParts<Shared> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let token = token(&parts.headers)?;
        let presence = api.people.present_by_api(token).await?.ok_or_else(invalid)?;
        Ok(Self { presence, visitor: visitor(api, parts) })
    }
}

/// The token in `Authorization: Bearer …`; two are none.
fn token(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let required = || Problem::new(StatusCode::UNAUTHORIZED, "Sign-in required");
    let first = lines.next().ok_or_else(required)?.to_str().map_err(|_| invalid())?;
    let (scheme, token) = first.split_once(' ').ok_or_else(required)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(required());
    }
    if lines.next().is_some() { Err(invalid()) } else { Ok(token.trim_matches(' ')) }
}

fn invalid() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Invalid or expired token")
}

fn visitor(api: &Api, parts: &Parts) -> Visitor {
    let peer: Option<&Peer> = parts.extensions.get();
    let address = peer.map(|Peer(peer)| client_address(*peer, &parts.headers, &api.limits.trusted_proxies));
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Visitor::new(address, agent.unwrap_or_default())
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Self::Rejection> {
        Ok(visitor(api, parts))
    }
}

/// The id in a path; what is none is not there.
fn id(text: &str, what: &'static str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Wrong::Missing(what).into())
}

/// The body of a request.
async fn read(api: &Api, request: Request<Body>) -> Result<Bytes, Problem> {
    let (head, body) = request.into_parts();
    check_content_type(&head.headers)?;
    Ok(body::read(body, &head.headers, BODY_MAX, api.limits.body_time).await?)
}

/// A string that must be there.
fn required(reader: &mut Reader<'_, '_>, field: &'static str) -> String {
    match reader.string(field) {
        Some(text) => text,
        None => {
            reader.refuse(field, format!("{field} is required"));
            String::new()
        }
    }
}

/// A role by its name.
fn role(reader: &mut Reader<'_, '_>) -> Role {
    Role::named(&required(reader, "role")).unwrap_or_else(|| {
        reader.refuse("role", "role must be one of owner, member, reader");
        Role::Reader
    })
}

/// The one string of a body with one field.
fn only(text: &[u8], field: &'static str) -> Result<String, Problem> {
    let fields = Fields::parse(text, &[field])?;
    let mut reader = Reader::new(&fields);
    let value = required(&mut reader, field);
    reader.finish().map(|()| value)
}

/// What a path names. A path that is no text names nothing: what it was to name is not found.
pub struct Named<T>(T);

/// One id.
type One = Named<String>;

/// Two ids.
type Two = Named<(String, String)>;

impl<T: DeserializeOwned + Default + Send> FromRequestParts<Shared> for Named<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Infallible> {
        let ids = Path::<T>::from_request_parts(parts, api).await;
        Ok(Self(ids.map(|Path(ids)| ids).unwrap_or_default()))
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        let text = wrong.to_string();
        match wrong {
            Wrong::Field { field, message } => Self::invalid(vec![Detail { field: field.to_owned(), message }]),
            Wrong::Credentials => Self::new(StatusCode::UNAUTHORIZED, text),
            Wrong::TooMany(seconds) => Self::too_many(seconds),
            Wrong::Missing(_) | Wrong::Link => Self::new(StatusCode::NOT_FOUND, text),
            Wrong::NotYours | Wrong::Role(_) => Self::new(StatusCode::FORBIDDEN, text),
            Wrong::Conflict(_) => Self::new(StatusCode::CONFLICT, text),
            Wrong::Busy => Self::unavailable(),
            Wrong::Store(error) => error.into(),
        }
    }
}
