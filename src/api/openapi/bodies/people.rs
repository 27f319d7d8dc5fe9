//! What requests of the management API hold, and the closed sets of words in its answers.

use serde::Serialize;
use utoipa::ToSchema;

/// What somebody may do in a team: a reader looks, a member acts on tasks, an owner decides about the team.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    Owner,
    Member,
    Reader,
}

/// How somebody came in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SessionKind {
    Browser,
    Api,
}

/// Who did something: a person, a program with an API key, somebody at the command line, or nobody who is known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActorKind {
    Account,
    Key,
    Operator,
    Stranger,
}

/// Who wants to come in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SignIn)]
pub struct SignIn {
    email: String,
    password: String,
}

/// A name.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Naming)]
pub struct Named {
    /// 1 to 100 visible characters; white space around them is dropped.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// Another password, and the one so far.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PasswordChange)]
pub struct PasswordGiven {
    current: String,
    /// At least 12 characters, at most 256 bytes, and not easy to guess.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

/// Somebody who has an account, and what they may do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = MemberCreation)]
pub struct MemberGiven {
    /// What their account signs in with.
    email: String,
    role: Role,
}

/// What a member may do from now on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RoleChange)]
pub struct RoleGiven {
    role: Role,
}

/// Who may join, and as what.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = InvitationCreation)]
pub struct InvitationGiven {
    role: Role,
    /// Only somebody with this address; anybody who has the link without it.
    #[schema(required = false)]
    email: Option<String>,
}

/// Somebody who has an account sends the token alone; anybody else says what their account is to be.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = InvitationAcceptance)]
pub enum Acceptance {
    Known(AcceptanceOfKnown),
    New(AcceptanceOfNew),
}

/// Joins with the account that one is signed in to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Joining)]
pub struct AcceptanceOfKnown {
    /// What the invitation's link ends with.
    token: String,
}

/// Joins with a new account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = JoiningAnew)]
pub struct AcceptanceOfNew {
    /// What the invitation's link ends with.
    token: String,
    /// What the account signs in with.
    #[schema(max_length = 254)]
    email: String,
    /// The address without it.
    #[schema(required = false)]
    name: Option<String>,
    /// At least 12 characters, at most 256 bytes, and not easy to guess.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}
