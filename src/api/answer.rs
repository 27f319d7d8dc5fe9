//! Answers in JSON.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// A JSON answer. Nothing of ours may be kept by a cache: answers hold results and credentials.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_about(status, value, 0)
}

/// The same for an answer that holds texts of about `bytes` together: it is not moved while it grows.
pub fn json_about(status: StatusCode, value: &impl Serialize, bytes: usize) -> Response {
    let mut text = Vec::with_capacity(1024 + bytes + bytes / 8);
    serde_json::to_writer(&mut text, value).expect("plain data is always JSON");
    raw_json(status, text)
}

/// The same with a text that is JSON already.
pub fn raw_json(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
