//! Connections kept for the next request of the same team to the same origin.
//!
//! Ours rather than a library's: it must never lend one team's connection to another, and it must ask a connection
//! for stray bytes before lending it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::message::Wire;

const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection older than this is not used again: the name may have moved.
const MAX_AGE: Duration = Duration::from_secs(300);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to come to rest after its answer. One that still sends its request will not.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(20);
const MAX_IDLE_PER_KEY: usize = 64;
const MAX_IDLE: usize = 2048;

/// Who may use a connection, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) team: i64,
    pub(super) origin: String,
}

struct Idle {
    wire: Wire,
    since: Instant,
}

impl Idle {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.since) < IDLE_TIMEOUT && now.duration_since(self.wire.born) < MAX_AGE
    }
}

#[derive(Default)]
struct Shelves {
    idle: HashMap<Key, Vec<Idle>>,
    total: usize,
    swept: bool,
}

/// All idle connections.
#[derive(Default)]
pub(super) struct Pool {
    kept: Mutex<Shelves>,
}

impl Pool {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The connection used last, if one of this key is still sound. Unsound ones are closed on the way.
    pub(super) fn take(&self, key: &Key) -> Option<Wire> {
        let now = Instant::now();
        while let Some(idle) = self.pop(key) {
            if idle.is_fresh(now) && idle.wire.is_sound() {
                return Some(idle.wire);
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to the end, if it can be used again.
    pub(super) async fn put(self: &Arc<Self>, key: Key, mut wire: Wire) {
        if !matches!(timeout(SETTLE_TIMEOUT, wire.ready()).await, Ok(Ok(()))) {
            return;
        }
        let mut pool = self.lock();
        if pool.total < MAX_IDLE && pool.push(key, wire) && !std::mem::replace(&mut pool.swept, true) {
            tokio::spawn(sweep_forever(Arc::downgrade(self)));
        }
    }

    fn pop(&self, key: &Key) -> Option<Idle> {
        let mut pool = self.lock();
        let idle = pool.idle.get_mut(key)?.pop()?;
        pool.total -= 1;
        Some(idle)
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn push(&mut self, key: Key, wire: Wire) -> bool {
        let row = self.idle.entry(key).or_default();
        let fits = row.len() < MAX_IDLE_PER_KEY;
        if fits {
            row.push(Idle { wire, since: Instant::now() });
            self.total += 1;
        }
        fits
    }

    fn sweep(&mut self, now: Instant) {
        self.idle.retain(|_, shelf| {
            shelf.retain(|idle| idle.is_fresh(now) && idle.wire.is_sound());
            !shelf.is_empty()
        });
        self.total = self.idle.values().map(Vec::len).sum();
    }
}

/// Closes what nobody came back for, until the client is gone.
async fn sweep_forever(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.lock().sweep(Instant::now());
    }
}
