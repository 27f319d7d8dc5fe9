//! A team: its members and who is invited, its API keys, and what it signs webhooks with.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use maud::{Markup, html};
use uuid::Uuid;

use super::answer::html as shown;
use super::form::{Form, Guarded, refused};
use super::frame::{self, Reader, Section, once, said};
use super::pages::reader;
use super::who::{SignedIn, unavailable};
use super::{Ui, enter, words};
use crate::people::Wrong;
use crate::store::{ApiKey, Invitation, Member, Role};
use crate::task::Timestamp;

/// What the page is made of.
struct TeamPage<'a> {
    reader: &'a Reader,
    own: Uuid,
    owner: bool,
    members: Vec<Member>,
    invitations: Vec<Invitation>,
    keys: Vec<ApiKey>,
    now: Timestamp,
    news: Markup,
}

/// `GET /team`.
pub async fn page(State(ui): State<Arc<Ui>>, who: SignedIn, uri: Uri) -> Result<Response, Response> {
    draw(&ui, &who, &reader(&who, &uri), StatusCode::OK, html! {}).await
}

async fn draw(
    ui: &Ui,
    who: &SignedIn,
    reader: &Reader,
    status: StatusCode,
    news: Markup,
) -> Result<Response, Response> {
    let acting = who.acting();
    let owner = who.role >= Role::Owner;
    let sorry = |wrong: Wrong| refused(enter::status(&wrong), &wrong.to_string());
    let page = TeamPage {
        reader,
        own: who.account.uid,
        owner,
        members: ui.people.members(acting, who.team.uid).await.map_err(sorry)?,
        invitations: if owner { ui.people.invitations(acting, who.team.uid).await.map_err(sorry)? } else { Vec::new() },
        keys: ui.people.keys(&who.team).await.map_err(|error| unavailable(&error))?,
        now: ui.views.clock.now(),
        news,
    };
    Ok(shown(status, page.draw()))
}

/// `POST /team/{act}`: does it, and shows the page with what came of it. What is shown once is on that page alone.
pub async fn act(
    State(ui): State<Arc<Ui>>,
    Path(act): Path<String>,
    uri: Uri,
    guarded: Guarded,
) -> Result<Response, Response> {
    let who = &guarded.who;
    let mut reader = reader(who, &uri);
    "/team".clone_into(&mut reader.here);
    match perform(&ui, who, &act, &guarded.form).await {
        Ok(news) => draw(&ui, who, &reader, StatusCode::OK, news).await,
        Err(Wrong::Store(error)) => Err(unavailable(&error)),
        Err(wrong) => {
            let news = frame::not_done(&wrong.to_string());
            draw(&ui, who, &reader, enter::status(&wrong), news).await
        }
    }
}

async fn perform(ui: &Ui, who: &SignedIn, act: &str, form: &Form) -> Result<Markup, Wrong> {
    let acting = who.acting();
    let (people, team) = (&ui.people, who.team.uid);
    let id = |name: &str| Uuid::try_parse(form.get(name)).map_err(|_| Wrong::Missing("Thing"));
    let role = || Role::named(form.get("role")).ok_or(Wrong::Missing("Role"));
    match act {
        "new-team" => {
            let made = people.create_team(acting, form.get("name")).await?;
            Ok(said(&format!("The team {} is made. Change to it in your account's menu.", made.name)))
        }
        "new-key" => {
            let made = people.create_key(acting, team, form.get("name")).await?;
            Ok(once(
                "The new API key",
                "It is shown only now; keep it where your application finds it.",
                made.secret.expose(),
            ))
        }
        "revoke-key" => people
            .revoke_key(acting, id("key")?)
            .await
            .map(|key| said(&format!("The key {} does not work any more.", key.name))),
        "invite" => {
            let email = Some(form.get("email")).filter(|email| !email.trim().is_empty());
            let made = people.invite(acting, team, role()?, email).await?;
            let link = format!("{}/invite/{}", ui.base_url, made.bearer.expose());
            Ok(once("The invitation", "Send this link; it works once, for a week.", &link))
        }
        "revoke-invitation" => people
            .revoke_invitation(acting, id("invitation")?)
            .await
            .map(|_| said("The invitation does not work any more.")),
        "role" => people
            .set_role(acting, team, id("account")?, role()?)
            .await
            .map(|member| said(&format!("{} is {} now.", member.account.name, member.role.name()))),
        "remove" => people
            .remove_member(acting, team, id("account")?)
            .await
            .map(|member| said(&format!("{} is not in the team any more.", member.account.name))),
        "show-secret" => {
            let secret = people.secret(acting, team).await?;
            Ok(once(
                "The webhook secret",
                "Receivers check signatures with it. That you looked is in the audit log.",
                &secret.secret,
            ))
        }
        "rotate-secret" => {
            let secret = people.rotate_secret(acting, team).await?;
            Ok(once(
                "The new webhook secret",
                "Give it to your receivers; for a while the old one signs too.",
                &secret.secret,
            ))
        }
        _ => Err(Wrong::Missing("Act")),
    }
}

