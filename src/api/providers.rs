//! `GET /v1/providers`: what the service knows about AI providers. For everybody: there is no secret in it.

use axum::response::Response;
use http::StatusCode;

use super::answer::raw_json;
use super::openapi::bodies;
use super::problem::Problem;
use crate::providers::{self, Template};

/// All templates, those of the public API first.
#[utoipa::path(
    get,
    path = "/v1/providers",
    operation_id = "listProviders",
    tag = "Providers",
    responses(
        (status = 200, description = "What is known", body = bodies::Providers),
    ),
    security(())
)]
pub async fn list() -> Result<Response, Problem> {
    let catalogue = providers::embedded().map_err(|_| Problem::unavailable())?;
    let shown: Vec<String> = catalogue.iter().map(Template::shown).collect();
    Ok(raw_json(StatusCode::OK, format!("{{\"providers\":[{}]}}", shown.join(","))))
}
