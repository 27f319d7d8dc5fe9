//! The few answers given here, before or instead of a handler's, in the service's one error form.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
};

/// An error that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    body: &'static str,
}

macro_rules! refusal {
    ($status:ident, $message:literal) => {
        Refusal { status: StatusCode::$status, body: concat!(r#"{"error":""#, $message, r#""}"#) }
    };
}

impl Refusal {
    pub(super) const MALFORMED: Self = refusal!(BAD_REQUEST, "Malformed request");
    pub(super) const HOST: Self = refusal!(BAD_REQUEST, "Exactly one valid Host header is required");
    pub(super) const HEADER_TOO_LARGE: Self = refusal!(REQUEST_HEADER_FIELDS_TOO_LARGE, "Request header too large");
    pub(super) const URI_TOO_LONG: Self = refusal!(URI_TOO_LONG, "URI too long");
    pub(super) const TOO_SLOW: Self = refusal!(REQUEST_TIMEOUT, "Request header timed out");
    pub(super) const BUSY: Self = refusal!(SERVICE_UNAVAILABLE, "Too many connections");
    pub(super) const BROKEN: Self = refusal!(INTERNAL_SERVER_ERROR, "Internal error");

    /// The same as bytes, for where no HTTP library is at hand to write it.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Self { status, body } = self;
        let reason = status.canonical_reason().unwrap_or_default();
        let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
        let length = body.len();
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\n{retry}connection: close\r\n\
             content-length: {length}\r\n\r\n{body}",
            status.as_u16()
        )
        .into_bytes()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
