//! What a limiter admitted, for limiters elsewhere that share its limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Whom more is told of at once is forgotten: a flood of sources costs accuracy, not memory.
const WHOM_MAX: usize = 4096;

/// Who was admitted how often since this was asked last. Counts nothing until it is wanted.
#[derive(Debug)]
pub(super) struct Told<S>(Option<Mutex<HashMap<S, u32>>>);

impl<S> Default for Told<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S: Copy + Eq + Hash> Told<S> {
    /// From here on it counts.
    pub fn begin(&mut self) {
        self.0 = Some(Mutex::default());
    }

    pub fn admitted(&self, source: S) {
        let Some(counts) = &self.0 else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < WHOM_MAX || counts.contains_key(&source) {
            *counts.entry(source).or_default() += 1;
        }
    }

    pub fn take(&self) -> HashMap<S, u32> {
        let counts = self.0.as_ref().map(|counts| counts.lock().unwrap_or_else(PoisonError::into_inner));
        counts.map(|mut counts| std::mem::take(&mut *counts)).unwrap_or_default()
    }
}
