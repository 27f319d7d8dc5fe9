//! Who is asking: the API key, and how much its team may still ask.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::problem::Problem;
use super::{Api, Shared};
use crate::credentials::hash_key;
use crate::net::limit::Admission;
use crate::net::{Peer, client_address};
use crate::people::Subject;
use crate::store::{Action, ApiKey, StoreError, Team};

/// The team that a request's key belongs to.
#[derive(Clone)]
pub struct Caller(pub Arc<Team>);

/// The key that a request carries, and where it came from: for what is written into the audit log.
pub struct By {
    key: ApiKey,
    address: Option<IpAddr>,
}

impl FromRequestParts<Shared> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let (key, _) =
            api.store.find_key(hash_key(presented_key(&parts.headers)?)).await.map_err(|error| match error {
                StoreError::NotFound => unauthorized("Invalid or revoked API key"),
                error => error.into(),
            })?;
        let peer: Option<&Peer> = parts.extensions.get();
        let address = peer.map(|Peer(peer)| client_address(*peer, &parts.headers, &api.limits.trusted_proxies));
        Ok(Self { key, address })
    }
}

impl By {
    /// Writes down what was done with the key. It was done; a line that cannot be written does not undo it.
    pub async fn note(&self, api: &Api, action: Action, subject: impl Into<Subject>) {
        if let Err(error) = api.people.record_by_key(&self.key, self.address, action, subject).await {
            tracing::warn!(%error, action = action.name(), "A line of the audit log could not be written");
        }
    }
}

/// The team whose key a request carries.
pub async fn authenticate(api: &Api, headers: &HeaderMap) -> Result<Arc<Team>, Problem> {
    let key = presented_key(headers)?;
    let team = api.teams.by_key(key).await?;
    team.ok_or_else(|| unauthorized("Invalid or revoked API key"))
}

/// The key in `Authorization: Bearer …` or `X-API-Key: …`. Two that differ are no key.
fn presented_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let required = || unauthorized("API key required");
    let invalid = || unauthorized("Invalid or revoked API key");
    let mut keys = Vec::with_capacity(1);
    for value in headers.get_all(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| invalid())?;
        // Another scheme is somebody else's: a proxy that asks for a password passes its header on.
        if let Some((scheme, key)) = text.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            keys.push(key.trim_matches(' '));
        }
    }
    for value in headers.get_all("x-api-key") {
        keys.push(value.to_str().map_err(|_| invalid())?);
    }
    match keys.as_slice() {
        [] | [""] => Err(required()),
        [first, rest @ ..] if rest.iter().all(|other| other == first) && first.len() <= 256 => Ok(first),
        _ => Err(invalid()),
    }
}

fn unauthorized(error: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, error)
}

/// Counts a request for its team, where the team has a limit.
pub fn admit(api: &Api, team: &Team) -> Option<Admission> {
    let limit = team.rate_limit.or(api.limits.team_rate).filter(|limit| *limit > 0)?;
    Some(api.team_window.admit(team.id.0, limit, api.clock.now().0, Instant::now()))
}

/// The answer above the limit.
pub fn too_many(seconds: u32) -> Response {
    Problem::too_many(seconds).into_response()
}

/// Says what the team may still ask.
pub fn show(admission: Admission, headers: &mut HeaderMap) {
    headers.insert("x-ratelimit-limit", HeaderValue::from(admission.limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(admission.remaining));
    headers.insert("x-ratelimit-reset", HeaderValue::from(admission.reset_unix_seconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_comes_in_either_header() {
        assert_eq!(presented_key(&headers(&[("authorization", "Bearer k")])).unwrap(), "k");
        assert_eq!(presented_key(&headers(&[("authorization", "bEARER k")])).unwrap(), "k");
        assert_eq!(presented_key(&headers(&[("x-api-key", "k")])).unwrap(), "k");
        assert_eq!(presented_key(&headers(&[("x-api-key", "k"), ("authorization", "Bearer k")])).unwrap(), "k");
        assert_eq!(presented_key(&headers(&[("x-api-key", "k"), ("authorization", "Basic cDpw")])).unwrap(), "k");
    }

    #[test]
    fn two_keys_no_key_or_another_scheme_are_refused() {
        let long = "k".repeat(257);
        for odd in [
            headers(&[]),
            headers(&[("authorization", "Bearer")]),
            headers(&[("authorization", "Basic k")]),
            headers(&[("x-api-key", "")]),
            headers(&[("x-api-key", "a"), ("authorization", "Bearer b")]),
            headers(&[("x-api-key", &long)]),
        ] {
            assert!(presented_key(&odd).is_err(), "{odd:?}");
        }
    }
}
