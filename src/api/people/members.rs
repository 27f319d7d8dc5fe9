//! Who is in a team, and how somebody joins it.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use http::{Request, StatusCode, header};
use serde::Serialize;
use zeroize::Zeroizing;

use super::own::{Revoked, token};
use super::view::{InvitationView, MemberView, TeamView};
use super::{One, Signed, Two, id, only, read, required, role};
use crate::api::Shared;
use crate::api::answer::json;
use crate::api::fields::{Fields, Reader};
use crate::api::problem::Problem;
use crate::people::{NewPerson, Visitor};
use crate::store::{Door, Role};

#[derive(Serialize)]
struct Members<'a> {
    members: Vec<MemberView<'a>>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    member: MemberView<'a>,
}

#[derive(Serialize)]
struct Invitations<'a> {
    invitations: Vec<InvitationView<'a>>,
}

#[derive(Serialize)]
struct Invitation<'a> {
    invitation: InvitationView<'a>,
}

/// A team's members.
pub async fn list(State(api): State<Shared>, signed: Signed, Path(team): One) -> Result<Response, Problem> {
    let members = api.people.members(signed.acting(), id(&team, "Team")?).await?;
    Ok(json(StatusCode::OK, &Members { members: members.iter().map(MemberView::of).collect() }))
}

/// Adds somebody who has an account.
pub async fn add(
    State(api): State<Shared>,
    signed: Signed,
    Path(team): One,
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
pub async fn set_role(
    State(api): State<Shared>,
    signed: Signed,
    Path((team, account)): Two,
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
pub async fn remove(
    State(api): State<Shared>,
    signed: Signed,
    Path((team, account)): Two,
) -> Result<Response, Problem> {
    let (team, account) = (id(&team, "Team")?, id(&account, "Member")?);
    let member = api.people.remove_member(signed.acting(), team, account).await?;
    Ok(json(StatusCode::OK, &Envelope { member: MemberView::of(&member) }))
}

/// Invitations that work.
pub async fn invitations(State(api): State<Shared>, signed: Signed, Path(team): One) -> Result<Response, Problem> {
    let invitations = api.people.invitations(signed.acting(), id(&team, "Team")?).await?;
    let invitations = invitations.iter().map(InvitationView::of).collect();
    Ok(json(StatusCode::OK, &Invitations { invitations }))
}

/// Makes a link by which somebody may join; it is shown this once.
pub async fn invite(
    State(api): State<Shared>,
    signed: Signed,
    Path(team): One,
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
pub async fn revoke_invitation(
    State(api): State<Shared>,
    signed: Signed,
    Path(invitation): One,
) -> Result<Response, Problem> {
    api.people.revoke_invitation(signed.acting(), id(&invitation, "Invitation")?).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked: true }))
}

/// Joins a team: somebody who is signed in with the account that they have, anybody else with a new one.
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
            Ok(json(StatusCode::OK, &super::teams::Team { team: TeamView::of(&team, role) }))
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
