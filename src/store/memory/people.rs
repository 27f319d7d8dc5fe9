//! People in the reference model.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::Memory;
use super::shelf::Shelf;
use crate::store::{
    Account, ApiKey, AuditQuery, Change, Directory, Identity, Invitation, Joining, Line, Member, Presence, Role, Scope,
    Session, StoreError, Team,
};
use crate::task::{TeamId, Timestamp};

/// All people, and what they did.
#[derive(Default)]
pub(super) struct People {
    accounts: Vec<Account>,
    identities: Vec<(Identity, Uuid)>,
    members: Vec<Membership>,
    sessions: Vec<Session>,
    invitations: Vec<Invitation>,
    setup_link: Option<([u8; 32], Timestamp)>,
    lines: BTreeMap<i64, Line>,
    last_line: i64,
}

struct Membership {
    team: TeamId,
    account: Uuid,
    role: Role,
    since: Timestamp,
}

impl Shelf {
    /// Makes a change; answers the team that it made, if it made one.
    fn change(&mut self, change: Change, now: Timestamp) -> Result<Option<TeamId>, StoreError> {
        let Change::CreateTeam { team, seal, owner } = change else {
            return self.change_other(change, now).map(|()| None);
        };
        owner.map_or(Ok(()), |owner| self.people.account(|account| account.uid == owner).map(drop))?;
        let made = self.create_team(team, &seal, now)?.id;
        owner.map_or(Ok(()), |owner| self.add_member(made, owner, Role::Owner, now))?;
        Ok(Some(made))
    }

    fn change_other(&mut self, change: Change, now: Timestamp) -> Result<(), StoreError> {
        match change {
            Change::SetUp { link, account, session } => self.set_up(link, account, session, now),
            Change::LimitTeam { team, limit } => self.change_team(team, |team| team.rate_limit = limit).map(drop),
            Change::CreateKey(key) => self.create_key(key),
            Change::RevokeKey(uid) => self.revoke_key(uid, now).map(drop),
            Change::RotateSecret { team, sealed, old_until } => self.rotate_secret(team, sealed, old_until).map(drop),
            Change::AddMember { team, account, role } => self.add_member(team, account, role, now),
            Change::Accept { invitation, joining } => self.accept(invitation, joining, now),
            other => self.people.change(other),
        }
    }

    fn set_up(&mut self, link: [u8; 32], account: Account, session: Session, now: Timestamp) -> Result<(), StoreError> {
        if !self.people.accounts.is_empty() {
            return Err(StoreError::Taken);
        }
        if !self.people.is_setup_link(link, now) {
            return Err(StoreError::NotFound);
        }
        self.people.setup_link = None;
        let uid = account.uid;
        self.people.accounts.push(account);
        self.people.sessions.push(session);
        let teams: Vec<TeamId> = self.teams.keys().copied().collect();
        teams.into_iter().try_for_each(|team| self.add_member(team, uid, Role::Owner, now))
    }

    fn add_member(&mut self, team: TeamId, account: Uuid, role: Role, now: Timestamp) -> Result<(), StoreError> {
        if self.people.membership(team, account).is_ok() {
            return Err(StoreError::Taken);
        }
        self.people.account(|known| known.uid == account)?;
        if !self.teams.contains_key(&team) {
            return Err(StoreError::NotFound);
        }
        self.people.members.push(Membership { team, account, role, since: now });
        Ok(())
    }

    fn accept(&mut self, hash: [u8; 32], joining: Joining, now: Timestamp) -> Result<(), StoreError> {
        let invitation = self.people.invitation(hash, now)?.clone();
        match joining {
            Joining::Known(uid) => self.add_member(invitation.team, uid, invitation.role, now)?,
            Joining::New(newcomer) => {
                let (account, session) = *newcomer;
                let uid = account.uid;
                self.people.add_account(account)?;
                self.people.sessions.push(session);
                self.add_member(invitation.team, uid, invitation.role, now)?;
            }
        }
        self.people.invitations.retain(|other| other.uid != invitation.uid);
        Ok(())
    }

    fn presence(&self, is: impl Fn(&Session) -> bool) -> Result<Presence, StoreError> {
        let session = self.people.sessions.iter().find(|session| is(session)).ok_or(StoreError::NotFound)?.clone();
        let account = self.people.account(|account| account.uid == session.account)?.clone();
        let role = |team| self.people.membership(team, account.uid).ok().map(|found| found.role);
        let teams = self.teams.iter().filter_map(|(id, team)| Some((team.clone(), role(*id)?))).collect();
        Ok(Presence { session, account, teams })
    }
}

