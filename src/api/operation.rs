//! Is it alive, is it ready, how is it doing.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::Shared;
use super::answer;
use super::openapi::bodies;
use super::problem::Problem;
use crate::task::Status;
use crate::telemetry::metrics::{CONTENT_TYPE, TaskStatus};

/// How long the store may take to prove itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "getHealth",
    tag = "Service",
    responses(
        (status = 200, description = "The process is alive", body = bodies::Health),
    ),
    security(())
)]
pub async fn healthz() -> Response {
    answer::json(StatusCode::OK, &json!({"status": "ok"}))
}

/// The service can take requests: its store answers, and it is not stopping.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "Service",
    responses(
        (status = 200, description = "A write has just reached the disk", body = bodies::Health),
        (status = 503, description = "The store does not answer"),
    ),
    security(())
)]
pub async fn readyz(State(api): State<Shared>) -> Response {
    let stopping = api.stopping.is_cancelled();
    let answers = matches!(tokio::time::timeout(PATIENCE, api.store.ping()).await, Ok(Ok(())));
    if answers && !stopping {
        return answer::json(StatusCode::OK, &json!({"status": "ready"}));
    }
    let why = if stopping { "The service is stopping" } else { "The store does not answer" };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

/// Metrics for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "Service",
    responses(
        (status = 200, description = "Numbers for Prometheus", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ),
    security(())
)]
pub async fn metrics(State(api): State<Shared>) -> Result<Response, Problem> {
    let counts = api.store.counts().await?;
    for status in Status::ALL {
        if let Some(label) = TaskStatus::named(status.name()) {
            api.metrics.set_tasks(label, counts.get(&status).copied().unwrap_or_default());
        }
    }
    api.metrics.set_store_log((api.log_bytes)());
    let mut response = api.metrics.render().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}
