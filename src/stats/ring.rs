//! The last hour, a place for each minute; the oldest makes room for the newest.

use std::time::Duration;

use super::Latencies;
use crate::store::{Counts, Ended};
use crate::task::Status;

/// How many minutes are kept.
pub const MINUTES: i64 = 60;

/// Something for each of the last minutes.
#[derive(Clone, Debug)]
pub struct Ring<T>(Vec<(i64, T)>);

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Ring<T> {
    /// The place of this minute.
    pub fn at(&mut self, minute: i64) -> &mut T {
        // A clock that was set back counts in the newest minute there is.
        if self.0.last().is_none_or(|(newest, _)| *newest < minute) {
            self.0.retain(|(known, _)| *known > minute - MINUTES);
            self.0.push((minute, T::default()));
        }
        let newest = self.0.len() - 1;
        &mut self.0[newest].1
    }

    /// The place of a minute that is over; places stay in order.
    pub fn past(&mut self, minute: i64) -> &mut T {
        let place = match self.0.binary_search_by_key(&minute, |(known, _)| *known) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (minute, T::default()));
                place
            }
        };
        &mut self.0[place].1
    }

    /// What was counted in this minute.
    pub fn get(&self, minute: i64) -> Option<&T> {
        self.0.iter().find(|(known, _)| *known == minute).map(|(_, value)| value)
    }

    /// What was counted in the last hour.
    pub fn recent(&self, minute: i64) -> impl Iterator<Item = &T> {
        self.0.iter().filter(move |(known, _)| *known > minute - MINUTES).map(|(_, value)| value)
    }

    /// Whether anything was counted in the last hour.
    pub fn is_used(&self, minute: i64) -> bool {
        self.recent(minute).next().is_some()
    }
}

/// A team's minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    /// Tasks created.
    pub created: u32,
    /// Tasks that ended with a result.
    pub completed: u32,
    /// Tasks that failed.
    pub failed: u32,
    /// Tasks whose time ran out.
    pub timeout: u32,
    /// Tasks that were cancelled.
    pub cancelled: u32,
    /// How long completed tasks took from their creation.
    pub latencies: Latencies,
    /// How many tasks were not final yet, by the last measure: due or delayed, being called, waiting or polled.
    pub depth: Option<[u64; 3]>,
}

impl Minute {
    pub(super) fn ended(&mut self, end: &Ended) {
        match end.status {
            Status::Completed => {
                self.completed += 1;
                self.latencies.add(end.after_ms);
            }
            Status::Failed => self.failed += 1,
            Status::Timeout => self.timeout += 1,
            _ => self.cancelled += 1,
        }
    }

    pub(super) fn measured(&mut self, counts: &Counts) {
        let sum = |statuses: &[Status]| statuses.iter().filter_map(|status| counts.get(status)).sum();
        self.depth = Some([
            sum(&[Status::Pending, Status::Delayed]),
            sum(&[Status::Processing]),
            sum(&[Status::Waiting, Status::Polling]),
        ]);
    }
}

/// Calls of one minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// How many.
    pub made: u32,
    /// How many of them failed.
    pub failed: u32,
    /// How long they took.
    pub latencies: Latencies,
}

impl Calls {
    pub(super) fn add(&mut self, failed: bool, took: Duration) {
        self.made += 1;
        self.failed += u32::from(failed);
        self.latencies.add(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
    }

    /// All of these together.
    pub fn sum<'a>(many: impl Iterator<Item = &'a Self>) -> Self {
        many.fold(Self::default(), |mut sum, one| {
            sum.made = sum.made.saturating_add(one.made);
            sum.failed = sum.failed.saturating_add(one.failed);
            sum.latencies.merge(&one.latencies);
            sum
        })
    }
}
