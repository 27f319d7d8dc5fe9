//! One's own account: name, password, and where one is signed in.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::enter::{complaint, explain};
use super::form::{CSRF, Guarded};
use super::frame::{self, Section};
use super::who::Person;
use super::{Ui, plain, who, words};
use crate::people::Wrong;
use crate::store::{Line, Session};
use crate::task::Timestamp;

/// How many lines of what happened are shown.
const LINES: u32 = 20;

/// `GET /account`.
pub async fn page(State(ui): State<Arc<Ui>>, person: Person) -> Response {
    match content(&ui, &person, None).await {
        Ok(page) => plain::answer(StatusCode::OK, page),
        Err(answer) => answer,
    }
}

/// `POST /account/name`.
pub async fn rename(State(ui): State<Arc<Ui>>, Guarded { who, form }: Guarded<Person>) -> Response {
    let done = ui.people.rename(who.acting(), form.get("name")).await;
    back(&ui, &who, done).await
}

/// `POST /account/password`.
pub async fn set_password(State(ui): State<Arc<Ui>>, Guarded { who, form }: Guarded<Person>) -> Response {
    let secret = |name: &str| Zeroizing::new(form.get(name).to_owned());
    let done = ui.people.set_password(who.acting(), secret("current"), secret("password")).await;
    back(&ui, &who, done).await
}

/// `POST /account/sessions/{id}/end`.
pub async fn end_session(
    State(ui): State<Arc<Ui>>,
    Path(session): Path<String>,
    Guarded { who, .. }: Guarded<Person>,
) -> Response {
    let done = match Uuid::try_parse(&session) {
        Ok(session) => ui.people.end_session(who.acting(), session).await,
        Err(_) => Err(Wrong::Missing("Session")),
    };
    back(&ui, &who, done).await
}

/// `POST /account/sessions/others/end`.
pub async fn end_others(State(ui): State<Arc<Ui>>, Guarded { who, .. }: Guarded<Person>) -> Response {
    let done = ui.people.end_other_sessions(who.acting()).await;
    back(&ui, &who, done).await
}

/// Shows the page again, with what was wrong if something was.
async fn back(ui: &Ui, person: &Person, done: Result<(), Wrong>) -> Response {
    let Err(wrong) = done else { return plain::see("/account") };
    match content(ui, person, Some(&wrong.to_string())).await {
        Ok(page) => explain(&wrong, |_| page),
        Err(answer) => answer,
    }
}

async fn content(ui: &Ui, person: &Person, why: Option<&str>) -> Result<Markup, Response> {
    let sessions = ui.people.sessions(person.acting()).await.map_err(|error| who::unavailable(&error))?;
    let lines = ui.people.own_audit(person.acting(), LINES).await.map_err(|error| who::unavailable(&error))?;
    let account = &person.presence.account;
    let now = ui.views.clock.now();
    let content = html! {
        (complaint(why))
        section {
            h2 { "You" }
            p { (account.email) }
            form method="post" action="/account/name" {
                (guard(person))
                p { label for="name" { "Name" } br; input id="name" name="name" autocomplete="name" required value=(account.name); }
                button type="submit" { "Save" }
            }
        }
        (password(person))
        (where_signed_in(person, &sessions, now))
        (history(&lines, now))
    };
    Ok(match person.reader("/account") {
        Some(reader) => {
            let content = html! { (frame::head("Your account", html! {}, html! {})) div.stack.own { (content) } };
            frame::page("Your account", Section::Other, &reader, content)
        }
        None => plain::alone("Your account", content),
    })
}

fn guard(person: &Person) -> Markup {
    html! { input type="hidden" name=(CSRF) value=(person.csrf); }
}

fn password(person: &Person) -> Markup {
    html! {
        section {
            h2 { "Password" }
            form method="post" action="/account/password" {
                (guard(person))
                input type="hidden" name="username" autocomplete="username" value=(person.presence.account.email);
                p { label for="current" { "Current password" } br;
                    input id="current" name="current" type="password" autocomplete="current-password" required; }
                p { label for="password" { "New password" } br;
                    input id="password" name="password" type="password" autocomplete="new-password" minlength="12" required; }
                button type="submit" { "Change the password" }
                p { "All your other sessions end." }
            }
        }
    }
}

fn where_signed_in(person: &Person, sessions: &[Session], now: Timestamp) -> Markup {
    let current = person.presence.session.uid;
    html! {
        section {
            h2 { "Where you are signed in" }
            ul {
                @for session in sessions {
                    li { (session_line(person, session, current, now)) }
                }
            }
            @if sessions.len() > 1 {
                form method="post" action="/account/sessions/others/end" {
                    (guard(person)) button type="submit" { "End all other sessions" }
                }
            }
            form method="post" action="/logout" { (guard(person)) button type="submit" { "Sign out" } }
        }
    }
}

fn session_line(person: &Person, session: &Session, current: Uuid, now: Timestamp) -> Markup {
    let agent = if session.agent.is_empty() { "A program" } else { &session.agent };
    html! {
        p {
            @if session.uid == current { span.chip { "this one" } " " }
            "Last seen " (words::ago(session.seen_at, now))
            @if let Some(address) = session.address { " from " (address) }
            ", signed in " (words::ago(session.created_at, now)) ". "
            span.small.muted { (agent) }
        }
        @if session.uid != current {
            form method="post" action={ "/account/sessions/" (session.uid) "/end" } {
                (guard(person)) button type="submit" { "End" }
            }
        }
    }
}

fn history(lines: &[(i64, Line)], now: Timestamp) -> Markup {
    html! {
        section {
            h2 { "What happened" }
            ul {
                @for (_, line) in lines {
                    li {
                        code { (line.action.name()) } " " (line.subject) " "
                        span.muted { (words::ago(line.at, now)) @if let Some(address) = line.address { ", from " (address) } }
                    }
                }
            }
        }
    }
}
