//! `/openapi.json`: the API as tools read it. Each handler describes itself; here is what all of them have in common, and
//! the examples. A test compares it with the committed `docs/openapi.json`, another asks the service whether it is true.

#[expect(dead_code, reason = "they describe what is read field by field, or written by hand")]
pub(super) mod bodies;
mod common;
mod examples;
mod page;
mod scalars;

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub(super) use bodies::Status;
use common::Keys;
pub use page::{page, style};

use super::Shared;

/// The head of the description, and the routes that a router cannot tell: they take whatever method comes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "AsyncQueue",
        description = "Takes the wait for late answers off your application: it calls AI providers, receives their webhooks, and never \
                       loses a result. docs/api.md says in words what stands here.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "Tasks", description = "Create them, read them, wait for them"),
        (name = "Callbacks and signals", description = "How the world tells that a job is done; the credential is in the path"),
        (name = "Vault", description = "Providers' keys and secrets, which go in and never come out"),
        (name = "Endpoints", description = "One URL for the webhooks of all jobs of an account"),
        (name = "Providers", description = "What the service knows about AI providers"),
        (name = "Accounts and sessions", description = "Signing in to manage what follows, and what everybody decides about themselves"),
        (name = "Teams and keys", description = "Teams, their API keys and webhook secret, and what was done in them"),
        (name = "Members and invitations", description = "Who is in a team, and how somebody joins it"),
        (name = "Service", description = "Its health, its numbers, and this description"),
    ),
    paths(super::callbacks::receive, super::endpoints::receive),
    components(schemas(super::problem::Body)),
    modifiers(&Keys),
    servers((url = "/")),
)]
struct Head;

/// A router that gathers descriptions with its routes.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Head::openapi())
}

/// The description with all that is common, as text.
pub fn finished(mut described: OpenApi) -> String {
    common::complete(&mut described);
    let mut value = serde_json::to_value(&described).expect("it is plain data");
    examples::put_into(&mut value);
    let mut text = serde_json::to_string_pretty(&value).expect("it is plain data");
    text.push('\n');
    text
}

/// The description as it is served.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| finished(super::described().1));
    &TEXT
}

/// The API, as tools read it.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenApi",
    tag = "Service",
    responses((status = 200, description = "This description", body = serde_json::Value, content_type = "application/json")),
    security(())
)]
pub async fn serve(State(_): State<Shared>) -> Response {
    let mut response = Response::new(text().into());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Pages of other origins may read it: there is no secret in it, and tools for it run in browsers.
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