impl TeamPage<'_> {
    fn draw(&self) -> Markup {
        let content = html! {
            (frame::head(&self.reader.team.1, html! { "Members, keys and the webhook secret of this team." }, html! {}))
            (self.news)
            div.stack {
                (self.keys())
                (self.members())
                @if self.owner { (self.invitations()) (self.secret()) (self.other_team()) }
            }
        };
        frame::page("Team and keys", Section::Team, self.reader, content)
    }

    fn form(&self, act: &str, content: Markup) -> Markup {
        html! { form.inline method="post" action={"/team/" (act)} { (frame::csrf(&self.reader.csrf)) (content) } }
    }

    /// An act on one thing, which cannot be taken back: what it is called, and what it means.
    fn sure(&self, act: &str, (field, id): (&str, Uuid), [label, whose, meaning]: [&str; 3]) -> Markup {
        let form = self.form(
            act,
            html! { input type="hidden" name=(field) value=(id); button.danger type="submit" { (label) " " (whose) } },
        );
        frame::sure(label, whose, meaning, form)
    }

    fn keys(&self) -> Markup {
        let alive: Vec<_> = self.keys.iter().filter(|key| key.revoked_at.is_none()).collect();
        html! {
            section.panel aria-labelledby="keys" {
                header { h2 id="keys" { "API keys" } p { "An application signs in with one; everything made with it belongs to this team" } }
                @if alive.is_empty() { div.body { p.muted { "No key works just now." } } }
                @else { div.scroll { table.cards {
                    thead { tr { th { "Name" } th { "Begins with" } th { "Made" } th { span.sr { "Acts" } } } }
                    tbody { @for key in alive { tr {
                        td.line.break { b { (key.name) } }
                        td data-label="Begins with" { code { (key.prefix) "…" } }
                        td.nowrap data-label="Made" { (words::ago(key.created_at, self.now)) }
                        td.acts { @if self.owner { (self.sure("revoke-key", ("key", key.uid), ["Revoke", &key.name, "Whatever uses this key is refused at once."])) } }
                    } } }
                } } }
                @if self.owner { div.bulk { (self.form("new-key", html! {
                    label for="key-name" { "Name" } span { input id="key-name" name="name" required maxlength="100"; }
                    button.primary type="submit" { "Make a key" }
                })) } }
            }
        }
    }

    fn members(&self) -> Markup {
        html! {
            section.panel aria-labelledby="members" {
                header { h2 id="members" { "Members" } p { "Readers look; members work with tasks, endpoints and the vault; owners decide about people and keys" } }
                div.scroll { table.cards {
                    thead { tr { th { "Name" } th { "E-mail" } th { "Role" } th { "Since" } th { span.sr { "Acts" } } } }
                    tbody { @for member in &self.members { (self.member(member)) } }
                } }
            }
        }
    }

    fn member(&self, member: &Member) -> Markup {
        let own = member.account.uid == self.own;
        let name = &member.account.name;
        html! {
            tr {
                td.break { b { (name) } @if own { " " span.chip { "you" } } }
                td.break { (member.account.email) }
                td { @if self.owner { (self.form("role", html! {
                    input type="hidden" name="account" value=(member.account.uid);
                    span { select name="role" aria-label={"Role of " (name)} {
                        @for role in Role::ALL { option value=(role.name()) selected[role == member.role] { (role.name()) } }
                    } }
                    button.quiet type="submit" aria-label={"Set the role of " (name)} { "Set" }
                })) } @else { (member.role.name()) } }
                td.nowrap data-label="Since" { (words::ago(member.since, self.now)) }
                td.acts { @if self.owner || own { (self.leave(member, own)) } }
            }
        }
    }

    fn leave(&self, member: &Member, own: bool) -> Markup {
        let said = if own {
            ["Leave", "this team", "Somebody who owns it has to invite you again."]
        } else {
            ["Remove", &member.account.name, "They see nothing of this team any more. API keys stay as they are."]
        };
        self.sure("remove", ("account", member.account.uid), said)
    }

    fn invitations(&self) -> Markup {
        html! {
            section.panel aria-labelledby="invitations" {
                header { h2 id="invitations" { "Invitations" } p { "A link by which one person joins; it works once, for a week" } }
                @if !self.invitations.is_empty() { div.scroll { table.cards {
                    thead { tr { th { "For" } th { "Role" } th { "Ends" } th { span.sr { "Acts" } } } }
                    tbody { @for invitation in &self.invitations { tr {
                        td.break { @match &invitation.email { Some(email) => (email), None => "anybody with the link" } }
                        td data-label="Role" { (invitation.role.name()) }
                        td.nowrap data-label="Ends" { (words::ago(invitation.expires_at, self.now)) }
                        td.acts { (self.sure("revoke-invitation", ("invitation", invitation.uid), ["Take back", "this invitation", "Its link does not work any more."])) }
                    } } }
                } } }
                div.bulk { (self.form("invite", html! {
                    label for="invite-email" { "E-mail (optional)" } span { input id="invite-email" name="email" type="email"; }
                    label for="invite-role" { "Role" }
                    span { select id="invite-role" name="role" {
                        @for role in Role::ALL { option value=(role.name()) selected[role == Role::Member] { (role.name()) } }
                    } }
                    button type="submit" { "Make a link" }
                })) }
            }
        }
    }

    fn other_team(&self) -> Markup {
        html! {
            section.panel aria-labelledby="other-team" {
                header { h2 id="other-team" { "Another team" } p { "Its tasks, keys, endpoints and secrets are its own; you own it" } }
                div.body { (self.form("new-team", html! {
                    label for="team-name" { "Name" } span { input id="team-name" name="name" required maxlength="100"; }
                    button type="submit" { "Make a team" }
                })) }
            }
        }
    }

    fn secret(&self) -> Markup {
        html! {
            section.panel aria-labelledby="secret" {
                header { h2 id="secret" { "Webhook secret" } p { "Calls and completion webhooks are signed with it" } }
                div.body.inline {
                    (self.form("show-secret", html! { button type="submit" { "Show it" } }))
                    (frame::sure("Replace it", "the webhook secret", "The new one is shown once. Both sign until the grace time is over, so that no receiver misses one.",
                        self.form("rotate-secret", html! { button.danger type="submit" { "Replace the webhook secret" } })))
                }
            }
        }
    }
}
