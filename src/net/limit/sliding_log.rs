//! "At most N in any W seconds", exactly: every cheaper method (fixed windows, token buckets, estimates) admits up to twice as
//! many around some edge. The price is one timestamp per admitted request, bounded by N for each source and by a cap on sources.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::told::Told;

/// Over the limit: seconds until a request will be admitted, rounded up, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u32);

/// Admits at most `n` requests of a source (an address, or whatever else is counted by) in any window of time, and never refuses one within that.
///
/// A request leaves the log exactly one window after it was admitted. Refused requests are not logged. Where there are
/// more sources than fit, the one not seen for longest is forgotten, so a flood of addresses costs accuracy, not memory.
#[derive(Debug)]
pub struct SlidingLog<S = IpAddr> {
    n: usize,
    window: u64,
    /// Moments are kept as nanoseconds since this one.
    start: Instant,
    hasher: RandomState,
    /// Locked one by one, so that sources rarely wait for each other. Empty if the limit is off.
    shards: Box<[Mutex<Shard<S>>]>,
    told: Told<S>,
}

impl<S: Copy + Eq + Hash> SlidingLog<S> {
    /// How many sources are remembered where nothing else is set.
    pub const SOURCES: usize = 100_000;
    const SHARDS: usize = 16;

    /// A limit of `n` in each `window`, for up to `capacity` sources. 0 is no limit.
    pub fn new(n: u32, window: Duration, capacity: usize) -> Self {
        let shards = if n == 0 { 0 } else { Self::SHARDS };
        let shard = || Mutex::new(Shard::new((capacity / Self::SHARDS).max(1)));
        Self {
            n: n as usize,
            window: nanos(window),
            start: Instant::now(),
            hasher: RandomState::new(),
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            told: Told::default(),
        }
    }

    /// Remembers whom it admits, for limiters that share its limit.
    #[must_use]
    pub fn shared(mut self) -> Self {
        if !self.shards.is_empty() {
            self.told.begin();
        }
        self
    }

    /// Whom it admitted since this was asked last, and how often.
    pub fn admitted(&self) -> HashMap<S, u32> {
        self.told.take()
    }

    /// A limiter that shares this limit admitted a source so often.
    pub fn hear(&self, source: S, count: u32, now: Instant) {
        for _ in 0..(count as usize).min(self.n) {
            self.log(source, now);
        }
    }

    /// Admits and logs a request of `source` (a [`bucket`](crate::net::bucket)), or refuses it.
    pub fn check(&self, source: S, now: Instant) -> Result<(), RetryAfter> {
        let Some((mut shard, now)) = self.locate(source, now) else {
            return Ok(());
        };
        let log = shard.log_of(source, now, self.window);
        log.forget(now, self.window);
        log.room(self.n, self.window, now)?;
        log.push(now, self.n);
        drop(shard);
        self.told.admitted(source);
        Ok(())
    }

    /// Whether a request would be admitted; changes nothing. With [`record`](Self::record) this limits by outcome.
    pub fn peek(&self, source: S, now: Instant) -> Result<(), RetryAfter> {
        let Some((mut shard, now)) = self.locate(source, now) else {
            return Ok(());
        };
        let Some(log) = shard.known_log_of(source) else {
            return Ok(());
        };
        log.forget(now, self.window);
        log.room(self.n, self.window, now)
    }

    /// Logs a request whose outcome turned out to count. Above the limit the latest `n` are kept.
    pub fn record(&self, source: S, now: Instant) {
        self.log(source, now);
        self.told.admitted(source);
    }

    fn log(&self, source: S, now: Instant) {
        if let Some((mut shard, now)) = self.locate(source, now) {
            let log = shard.log_of(source, now, self.window);
            log.forget(now, self.window);
            log.push(now, self.n);
        }
    }

    /// How many sources are remembered.
    pub fn sources(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).places.len()).sum()
    }

    fn locate(&self, source: S, now: Instant) -> Option<(MutexGuard<'_, Shard<S>>, u64)> {
        let count = self.shards.len().checked_sub(1)?;
        // `count` is a power of two less one; the cast keeps the bits that the mask wants.
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits are used")]
        let index = self.hasher.hash_one(source) as usize & count;
        Some((lock(&self.shards[index]), nanos(now.saturating_duration_since(self.start))))
    }
}

