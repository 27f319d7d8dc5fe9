//! What a team has beside tasks: endpoints and the vault. Secrets are names here.

use maud::{Markup, html};

use super::frame::{self, Reader, Section};
use super::words;
use crate::follow;
use crate::store::{Endpoint, Token};
use crate::task::Timestamp;

/// The page of endpoints.
pub fn endpoints(endpoints: &[Endpoint], base_url: &str, now: Timestamp, reader: &Reader) -> Markup {
    let about = html! { "Some providers send the webhooks of all jobs to one URL that is registered with the account. An endpoint is such a URL." };
    let content = html! {
        (frame::head("Endpoints", about, html! {}))
        section.panel aria-label="Endpoints" {
            @if endpoints.is_empty() {
                div.empty {
                    h2 { "No endpoint yet" }
                    p { "Make one, register the URL that the answer shows (once) with the provider, and its webhooks find their tasks:" }
                    (frame::paste(&format!(
                        "curl -s {base_url}/v1/endpoints \\\n  -H \"Authorization: Bearer $KEY\" \\\n  \
                         -H 'Content-Type: application/json' \\\n  -d '{{\"provider\": \"openai\", \"secret\": \"tok_…\"}}'"
                    )))
                }
            } @else {
                div.scroll { table.cards {
                    thead { tr { th { "Provider" } th { "Id" } th { "Signed with" } th { "Made" } } }
                    tbody { @for endpoint in endpoints { tr {
                        td { b { (account(&endpoint.provider)) } }
                        td.mono.break data-label="Id" { (endpoint.uid) }
                        td.mono.break data-label="Signed with" { @match &endpoint.secret { Some(secret) => (secret), None => span.muted { "not checked" } } }
                        td.nowrap data-label="Made" { (words::ago(endpoint.created_at, now)) }
                    } } }
                } }
                div.foot { span { "URLs are shown once, when they are made. " code { "POST /v1/endpoints/{id}/rotate" } " makes a new one." } }
            }
        }
    };
    frame::page("Endpoints", Section::Endpoints, reader, content)
}

fn account(provider: &str) -> &str {
    follow::template_named(provider).map_or(provider, |template| template.name.as_str())
}

/// The page of the vault.
pub fn vault(tokens: &[Token], base_url: &str, now: Timestamp, reader: &Reader) -> Markup {
    let about = html! { "Keys and secrets, encrypted at rest and never shown again. A task names one by its reference, in place of a header's value." };
    let content = html! {
        (frame::head("Vault", about, html! {}))
        section.panel aria-label="Vault" {
            @if tokens.is_empty() {
                div.empty {
                    h2 { "The vault is empty" }
                    p { "Put a provider's key in; the answer is a reference such as " code { "tok_…" } " to use in " code { "headers" } ":" }
                    (frame::paste(&format!(
                        "curl -s {base_url}/v1/tokens \\\n  -H \"Authorization: Bearer $KEY\" \\\n  \
                         -H 'Content-Type: application/json' \\\n  -d '{{\"name\": \"fal key\", \"value\": \"Key …\"}}'"
                    )))
                }
            } @else {
                div.scroll { table.cards {
                    thead { tr { th { "Name" } th { "Reference" } th { "May go to" } th { "Made" } } }
                    tbody { @for token in tokens { tr {
                        td.line.break { b { (token.name) } }
                        td.mono.break data-label="Reference" { (token.id) }
                        td data-label="May go to" { (goes_to(token)) }
                        td.nowrap data-label="Made" { (words::ago(token.created_at, now)) }
                    } } }
                } }
                div.foot { span { code { "DELETE /v1/tokens/{id}" } " revokes one; tasks that need it fail before anything is sent." } }
            }
        }
    };
    frame::page("Vault", Section::Vault, reader, content)
}

fn goes_to(token: &Token) -> Markup {
    html! {
        @if token.verify_only { span.muted { "nowhere; it only verifies" } }
        @else if token.allowed_hosts.is_empty() { "the target of its task" }
        @else { span.break { (token.allowed_hosts.join(", ")) } }
    }
}
