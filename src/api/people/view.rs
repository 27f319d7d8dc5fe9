//! People and what they manage, as the management API shows them.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::openapi::bodies::people as words;
use crate::store::{Account, Actor, ApiKey, Door, Invitation, Line, Member, Role, Session, Team};
use crate::wire::Iso;

/// Somebody who can sign in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Account)]
pub struct AccountView<'a> {
    id: Uuid,
    /// What they sign in with.
    email: &'a str,
    /// How they want to be called.
    name: &'a str,
    created_at: Iso,
}

impl<'a> AccountView<'a> {
    pub fn of(account: &'a Account) -> Self {
        let Account { uid, email, name, created_at, .. } = account;
        Self { id: *uid, email, name, created_at: Iso(*created_at) }
    }
}

/// A team, as somebody sees it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Team)]
pub struct TeamView<'a> {
    id: Uuid,
    name: &'a str,
    /// What whoever asks may do there.
    #[schema(value_type = words::Role)]
    role: &'static str,
    /// Requests per minute over all its keys; the service's own limit where there is none.
    #[schema(required)]
    rate_limit: Option<u32>,
    created_at: Iso,
}

impl<'a> TeamView<'a> {
    pub fn of(team: &'a Team, role: Role) -> Self {
        let Team { uid, name, rate_limit, created_at, .. } = team;
        Self { id: *uid, name, role: role.name(), rate_limit: *rate_limit, created_at: Iso(*created_at) }
    }
}

/// An API key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
pub struct KeyView<'a> {
    id: Uuid,
    name: &'a str,
    /// How the key begins.
    prefix: &'a str,
    /// The key itself, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key: Option<&'a str>,
    created_at: Iso,
    #[schema(required)]
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

/// Somebody who is in a team.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Member)]
pub struct MemberView<'a> {
    account: AccountView<'a>,
    #[schema(value_type = words::Role)]
    role: &'static str,
    /// When they came.
    since: Iso,
}

impl<'a> MemberView<'a> {
    pub fn of(member: &'a Member) -> Self {
        Self { account: AccountView::of(&member.account), role: member.role.name(), since: Iso(member.since) }
    }
}

/// A way to join a team.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Invitation)]
pub struct InvitationView<'a> {
    id: Uuid,
    #[schema(value_type = words::Role)]
    role: &'static str,
    /// Whom alone it is for; anybody who has the link where there is none.
    #[schema(required)]
    email: Option<&'a str>,
    /// What lets somebody in, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<&'a str>,
    /// The page where it is accepted, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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

/// Where somebody is signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub struct SessionView<'a> {
    id: Uuid,
    /// Whether the request came with it.
    current: bool,
    #[schema(value_type = words::SessionKind)]
    kind: &'static str,
    /// Where it began.
    #[schema(required)]
    address: Option<String>,
    /// What the client called itself.
    agent: &'a str,
    created_at: Iso,
    /// When it was last used, to the minute.
    seen_at: Iso,
    /// When it ends, used or not.
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

/// What was done.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct LineView<'a> {
    /// Later entries have larger ones.
    number: i64,
    at: Iso,
    actor: ActorView<'a>,
    /// What was done, such as `key.created`.
    action: &'static str,
    /// To what or whom.
    subject: &'a str,
    /// How it was called then, where the subject is an id: a key's or secret's name, an endpoint's provider, whom an invitation was for.
    #[schema(required)]
    subject_name: Option<&'a str>,
    /// Where it came from.
    #[schema(required)]
    address: Option<String>,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
struct ActorView<'a> {
    #[schema(value_type = words::ActorKind)]
    kind: &'static str,
    /// The account's or the key's.
    #[schema(required)]
    id: Option<Uuid>,
    /// The account's address, or how the key begins.
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
            subject_name: line.name.as_deref(),
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
