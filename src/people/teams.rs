//! Teams as people manage them: their keys, their webhook secret, and what was done in them.

use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Acting, People, Wrong};
use crate::credentials::{ApiKeySecret, Keyring};
use crate::store::{Action, ApiKey, AuditQuery, Change, Line, NewTeam, Role, Scope, StoreError, Team};
use crate::task::Timestamp;

/// The longest name of a team or key.
const NAME_MAX: usize = 100;

/// A key that was just made; the only time that it is shown.
pub struct NewKey {
    /// The key in the clear.
    pub secret: ApiKeySecret,
    /// What is kept of it.
    pub key: ApiKey,
}

/// What a team signs with.
pub struct Secret {
    /// The secret.
    pub secret: Zeroizing<String>,
    /// Until when the one before it signs too.
    pub old_until: Option<Timestamp>,
}

impl People {
    /// Makes a team, which whoever makes it owns. Who owns no team cannot make one.
    pub async fn create_team(&self, who: Acting<'_>, name: &str) -> Result<Team, Wrong> {
        if !who.presence.teams.iter().any(|(_, role)| *role == Role::Owner) {
            return Err(Wrong::Role(Role::Owner.name()));
        }
        let name = check_name(name)?;
        let keyring = self.keyring.clone();
        let seal = Arc::new(move |team| keyring.seal_webhook_secret(team, &Keyring::new_webhook_secret()));
        let (id, at) = self.ids.make();
        let team = NewTeam { uid: id.0, name: name.clone(), rate_limit: None };
        let actor = self.own_line(who, Action::CreateTeam);
        let line = Line { at, subject: name, ..actor };
        let change = Change::CreateTeam { team, seal, owner: Some(who.uid()) };
        self.directory.change(change, line).await.map_err(|error| taken(error, "There is a team of this name"))?;
        self.present.clear();
        Ok(self.directory.team_of(id.0).await?)
    }

    /// A team's keys, oldest first; any of its members may see them, but not what they are.
    pub async fn keys(&self, team: &Team) -> Result<Vec<ApiKey>, StoreError> {
        self.store.keys(team.id).await
    }

    /// Makes a key. Needs the role owner.
    pub async fn create_key(&self, who: Acting<'_>, team: Uuid, name: &str) -> Result<NewKey, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        let name = check_name(name)?;
        let secret = ApiKeySecret::generate();
        let (id, created_at) = self.ids.make();
        let key = ApiKey {
            uid: id.0,
            team: team.id,
            name,
            prefix: secret.shown(),
            hash: secret.hash(),
            created_at,
            revoked_at: None,
        };
        let line = self.about(who, Action::CreateKey, &team, &key);
        self.directory.change(Change::CreateKey(key.clone()), line).await?;
        Ok(NewKey { secret, key })
    }

    /// Stops a key from working. Needs the role owner in its team.
    pub async fn revoke_key(&self, who: Acting<'_>, key: Uuid) -> Result<ApiKey, Wrong> {
        let known = self.directory.key_of(key).await.map_err(|error| missing(error, "API key"))?;
        let team = self.store.team(known.team).await?;
        let team = self.team(who, team.uid, Role::Owner).await?;
        let line = self.about(who, Action::RevokeKey, &team, &known);
        let done = self.directory.change(Change::RevokeKey(key), line).await;
        done.map_err(|error| match error {
            StoreError::NotFound => Wrong::Conflict("The API key is revoked already".to_owned()),
            other => other.into(),
        })?;
        self.teams.forget();
        Ok(self.directory.key_of(key).await?)
    }

    /// What a team signs with. Needs the role owner; that it was looked at is written down.
    pub async fn secret(&self, who: Acting<'_>, team: Uuid) -> Result<Secret, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        // What they hold of the team may be a second old.
        let team = self.store.team(team.id).await?;
        let secret = self.keyring.open_webhook_secret(team.id, &team.secret);
        let secret = secret.ok_or_else(|| StoreError::Unavailable("a webhook secret cannot be opened".to_owned()))?;
        self.record(who, Action::ShowSecret, &team, team.name.clone()).await?;
        let now = self.clock.now();
        let old_until = team.old_secret.map(|(_, until)| until).filter(|until| *until > now);
        Ok(Secret { secret, old_until })
    }

    /// Replaces what a team signs with; the old one signs too for a while. Needs the role owner.
    pub async fn rotate_secret(&self, who: Acting<'_>, team: Uuid) -> Result<Secret, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        let secret = Keyring::new_webhook_secret();
        let sealed = self.keyring.seal_webhook_secret(team.id, &secret);
        let line = self.about(who, Action::RotateSecret, &team, team.name.clone());
        let old_until = line.at.plus(self.terms.secret_grace);
        self.directory.change(Change::RotateSecret { team: team.id, sealed, old_until }, line).await?;
        self.teams.forget();
        Ok(Secret { secret, old_until: Some(old_until) })
    }

    /// What was done in a team, newest first, with the lines' numbers. Needs the role owner.
    pub async fn audit(
        &self,
        who: Acting<'_>,
        team: Uuid,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Line)>, Wrong> {
        let team = self.team(who, team, Role::Owner).await?;
        Ok(self.directory.audit(AuditQuery { scope: Scope::Team(team.id), before, limit }).await?)
    }
}

/// A name without what cannot be seen, and of a length that can.
pub(super) fn check_name(text: &str) -> Result<String, Wrong> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Wrong::field("name", format!("name must be 1 to {NAME_MAX} visible characters")));
    }
    Ok(name.to_owned())
}

pub(super) fn missing(error: StoreError, what: &'static str) -> Wrong {
    match error {
        StoreError::NotFound => Wrong::Missing(what),
        other => other.into(),
    }
}

pub(super) fn taken(error: StoreError, why: &str) -> Wrong {
    match error {
        StoreError::Taken => Wrong::Conflict(why.to_owned()),
        other => other.into(),
    }
}
