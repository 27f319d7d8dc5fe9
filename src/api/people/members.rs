//! Who is in a team, and how somebody joins it.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::{Request, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::own::{Revoked, Ticket, token};
use super::teams::Team;
use super::view::{InvitationView, MemberView, TeamView};
use super::{Named, One, Signed, Two, id, only, read, required, role};
use crate::api::Shared;
use crate::api::answer::json;
use crate::api::fields::{Fields, Reader};
use crate::api::openapi::bodies::people as bodies;
use crate::api::problem::Problem;
use crate::people::{NewPerson, Visitor};
use crate::store::{Door, Role};

#[derive(Serialize, ToSchema)]
#[schema(as = MemberList)]
struct Members<'a> {
    members: Vec<MemberView<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MemberAnswer)]
struct Envelope<'a> {
    member: MemberView<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = InvitationList)]
struct Invitations<'a> {
    invitations: Vec<InvitationView<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = InvitationAnswer)]
struct Invitation<'a> {
    invitation: InvitationView<'a>,
}

/// A team's members, in the order in which they came.
///
/// For its readers.
#[utoipa::path(
    get,
    path = "/teams/{teamId}/members",
    operation_id = "listMembers",
    tag = "Members and invitations",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The members", body = Members),
        (status = 403, description = "Access denied"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn list(State(api): State<Shared>, signed: Signed, Named(team): One) -> Result<Response, Problem> {
    let members = api.people.members(signed.acting(), id(&team, "Team")?).await?;
    Ok(json(StatusCode::OK, &Members { members: members.iter().map(MemberView::of).collect() }))
}

/// Adds somebody who has an account.
///
/// For owners.
#[utoipa::path(
    post,
    path = "/teams/{teamId}/members",
    operation_id = "addMember",
    tag = "Members and invitations",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    request_body = bodies::MemberGiven,
    responses(
        (status = 201, description = "The member", body = Envelope),
        (status = 400, description = "email is required\nThis is no e-mail address\nrole must be one of owner, member, reader"),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found\nAccount not found"),
        (status = 409, description = "They are in the team already"),
        (status = 415, description = "Content-Type must be application/json"),
    ),
    security(("session" = []))
)]
pub async fn add(
    State(api): State<Shared>,
    signed: Signed,
    Named(team): One,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let team = id(&team, "Team")?;
    api.people.team(signed.acting(), team, Role::Owner).await?;
    let text = read(&api, request).await?;
    let fields = Fields::parse(&text, &["email", "role"])?;
    let mut reader = Reader::new(&fields);
    let (email, role) = (required(&mut reader, "email"), role(&mut reader));
    reader.finish()?;
    let member = api.people.add_member(signed.acting(), team, &email, role).await?;
    Ok(json(StatusCode::CREATED, &Envelope { member: MemberView::of(&member) }))
}

/// Changes what somebody may do.
///
/// For owners.
#[utoipa::path(
    post,
    path = "/teams/{teamId}/members/{accountId}/role",
    operation_id = "setMemberRole",
    tag = "Members and invitations",
    params(
        ("teamId" = uuid::Uuid, Path, description = "The team's id"),
        ("accountId" = uuid::Uuid, Path, description = "The account's id"),
    ),
    request_body = bodies::RoleGiven,
    responses(
        (status = 200, description = "The member as they are now", body = Envelope),
        (status = 400, description = "role must be one of owner, member, reader"),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found\nMember not found"),
        (status = 409, description = "A team needs an owner"),
        (status = 415, description = "Content-Type must be application/json"),
    ),
    security(("session" = []))
)]
pub async fn set_role(
    State(api): State<Shared>,
    signed: Signed,
    Named((team, account)): Two,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (team, account) = (id(&team, "Team")?, id(&account, "Member")?);
    api.people.team(signed.acting(), team, Role::Owner).await?;
    let text = read(&api, request).await?;
    let fields = Fields::parse(&text, &["role"])?;
    let mut reader = Reader::new(&fields);
    let role = role(&mut reader);
    reader.finish()?;
    let member = api.people.set_role(signed.acting(), team, account, role).await?;
    Ok(json(StatusCode::OK, &Envelope { member: MemberView::of(&member) }))
}

/// Removes somebody, or leaves.
///
/// For owners; anybody may leave.
#[utoipa::path(
    post,
    path = "/teams/{teamId}/members/{accountId}/remove",
    operation_id = "removeMember",
    tag = "Members and invitations",
    params(
        ("teamId" = uuid::Uuid, Path, description = "The team's id"),
        ("accountId" = uuid::Uuid, Path, description = "The account's id"),
    ),
    responses(
        (status = 200, description = "The member, who is one no longer", body = Envelope),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found\nMember not found"),
        (status = 409, description = "A team needs an owner"),
    ),
    security(("session" = []))
)]
pub async fn remove(
    State(api): State<Shared>,
    signed: Signed,
    Named((team, account)): Two,
) -> Result<Response, Problem> {
    let (team, account) = (id(&team, "Team")?, id(&account, "Member")?);
    let member = api.people.remove_member(signed.acting(), team, account).await?;
    Ok(json(StatusCode::OK, &Envelope { member: MemberView::of(&member) }))
}

