//! Teams as the hot path needs them: whose key is this, and what does the team sign with. Remembered for a second, so
//! that a revoked key stops and a rotated secret signs within that time on every node.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::credentials::{Keyring, hash_key};
use crate::store::{Store, StoreError, Team};
use crate::task::{TeamId, Timestamp};

/// How long an answer of the store is believed.
const BELIEVED: Duration = Duration::from_millis(900);

/// At most this many answers are remembered; a flood of wrong keys must not fill the memory.
const REMEMBERED: usize = 10_000;

/// Looks teams up.
pub struct Teams {
    store: Arc<dyn Store>,
    keyring: Keyring,
    by_key: Remembered<[u8; 32], Option<Arc<Team>>>,
    secrets: Remembered<TeamId, Arc<Secrets>>,
}

/// What a team signs with.
struct Secrets {
    current: Zeroizing<String>,
    old: Option<(Zeroizing<String>, Timestamp)>,
}

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be opened with this service's secret.
    #[error("a webhook secret cannot be opened")]
    Sealed,
}

impl Teams {
    /// Looks teams up in this store.
    pub fn new(store: Arc<dyn Store>, keyring: Keyring) -> Self {
        Self { store, keyring, by_key: Remembered::default(), secrets: Remembered::default() }
    }

    /// The team that an API key belongs to; none if the key is unknown or revoked.
    pub async fn by_key(&self, key: &str) -> Result<Option<Arc<Team>>, StoreError> {
        let hash = hash_key(key);
        if let Some(known) = self.by_key.get(&hash) {
            return Ok(known);
        }
        let found = match self.store.find_key(hash).await {
            Ok((_, team)) => Some(Arc::new(team)),
            Err(StoreError::NotFound) => None,
            Err(error) => return Err(error),
        };
        self.by_key.put(hash, found.clone());
        Ok(found)
    }

    /// The webhook secrets that sign now: one, or two during a rotation's grace time.
    pub async fn secrets(&self, team: TeamId, now: Timestamp) -> Result<Vec<Zeroizing<String>>, Unsigned> {
        let secrets = match self.secrets.get(&team) {
            Some(known) => known,
            None => self.load_secrets(team).await?,
        };
        let old = secrets.old.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret.clone());
        Ok(std::iter::once(secrets.current.clone()).chain(old).collect())
    }

    async fn load_secrets(&self, id: TeamId) -> Result<Arc<Secrets>, Unsigned> {
        let team = self.store.team(id).await?;
        let open = |sealed: &[u8]| self.keyring.open_webhook_secret(id, sealed).ok_or(Unsigned::Sealed);
        let current = open(&team.secret)?;
        let old = match team.old_secret {
            Some((sealed, until)) => Some((open(&sealed)?, until)),
            None => None,
        };
        let secrets = Arc::new(Secrets { current, old });
        self.secrets.put(id, secrets.clone());
        Ok(secrets)
    }

    /// Forgets everything, so that a change holds at once.
    pub fn forget(&self) {
        self.by_key.clear();
        self.secrets.clear();
    }
}

/// A small map of answers with the time they were given.
struct Remembered<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = known.get(key)?;
        (at.elapsed() < BELIEVED).then(|| value.clone())
    }

    fn put(&self, key: K, value: V) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, (Instant::now(), value));
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
