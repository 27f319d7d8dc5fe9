//! Somebody who does something: who they are, what they may, and what is written down about it.

use std::net::IpAddr;

use uuid::Uuid;

use super::{People, Visitor, Wrong};
use crate::store::{Action, Actor, ApiKey, Endpoint, Line, Presence, Role, StoreError, Team, Token};

/// What something was done to, as the audit log says it.
pub struct Subject {
    pub(super) id: String,
    pub(super) name: Option<String>,
}

impl Subject {
    /// With the name that it goes by.
    pub(super) fn called(id: impl ToString, name: impl Into<String>) -> Self {
        Self { id: id.to_string(), name: Some(name.into()) }
    }
}

impl From<String> for Subject {
    /// It says by itself what it is.
    fn from(id: String) -> Self {
        Self { id, name: None }
    }
}

impl From<&ApiKey> for Subject {
    fn from(key: &ApiKey) -> Self {
        Self::called(key.uid, &key.name)
    }
}

impl From<&Token> for Subject {
    fn from(token: &Token) -> Self {
        Self::called(&token.id, &token.name)
    }
}

impl From<&Endpoint> for Subject {
    fn from(endpoint: &Endpoint) -> Self {
        Self::called(endpoint.uid, &endpoint.provider)
    }
}

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
        subject: impl Into<Subject>,
    ) -> Result<(), StoreError> {
        self.directory.record(self.about(who, action, team, subject)).await
    }

    /// Writes down what a program did with a key.
    pub async fn record_by_key(
        &self,
        key: &ApiKey,
        address: Option<IpAddr>,
        action: Action,
        subject: impl Into<Subject>,
    ) -> Result<(), StoreError> {
        let actor = Actor::Key { uid: key.uid, prefix: key.prefix.clone() };
        let (at, team) = (self.clock.now(), Some(key.team));
        let Subject { id: subject, name } = subject.into();
        self.directory.record(Line { at, actor, action, team, subject, name, address }).await
    }

    /// A line about something in a team.
    pub(super) fn about(&self, who: Acting<'_>, action: Action, team: &Team, subject: impl Into<Subject>) -> Line {
        let Subject { id: subject, name } = subject.into();
        Line {
            at: self.clock.now(),
            actor: who.actor(),
            action,
            team: Some(team.id),
            subject,
            name,
            address: who.visitor.address,
        }
    }
}
