//! The people in the store: accounts, what they may do in which team, their sessions, invitations, and the audit log.
//!
//! [`Directory`] is a trait beside [`Store`](super::Store), so that what has no business with people cannot reach them.

use std::net::IpAddr;

use async_trait::async_trait;
use uuid::Uuid;

use super::{ApiKey, NewTeam, Seal, StoreError, Team};
use crate::task::{TeamId, Timestamp};

/// What somebody may do in a team. Each role may do all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks at everything but secrets.
    Reader,
    /// Works with tasks.
    Member,
    /// Decides about people, keys and secrets.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Member, Self::Owner];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Somebody who can sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// A `UUIDv7`.
    pub uid: Uuid,
    /// In lower case, unique.
    pub email: String,
    /// How they want to be called.
    pub name: String,
    /// The hash of the password in PHC form; none for who signs in elsewhere.
    pub password: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("uid", &self.uid).field("email", &self.email).finish_non_exhaustive()
    }
}

/// An account at somebody else's, by which one of ours signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose word it is.
    pub issuer: String,
    /// Whom the issuer means, for ever.
    pub subject: String,
}

/// A member of a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub account: Account,
    /// As what.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// By the pages, with a cookie.
    Browser,
    /// By the management API, with a signed token.
    Api,
}

/// Somebody's being signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// A `UUIDv7`; it may be shown.
    pub uid: Uuid,
    /// SHA-256 of what the browser holds.
    pub hash: [u8; 32],
    /// Whose.
    pub account: Uuid,
    /// Which team they look at.
    pub team: Option<TeamId>,
    /// How they came in.
    pub door: Door,
    /// From where.
    pub address: Option<IpAddr>,
    /// With what, in its own words.
    pub agent: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last used, give or take a minute.
    pub seen_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

/// A session with whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub account: Account,
    /// Their teams, oldest first.
    pub teams: Vec<(Team, Role)>,
}

/// A link by which somebody may join a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// A `UUIDv7`; it may be shown.
    pub uid: Uuid,
    /// SHA-256 of what the link holds.
    pub hash: [u8; 32],
    /// Which team.
    pub team: TeamId,
    /// As what.
    pub role: Role,
    /// Whom it is for, if only they may use it.
    pub email: Option<String>,
    /// Who invites.
    pub invited_by: Uuid,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Who accepts an invitation.
#[derive(Clone, Debug)]
pub enum Joining {
    /// Somebody who has an account.
    Known(Uuid),
    /// Somebody who gets one, and is signed in.
    New(Box<(Account, Session)>),
}