fn lock<S>(shard: &Mutex<Shard<S>>) -> MutexGuard<'_, Shard<S>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When a source's requests were admitted, oldest first. It grows as needed: most sources send one.
#[derive(Debug, Default)]
struct Log(VecDeque<u64>);

impl Log {
    fn forget(&mut self, now: u64, window: u64) {
        while self.0.front().is_some_and(|at| now.saturating_sub(*at) >= window) {
            self.0.pop_front();
        }
    }

    fn room(&self, n: usize, window: u64, now: u64) -> Result<(), RetryAfter> {
        const SECOND: u64 = 1_000_000_000;
        let Some(oldest) = self.0.len().checked_sub(n).and_then(|first| self.0.get(first)) else {
            return Ok(());
        };
        let wait = (oldest + window).saturating_sub(now);
        let seconds = wait.div_ceil(SECOND).max(1);
        Err(RetryAfter(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }

    fn push(&mut self, now: u64, n: usize) {
        if self.0.len() >= n {
            self.0.pop_front();
        }
        // Two threads may bring their moments out of order; the log must stay sorted.
        let now = self.0.back().map_or(now, |last| now.max(*last));
        self.0.push_back(now);
    }

    fn is_spent(&self, now: u64, window: u64) -> bool {
        self.0.back().is_none_or(|last| now.saturating_sub(*last) >= window)
    }
}

/// Logs by source, in the order in which the sources were last seen.
#[derive(Debug)]
struct Shard<S> {
    capacity: usize,
    places: HashMap<S, usize>,
    seats: Vec<Seat<S>>,
    /// Seats that nobody has.
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Seat<S> {
    source: S,
    log: Log,
    newer: usize,
    older: usize,
}

/// The end of the list of seats.
const NONE: usize = usize::MAX;

impl<S: Copy + Eq + Hash> Shard<S> {
    fn new(capacity: usize) -> Self {
        Self { capacity, places: HashMap::new(), seats: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }

    fn known_log_of(&mut self, source: S) -> Option<&mut Log> {
        let place = *self.places.get(&source)?;
        Some(&mut self.seats[place].log)
    }

    /// The log of `source`, which is thereby seen.
    fn log_of(&mut self, source: S, now: u64, window: u64) -> &mut Log {
        let place = match self.places.get(&source) {
            Some(place) => {
                let place = *place;
                self.unlink(place);
                place
            }
            None => self.sit(source, now, window),
        };
        self.link(place);
        &mut self.seats[place].log
    }

    /// A seat for a new source. Makes room by forgetting spent sources, and a live one only if it must.
    fn sit(&mut self, source: S, now: u64, window: u64) -> usize {
        // Two for each that comes: after a flood the table shrinks by itself, a little at a time.
        for _ in 0..2 {
            if self.oldest != NONE && self.seats[self.oldest].log.is_spent(now, window) {
                self.evict();
            }
        }
        if self.places.len() >= self.capacity {
            self.evict();
        }
        let seat = Seat { source, log: Log::default(), newer: NONE, older: NONE };
        let place = if let Some(place) = self.free.pop() {
            self.seats[place] = seat;
            place
        } else {
            self.seats.push(seat);
            self.seats.len() - 1
        };
        self.places.insert(source, place);
        place
    }

    fn evict(&mut self) {
        let place = self.oldest;
        self.unlink(place);
        self.places.remove(&self.seats[place].source);
        self.seats[place].log = Log::default();
        self.free.push(place);
    }

    fn link(&mut self, place: usize) {
        self.seats[place].older = self.newest;
        self.seats[place].newer = NONE;
        match self.newest {
            NONE => self.oldest = place,
            newest => self.seats[newest].newer = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: usize) {
        let Seat { newer, older, .. } = self.seats[place];
        match newer {
            NONE => self.newest = older,
            newer => self.seats[newer].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.seats[older].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests;
