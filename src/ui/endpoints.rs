//! Endpoints: the URLs that are registered with providers' accounts. A URL is shown once, on the page that made it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;

use super::act::{Fields, NotDone, note};
use super::answer::html as shown;
use super::form::{Form, Guarded};
use super::frame::{self, Reader, Section};
use super::pages::reader;
use super::who::{SignedIn, unavailable};
use super::{Ui, filters, words};
use crate::follow;
use crate::store::{Action, Endpoint, Role, Token};
use crate::task::Timestamp;

/// What the page is made of.
struct EndpointsPage<'a> {
    endpoints: Vec<Endpoint>,
    tokens: Vec<Token>,
    may_act: bool,
    base_url: &'a str,
    now: Timestamp,
    reader: &'a Reader,
    news: Markup,
}

/// `GET /endpoints`.
pub async fn page(State(ui): State<Arc<Ui>>, who: SignedIn, uri: Uri) -> Result<Response, Response> {
    draw(&ui, &who, &uri, StatusCode::OK, html! {}).await
}

async fn draw(ui: &Ui, who: &SignedIn, uri: &Uri, status: StatusCode, news: Markup) -> Result<Response, Response> {
    let (endpoints, tokens) = tokio::try_join!(ui.store.endpoints(who.team.id), ui.store.tokens(who.team.id))
        .map_err(|error| unavailable(&error))?;
    let page = EndpointsPage {
        endpoints,
        tokens,
        may_act: who.role >= Role::Member,
        base_url: &ui.base_url,
        now: ui.views.clock.now(),
        reader: &reader(who, uri),
        news,
    };
    Ok(shown(status, page.draw()))
}

/// `POST /endpoints/{act}`: does it, and shows the page with what came of it.
pub async fn act(State(ui): State<Arc<Ui>>, Path(act): Path<String>, guarded: Guarded) -> Result<Response, Response> {
    let who = &guarded.who;
    who.needs(Role::Member)?;
    let (status, news) = match perform(&ui, who, &act, &guarded.form).await {
        Ok(news) => (StatusCode::OK, news),
        Err(not) => (not.status, frame::not_done(&format!("{}.", not.why))),
    };
    draw(&ui, who, &Uri::from_static("/endpoints"), status, news).await
}

async fn perform(ui: &Ui, who: &SignedIn, act: &str, form: &Form) -> Result<Markup, NotDone> {
    let (acts, team) = (&ui.views.acts, &who.team);
    let missing = |why: &str| NotDone { status: StatusCode::NOT_FOUND, why: why.to_owned() };
    let uid = || Uuid::try_parse(form.get("endpoint")).map_err(|_| missing("Endpoint not found"));
    let (action, endpoint, news) = match act {
        "new" => {
            let (endpoint, url) = acts.create_endpoint(team, fields(form, &["provider", "secret"])).await?;
            let news = registered("The new endpoint", &endpoint, url);
            (Action::CreateEndpoint, endpoint, news)
        }
        "rotate" => {
            let (endpoint, url) = acts.rotate_endpoint(team, uid()?).await?;
            let news = registered("The endpoint's new URL", &endpoint, url);
            (Action::RotateEndpoint, endpoint, news)
        }
        "secret" => {
            let endpoint = acts.resecret_endpoint(team, uid()?, fields(form, &["secret"])).await?;
            (
                Action::ResecretEndpoint,
                endpoint,
                frame::said("Events are checked with the other secret now; the URL stays."),
            )
        }
        "delete" => {
            let endpoint = acts.delete_endpoint(team, uid()?).await?;
            (
                Action::DeleteEndpoint,
                endpoint,
                frame::said("The endpoint is deleted. Remove its URL at the provider too."),
            )
        }
        _ => return Err(missing("There is no such act")),
    };
    note(ui, who, team, action, &endpoint).await;
    Ok(news)
}

