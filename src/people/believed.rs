//! What the store said a moment ago. A page asks several times who is looking; a session that was ended stops within a
//! second all the same, on every node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_millis(900);

/// At most this many are remembered.
const REMEMBERED: usize = 10_000;

/// Answers by the hash, or the id, of what was asked about.
pub(super) struct Believed<T>(Mutex<Answers<T>>);

/// Each with the time that it was given.
type Answers<T> = HashMap<[u8; 32], (Instant, Arc<T>)>;

impl<T> Default for Believed<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> Believed<T> {
    pub fn get(&self, key: &[u8; 32]) -> Option<Arc<T>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = known.get(key)?;
        (at.elapsed() < BELIEVED).then(|| value.clone())
    }

    pub fn put(&self, key: [u8; 32], value: Arc<T>) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, (Instant::now(), value.clone()));
        value
    }

    /// Puts a value in the place of the one that is known, which is believed no longer for that.
    pub fn replace(&self, key: [u8; 32], value: Arc<T>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, before)) = known.get_mut(&key) {
            *before = value;
        }
    }

    /// Forgets everything, so that a change holds at once.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
