//! `/v1/tokens`: the vault as its owners see it. A value goes in and never comes out.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{Request, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::answer::json;
use super::auth::{By, Caller};
use super::fields::{Fields, Reader};
use super::openapi::bodies;
use super::problem::Problem;
use super::{Api, Shared, check_content_type, last_segment};
use crate::net::body;
use crate::store::{Action, StoreError, Token};
use crate::task::TeamId;
use crate::vault;
use crate::wire::Iso;

const NAME_MAX: usize = 100;
const VALUE_MAX: usize = 8 * 1024;
const HOSTS_MAX: usize = 20;
const HOST_BYTES_MAX: usize = 253;

/// The largest body of a creation: an 8 KiB value, escaped, and what goes with it.
const BODY_MAX: usize = 128 * 1024;

/// `{"token": …}`.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenAnswer)]
struct Envelope<'a> {
    token: View<'a>,
}

/// `{"tokens": […]}`.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenList)]
struct List<'a> {
    tokens: Vec<View<'a>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
struct View<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Iso>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Iso>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allowed_hosts: &'a [String],
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    purpose: Option<&'static str>,
}

impl<'a> View<'a> {
    fn of(token: &'a Token) -> Self {
        Self {
            id: &token.id,
            name: &token.name,
            created_at: token.revoked_at.is_none().then_some(Iso(token.created_at)),
            revoked_at: token.revoked_at.map(Iso),
            allowed_hosts: &token.allowed_hosts,
            purpose: token.verify_only.then_some("verify"),
        }
    }
}

/// Puts a value into the vault.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    operation_id = "createToken",
    tag = "Vault",
    request_body = bodies::TokenGiven,
    responses(
        (status = 201, description = "Its reference", body = Envelope),
        (status = 400, description = "name must be 1 to 100 visible characters"),
        (status = 415, description = "Content-Type must be application/json"),
    )
)]
pub async fn create(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    by: By,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    check_content_type(&head.headers)?;
    let text = body::read(body, &head.headers, BODY_MAX, api.limits.body_time).await?;
    let token = make(&api, team.id, &text).await?;
    by.note(&api, Action::CreateToken, &token).await;
    Ok(json(StatusCode::CREATED, &Envelope { token: View::of(&token) }))
}

/// A team's tokens that work.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    operation_id = "listTokens",
    tag = "Vault",
    responses(
        (status = 200, description = "The tokens that work, without their values", body = List),
    )
)]
pub async fn list(State(api): State<Shared>, Extension(Caller(team)): Extension<Caller>) -> Result<Response, Problem> {
    let tokens = api.store.tokens(team.id).await?;
    Ok(json(StatusCode::OK, &List { tokens: tokens.iter().map(View::of).collect() }))
}

/// Stops a token from working.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    operation_id = "revokeToken",
    tag = "Vault",
    params(("id" = String, Path, description = "The token's reference", pattern = "^tok_[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The token, revoked; its value is erased", body = Envelope),
        (status = 404, description = "Token not found"),
    )
)]
pub async fn revoke(
    State(api): State<Shared>,
    Extension(Caller(team)): Extension<Caller>,
    by: By,
    uri: Uri,
) -> Result<Response, Problem> {
    let token = revoked(&api, team.id, last_segment(uri.path())).await?;
    by.note(&api, Action::RevokeToken, &token).await;
    let view = View { allowed_hosts: &[], purpose: None, ..View::of(&token) };
    Ok(json(StatusCode::OK, &Envelope { token: view }))
}

/// Puts the value that a request's body holds into the team's vault.
pub(super) async fn make(api: &Api, team: TeamId, text: &[u8]) -> Result<Token, Problem> {
    let asked = parse(text)?;
    let (id, now) = api.ids.make();
    let id = format!("{}{}", vault::PREFIX, id.0.simple());
    let token = Token {
        sealed: api.keyring.seal_token(team, &id, &asked.value),
        id,
        team,
        name: asked.name,
        allowed_hosts: asked.allowed_hosts,
        verify_only: asked.verify_only,
        created_at: now,
        revoked_at: None,
    };
    api.store.create_token(token.clone()).await?;
    Ok(token)
}

