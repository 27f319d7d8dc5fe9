//! Who is in a team, and how somebody joins it.

use uuid::Uuid;

use super::door::check_email;
use super::teams::{missing, taken};
use super::{Acting, Entered, NewPerson, People, Subject, Visitor, Wrong};
use crate::credentials::Bearer;
use crate::store::{Action, Change, Door, Invitation, Joining, Line, Member, Role, StoreError, Team};

/// How long an invitation works.
const INVITATION_MS: i64 = 7 * 24 * 3600 * 1000;

/// Invitations that work at once, for each team.
const INVITATIONS_MAX: usize = 100;

/// An invitation that was just made; the only time that its link is shown.
pub struct Invited {
    /// What the link holds.
    pub bearer: Bearer,
    /// What is kept of it.
    pub invitation: Invitation,
}

impl People {
    /// A team's members, in the order in which they came. Any of them may see the others.
    pub async fn members(&self, who: Acting<'_>, team: Uuid) -> Result<Vec<Member>, Wrong> {
        let team = self.team(who, team, Role::Reader).await?;
        Ok(self.directory.members(team.id).await?)
    }

    /// Adds somebody who has an account. Needs the role owner.
    pub async fn add_member(&self, who: Acting<'_>, team: Uuid, email: &str, role: Role) -> Result<Member, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        let account = self.directory.account_of(check_email(email)?).await;
        let account = account.map_err(|error| missing(error, "Account"))?;
        let line = self.about(who, Action::AddMember, &team, subject(&account.email, role));
        let since = line.at;
        let change = Change::AddMember { team: team.id, account: account.uid, role };
        self.change_members(change, line).await.map_err(|error| taken(error, "They are in the team already"))?;
        Ok(Member { account, role, since })
    }

    /// Changes what somebody may do. Needs the role owner.
    pub async fn set_role(&self, who: Acting<'_>, team: Uuid, account: Uuid, role: Role) -> Result<Member, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        let member = self.member(&team, account).await?;
        let line = self.about(who, Action::SetRole, &team, subject(&member.account.email, role));
        let change = Change::SetRole { team: team.id, account, role };
        self.change_members(change, line).await.map_err(|error| missing(error, "Member"))?;
        Ok(Member { role, ..member })
    }

    /// Removes somebody. Needs the role owner, but anybody may leave.
    pub async fn remove_member(&self, who: Acting<'_>, team: Uuid, account: Uuid) -> Result<Member, Wrong> {
        let needs = if account == who.uid() { Role::Reader } else { Role::Owner };
        let team = self.team(who, team, needs).await?;
        let member = self.member(&team, account).await?;
        let line = self.about(who, Action::RemoveMember, &team, member.account.email.clone());
        let change = Change::RemoveMember { team: team.id, account };
        self.change_members(change, line).await.map_err(|error| missing(error, "Member"))?;
        Ok(member)
    }

    async fn member(&self, team: &Team, account: Uuid) -> Result<Member, Wrong> {
        let members = self.directory.members(team.id).await?;
        members.into_iter().find(|member| member.account.uid == account).ok_or(Wrong::Missing("Member"))
    }

    async fn change_members(&self, change: Change, line: Line) -> Result<(), StoreError> {
        let done = self.directory.change(change, line).await;
        self.present.clear();
        done
    }

    /// Invitations that work, oldest first. Needs the role owner.
    pub async fn invitations(&self, who: Acting<'_>, team: Uuid) -> Result<Vec<Invitation>, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        Ok(self.directory.invitations(team.id, self.clock.now()).await?)
    }

