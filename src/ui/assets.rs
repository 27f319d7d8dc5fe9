//! The dashboard's style, script and icon: part of the binary, served under names that change with their content, so that
//! browsers may keep them for ever.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::answer;

/// A file that pages refer to.
pub struct Asset {
    content_type: &'static str,
    text: &'static str,
    /// The path that it is served at.
    pub path: String,
}

impl Asset {
    fn new(name: &str, ending: &str, content_type: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let hash = digest[..6].iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        Self { content_type, text, path: format!("{FOLDER}{name}-{hash}.{ending}") }
    }
}

/// Where they are served.
const FOLDER: &str = "/assets/";

/// The one style sheet.
pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "css", "text/css; charset=utf-8", include_str!("assets/app.css")));

/// The one script.
pub static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "js", "text/javascript; charset=utf-8", include_str!("assets/app.js")));

/// The sign in the browser's tab.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// `GET /assets/{file}`.
pub fn serve(file: &str) -> Response {
    let known = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path.strip_prefix(FOLDER) == Some(file));
    let Some(asset) = known else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = Response::new(Body::from(asset.text));
    answer::secure(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_served_under_the_name_that_pages_use_and_no_other() {
        for asset in [&STYLE, &SCRIPT, &ICON] {
            let answer = serve(asset.path.strip_prefix(FOLDER).unwrap());
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        }
        for other in ["app.css", "app-000000000000.css", "../app.css", ""] {
            assert_eq!(serve(other).status(), StatusCode::NOT_FOUND, "{other}");
        }
    }
}
