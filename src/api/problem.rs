//! The one file that turns errors into answers. Causes go to the log, never to the caller.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::json;
use crate::store::StoreError;

/// An error as the caller sees it: `{"error": "…"}`, and `details` for a request with invalid fields.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    error: String,
    details: Vec<Detail>,
    retry_after: Option<u32>,
    allow: Option<String>,
}

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FieldError)]
pub struct Detail {
    /// Its name.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    details: &'a [Detail],
}

impl Problem {
    /// An error with this status and text.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), details: Vec::new(), retry_after: None, allow: None }
    }

    /// What is said, in words.
    pub fn text(&self) -> &str {
        &self.error
    }

    /// A 400 with this text.
    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// A 400 for invalid fields; the first one is the text.
    pub fn invalid(details: Vec<Detail>) -> Self {
        let error = details.first().map_or_else(String::new, |detail| detail.message.clone());
        Self { details, ..Self::bad_request(error) }
    }

    /// A 429: try again after so many seconds.
    pub fn too_many(retry_after: u32) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// A 404 for a task.
    pub fn no_task() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Task not found")
    }

    /// A 405 where only POST is taken.
    pub fn post_only() -> Self {
        Self::only("POST".to_owned())
    }

    /// A 405 where only these methods are taken.
    pub fn only(methods: String) -> Self {
        Self { allow: Some(methods), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed") }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A 503: the fault is ours, and passes.
    pub fn unavailable() -> Self {
        Self::busy("The service cannot store or read just now; try again")
    }

    /// A 503 with this text: try again in a second.
    pub fn busy(error: &str) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &Body { error: &self.error, details: &self.details });
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::no_task(),
            StoreError::Refused(refusal) => {
                let text = format!("Task cannot do that now (current: {})", refusal.status.name());
                Self::new(StatusCode::CONFLICT, text)
            }
            StoreError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency-Key was already used with a different request body",
            ),
            StoreError::LastOwner => Self::new(StatusCode::CONFLICT, "A team needs an owner"),
            StoreError::Overloaded => Self::unavailable(),
            StoreError::Unreadable(_) => {
                tracing::error!(%error, "A request could not be served");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "What is stored of this task cannot be read")
            }
            StoreError::Taken | StoreError::Unavailable(_) | StoreError::Damaged(_) => {
                tracing::warn!(%error, "A request could not be served");
                Self::unavailable()
            }
        }
    }
}