    /// Makes a link by which one person may join; only the one with this address, if there is one. Needs the role owner.
    pub async fn invite(&self, who: Acting<'_>, team: Uuid, role: Role, email: Option<&str>) -> Result<Invited, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        let email = email.map(check_email).transpose()?;
        let bearer = Bearer::generate();
        let (id, created_at) = self.ids.make();
        if self.directory.invitations(team.id, created_at).await?.len() >= INVITATIONS_MAX {
            return Err(Wrong::Conflict(format!("At most {INVITATIONS_MAX} invitations can be open")));
        }
        let invitation = Invitation {
            uid: id.0,
            hash: bearer.hash(),
            team: team.id,
            role,
            email,
            invited_by: who.uid(),
            created_at,
            expires_at: created_at.plus_millis(INVITATION_MS),
        };
        let line = self.about(who, Action::Invite, &team, whom(&invitation));
        self.directory.change(Change::Invite(invitation.clone()), line).await?;
        Ok(Invited { bearer, invitation })
    }

    /// Takes an invitation back. Needs the role owner in its team.
    pub async fn revoke_invitation(&self, who: Acting<'_>, uid: Uuid) -> Result<Invitation, Wrong> {
        let known = self.directory.invitation_of(uid).await.map_err(|error| missing(error, "Invitation"))?;
        let team = self.store.team(known.team).await?;
        let team = self.team(who, team.uid, Role::Owner).await?;
        let line = self.about(who, Action::RevokeInvitation, &team, Subject::called(uid, whom(&known)));
        let done = self.directory.change(Change::RevokeInvitation { team: team.id, uid }, line).await;
        done.map_err(|error| missing(error, "Invitation"))?;
        Ok(known)
    }

    /// The invitation of a link, if it works.
    pub async fn invitation(&self, link: &str) -> Result<(Invitation, Team), Wrong> {
        let link = Bearer::parse(link).ok_or(Wrong::Link)?;
        self.directory.invitation(link.hash(), self.clock.now()).await.map_err(dead)
    }

    /// Makes an account for somebody who was invited, and lets them in.
    pub async fn accept_anew(
        &self,
        link: &str,
        person: NewPerson,
        door: Door,
        visitor: &Visitor,
    ) -> Result<Entered, Wrong> {
        self.knock(None, visitor)?;
        let (invitation, team) = self.invitation(link).await?;
        must_be_for(&invitation, &check_email(&person.email)?)?;
        let account = self.new_account(person).await?;
        let entered = self.entered(account, door, visitor);
        let joining = Joining::New(Box::new((entered.account.clone(), entered.session.clone())));
        let line = self.line(&entered.account, Action::Accept, visitor);
        let line = Line { team: Some(team.id), subject: subject(&entered.account.email, invitation.role), ..line };
        let change = Change::Accept { invitation: invitation.hash, joining };
        self.directory.change(change, line).await.map_err(|error| match error {
            StoreError::Taken => {
                Wrong::field("email", "There is an account with this address: sign in first, then open the link again")
            }
            other => dead(other),
        })?;
        Ok(entered)
    }

    /// Lets somebody who has an account join; answers the team, and as what they are in it.
    pub async fn accept(&self, who: Acting<'_>, link: &str) -> Result<(Team, Role), Wrong> {
        let (invitation, team) = self.invitation(link).await?;
        let account = &who.presence.account;
        must_be_for(&invitation, &account.email)?;
        let line = self.about(who, Action::Accept, &team, subject(&account.email, invitation.role));
        let change = Change::Accept { invitation: invitation.hash, joining: Joining::Known(account.uid) };
        self.change_members(change, line).await.map_err(|error| match error {
            StoreError::Taken => Wrong::Conflict("You are in this team already".to_owned()),
            other => dead(other),
        })?;
        Ok((team, invitation.role))
    }
}

fn must_be_for(invitation: &Invitation, email: &str) -> Result<(), Wrong> {
    match &invitation.email {
        Some(invited) if invited != email => Err(Wrong::field("email", "This invitation is for another address")),
        _ => Ok(()),
    }
}

fn dead(error: StoreError) -> Wrong {
    match error {
        StoreError::NotFound => Wrong::Link,
        other => other.into(),
    }
}

/// Whom an invitation is for, and as what.
fn whom(invitation: &Invitation) -> String {
    subject(invitation.email.as_deref().unwrap_or("anybody with the link"), invitation.role)
}

fn subject(whom: &str, role: Role) -> String {
    format!("{whom} ({})", role.name())
}