/// A change to people, or to what people decide about. Each is one atomic act with its line in the audit log.
#[derive(Clone)]
pub enum Change {
    /// The first account, which owns every team there is; uses the setup link up. `NotFound` if that is another one or
    /// has expired, `Taken` if there is an account.
    SetUp {
        /// SHA-256 of what the link holds.
        link: [u8; 32],
        /// The account.
        account: Account,
        /// It is signed in.
        session: Session,
    },
    /// Somebody signs in.
    SignIn(Session),
    /// Somebody signs in from elsewhere for the first time. `Taken` if the e-mail address is.
    SignUp {
        /// The account that is made.
        account: Account,
        /// Who they are there.
        identity: Identity,
        /// The session.
        session: Session,
    },
    /// An account can be signed in to from elsewhere.
    Link {
        /// Which account.
        account: Uuid,
        /// Who they are there.
        identity: Identity,
    },
    /// One of an account's sessions ends.
    EndSession {
        /// Whose.
        account: Uuid,
        /// Which.
        session: Uuid,
    },
    /// All of an account's sessions end but one.
    EndSessions {
        /// Whose.
        account: Uuid,
        /// The one that stays.
        but: Option<Uuid>,
    },
    /// A new password; all sessions but one end.
    SetPassword {
        /// Whose.
        account: Uuid,
        /// Its hash.
        password: String,
        /// The one that stays.
        but: Option<Uuid>,
    },
    /// A new name.
    Rename {
        /// Whose.
        account: Uuid,
        /// The name.
        name: String,
    },
    /// Somebody with an account joins a team. `Taken` if they are in it.
    AddMember {
        /// The team.
        team: TeamId,
        /// Who.
        account: Uuid,
        /// As what.
        role: Role,
    },
    /// A member's role changes. `LastOwner` if nobody would own the team.
    SetRole {
        /// The team.
        team: TeamId,
        /// Whose.
        account: Uuid,
        /// To this.
        role: Role,
    },
    /// A member leaves. `LastOwner` if nobody would own the team.
    RemoveMember {
        /// The team.
        team: TeamId,
        /// Who.
        account: Uuid,
    },
    /// A link is made by which somebody may join.
    Invite(Invitation),
    /// A link is taken back.
    RevokeInvitation {
        /// Whose.
        team: TeamId,
        /// Which.
        uid: Uuid,
    },
    /// A link is used, and used up. `NotFound` if it does not work; `Taken` if the account is in the team already, or
    /// the new account's e-mail address is in use.
    Accept {
        /// SHA-256 of what the link holds.
        invitation: [u8; 32],
        /// By whom.
        joining: Joining,
    },
    /// A team is made. `Taken` if the name is in use.
    CreateTeam {
        /// The team.
        team: NewTeam,
        /// Seals its webhook secret.
        seal: Seal,
        /// Who owns it.
        owner: Option<Uuid>,
    },
    /// A team's own rate limit.
    LimitTeam {
        /// The team.
        team: TeamId,
        /// Requests per minute.
        limit: Option<u32>,
    },
    /// An API key is made. `Taken` if it is in use.
    CreateKey(ApiKey),
    /// An API key stops working. `NotFound` if it does not work.
    RevokeKey(Uuid),
    /// A team's webhook secret is replaced; the old one signs too for a while.
    RotateSecret {
        /// The team.
        team: TeamId,
        /// The new one, sealed.
        sealed: Vec<u8>,
        /// How long the old one signs.
        old_until: Timestamp,
    },
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who was signed in.
    Account {
        /// Whose account.
        uid: Uuid,
        /// Its e-mail address then.
        email: String,
    },
    /// A program with an API key.
    Key {
        /// Which key.
        uid: Uuid,
        /// Its first characters.
        prefix: String,
    },
    /// An operator, by a command on the machine.
    Operator,
    /// Somebody who was not let in.
    Stranger,
}

/// A line of the audit log: who did what to what, when and from where. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// In which team; none if it was about an account alone.
    pub team: Option<TeamId>,
    /// To what: an id, a name or an e-mail address.
    pub subject: String,
    /// How it was called then, where the subject is an id: it may be gone when somebody reads this.
    pub name: Option<String>,
    /// From where.
    pub address: Option<IpAddr>,
}

