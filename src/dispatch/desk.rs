//! Where the store hands tasks in: counts the calls under way, by host, and says how many more there is room for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::store::{Capacity, Claimed, HostId, Taker};

/// Calls under way, and those that are about to be.
pub(super) struct Desk {
    by_host: Mutex<HashMap<HostId, usize>>,
    /// Whether due tasks may be left that there was no room for: then the end of a call makes room for them.
    crowded: AtomicBool,
    closed: AtomicBool,
    slots: usize,
    per_host: usize,
    handed: mpsc::UnboundedSender<Vec<Claimed>>,
}

impl Desk {
    /// With room for `slots` calls, and for `per_host` to one host. What is handed in comes out of the receiver.
    pub fn new(slots: usize, per_host: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<Vec<Claimed>>) {
        let (handed, receiver) = mpsc::unbounded_channel();
        let desk = Self {
            by_host: Mutex::default(),
            crowded: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            slots,
            per_host,
            handed,
        };
        (Arc::new(desk), receiver)
    }

    /// From here on there is no room.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// A call ended; true if somebody may have waited for its place.
    pub fn leave(&self, host: HostId) -> bool {
        let mut by_host = self.by_host();
        if let Some(calls) = by_host.get_mut(&host) {
            *calls -= 1;
            if *calls == 0 {
                by_host.remove(&host);
            }
        }
        self.crowded.load(Ordering::SeqCst)
    }

    fn by_host(&self) -> MutexGuard<'_, HashMap<HostId, usize>> {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker<Capacity, Claimed> for Desk {
    fn room(&self) -> Capacity {
        // Said before looking: a call that ends in between wakes the loop once too often rather than once too seldom.
        self.crowded.store(true, Ordering::SeqCst);
        let in_flight = self.by_host().clone();
        let busy: usize = in_flight.values().sum();
        let slots = if self.closed.load(Ordering::SeqCst) { 0 } else { self.slots.saturating_sub(busy) };
        Capacity { slots, per_host: self.per_host, in_flight }
    }

    fn take(&self, claimed: Vec<Claimed>) {
        let mut by_host = self.by_host();
        for claim in &claimed {
            *by_host.entry(claim.host).or_default() += 1;
        }
        // Whoever is out of room now is told by the next call that ends.
        let full =
            by_host.values().sum::<usize>() >= self.slots || by_host.values().any(|calls| *calls >= self.per_host);
        self.crowded.store(full, Ordering::SeqCst);
        drop(by_host);
        if !claimed.is_empty() {
            // The loop outlives its last claim.
            let _ = self.handed.send(claimed);
        }
    }
}
