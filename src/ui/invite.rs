//! Joining a team by a link.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Path, State};
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode};
use maud::{Markup, html};

use super::enter::{complaint, explain, let_in, new_person, person_fields, status};
use super::form::{CSRF, Form, Guarded, OpenForm, refused};
use super::who::{Person, Sender};
use super::{Ui, cookie, plain, who};
use crate::people::{Visitor, Wrong};
use crate::store::{Door, Invitation, Team};

/// `GET /invite/{link}`.
pub async fn page(State(ui): State<Arc<Ui>>, Path(link): Path<String>, request: Request<Body>) -> Response {
    let (invitation, team) = match ui.people.invitation(&link).await {
        Ok(found) => found,
        Err(wrong) => return unusable(&wrong),
    };
    let (head, _) = request.into_parts();
    match Person::of(&ui, &head.headers, head.extensions.get(), &head.uri).await {
        Ok(person) => plain::answer(StatusCode::OK, join_form(&invitation, &team, &person, None)),
        Err(_) => plain::answer(StatusCode::OK, account_form(&invitation, &team, &link, &Form::default(), None)),
    }
}

/// `POST /invite/{link}`: joins with the account that one is signed in to, or with a new one.
pub async fn accept(
    State(ui): State<Arc<Ui>>,
    Path(link): Path<String>,
    visitor: Visitor,
    request: Request<Body>,
) -> Response {
    let (invitation, team) = match ui.people.invitation(&link).await {
        Ok(found) => found,
        Err(wrong) => return unusable(&wrong),
    };
    if is_signed_in(&ui, request.headers()).await {
        return join(&ui, &link, (&invitation, &team), request).await;
    }
    let form = match OpenForm::from_request(request, &ui).await {
        Ok(OpenForm(form)) => form,
        Err(refused) => return refused,
    };
    match ui.people.accept_anew(&link, new_person(&form), Door::Browser, &visitor).await {
        Ok(entered) => let_in(&ui, &entered, "/"),
        Err(wrong) => explain(&wrong, |why| account_form(&invitation, &team, &link, &form, Some(why))),
    }
}

async fn is_signed_in(ui: &Ui, headers: &HeaderMap) -> bool {
    match cookie::read(headers, ui.is_secure()) {
        Some(bearer) => matches!(ui.people.present(&bearer).await, Ok(Some(_))),
        None => false,
    }
}

async fn join(ui: &Arc<Ui>, link: &str, (invitation, team): (&Invitation, &Team), request: Request<Body>) -> Response {
    let who = match Guarded::<Person>::from_request(request, ui).await {
        Ok(Guarded { who, .. }) => who,
        Err(refused) => return refused,
    };
    let joined = ui.people.accept(who.acting(), link).await;
    match joined {
        Ok((team, _)) => show(ui, &who, &team).await,
        Err(wrong) => explain(&wrong, |why| join_form(invitation, team, &who, Some(why))),
    }
}

/// Shows the team that somebody just joined.
async fn show(ui: &Ui, who: &Person, team: &Team) -> Response {
    match ui.people.look_at_new(&who.presence, team).await {
        Ok(()) => plain::see("/"),
        Err(error) => who::unavailable(&error),
    }
}

fn what(invitation: &Invitation, team: &Team) -> Markup {
    html! {
        p { "You are invited to the team " b { (team.name) } " as " b { (invitation.role.name()) } "." }
    }
}

fn join_form(invitation: &Invitation, team: &Team, person: &Person, why: Option<&str>) -> Markup {
    let content = html! {
        (what(invitation, team))
        p { "You are signed in as " (person.presence.account.email) "." }
        (complaint(why))
        form method="post" {
            input type="hidden" name=(CSRF) value=(person.csrf);
            button type="submit" { "Join" }
        }
    };
    plain::alone("Invitation", content)
}

fn account_form(invitation: &Invitation, team: &Team, link: &str, form: &Form, why: Option<&str>) -> Markup {
    let next = format!("/login?next=/invite/{link}");
    let content = html! {
        (what(invitation, team))
        p { "Have an account? " a href=(next) { "Sign in first" } ", then join." }
        (complaint(why))
        form method="post" { (person_fields(form)) button type="submit" { "Create an account and join" } }
    };
    plain::alone("Invitation", content)
}

fn unusable(wrong: &Wrong) -> Response {
    match wrong {
        Wrong::Store(error) => who::unavailable(error),
        wrong => refused(status(wrong), &wrong.to_string()),
    }
}
