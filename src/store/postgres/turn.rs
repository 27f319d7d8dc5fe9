//! Whose turn it is: teams that have something to call stand in line, and go to its end when they were served.

use std::collections::{BTreeMap, VecDeque};

use crate::task::TeamId;

/// The line.
#[derive(Debug, Default)]
pub(super) struct Turn(VecDeque<TeamId>);

impl Turn {
    /// Teams that have nothing to call any more leave the line; new ones go to its end.
    pub fn update(&mut self, teams: impl Iterator<Item = TeamId>) {
        let teams: std::collections::BTreeSet<TeamId> = teams.collect();
        self.0.retain(|team| teams.contains(team));
        let new: Vec<TeamId> = teams.into_iter().filter(|team| !self.0.contains(team)).collect();
        self.0.extend(new);
    }

    /// The first in line of those who still have something.
    pub fn next<T>(&self, queues: &BTreeMap<TeamId, T>) -> Option<TeamId> {
        self.0.iter().copied().find(|team| queues.contains_key(team))
    }

    /// A team was served.
    pub fn went(&mut self, team: TeamId) {
        self.0.retain(|waiting| *waiting != team);
        self.0.push_back(team);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_served_goes_to_the_end() {
        let mut turn = Turn::default();
        let queues: BTreeMap<TeamId, u8> = [1, 2, 3].map(|team| (TeamId(team), 0)).into();
        turn.update(queues.keys().copied());
        let mut served = Vec::new();
        for _ in 0..4 {
            let team = turn.next(&queues).unwrap();
            turn.went(team);
            served.push(team.0);
        }
        assert_eq!(served, [1, 2, 3, 1]);
        turn.update([TeamId(1), TeamId(4)].into_iter());
        assert_eq!(turn.0, [TeamId(1), TeamId(4)]);
    }
}
