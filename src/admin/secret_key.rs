//! The service's own secret: which ones belong to the store, and how a new one takes over while the service runs.

use super::{Admin, Outcome, in_words};
use crate::credentials::{Keyring, SecretKeys, key_file};
use crate::store::{Store, StoreError, Team, Token};

/// Under this name the store keeps a check value of each secret that it was used with, 32 bytes each, in order.
const CHECKS: &str = "secret checks";

/// Secrets of the vault sealed anew at a time.
const BATCH: usize = 100;

/// The check values of the secrets that the store was used with, by number from 1.
pub async fn known_checks(store: &dyn Store) -> Result<Vec<[u8; 32]>, StoreError> {
    let stored = store.meta(CHECKS).await?.unwrap_or_default();
    Ok(stored.chunks_exact(32).filter_map(|check| check.try_into().ok()).collect())
}

/// Adds the check value of a secret that the store was not used with before.
pub async fn add_check(store: &dyn Store, known: &[[u8; 32]], check: [u8; 32]) -> Result<(), StoreError> {
    let all: Vec<u8> = known.iter().chain([&check]).flatten().copied().collect();
    store.set_meta(CHECKS, all).await
}

impl Admin {
    /// Seals everything with the current secret; where a file keeps the secrets, with a new one that is put before them.
    ///
    /// The older ones stay: they open the callback ids and tokens that are out there.
    pub(super) async fn rotate_key(&self) -> Result<Outcome, String> {
        if self.key_file.is_some() {
            self.renew_key().await?;
        }
        let secrets = self.reseal_tokens().await? + self.reseal_teams().await?;
        Ok(Outcome::Resealed { key_number: self.keyring.current(), secrets, new_key: self.key_file.is_some() })
    }

    async fn renew_key(&self) -> Result<(), String> {
        let Some(path) = &self.key_file else { return Ok(()) };
        let named = |error: String| format!("{}: {error}", path.display());
        let held = key_file::read(path).map_err(|error| named(error.to_string()))?;
        let renewed: SecretKeys = held.map_err(|error| named(format!("the secret key {error}")))?.renewed();
        // The file first: a store that knows a secret which nobody has could not be opened again.
        key_file::replace(path, &renewed).map_err(|error| named(error.to_string()))?;
        let known = known_checks(&*self.store).await.map_err(in_words)?;
        let (keyring, added) = Keyring::unlock(&renewed, &known)?;
        if let Some(check) = added {
            add_check(&*self.store, &known, check).await.map_err(in_words)?;
        }
        self.keyring.renew(&keyring);
        Ok(())
    }

    async fn reseal_tokens(&self) -> Result<usize, String> {
        let mut resealed = 0;
        loop {
            let tokens = self.store.tokens_to_reseal(self.keyring.current(), BATCH).await.map_err(in_words)?;
            for token in &tokens {
                self.reseal_token(token).await?;
            }
            resealed += tokens.len();
            if tokens.len() < BATCH {
                return Ok(resealed);
            }
        }
    }

    async fn reseal_token(&self, token: &Token) -> Result<(), String> {
        let value = self.keyring.open_token(token.team, &token.id, &token.sealed);
        let value = value.ok_or_else(|| format!("{} cannot be opened with this service's secret key", token.id))?;
        let sealed = self.keyring.seal_token(token.team, &token.id, &value);
        self.store.reseal_token(token.id.clone(), token.sealed.clone(), sealed).await.map_err(in_words)
    }

    async fn reseal_teams(&self) -> Result<usize, String> {
        let teams = self.store.teams().await.map_err(in_words)?;
        let mut resealed = 0;
        for team in teams.into_iter().filter(|team| !self.is_sealed_anew(team)) {
            let renewed = Team {
                secret: self.reseal_secret(&team, &team.secret)?,
                old_secret: match &team.old_secret {
                    Some((sealed, until)) => Some((self.reseal_secret(&team, sealed)?, *until)),
                    None => None,
                },
                ..team.clone()
            };
            self.store.reseal_team(team, renewed).await.map_err(in_words)?;
            resealed += 1;
        }
        Ok(resealed)
    }

    fn is_sealed_anew(&self, team: &Team) -> bool {
        let old = team.old_secret.as_ref().is_none_or(|(sealed, _)| self.keyring.is_current(sealed));
        self.keyring.is_current(&team.secret) && old
    }

    fn reseal_secret(&self, team: &Team, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let secret = self.keyring.open_webhook_secret(team.id, sealed);
        let secret = secret.ok_or_else(|| format!("the webhook secret of {} cannot be opened", team.name))?;
        Ok(self.keyring.seal_webhook_secret(team.id, &secret))
    }
}
