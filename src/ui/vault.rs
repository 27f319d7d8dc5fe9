//! The vault: what a team's secrets are called and where they may go. A value goes in and is never shown.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde_json::Value;

use super::act::{Fields, NotDone, note};
use super::answer::html as shown;
use super::form::{Form, Guarded};
use super::frame::{self, Reader, Section};
use super::pages::reader;
use super::who::{SignedIn, unavailable};
use super::{Ui, words};
use crate::store::{Action, Endpoint, Role, Token};
use crate::task::Timestamp;

/// What the page is made of.
struct VaultPage<'a> {
    tokens: Vec<Token>,
    endpoints: Vec<Endpoint>,
    may_act: bool,
    base_url: &'a str,
    now: Timestamp,
    reader: &'a Reader,
    /// What was typed into a form that was not taken.
    typed: Form,
    news: Markup,
}

/// `GET /vault`.
pub async fn page(State(ui): State<Arc<Ui>>, who: SignedIn, uri: Uri) -> Result<Response, Response> {
    draw(&ui, &who, &uri, StatusCode::OK, (Form::default(), html! {})).await
}

async fn draw(
    ui: &Ui,
    who: &SignedIn,
    uri: &Uri,
    status: StatusCode,
    (typed, news): (Form, Markup),
) -> Result<Response, Response> {
    let (tokens, endpoints) = tokio::try_join!(ui.store.tokens(who.team.id), ui.store.endpoints(who.team.id))
        .map_err(|error| unavailable(&error))?;
    let page = VaultPage {
        tokens,
        endpoints,
        may_act: who.role >= Role::Member,
        base_url: &ui.base_url,
        now: ui.views.clock.now(),
        reader: &reader(who, uri),
        typed,
        news,
    };
    Ok(shown(status, page.draw()))
}

/// `POST /vault/{act}`: does it, and shows the page with what came of it.
pub async fn act(State(ui): State<Arc<Ui>>, Path(act): Path<String>, guarded: Guarded) -> Result<Response, Response> {
    let Guarded { who, form } = guarded;
    who.needs(Role::Member)?;
    let (status, said) = match perform(&ui, &who, &act, &form).await {
        Ok(news) => (StatusCode::OK, (Form::default(), news)),
        Err(not) => (not.status, (form, frame::not_done(&format!("{}.", not.why)))),
    };
    draw(&ui, &who, &Uri::from_static("/vault"), status, said).await
}

async fn perform(ui: &Ui, who: &SignedIn, act: &str, form: &Form) -> Result<Markup, NotDone> {
    let (acts, team) = (&ui.views.acts, &who.team);
    match act {
        "new" => {
            let token = acts.create_token(team, given(form)).await?;
            note(ui, who, team, Action::CreateToken, &token).await;
            let about = if token.verify_only {
                "This is its reference, for callbackSecret or an endpoint. The value is never shown again."
            } else {
                "This is its reference: write it in a task's headers in place of the value, which is never shown again."
            };
            Ok(frame::once(&format!("“{}” is in the vault", token.name), about, &token.id))
        }
        "revoke" => {
            let token = acts.revoke_token(team, form.get("token")).await?;
            note(ui, who, team, Action::RevokeToken, &token).await;
            Ok(frame::said(&format!("“{}” is deleted, and its value with it.", token.name)))
        }
        _ => Err(NotDone { status: StatusCode::NOT_FOUND, why: "There is no such act".to_owned() }),
    }
}

/// The form as a request says it. Hosts are told apart by spaces, commas or lines.
fn given(form: &Form) -> Fields {
    let hosts = form.get("hosts").split([' ', ',', '\n', '\r', '\t']).filter(|host| !host.is_empty());
    let mut fields = Fields::new();
    fields.insert("name".to_owned(), Value::from(form.get("name").trim()));
    fields.insert("value".to_owned(), Value::from(form.get("value")));
    fields.insert("allowedHosts".to_owned(), hosts.collect());
    fields.insert("use".to_owned(), Value::from(form.get("use")));
    fields
}

