//! Coming in and going out: the first account, signing in, signing out.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::form::{Form, Guarded, OpenForm, refused};
use super::who::Person;
use super::{Ui, cookie, plain, who};
use crate::people::{Entered, NewPerson, Visitor, Wrong};
use crate::store::Door;

/// Where somebody wanted to go.
#[derive(Deserialize)]
pub struct Next {
    /// A path of this site.
    #[serde(default)]
    pub next: String,
}

/// `GET /setup/{link}`: the form for the first account.
pub async fn setup_page(State(ui): State<Arc<Ui>>, Path(link): Path<String>) -> Response {
    match ui.people.is_setup_link(&link).await {
        Ok(true) => plain::answer(StatusCode::OK, setup_form(&Form::default(), None)),
        Ok(false) => dead_link(),
        Err(error) => who::unavailable(&error),
    }
}

/// `POST /setup/{link}`: makes the first account, and lets it in.
pub async fn set_up(
    State(ui): State<Arc<Ui>>,
    Path(link): Path<String>,
    visitor: Visitor,
    OpenForm(form): OpenForm,
) -> Response {
    match ui.people.set_up(&link, new_person(&form), &visitor).await {
        Ok(entered) => let_in(&ui, &entered, "/"),
        Err(Wrong::Link) => dead_link(),
        Err(wrong) => explain(&wrong, |why| setup_form(&form, Some(why))),
    }
}

pub(super) fn new_person(form: &Form) -> NewPerson {
    NewPerson {
        email: form.get("email").to_owned(),
        name: form.get("name").to_owned(),
        password: Zeroizing::new(form.get("password").to_owned()),
    }
}

fn setup_form(form: &Form, why: Option<&str>) -> Markup {
    let content = html! {
        p { "This makes the first account. It owns the team that is there, and can invite others." }
        (complaint(why))
        form method="post" { (person_fields(form)) button type="submit" { "Create the account" } }
    };
    plain::alone("Set up", content)
}

/// The fields of somebody who gets an account.
pub(super) fn person_fields(form: &Form) -> Markup {
    html! {
        p { label for="email" { "E-mail" } br; input id="email" name="email" type="email" autocomplete="username" required value=(form.get("email")); }
        p { label for="name" { "Name" } br; input id="name" name="name" autocomplete="name" value=(form.get("name")); }
        p { label for="password" { "Password" } br; input id="password" name="password" type="password" autocomplete="new-password" minlength="12" required; }
    }
}

/// `GET /login`.
pub async fn login_page(State(ui): State<Arc<Ui>>, Query(Next { next }): Query<Next>) -> Response {
    match ui.people.is_new().await {
        Ok(true) => nobody_yet(),
        Ok(false) => plain::answer(StatusCode::OK, login_form(&ui, "", &next, None)),
        Err(error) => who::unavailable(&error),
    }
}

/// `POST /login`.
pub async fn sign_in(State(ui): State<Arc<Ui>>, visitor: Visitor, OpenForm(form): OpenForm) -> Response {
    let password = Zeroizing::new(form.get("password").to_owned());
    match ui.people.sign_in(form.get("email"), password, Door::Browser, &visitor).await {
        Ok(entered) => let_in(&ui, &entered, form.get("next")),
        Err(wrong) => explain(&wrong, |why| login_form(&ui, form.get("email"), form.get("next"), Some(why))),
    }
}

pub(super) fn login_form(ui: &Ui, email: &str, next: &str, why: Option<&str>) -> Markup {
    let content = html! {
        (complaint(why))
        form method="post" action="/login" {
            input type="hidden" name="next" value=(plain::local(next));
            p { label for="email" { "E-mail" } br; input id="email" name="email" type="email" autocomplete="username" required value=(email); }
            p { label for="password" { "Password" } br; input id="password" name="password" type="password" autocomplete="current-password" required; }
            button type="submit" { "Sign in" }
        }
        @if ui.oidc.is_some() {
            p { a href={ "/login/oidc?next=" (encoded(plain::local(next))) } { "Sign in with single sign-on" } }
        }
    };
    plain::alone("Sign in", content)
}

/// As part of a query.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// `POST /logout`.
pub async fn sign_out(State(ui): State<Arc<Ui>>, Guarded { who, .. }: Guarded<Person>) -> Response {
    if let Err(error) = ui.people.sign_out(&who.presence, &who.visitor).await {
        return who::unavailable(&error);
    }
    let mut response = plain::see("/login");
    response.headers_mut().append(header::SET_COOKIE, cookie::take(ui.is_secure()));
    response
}

/// `POST /team/switch`: shows another of one's teams.
pub async fn switch_team(
    State(ui): State<Arc<Ui>>,
    headers: HeaderMap,
    Guarded { who, form }: Guarded<Person>,
) -> Response {
    let Ok(team) = Uuid::try_parse(form.get("team")) else {
        return refused(StatusCode::NOT_FOUND, "There is no such team.");
    };
    match ui.people.look_at(&who.presence, team).await {
        Ok(()) => plain::see(&back(&headers)),
        Err(wrong) => refused(status(&wrong), &wrong.to_string()),
    }
}

/// The page that a form was on.
fn back(headers: &HeaderMap) -> String {
    let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok());
    from.and_then(|from| url::Url::parse(from).ok()).map_or_else(|| "/".to_owned(), |from| from.path().to_owned())
}

/// Lets somebody in: a session of its own each time, whatever the browser held before.
pub(super) fn let_in(ui: &Ui, entered: &Entered, next: &str) -> Response {
    let mut response = plain::see(next);
    let cookie = cookie::give(&entered.bearer, ui.people.session_lifetime(), ui.is_secure());
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

pub(super) fn complaint(why: Option<&str>) -> Markup {
    html! { @if let Some(why) = why { p role="alert" { (why) } } }
}

/// Shows the form again with what was wrong.
pub(super) fn explain(wrong: &Wrong, form: impl FnOnce(&str) -> Markup) -> Response {
    if let Wrong::Store(error) = wrong {
        return who::unavailable(error);
    }
    let mut response = plain::answer(status(wrong), form(&wrong.to_string()));
    if let Wrong::TooMany(seconds) = wrong {
        response.headers_mut().insert(header::RETRY_AFTER, (*seconds).into());
    }
    response
}

/// The status that a page with this on it has.
pub fn status(wrong: &Wrong) -> StatusCode {
    match wrong {
        Wrong::Field { .. } => StatusCode::BAD_REQUEST,
        Wrong::Credentials => StatusCode::UNAUTHORIZED,
        Wrong::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        Wrong::Missing(_) | Wrong::Link => StatusCode::NOT_FOUND,
        Wrong::NotYours | Wrong::Role(_) => StatusCode::FORBIDDEN,
        Wrong::Conflict(_) => StatusCode::CONFLICT,
        Wrong::Busy | Wrong::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn dead_link() -> Response {
    let text = html! {
        p { "This link does not work, or not any more. Where the service runs, "
            code { "asyncqueue setup-link" } " prints a new one as long as there is no account." }
        p { a href="/login" { "Sign in" } }
    };
    plain::answer(StatusCode::NOT_FOUND, plain::alone("No such link", text))
}

fn nobody_yet() -> Response {
    let text = html! {
        p { "There is no account yet. The service printed a link for the first one when it started; where it runs, "
            code { "asyncqueue setup-link" } " prints a new one." }
    };
    plain::answer(StatusCode::OK, plain::alone("Not set up yet", text))
}
