//! Counts the connections of each address, so that one address cannot take them all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Open connections by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Seat {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// A place among the `most` of `source`, if one is left.
    pub(super) fn seat(&self, source: IpAddr, most: usize) -> Option<Seat> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat { sources: self.clone(), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}