impl VaultPage<'_> {
    fn draw(&self) -> Markup {
        let about = html! { "Keys and secrets, encrypted at rest and never shown again. A task names one by its reference, in place of a header's value." };
        let content = html! {
            (frame::head("Vault", about, html! {}))
            (self.news)
            div.stack {
                section.panel aria-label="Vault" {
                    @if self.tokens.is_empty() { (self.nothing()) } @else { (self.table()) }
                }
                @if self.may_act { (self.make()) }
            }
        };
        frame::page("Vault", Section::Vault, self.reader, content)
    }

    fn nothing(&self) -> Markup {
        html! {
            div.empty {
                h2 { "The vault is empty" }
                p { "Put a provider's key in; what comes back is a reference such as " code { "tok_…" } " to use in " code { "headers" } ". By the API it is:" }
                (frame::paste(&format!(
                    "curl -s {}/v1/tokens \\\n  -H \"Authorization: Bearer $KEY\" \\\n  \
                     -H 'Content-Type: application/json' \\\n  -d '{{\"name\": \"fal key\", \"value\": \"Key …\"}}'",
                    self.base_url
                )))
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            div.scroll { table.cards {
                thead { tr {
                    th { "Name" } th { "Reference" } th { "May go to" } th { "Made" }
                    @if self.may_act { th { span.sr { "Acts" } } }
                } }
                tbody { @for token in &self.tokens { tr {
                    td.line.break { b { (token.name) } @if let Some(by) = self.used_by(token) { div.small.muted { (by) } } }
                    td.mono.nowrap data-label="Reference" { (token.id) }
                    td data-label="May go to" { (goes_to(token)) }
                    td.nowrap data-label="Made" { (words::ago(token.created_at, self.now)) }
                    @if self.may_act { td.acts { (self.delete(token)) } }
                } } }
            } }
        }
    }

    fn used_by(&self, token: &Token) -> Option<String> {
        let of = self.endpoints.iter().filter(|endpoint| endpoint.secret.as_ref() == Some(&token.id));
        let names: Vec<&str> = of.map(|endpoint| endpoint.provider.as_str()).collect();
        (!names.is_empty()).then(|| format!("Checks events at the endpoint for {}", names.join(", ")))
    }

    fn form(&self, act: &str, content: Markup) -> Markup {
        frame::form(&format!("/vault/{act}"), &self.reader.csrf, content)
    }

    fn delete(&self, token: &Token) -> Markup {
        let form = self.form(
            "revoke",
            html! {
                input type="hidden" name="token" value=(token.id);
                button.danger type="submit" { "Delete the token" }
            },
        );
        let meaning = if self.used_by(token).is_some() {
            "Its value is erased. An endpoint checks events with it and refuses every one from then on; give it another secret first."
        } else {
            "Its value is erased. Tasks that need it fail before anything is sent."
        };
        frame::sure("Delete", &token.name, meaning, form)
    }

    fn make(&self) -> Markup {
        let typed = |name: &str| self.typed.get(name);
        let verify = typed("use") == "verify";
        html! {
            section.panel aria-labelledby="make" {
                header { h2 id="make" { "Put a secret in" } }
                div.body { (self.form("new", html! { div.fields {
                    div.field { label for="name" { "Name" } input id="name" name="name" required maxlength="100" value=(typed("name")) autocomplete="off"; }
                    div.field {
                        label for="value" { "Value" }
                        input id="value" name="value" type="password" required autocomplete="new-password" aria-describedby="value-is";
                        span.small.muted id="value-is" { "As the header has it, such as " code { "Bearer sk-…" } " or " code { "Key …" } "." }
                    }
                    div.field {
                        label for="use" { "Use" }
                        select id="use" name="use" {
                            option value="send" selected[!verify] { "Sent with calls, in a header" }
                            option value="verify" selected[verify] { "Only checks providers' webhooks; never sent" }
                        }
                    }
                    div.field {
                        label for="hosts" { "Hosts that it may be sent to (optional)" }
                        input id="hosts" name="hosts" value=(typed("hosts")) placeholder="api.example.com, *.example.org" autocomplete="off" aria-describedby="hosts-are";
                        span.small.muted id="hosts-are" { "Without one it may be sent to the target of any task of this team." }
                    }
                    div { button.primary type="submit" { "Put it in" } }
                } })) }
            }
        }
    }
}

fn goes_to(token: &Token) -> Markup {
    html! {
        @if token.verify_only { span.muted { "nowhere; it only verifies" } }
        @else if token.allowed_hosts.is_empty() { "the target of its task" }
        @else { span.break { (token.allowed_hosts.join(", ")) } }
    }
}
