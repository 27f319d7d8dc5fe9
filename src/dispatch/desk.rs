//! Where the store hands tasks in: counts the calls under way, by host and by team, and says how many more there is room for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Grip;
use crate::store::{Capacity, Claimed, HostId, Taker};
use crate::task::TeamId;

/// One slot in so many is kept for teams with few calls under way; fewer than that are everybody's.
const RESERVED: usize = 8;

/// Calls under way, and those that are about to be.
pub(super) struct Desk {
    busy: Mutex<Busy>,
    /// Whether due tasks may be left that there was no room for: then the end of a call makes room for them.
    crowded: AtomicBool,
    closed: AtomicBool,
    slots: usize,
    per_host: usize,
    reserve: usize,
    grip: Arc<Grip>,
    handed: mpsc::UnboundedSender<Handed>,
}

/// What was claimed, and the grip that the node had on it then: if it has let go since, others may have taken it up.
type Handed = (Vec<Claimed>, CancellationToken);

/// The calls under way, as far as they are bounded.
#[derive(Default)]
struct Busy {
    calls: usize,
    by_host: HashMap<HostId, usize>,
    by_team: HashMap<TeamId, usize>,
}

impl Desk {
    /// With room for `slots` calls, and for `per_host` to one host. What is handed in comes out of the receiver.
    pub fn new(slots: usize, per_host: usize, grip: Arc<Grip>) -> (Arc<Self>, mpsc::UnboundedReceiver<Handed>) {
        let (handed, receiver) = mpsc::unbounded_channel();
        let desk = Self {
            busy: Mutex::default(),
            crowded: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            slots,
            per_host,
            reserve: slots / RESERVED,
            grip,
            handed,
        };
        (Arc::new(desk), receiver)
    }

    /// From here on there is no room.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// A call ended; true if somebody may have waited for its place.
    pub fn leave(&self, team: TeamId, host: HostId) -> bool {
        let mut busy = self.busy();
        busy.calls -= 1;
        one_less(&mut busy.by_host, host);
        one_less(&mut busy.by_team, team);
        self.crowded.load(Ordering::SeqCst)
    }

    /// Whether the store may have passed somebody over. It alone knows whether the reserve is for anybody: if there is but one
    /// team, the ends of its last calls wake the loop for nothing, which costs a look.
    fn is_crowded(&self, busy: &Busy) -> bool {
        let holds = |calls: &usize| *calls >= self.reserve;
        let is_kept = || self.slots - busy.calls <= self.reserve && busy.by_team.values().any(holds);
        busy.calls >= self.slots || is_kept() || busy.by_host.values().any(|calls| *calls >= self.per_host)
    }

    fn busy(&self) -> MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker<Capacity, Claimed> for Desk {
    fn room(&self) -> Capacity {
        // Said before looking: a call that ends in between wakes the loop once too often rather than once too seldom.
        self.crowded.store(true, Ordering::SeqCst);
        let busy = self.busy();
        let slots = if self.closed.load(Ordering::SeqCst) { 0 } else { self.slots.saturating_sub(busy.calls) };
        let (in_flight, by_team) = (busy.by_host.clone(), busy.by_team.clone());
        Capacity { slots, per_host: self.per_host, reserve: self.reserve, in_flight, by_team }
    }

    fn take(&self, claimed: Vec<Claimed>) {
        let mut busy = self.busy();
        busy.calls += claimed.len();
        for claim in &claimed {
            *busy.by_host.entry(claim.host).or_default() += 1;
            *busy.by_team.entry(claim.task.team).or_default() += 1;
        }
        // Whoever is out of room now is told by the next call that ends.
        self.crowded.store(self.is_crowded(&busy), Ordering::SeqCst);
        drop(busy);
        if !claimed.is_empty() {
            // The loop outlives its last claim.
            let _ = self.handed.send((claimed, self.grip.current()));
        }
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    const ONE: TeamId = TeamId(1);
    const TWO: TeamId = TeamId(2);

    fn desk(slots: usize, per_host: usize) -> (Arc<Desk>, mpsc::UnboundedReceiver<Handed>) {
        Desk::new(slots, per_host, Arc::new(Grip::new(CancellationToken::new())))
    }

    fn claims(team: TeamId, count: u16) -> Vec<Claimed> {
        let claim = |n| {
            let new = contract::new(team, n);
            Claimed { task: new.task, request: new.request, host: HostId(n.into()), key_number: new.key_number }
        };
        (0..count).map(claim).collect()
    }

    #[test]
    fn an_eighth_is_reserved_and_nothing_of_a_few() {
        let reserved = |slots| desk(slots, 4).0.room().reserve;
        assert_eq!([1, 2, 7, 8, 16, 256].map(reserved), [0, 0, 0, 1, 2, 32]);
    }

    #[test]
    fn room_is_told_by_host_and_team() {
        let (desk, _handed) = desk(16, 4);
        desk.take(claims(ONE, 3));
        desk.take(claims(TWO, 1));
        desk.leave(ONE, HostId(2));
        let room = desk.room();
        assert_eq!((room.slots, room.per_host, room.reserve), (13, 4, 2));
        assert_eq!(room.in_flight, [(HostId(0), 2), (HostId(1), 1)].into());
        assert_eq!(room.by_team, [(ONE, 2), (TWO, 1)].into());
        desk.close();
        assert_eq!(desk.room().slots, 0);
    }

    #[test]
    fn a_call_that_ends_is_told_of_if_somebody_may_have_been_passed_over() {
        let (desk, _handed) = desk(16, 99);
        desk.take(claims(ONE, 13));
        assert!(!desk.leave(ONE, HostId(0)), "there are slots for everybody");
        desk.take(claims(ONE, 2));
        assert!(desk.leave(ONE, HostId(0)), "the last two slots are not for this team");
        desk.take(Vec::new());
        assert!(!desk.leave(ONE, HostId(0)), "and now there is another");
    }

    #[test]
    fn whoever_waits_for_the_reserve_is_told_of_anybodys_end() {
        let (desk, _handed) = desk(16, 99);
        desk.take(claims(ONE, 14));
        desk.take(claims(TWO, 1));
        assert!(desk.leave(TWO, HostId(0)));
        desk.take(claims(TWO, 2));
        assert!(desk.leave(ONE, HostId(0)), "no slot is free");
    }

    #[test]
    fn what_was_claimed_is_held_by_the_grip_of_that_time() {
        let grip = Arc::new(Grip::new(CancellationToken::new()));
        let (desk, mut handed) = Desk::new(16, 4, grip.clone());
        desk.take(claims(ONE, 1));
        // It is picked up only after the node has let go.
        grip.let_go();
        desk.take(claims(TWO, 1));
        let held = [(); 2].map(|()| !handed.try_recv().unwrap().1.is_cancelled());
        assert_eq!(held, [false, true]);
    }
}