/// The fields that were filled in, as a request says them.
fn fields(form: &Form, names: &[&str]) -> Fields {
    let filled = names.iter().map(|name| (*name, form.get(name).trim())).filter(|(_, value)| !value.is_empty());
    filled.map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn registered(title: &str, endpoint: &Endpoint, url: Option<String>) -> Markup {
    let about = format!(
        "Register this URL with {} for the account's webhooks. It is shown only now, and whoever knows it can reach it.",
        account(&endpoint.provider)
    );
    frame::once(title, &about, &url.unwrap_or_default())
}

/// An account by the names of the providers whose jobs it has.
fn account(name: &str) -> String {
    let names: Vec<&str> = follow::templates_of_account(name).iter().map(|template| template.name.as_str()).collect();
    if names.is_empty() { name.to_owned() } else { names.join(", ") }
}

/// Whether the account's provider signs what it sends.
fn signs(name: &str) -> bool {
    follow::templates_of_account(name).iter().any(|one| one.callback().is_some_and(|rule| rule.signature.is_some()))
}

/// All accounts there are, in the order of the catalogue.
fn accounts() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for template in filters::templates().filter(|template| template.is_account_level()) {
        let name = template.account().unwrap_or(&template.id);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl EndpointsPage<'_> {
    fn draw(&self) -> Markup {
        let about = html! { "Some providers send the webhooks of all jobs to one URL that is registered with the account. An endpoint is such a URL." };
        let content = html! {
            (frame::head("Endpoints", about, html! {}))
            (self.news)
            div.stack {
                section.panel aria-label="Endpoints" {
                    @if self.endpoints.is_empty() { (self.nothing()) } @else { (self.table()) }
                }
                @if self.may_act { (self.make()) }
            }
        };
        frame::page("Endpoints", Section::Endpoints, self.reader, content)
    }

    fn nothing(&self) -> Markup {
        html! {
            div.empty {
                h2 { "No endpoint yet" }
                p { "Make one, register the URL that is shown (once) with the provider, and its webhooks find their tasks. By the API it is:" }
                (frame::paste(&format!(
                    "curl -s {}/v1/endpoints \\\n  -H \"Authorization: Bearer $KEY\" \\\n  \
                     -H 'Content-Type: application/json' \\\n  -d '{{\"provider\": \"openai\", \"secret\": \"tok_…\"}}'",
                    self.base_url
                )))
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            div.scroll { table.cards {
                thead { tr {
                    th { "Account" } th { "Id" } th { "Events are checked with" } th { "Made" }
                    @if self.may_act { th { span.sr { "Acts" } } }
                } }
                tbody { @for endpoint in &self.endpoints { tr {
                    td.line { b { (endpoint.provider) } div.small.muted { (account(&endpoint.provider)) } }
                    td.mono.nowrap data-label="Id" { (endpoint.uid) }
                    td.break data-label="Checked with" { (self.checked_with(endpoint)) }
                    td.nowrap data-label="Made" { (words::ago(endpoint.created_at, self.now)) }
                    @if self.may_act { td.acts { (self.acts(endpoint)) } }
                } } }
            } }
            div.foot { span { "A URL is shown once, when it is made. If it is lost, or somebody else knows it, make a new one." } }
        }
    }

    fn checked_with(&self, endpoint: &Endpoint) -> Markup {
        let named = |id: &String| self.tokens.iter().find(|token| token.id == *id);
        html! {
            @match (&endpoint.secret, endpoint.secret.as_ref().and_then(named)) {
                (_, Some(token)) => { (token.name) div.small.mono.muted { (token.id) } },
                (Some(gone), None) => { span.t-bad { "A token that was revoked; every event is refused" } div.small.mono.muted { (gone) } },
                (None, None) => span.muted { "nothing; the URL is the only secret" },
            }
        }
    }

    fn form(&self, act: &str, content: Markup) -> Markup {
        frame::form(&format!("/endpoints/{act}"), &self.reader.csrf, content)
    }

    fn acts(&self, endpoint: &Endpoint) -> Markup {
        let name = &endpoint.provider;
        let of = |act: &str, label: &str| {
            self.form(act, html! { input type="hidden" name="endpoint" value=(endpoint.uid); button.danger type="submit" { (label) } })
        };
        html! {
            @if signs(name) { (self.other_secret(endpoint)) }
            (frame::sure("New URL", &format!("for {name}"), "The URL of now stops working at once; register the new one with the provider.", of("rotate", "Make a new URL")))
            (frame::sure("Delete", name, "Events at its URL are refused from then on. Tasks that wait for one are asked for by polls, where their provider can be polled.", of("delete", "Delete the endpoint")))
        }
    }

    fn other_secret(&self, endpoint: &Endpoint) -> Markup {
        let field = format!("secret-{}", endpoint.uid);
        html! {
            details.sure {
                summary aria-label={"Change secret of " (endpoint.provider)} { "Change secret" }
                div {
                    p { "When the provider has another webhook secret. The URL stays." }
                    (self.form("secret", html! {
                        input type="hidden" name="endpoint" value=(endpoint.uid);
                        label for=(field) { "Secret, from the vault" }
                        (self.secrets(&field, endpoint.secret.as_deref(), false))
                        button type="submit" { "Change the secret" }
                    }))
                }
            }
        }
    }

    fn secrets(&self, id: &str, chosen: Option<&str>, or_none: bool) -> Markup {
        html! {
            select id=(id) name="secret" required[!or_none] {
                @if or_none { option value="" { "None: this provider does not sign" } }
                @for token in &self.tokens { option value=(token.id) selected[chosen == Some(&token.id)] { (token.name) " (" (&token.id[..12.min(token.id.len())]) "…)" } }
            }
        }
    }

    fn make(&self) -> Markup {
        html! {
            section.panel aria-labelledby="make" {
                header { h2 id="make" { "Make an endpoint" } }
                div.body { (self.form("new", html! { div.fields {
                    div.field {
                        label for="provider" { "Account" }
                        select id="provider" name="provider" { @for name in accounts() {
                            option value=(name) { (name) ": " (account(name)) @if signs(name) { " (signs)" } }
                        } }
                    }
                    div.field {
                        label for="secret" { "Secret that its webhooks are signed with, from the vault" }
                        (self.secrets("secret", None, true))
                        span.small.muted {
                            "A provider that signs needs one. Put it into " a href="/vault" { "the vault" } " first, for verifying only. If the provider shows it
                            only when the URL is registered, take any token now and change it afterwards."
                        }
                    }
                    div { button.primary type="submit" { "Make the endpoint" } }
                } })) }
            }
        }
    }
}
