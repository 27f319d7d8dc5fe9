//! What an operator does by command on the machine, where nobody signs in: whoever may use the private socket beside the
//! database owns everything anyway. It is written down all the same.

use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::teams::{missing, taken};
use super::{People, Subject, Wrong};
use crate::credentials::{ApiKeySecret, Bearer, Keyring};
use crate::store::{Account, Action, Actor, ApiKey, Change, Line, NewTeam, Role, StoreError, Team};
use crate::task::TeamId;

/// How long a password is that is made up here.
const PASSWORD_CHARACTERS: usize = 24;

impl People {
    /// Makes a team that nobody owns yet.
    pub async fn operator_creates_team(&self, name: String, rate_limit: Option<u32>) -> Result<Team, StoreError> {
        let keyring = self.keyring.clone();
        let seal = Arc::new(move |team| keyring.seal_webhook_secret(team, &Keyring::new_webhook_secret()));
        let (id, _) = self.ids.make();
        let line = self.operator(Action::CreateTeam, None, name.clone());
        let team = NewTeam { uid: id.0, name, rate_limit };
        self.directory.change(Change::CreateTeam { team, seal, owner: None }, line).await?;
        self.directory.team_of(id.0).await
    }

    /// Sets or lifts a team's own rate limit.
    pub async fn operator_limits_team(&self, team: TeamId, limit: Option<u32>) -> Result<Team, StoreError> {
        let shown = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit} a minute"));
        let line = self.operator(Action::LimitTeam, Some(team), shown);
        self.directory.change(Change::LimitTeam { team, limit }, line).await?;
        self.teams.forget();
        self.store.team(team).await
    }

    /// Adds a key that works at once.
    pub async fn operator_creates_key(
        &self,
        team: TeamId,
        name: String,
        key: &ApiKeySecret,
    ) -> Result<ApiKey, StoreError> {
        let (id, created_at) = self.ids.make();
        let (prefix, hash) = (key.shown(), key.hash());
        let record = ApiKey { uid: id.0, team, name, prefix, hash, created_at, revoked_at: None };
        let line = self.operator(Action::CreateKey, Some(team), &record);
        self.directory.change(Change::CreateKey(record.clone()), line).await?;
        self.teams.forget();
        Ok(record)
    }

    /// Stops a key from working.
    pub async fn operator_revokes_key(&self, key: Uuid) -> Result<ApiKey, StoreError> {
        let known = self.directory.key_of(key).await?;
        let line = self.operator(Action::RevokeKey, Some(known.team), &known);
        self.directory.change(Change::RevokeKey(key), line).await?;
        self.teams.forget();
        self.directory.key_of(key).await
    }

    /// Writes down that an operator looked at a team's webhook secret.
    pub async fn operator_sees_secret(&self, team: &Team) -> Result<(), StoreError> {
        self.directory.record(self.operator(Action::ShowSecret, Some(team.id), team.name.clone())).await
    }

    /// Replaces a team's webhook secret.
    pub async fn operator_rotates_secret(&self, team: &Team) -> Result<super::Secret, StoreError> {
        let secret = Keyring::new_webhook_secret();
        let sealed = self.keyring.seal_webhook_secret(team.id, &secret);
        let line = self.operator(Action::RotateSecret, Some(team.id), team.name.clone());
        let old_until = line.at.plus(self.terms.secret_grace);
        self.directory.change(Change::RotateSecret { team: team.id, sealed, old_until }, line).await?;
        self.teams.forget();
        Ok(super::Secret { secret, old_until: Some(old_until) })
    }

    /// Gives somebody who is locked out a new password; all their sessions end.
    pub async fn operator_resets_password(&self, email: &str) -> Result<Zeroizing<String>, Wrong> {
        let account = self.account(email).await?;
        let random = Bearer::generate();
        let password = Zeroizing::new(random.expose()[..PASSWORD_CHARACTERS].to_owned());
        let hash = self.passwords.hash(password.clone()).await?;
        let change = Change::SetPassword { account: account.uid, password: hash, but: None };
        self.directory.change(change, self.operator(Action::SetPassword, None, account.email)).await?;
        self.present.clear();
        Ok(password)
    }

    /// Puts somebody into a team, or changes what they are in it.
    pub async fn operator_grants(&self, email: &str, team: &Team, role: Role) -> Result<(), Wrong> {
        let Account { uid: account, email, .. } = self.account(email).await?;
        let members = self.directory.members(team.id).await?;
        let is_in = members.iter().any(|member| member.account.uid == account);
        let subject = format!("{email} ({})", role.name());
        let (action, change) = if is_in {
            (Action::SetRole, Change::SetRole { team: team.id, account, role })
        } else {
            (Action::AddMember, Change::AddMember { team: team.id, account, role })
        };
        let done = self.directory.change(change, self.operator(action, Some(team.id), subject)).await;
        self.present.clear();
        done.map_err(|error| taken(error, "They are in the team already"))
    }

    async fn account(&self, email: &str) -> Result<Account, Wrong> {
        let email = email.trim().to_lowercase();
        self.directory.account_of(email).await.map_err(|error| missing(error, "Account"))
    }

    fn operator(&self, action: Action, team: Option<TeamId>, subject: impl Into<Subject>) -> Line {
        let Subject { id: subject, name } = subject.into();
        Line { at: self.clock.now(), actor: Actor::Operator, action, team, subject, name, address: None }
    }
}