impl People {
    fn change(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::SignIn(session) => self.sessions.push(session),
            Change::SignUp { account, identity, session } => {
                self.must_be_free(&identity)?;
                let uid = account.uid;
                self.add_account(account)?;
                self.identities.push((identity, uid));
                self.sessions.push(session);
            }
            Change::Link { account, identity } => {
                self.must_be_free(&identity)?;
                self.identities.push((identity, account));
            }
            Change::EndSession { account, session } => {
                let count = self.sessions.len();
                self.sessions.retain(|known| known.uid != session || known.account != account);
                found(count > self.sessions.len())?;
            }
            Change::EndSessions { account, but } => self.end_sessions(account, but),
            Change::SetPassword { account, password, but } => {
                self.account_mut(account)?.password = Some(password);
                self.end_sessions(account, but);
            }
            Change::Rename { account, name } => self.account_mut(account)?.name = name,
            Change::SetRole { team, account, role } => self.set_role(team, account, role)?,
            Change::RemoveMember { team, account } => self.remove_member(team, account)?,
            Change::Invite(invitation) => self.invitations.push(invitation),
            Change::RevokeInvitation { team, uid } => {
                let count = self.invitations.len();
                self.invitations.retain(|known| known.uid != uid || known.team != team);
                found(count > self.invitations.len())?;
            }
            _ => unreachable!("the shelf does what is about teams"),
        }
        Ok(())
    }

    fn account(&self, is: impl Fn(&Account) -> bool) -> Result<&Account, StoreError> {
        self.accounts.iter().find(|account| is(account)).ok_or(StoreError::NotFound)
    }

    fn account_mut(&mut self, uid: Uuid) -> Result<&mut Account, StoreError> {
        self.accounts.iter_mut().find(|account| account.uid == uid).ok_or(StoreError::NotFound)
    }

    fn add_account(&mut self, account: Account) -> Result<(), StoreError> {
        if self.account(|known| known.email == account.email || known.uid == account.uid).is_ok() {
            return Err(StoreError::Taken);
        }
        self.accounts.push(account);
        Ok(())
    }

    fn must_be_free(&self, identity: &Identity) -> Result<(), StoreError> {
        if self.identities.iter().any(|(known, _)| known == identity) { Err(StoreError::Taken) } else { Ok(()) }
    }

    fn membership(&self, team: TeamId, account: Uuid) -> Result<&Membership, StoreError> {
        let is = |known: &&Membership| known.team == team && known.account == account;
        self.members.iter().find(is).ok_or(StoreError::NotFound)
    }

    fn must_have_owner(&self, team: TeamId, without: Uuid) -> Result<(), StoreError> {
        let owners: Vec<Uuid> = self
            .members
            .iter()
            .filter(|known| known.team == team && known.role == Role::Owner)
            .map(|known| known.account)
            .collect();
        if owners == [without] { Err(StoreError::LastOwner) } else { Ok(()) }
    }

    fn set_role(&mut self, team: TeamId, account: Uuid, role: Role) -> Result<(), StoreError> {
        if role != Role::Owner {
            self.must_have_owner(team, account)?;
        }
        let is = |known: &&mut Membership| known.team == team && known.account == account;
        self.members.iter_mut().find(is).ok_or(StoreError::NotFound)?.role = role;
        Ok(())
    }

    fn remove_member(&mut self, team: TeamId, account: Uuid) -> Result<(), StoreError> {
        self.must_have_owner(team, account)?;
        let count = self.members.len();
        self.members.retain(|known| known.team != team || known.account != account);
        found(count > self.members.len())
    }

    fn end_sessions(&mut self, account: Uuid, but: Option<Uuid>) {
        self.sessions.retain(|known| known.account != account || Some(known.uid) == but);
    }

    fn session_mut(&mut self, uid: Uuid) -> Result<&mut Session, StoreError> {
        self.sessions.iter_mut().find(|session| session.uid == uid).ok_or(StoreError::NotFound)
    }

    fn is_setup_link(&self, hash: [u8; 32], now: Timestamp) -> bool {
        self.setup_link.is_some_and(|(known, until)| known == hash && now < until)
    }

    fn invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<&Invitation, StoreError> {
        let works = |known: &&Invitation| known.hash == hash && now < known.expires_at;
        self.invitations.iter().find(works).ok_or(StoreError::NotFound)
    }

    fn write(&mut self, line: Line) {
        self.last_line += 1;
        self.lines.insert(self.last_line, line);
    }

    fn is_about(&self, line: &Line, scope: Scope) -> bool {
        let owns_subject = |uid| self.account(|known| known.uid == uid && known.email == line.subject).is_ok();
        match scope {
            Scope::Team(team) => {
                let mut members = self.members.iter().filter(|known| known.team == team);
                line.team == Some(team) || line.team.is_none() && members.any(|known| owns_subject(known.account))
            }
            Scope::Account(account) => {
                let acted = matches!(line.actor, crate::store::Actor::Account { uid, .. } if uid == account);
                acted || line.team.is_none() && owns_subject(account)
            }
        }
    }

    fn tidy(&mut self, unused_since: Timestamp, lines_before: Timestamp, now: Timestamp) -> usize {
        let count = |people: &Self| people.sessions.len() + people.invitations.len() + people.lines.len();
        let before = count(self);
        self.sessions.retain(|session| session.seen_at >= unused_since && now < session.expires_at);
        self.invitations.retain(|invitation| now < invitation.expires_at);
        let old: Vec<i64> = self
            .lines
            .iter()
            .take(1000)
            .filter(|(_, line)| line.at < lines_before)
            .map(|(number, _)| *number)
            .collect();
        for number in &old {
            self.lines.remove(number);
        }
        before - count(self)
    }
}

