//! Pages without navigation, for who is not in yet.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::answer;
use super::frame::{self, Theme};

pub use answer::{local, see};

/// A page without navigation.
pub fn alone(title: &str, content: Markup) -> Markup {
    frame::alone(title, Theme::System, html! { div.panel { h1 { (title) } (content) } })
}

/// An answer with a page. No cache may keep it.
pub fn answer(status: StatusCode, page: Markup) -> Response {
    answer::html(status, page)
}
