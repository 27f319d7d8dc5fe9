//! Forms, and the proof that they are ours: a page of another site can make a browser send one, but not from here, and
//! not with the token that our pages carry.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use maud::html;

use super::who::{Sender, SignedIn};
use super::{Ui, plain};
use crate::net::body;

/// The largest form.
const BODY_MAX: usize = 64 * 1024;

/// How long one may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(15);

/// The field that carries the session's token.
pub const CSRF: &str = "csrf";

/// The fields of a form.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// A field's value; empty if it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Names and values, in the order sent.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The values of a field that may be there several times.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A form of somebody who need not be signed in: it was sent from a page of ours.
pub struct OpenForm(pub Form);

impl FromRequest<Arc<Ui>> for OpenForm {
    type Rejection = Response;

    async fn from_request(request: Request, ui: &Arc<Ui>) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        if !is_from_here(&head.headers, &ui.base_url) {
            return Err(refused(StatusCode::FORBIDDEN, "The form was not sent from a page of this service."));
        }
        if !is_form(&head.headers) {
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "This takes forms only."));
        }
        let bytes = body::read(body, &head.headers, BODY_MAX, BODY_TIME).await;
        let bytes = bytes.map_err(|error| refused(error.status(), &error.to_string()))?;
        Ok(Self(Form(url::form_urlencoded::parse(&bytes).into_owned().collect())))
    }
}

/// A form of somebody who is signed in: it was sent from a page of ours that was made for this session.
pub struct Guarded<W = SignedIn> {
    /// Who sent it.
    pub who: W,
    /// What it says.
    pub form: Form,
}

impl<W: Sender> FromRequest<Arc<Ui>> for Guarded<W> {
    type Rejection = Response;

    async fn from_request(request: Request, ui: &Arc<Ui>) -> Result<Self, Response> {
        let who = W::of(ui, request.headers(), request.extensions().get(), request.uri()).await?;
        let OpenForm(form) = OpenForm::from_request(request, ui).await?;
        if !who.made_form(form.get(CSRF)) {
            let text = "The form is of another session. Go back, load the page again, and send it once more.";
            return Err(refused(StatusCode::FORBIDDEN, text));
        }
        Ok(Self { who, form })
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether a browser says that a page of this service sent this. One that says nothing is not believed.
pub fn is_from_here(headers: &HeaderMap, base_url: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = text("origin").and_then(|origin| url::Url::parse(origin).ok()) else {
        return false;
    };
    let own = url::Url::parse(base_url).is_ok_and(|base| base.origin() == origin.origin());
    let here = text("host").is_some_and(|host| {
        url::Url::parse(&format!("{}://{host}", origin.scheme())).is_ok_and(|host| host.origin() == origin.origin())
    });
    own || here
}

/// A page that says why a form was not taken.
pub fn refused(status: StatusCode, why: &str) -> Response {
    plain::answer(status, plain::alone("Not done", html! { p { (why) } p { a href="/" { "Back" } } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://queue.example";

    fn from_here(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        is_from_here(&headers.collect(), BASE)
    }

    #[test]
    fn a_form_from_here_says_so() {
        assert!(from_here(&[("origin", "https://queue.example"), ("sec-fetch-site", "same-origin")]));
        assert!(from_here(&[("origin", "https://queue.example:443")]), "the public URL, spelled otherwise");
        assert!(from_here(&[("origin", "http://10.0.0.7:8080"), ("host", "10.0.0.7:8080")]), "by another name");
    }

    #[test]
    fn a_form_from_elsewhere_or_nowhere_is_refused() {
        for odd in [
            &[][..],
            &[("host", "queue.example")],
            &[("origin", "null"), ("host", "queue.example")],
            &[("origin", "https://evil.example"), ("host", "queue.example")],
            &[("origin", "https://queue.example.evil.example"), ("host", "queue.example")],
            &[("origin", "http://queue.example"), ("host", "queue.example:8443")],
            &[("origin", "https://queue.example"), ("sec-fetch-site", "cross-site")],
            &[("origin", "https://queue.example"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(!from_here(odd), "{odd:?}");
        }
    }
}