/// Makes the closed set of actions, with their names.
macro_rules! actions {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in the log.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

actions! {
    /// The first account was made with the setup link.
    SetUp = "account.set_up",
    /// Somebody signed in.
    SignIn = "account.signed_in",
    /// A wrong password was given for an account.
    SignInRefused = "account.sign_in_refused",
    /// An account was made for somebody who signed in elsewhere.
    SignUp = "account.signed_up",
    /// An account can be signed in to from elsewhere.
    Link = "account.linked",
    /// Somebody signed out.
    SignOut = "account.signed_out",
    /// A session was ended.
    EndSession = "session.ended",
    /// All other sessions of an account were ended.
    EndSessions = "session.others_ended",
    /// A password was changed.
    SetPassword = "account.password_changed",
    /// A name was changed.
    Rename = "account.renamed",
    /// A team was made.
    CreateTeam = "team.created",
    /// A team's rate limit was set.
    LimitTeam = "team.limited",
    /// Somebody was added to a team.
    AddMember = "member.added",
    /// A member's role was changed.
    SetRole = "member.role_changed",
    /// A member was removed, or left.
    RemoveMember = "member.removed",
    /// An invitation was made.
    Invite = "invitation.created",
    /// An invitation was taken back.
    RevokeInvitation = "invitation.revoked",
    /// An invitation was accepted.
    Accept = "invitation.accepted",
    /// An API key was made.
    CreateKey = "key.created",
    /// An API key was revoked.
    RevokeKey = "key.revoked",
    /// A webhook secret was looked at.
    ShowSecret = "secret.shown",
    /// A webhook secret was replaced.
    RotateSecret = "secret.rotated",
    /// A value was put into the vault.
    CreateToken = "token.created",
    /// A value of the vault was revoked.
    RevokeToken = "token.revoked",
    /// An endpoint was made.
    CreateEndpoint = "endpoint.created",
    /// An endpoint got a new address.
    RotateEndpoint = "endpoint.rotated",
    /// An endpoint got another secret.
    ResecretEndpoint = "endpoint.secret_changed",
    /// An endpoint was removed.
    DeleteEndpoint = "endpoint.deleted",
    /// A task was cancelled by a person.
    CancelTask = "task.cancelled",
    /// A task was tried again by hand.
    RetryTask = "task.retried",
    /// A task was removed.
    DeleteTask = "task.deleted",
    /// A completion webhook was sent again by hand.
    ResendWebhook = "webhook.resent",
}

impl Action {
    /// The action of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}

/// Which lines of the audit log.
#[derive(Clone, Copy, Debug)]
pub struct AuditQuery {
    /// About what.
    pub scope: Scope,
    /// Only those with a smaller number: the next page.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// What a page of the audit log is about.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// What was done in a team.
    Team(TeamId),
    /// What somebody did, and what was done to their account.
    Account(Uuid),
}

/// Where people are kept. Each method is one atomic act; when a writing method returns `Ok`, its effect is on disk.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Makes a change and writes its line in the audit log: both or neither. The line about a new team is that team's.
    async fn change(&self, change: Change, line: Line) -> Result<(), StoreError>;

    /// Writes a line about something that was done elsewhere.
    async fn record(&self, line: Line) -> Result<(), StoreError>;

    /// A page of the audit log with the lines' numbers, newest first.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<(i64, Line)>, StoreError>;

    /// Whether there is an account.
    async fn has_accounts(&self) -> Result<bool, StoreError>;

    /// The link that makes the first account; the one before it stops working.
    async fn set_setup_link(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<(), StoreError>;

    /// Whether this is the setup link and works.
    async fn is_setup_link(&self, hash: [u8; 32], now: Timestamp) -> Result<bool, StoreError>;

    /// An account.
    async fn account(&self, uid: Uuid) -> Result<Account, StoreError>;

    /// The account with this e-mail address, in lower case.
    async fn account_of(&self, email: String) -> Result<Account, StoreError>;

    /// The account that is signed in to by this identity.
    async fn account_by(&self, identity: Identity) -> Result<Account, StoreError>;

    /// Whose session this is, by the hash of what the browser holds.
    async fn presence(&self, hash: [u8; 32]) -> Result<Presence, StoreError>;

    /// Whose session this is, by its id.
    async fn presence_of(&self, session: Uuid) -> Result<Presence, StoreError>;

    /// An account's sessions, newest first.
    async fn sessions(&self, account: Uuid) -> Result<Vec<Session>, StoreError>;

    /// A session was used.
    async fn seen(&self, session: Uuid, at: Timestamp) -> Result<(), StoreError>;

    /// A session looks at another team.
    async fn look_at(&self, session: Uuid, team: TeamId) -> Result<(), StoreError>;

    /// A team's members, in the order in which they came.
    async fn members(&self, team: TeamId) -> Result<Vec<Member>, StoreError>;

    /// A team's invitations that work, oldest first.
    async fn invitations(&self, team: TeamId, now: Timestamp) -> Result<Vec<Invitation>, StoreError>;

    /// The invitation of this hash, if it works.
    async fn invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<(Invitation, Team), StoreError>;

    /// The invitation of this id, whose ever it is.
    async fn invitation_of(&self, uid: Uuid) -> Result<Invitation, StoreError>;

    /// The team of this id.
    async fn team_of(&self, uid: Uuid) -> Result<Team, StoreError>;

    /// The API key of this id, revoked or not.
    async fn key_of(&self, uid: Uuid) -> Result<ApiKey, StoreError>;

    /// Forgets sessions not used since `unused_since` or over by `now`, invitations that are over, and lines of the
    /// audit log before `lines_before`. Answers how many rows.
    async fn tidy(&self, unused_since: Timestamp, lines_before: Timestamp, now: Timestamp)
    -> Result<usize, StoreError>;
}
