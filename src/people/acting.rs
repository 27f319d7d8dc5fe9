//! Somebody who does something: who they are, what they may, and what is written down about it.

use std::net::IpAddr;

use uuid::Uuid;

use super::{People, Visitor, Wrong};
use crate::store::{Action, Actor, ApiKey, Line, Presence, Role, StoreError, Team};

/// Somebody who is signed in and asks for something.
#[derive(Clone, Copy)]
pub struct Acting<'a> {
    /// Who.
    pub presence: &'a Presence,
    /// From where.
    pub visitor: &'a Visitor,
}

impl Acting<'_> {
    /// The account.
    pub(super) fn uid(&self) -> Uuid {
        self.presence.account.uid
    }

    fn actor(&self) -> Actor {
        Actor::Account { uid: self.uid(), email: self.presence.account.email.clone() }
    }
}

impl People {
    /// The team of this id, if they may do there what needs this role.
    pub async fn team(&self, who: Acting<'_>, team: Uuid, needs: Role) -> Result<Team, Wrong> {
        let Some((team, role)) = who.presence.teams.iter().find(|(known, _)| known.uid == team) else {
            return match self.directory.team_of(team).await {
                Ok(_) => Err(Wrong::NotYours),
                Err(StoreError::NotFound) => Err(Wrong::Missing("Team")),
                Err(error) => Err(error.into()),
            };
        };
        if *role >= needs { Ok(team.clone()) } else { Err(Wrong::Role(needs.name())) }
    }

    /// Writes down what somebody did elsewhere: to a task, an endpoint, the vault.
    pub async fn record(
        &self,
        who: Acting<'_>,
        action: Action,
        team: &Team,
        subject: impl Into<String>,
    ) -> Result<(), StoreError> {
        self.directory.record(self.about(who, action, team, subject)).await
    }

    /// Writes down what a program did with a key.
    pub async fn record_by_key(
        &self,
        key: &ApiKey,
        address: Option<IpAddr>,
        action: Action,
        subject: impl Into<String>,
    ) -> Result<(), StoreError> {
        let actor = Actor::Key { uid: key.uid, prefix: key.prefix.clone() };
        let (at, team) = (self.clock.now(), Some(key.team));
        self.directory.record(Line { at, actor, action, team, subject: subject.into(), address }).await
    }

    /// A line about something in a team.
    pub(super) fn about(&self, who: Acting<'_>, action: Action, team: &Team, subject: impl Into<String>) -> Line {
        Line {
            at: self.clock.now(),
            actor: who.actor(),
            action,
            team: Some(team.id),
            subject: subject.into(),
            address: who.visitor.address,
        }
    }
}