fn found(is: bool) -> Result<(), StoreError> {
    if is { Ok(()) } else { Err(StoreError::NotFound) }
}

#[async_trait]
impl Directory for Memory {
    async fn change(&self, change: Change, line: Line) -> Result<(), StoreError> {
        self.write(|shelf| {
            let made = shelf.change(change, line.at)?;
            shelf.people.write(Line { team: made.or(line.team), ..line });
            Ok(())
        })
    }

    async fn record(&self, line: Line) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.people.write(line);
            Ok(())
        })
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<(i64, Line)>, StoreError> {
        self.read_with(|shelf| {
            let people = &shelf.people;
            let earlier = people.lines.iter().rev().filter(|(number, _)| query.before.is_none_or(|at| **number < at));
            let lines = earlier.filter(|(_, line)| people.is_about(line, query.scope)).take(query.limit as usize);
            Ok(lines.map(|(number, line)| (*number, line.clone())).collect())
        })
    }

    async fn has_accounts(&self) -> Result<bool, StoreError> {
        self.read_with(|shelf| Ok(!shelf.people.accounts.is_empty()))
    }

    async fn set_setup_link(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.people.setup_link = Some((hash, expires_at));
            Ok(())
        })
    }

    async fn is_setup_link(&self, hash: [u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        self.read_with(|shelf| Ok(shelf.people.is_setup_link(hash, now)))
    }

    async fn account(&self, uid: Uuid) -> Result<Account, StoreError> {
        self.read_with(|shelf| shelf.people.account(|account| account.uid == uid).cloned())
    }

    async fn account_of(&self, email: String) -> Result<Account, StoreError> {
        self.read_with(|shelf| shelf.people.account(|account| account.email == email).cloned())
    }

    async fn account_by(&self, identity: Identity) -> Result<Account, StoreError> {
        self.read_with(|shelf| {
            let known = shelf.people.identities.iter().find(|(known, _)| *known == identity);
            let (_, uid) = known.ok_or(StoreError::NotFound)?;
            shelf.people.account(|account| account.uid == *uid).cloned()
        })
    }

    async fn presence(&self, hash: [u8; 32]) -> Result<Presence, StoreError> {
        self.read_with(|shelf| shelf.presence(|session| session.hash == hash))
    }

    async fn presence_of(&self, session: Uuid) -> Result<Presence, StoreError> {
        self.read_with(|shelf| shelf.presence(|known| known.uid == session))
    }

    async fn sessions(&self, account: Uuid) -> Result<Vec<Session>, StoreError> {
        let is = |session: &&Session| session.account == account;
        self.read_with(|shelf| Ok(shelf.people.sessions.iter().rev().filter(is).cloned().collect()))
    }

    async fn seen(&self, session: Uuid, at: Timestamp) -> Result<(), StoreError> {
        self.write(|shelf| {
            let session = shelf.people.session_mut(session)?;
            session.seen_at = session.seen_at.max(at);
            Ok(())
        })
    }

    async fn look_at(&self, session: Uuid, team: TeamId) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.people.session_mut(session)?.team = Some(team);
            Ok(())
        })
    }

    async fn members(&self, team: TeamId) -> Result<Vec<Member>, StoreError> {
        self.read_with(|shelf| {
            let of_team = shelf.people.members.iter().filter(|known| known.team == team);
            let member = |known: &Membership| {
                let account = shelf.people.account(|account| account.uid == known.account)?.clone();
                Ok(Member { account, role: known.role, since: known.since })
            };
            of_team.map(member).collect()
        })
    }

    async fn invitations(&self, team: TeamId, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
        let works = |known: &&Invitation| known.team == team && now < known.expires_at;
        self.read_with(|shelf| Ok(shelf.people.invitations.iter().filter(works).cloned().collect()))
    }

    async fn invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<(Invitation, Team), StoreError> {
        self.read_with(|shelf| {
            let invitation = shelf.people.invitation(hash, now)?.clone();
            let team = shelf.teams.get(&invitation.team).ok_or(StoreError::NotFound)?.clone();
            Ok((invitation, team))
        })
    }

    async fn invitation_of(&self, uid: Uuid) -> Result<Invitation, StoreError> {
        self.read_with(|shelf| {
            let known = shelf.people.invitations.iter().find(|known| known.uid == uid);
            known.cloned().ok_or(StoreError::NotFound)
        })
    }

    async fn team_of(&self, uid: Uuid) -> Result<Team, StoreError> {
        self.read_with(|shelf| shelf.teams.values().find(|team| team.uid == uid).cloned().ok_or(StoreError::NotFound))
    }

    async fn key_of(&self, uid: Uuid) -> Result<ApiKey, StoreError> {
        self.read_with(|shelf| shelf.keys.iter().find(|key| key.uid == uid).cloned().ok_or(StoreError::NotFound))
    }

    async fn tidy(
        &self,
        unused_since: Timestamp,
        lines_before: Timestamp,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write(|shelf| Ok(shelf.people.tidy(unused_since, lines_before, now)))
    }
}