/// Stops a token of the team from working.
pub(super) async fn revoked(api: &Api, team: TeamId, id: &str) -> Result<Token, Problem> {
    api.store.revoke_token(team, id.to_owned(), api.clock.now()).await.map_err(|error| match error {
        StoreError::NotFound => Problem::new(StatusCode::NOT_FOUND, "Token not found"),
        error => error.into(),
    })
}

struct Asked {
    name: String,
    value: Zeroizing<String>,
    allowed_hosts: Vec<String>,
    verify_only: bool,
}

fn parse(text: &[u8]) -> Result<Asked, Problem> {
    let fields = Fields::parse(text, &["name", "value", "allowedHosts", "use"])?;
    let mut reader = Reader::new(&fields);
    let name = reader.string("name").unwrap_or_default();
    if !is_name(&name) {
        let text = format!("name must be 1 to {NAME_MAX} visible characters");
        reader.refuse("name", text);
    }
    let value = Zeroizing::new(reader.string("value").unwrap_or_default());
    if value.is_empty() || value.len() > VALUE_MAX || value.contains(['\r', '\n', '\0']) {
        let text = format!("value must be 1 to {VALUE_MAX} bytes, without line breaks or NUL");
        reader.refuse("value", text);
    }
    let mut allowed_hosts = reader.read::<Vec<String>>("allowedHosts", "an array of hosts").unwrap_or_default();
    for host in &mut allowed_hosts {
        host.make_ascii_lowercase();
    }
    if allowed_hosts.len() > HOSTS_MAX || !allowed_hosts.iter().all(|host| is_host(host)) {
        let text = format!("allowedHosts must be at most {HOSTS_MAX} hosts, such as api.example.com or *.example.com");
        reader.refuse("allowedHosts", text);
    }
    let verify_only = match reader.string("use").as_deref() {
        None | Some("send") => false,
        Some("verify") => true,
        Some(_) => {
            reader.refuse("use", "use must be send or verify");
            false
        }
    };
    reader.finish()?;
    Ok(Asked { name, value, allowed_hosts, verify_only })
}

fn is_name(name: &str) -> bool {
    // Marks that turn the reading direction make a name look like another one.
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    !name.trim().is_empty() && name.chars().count() <= NAME_MAX && !name.chars().any(hidden)
}

/// A host as a URL has it, without a port, or `*.` and one with at least two labels.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // Spelled as URLs spell it once they are read; another spelling would never be met.
        return address.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address);
    }
    let (name, labels) = host.strip_prefix("*.").map_or((host, 1), |suffix| (suffix, 2));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=HOST_BYTES_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && name.split('.').count() >= labels
        && name.split('.').all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_and_hosts_are_hosts() {
        assert!(is_name("Replicate, production"));
        assert!(is_host("api.example.com") && is_host("*.example.com") && is_host("127.0.0.1") && is_host("[::1]"));
        for odd in ["", " ", "a\u{202e}b", "tab\t", &"x".repeat(101)] {
            assert!(!is_name(odd), "{odd:?}");
        }
        for odd in [
            "",
            "*",
            "*.com",
            "a..b",
            "https://x",
            "a/b",
            "*.*.com",
            "a b",
            "a.example:8443",
            "[::1",
            "*.[::1]",
            "[0::1]",
        ] {
            assert!(!is_host(odd), "{odd}");
        }
    }

    #[test]
    fn a_value_is_one_line() {
        for odd in
            [r#"{"name":"n","value":""}"#, r#"{"name":"n","value":"a\nb"}"#, r#"{"name":"n"}"#, r#"{"value":"v"}"#]
        {
            assert!(parse(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(parse(br#"{"name":"n","value":"v","use":"verify","allowedHosts":["A.example"]}"#).unwrap().verify_only);
    }
}
