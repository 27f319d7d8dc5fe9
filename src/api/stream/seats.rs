//! How many streams there may be: each holds a connection, so they are bounded, and one team cannot take them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::task::TeamId;

/// The places that streams take.
pub struct Seats {
    most: usize,
    taken: Mutex<HashMap<TeamId, usize>>,
}

/// A place, free again when this is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    team: TeamId,
}

impl Seats {
    /// So many places; one team may have half of them.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A place for a stream of this team, if there is one.
    pub fn take(self: &Arc<Self>, team: TeamId) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&team).copied().unwrap_or_default();
        let is_full = taken.values().sum::<usize>() >= self.most || own >= self.most.div_ceil(2);
        if is_full {
            return None;
        }
        taken.insert(team, own + 1);
        Some(Seat { seats: self.clone(), team })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.team) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.team)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_team_has_half_the_places_and_a_place_that_is_left_is_free() {
        let seats = Arc::new(Seats::new(3));
        let first = [seats.take(TeamId(1)), seats.take(TeamId(1))];
        assert!(first.iter().all(Option::is_some) && seats.take(TeamId(1)).is_none());
        let second = seats.take(TeamId(2));
        assert!(second.is_some() && seats.take(TeamId(2)).is_none(), "all three are taken");
        drop(first);
        assert!(seats.take(TeamId(2)).is_some() && seats.take(TeamId(1)).is_some());
        drop(second);
        assert!(seats.taken.lock().unwrap().is_empty());
    }
}
