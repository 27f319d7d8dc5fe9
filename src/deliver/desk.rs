//! Where the store hands webhooks in: counts those under way, and says how many more there is room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::store::{ClaimedDelivery, Taker};

/// Webhooks under way, and those that are about to be.
pub(super) struct Desk {
    busy: AtomicUsize,
    /// Whether due webhooks may be left that there was no room for.
    crowded: AtomicBool,
    closed: AtomicBool,
    slots: usize,
    handed: mpsc::UnboundedSender<Vec<ClaimedDelivery>>,
}

impl Desk {
    /// With room for `slots` webhooks. What is handed in comes out of the receiver.
    pub fn new(slots: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<Vec<ClaimedDelivery>>) {
        let (handed, receiver) = mpsc::unbounded_channel();
        let (crowded, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        (Arc::new(Self { busy: AtomicUsize::new(0), crowded, closed, slots, handed }), receiver)
    }

    /// From here on there is no room.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// An attempt ended; true if somebody may have waited for its place.
    pub fn leave(&self) -> bool {
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.crowded.load(Ordering::SeqCst)
    }
}

impl Taker<usize, ClaimedDelivery> for Desk {
    fn room(&self) -> usize {
        // Said before looking: an attempt that ends in between wakes the loop once too often rather than once too seldom.
        self.crowded.store(true, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) { 0 } else { self.slots.saturating_sub(self.busy.load(Ordering::SeqCst)) }
    }

    fn take(&self, claimed: Vec<ClaimedDelivery>) {
        let busy = self.busy.fetch_add(claimed.len(), Ordering::SeqCst) + claimed.len();
        self.crowded.store(busy >= self.slots, Ordering::SeqCst);
        if !claimed.is_empty() {
            // Without its loop it stays in the outbox; the next start delivers it.
            let _ = self.handed.send(claimed);
        }
    }
}
