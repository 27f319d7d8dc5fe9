//! How many calls there is room for: in all, to each host, and for each team.

use std::collections::HashMap;

use super::HostId;
use crate::task::TeamId;

/// How much a dispatcher can take on.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    /// At most this many tasks.
    pub slots: usize,
    /// At most this many calls in flight to one host.
    pub per_host: usize,
    /// The last so many slots are for teams that have fewer calls in flight than that, where the store has more than one team.
    pub reserve: usize,
    /// Calls in flight now, by host.
    pub in_flight: HashMap<HostId, usize>,
    /// Calls in flight now, by team.
    pub by_team: HashMap<TeamId, usize>,
}

impl Capacity {
    /// How many more of this team's tasks there are slots for, as long as no other team takes one. Once it is none it stays
    /// none until a call ends: claims only take slots, so whoever was passed over need not be looked at again.
    pub(super) fn slots_for(&self, team: TeamId) -> usize {
        let calls = self.by_team.get(&team).copied().unwrap_or_default();
        let unreserved = self.slots.saturating_sub(self.reserve);
        unreserved.max(self.reserve.saturating_sub(calls)).min(self.slots)
    }

    /// How many more calls the host may have.
    pub(super) fn room_at(&self, host: HostId) -> usize {
        self.per_host.saturating_sub(self.in_flight.get(&host).copied().unwrap_or_default())
    }

    /// So many tasks of this team, for this host, take a slot each.
    pub(super) fn enter(&mut self, team: TeamId, host: HostId, tasks: usize) {
        self.slots = self.slots.saturating_sub(tasks);
        *self.in_flight.entry(host).or_default() += tasks;
        *self.by_team.entry(team).or_default() += tasks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: TeamId = TeamId(1);
    const NEW: TeamId = TeamId(2);

    /// 16 slots of which two are reserved, and so many taken by one team.
    fn taken(calls: usize) -> Capacity {
        let mut capacity = Capacity { slots: 16, per_host: 99, reserve: 2, ..Capacity::default() };
        capacity.enter(BUSY, HostId(1), calls);
        capacity
    }

    #[test]
    fn the_last_slots_are_for_teams_with_few_calls() {
        let rooms = |calls| (taken(calls).slots_for(BUSY), taken(calls).slots_for(NEW));
        assert_eq!([0, 13, 14, 15, 16].map(rooms), [(14, 14), (1, 2), (0, 2), (0, 1), (0, 0)]);
    }

    #[test]
    fn a_team_with_few_calls_may_have_as_many_as_are_reserved() {
        let mut capacity = taken(14);
        capacity.enter(NEW, HostId(2), 1);
        assert_eq!((capacity.slots_for(NEW), capacity.slots_for(TeamId(3))), (1, 1));
        capacity.enter(NEW, HostId(2), 1);
        assert_eq!((capacity.slots, capacity.slots_for(TeamId(3))), (0, 0));
    }

    #[test]
    fn what_can_be_claimed_in_a_row_is_as_much_as_was_said() {
        for (slots, reserve, calls) in [(16, 2, 0), (3, 2, 0), (3, 2, 1), (3, 2, 2), (2, 5, 4), (7, 0, 9), (1, 1, 0)] {
            let by_team = [(BUSY, calls)].into();
            let mut capacity = Capacity { slots, per_host: 99, reserve, by_team, ..Capacity::default() };
            let said = capacity.slots_for(BUSY);
            let mut claimed = 0;
            while capacity.slots_for(BUSY) > 0 {
                capacity.enter(BUSY, HostId(1), 1);
                claimed += 1;
            }
            assert_eq!(claimed, said, "{slots} slots, {reserve} reserved, {calls} calls");
        }
    }

    #[test]
    fn without_a_reserve_one_team_may_have_every_slot() {
        let capacity = Capacity { reserve: 0, ..taken(9) };
        assert_eq!(capacity.slots_for(BUSY), 7);
    }
}
