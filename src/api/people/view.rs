//! People and what they manage, as the management API shows them.

use serde::Serialize;
use uuid::Uuid;

use crate::store::{Account, Actor, ApiKey, Door, Invitation, Line, Member, Role, Session, Team};
use crate::wire::Iso;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView<'a> {
    id: Uuid,
    email: &'a str,
    name: &'a str,
    created_at: Iso,
}

impl<'a> AccountView<'a> {
    pub fn of(account: &'a Account) -> Self {
        let Account { uid, email, name, created_at, .. } = account;
        Self { id: *uid, email, name, created_at: Iso(*created_at) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TeamView<'a> {
    id: Uuid,
    name: &'a str,
    role: &'static str,
    rate_limit: Option<u32>,
    created_at: Iso,
}

impl<'a> TeamView<'a> {
    pub fn of(team: &'a Team, role: Role) -> Self {
        let Team { uid, name, rate_limit, created_at, .. } = team;
        Self { id: *uid, name, role: role.name(), rate_limit: *rate_limit, created_at: Iso(*created_at) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView<'a> {
    id: Uuid,
    name: &'a str,
    prefix: &'a str,
    /// The key itself, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    created_at: Iso,
    revoked_at: Option<Iso>,
}

impl<'a> KeyView<'a> {
    pub fn of(key: &'a ApiKey) -> Self {
        let ApiKey { uid, name, prefix, created_at, revoked_at, .. } = key;
        Self { id: *uid, name, prefix, key: None, created_at: Iso(*created_at), revoked_at: revoked_at.map(Iso) }
    }

    pub fn with_key(self, key: &'a str) -> Self {
        Self { key: Some(key), ..self }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView<'a> {
    account: AccountView<'a>,
    role: &'static str,
    since: Iso,
}

impl<'a> MemberView<'a> {
    pub fn of(member: &'a Member) -> Self {
        Self { account: AccountView::of(&member.account), role: member.role.name(), since: Iso(member.since) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitationView<'a> {
    id: Uuid,
    role: &'static str,
    email: Option<&'a str>,
    /// What lets somebody in, and where, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    created_at: Iso,
    expires_at: Iso,
}

impl<'a> InvitationView<'a> {
    pub fn of(invitation: &'a Invitation) -> Self {
        Self {
            id: invitation.uid,
            role: invitation.role.name(),
            email: invitation.email.as_deref(),
            token: None,
            url: None,
            created_at: Iso(invitation.created_at),
            expires_at: Iso(invitation.expires_at),
        }
    }

    pub fn with_link(self, token: &'a str, url: &'a str) -> Self {
        Self { token: Some(token), url: Some(url), ..self }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView<'a> {
    id: Uuid,
    current: bool,
    kind: &'static str,
    address: Option<String>,
    agent: &'a str,
    created_at: Iso,
    seen_at: Iso,
    expires_at: Iso,
}

impl<'a> SessionView<'a> {
    pub fn of(session: &'a Session, current: Uuid) -> Self {
        Self {
            id: session.uid,
            current: session.uid == current,
            kind: match session.door {
                Door::Browser => "browser",
                Door::Api => "api",
            },
            address: session.address.map(|address| address.to_string()),
            agent: &session.agent,
            created_at: Iso(session.created_at),
            seen_at: Iso(session.seen_at),
            expires_at: Iso(session.expires_at),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineView<'a> {
    number: i64,
    at: Iso,
    actor: ActorView<'a>,
    action: &'static str,
    subject: &'a str,
    address: Option<String>,
}

#[derive(Serialize)]
struct ActorView<'a> {
    kind: &'static str,
    id: Option<Uuid>,
    name: &'a str,
}

impl<'a> LineView<'a> {
    pub fn of((number, line): &'a (i64, Line)) -> Self {
        Self {
            number: *number,
            at: Iso(line.at),
            actor: actor(&line.actor),
            action: line.action.name(),
            subject: &line.subject,
            address: line.address.map(|address| address.to_string()),
        }
    }
}

fn actor(actor: &Actor) -> ActorView<'_> {
    match actor {
        Actor::Account { uid, email } => ActorView { kind: "account", id: Some(*uid), name: email },
        Actor::Key { uid, prefix } => ActorView { kind: "key", id: Some(*uid), name: prefix },
        Actor::Operator => ActorView { kind: "operator", id: None, name: "" },
        Actor::Stranger => ActorView { kind: "stranger", id: None, name: "" },
    }
}