/// Invitations that work, oldest first.
///
/// For owners.
#[utoipa::path(
    get,
    path = "/teams/{teamId}/invitations",
    operation_id = "listInvitations",
    tag = "Members and invitations",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The invitations, without their links", body = Invitations),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found"),
    ),
    security(("session" = []))
)]
pub async fn invitations(State(api): State<Shared>, signed: Signed, Named(team): One) -> Result<Response, Problem> {
    let invitations = api.people.invitations(signed.acting(), id(&team, "Team")?).await?;
    let invitations = invitations.iter().map(InvitationView::of).collect();
    Ok(json(StatusCode::OK, &Invitations { invitations }))
}

/// Makes a link by which one person may join within a week; it is shown this once.
///
/// For owners.
#[utoipa::path(
    post,
    path = "/teams/{teamId}/invitations",
    operation_id = "createInvitation",
    tag = "Members and invitations",
    params(("teamId" = uuid::Uuid, Path, description = "The team's id")),
    request_body = bodies::InvitationGiven,
    responses(
        (status = 201, description = "The invitation with its link", body = Invitation),
        (status = 400, description = "role must be one of owner, member, reader\nThis is no e-mail address"),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Team not found"),
        (status = 409, description = "At most 100 invitations can be open"),
        (status = 415, description = "Content-Type must be application/json"),
    ),
    security(("session" = []))
)]
pub async fn invite(
    State(api): State<Shared>,
    signed: Signed,
    Named(team): One,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let team = id(&team, "Team")?;
    api.people.team(signed.acting(), team, Role::Owner).await?;
    let text = read(&api, request).await?;
    let fields = Fields::parse(&text, &["email", "role"])?;
    let mut reader = Reader::new(&fields);
    let (email, role) = (reader.string("email"), role(&mut reader));
    reader.finish()?;
    let invited = api.people.invite(signed.acting(), team, role, email.as_deref()).await?;
    let token = invited.bearer.expose();
    let url = api.invitation_url(token);
    let invitation = InvitationView::of(&invited.invitation).with_link(token, &url);
    Ok(json(StatusCode::CREATED, &Invitation { invitation }))
}

/// Takes an invitation back.
///
/// For owners of its team.
#[utoipa::path(
    post,
    path = "/invitations/{invitationId}/revoke",
    operation_id = "revokeInvitation",
    tag = "Members and invitations",
    params(("invitationId" = uuid::Uuid, Path, description = "The invitation's id")),
    responses(
        (status = 200, description = "Its link works no longer", body = Revoked),
        (status = 403, description = "Access denied\nThis needs the role owner"),
        (status = 404, description = "Invitation not found"),
    ),
    security(("session" = []))
)]
pub async fn revoke_invitation(
    State(api): State<Shared>,
    signed: Signed,
    Named(invitation): One,
) -> Result<Response, Problem> {
    api.people.revoke_invitation(signed.acting(), id(&invitation, "Invitation")?).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked: true }))
}

/// Joins a team: somebody who is signed in with the account that they have, anybody else with a new one.
#[utoipa::path(
    post,
    path = "/invitations/accept",
    operation_id = "acceptInvitation",
    tag = "Members and invitations",
    request_body = bodies::Acceptance,
    responses(
        (status = 200, description = "The team, for somebody who is signed in", body = Team),
        (status = 201, description = "A token of the new account", body = Ticket),
        (status = 400, description = "token is required\nThis invitation is for another address\nThere is an account with this address: sign in first, then open the link again\nThe password must have at least 12 characters"),
        (status = 404, description = "This link does not work, or not any more"),
        (status = 409, description = "You are in this team already"),
        (status = 415, description = "Content-Type must be application/json"),
        (status = 429, description = "Rate limit exceeded"),
    ),
    security((), ("session" = []))
)]
pub async fn accept(State(api): State<Shared>, visitor: Visitor, request: Request<Body>) -> Result<Response, Problem> {
    let (mut head, body) = request.into_parts();
    let signed = if head.headers.contains_key(header::AUTHORIZATION) {
        Some(Signed::from_request_parts(&mut head, &api).await?)
    } else {
        None
    };
    let text = Zeroizing::new(read(&api, Request::from_parts(head, body)).await?.to_vec());
    match signed {
        Some(signed) => {
            let (team, role) = api.people.accept(signed.acting(), &only(&text, "token")?).await?;
            Ok(json(StatusCode::OK, &Team { team: TeamView::of(&team, role) }))
        }
        None => accept_anew(&api, &text, &visitor).await,
    }
}

async fn accept_anew(api: &Shared, text: &[u8], visitor: &Visitor) -> Result<Response, Problem> {
    let fields = Fields::parse(text, &["token", "email", "name", "password"])?;
    let mut reader = Reader::new(&fields);
    let link = required(&mut reader, "token");
    let person = NewPerson {
        email: required(&mut reader, "email"),
        name: reader.string("name").unwrap_or_default(),
        password: Zeroizing::new(required(&mut reader, "password")),
    };
    reader.finish()?;
    let entered = api.people.accept_anew(&link, person, Door::Api, visitor).await?;
    Ok(token(StatusCode::CREATED, &api.people.issue(&entered.session, entered.account)))
}
