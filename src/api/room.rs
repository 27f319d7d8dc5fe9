//! Memory for large answers. Whoever wants one leases room for it, and waits or goes away if others have it: many large
//! answers at once, each to a client that takes its time, would otherwise be the end of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::task::TeamId;

/// Room is handed out in pieces of this size.
const PIECE: u64 = 64 * 1024;

/// All the room there is: 256 MiB.
const PIECES: usize = 4096;

/// The most that one team may have, so that its slow clients leave room for others'.
const TEAMS_PIECES: usize = PIECES / 2;

/// What a task's bodies take on their way: as they are read, and twice as JSON while that grows.
const FACTOR: u64 = 3;

/// How long to wait for room.
const PATIENCE: Duration = Duration::from_secs(10);

/// The room that there is for large answers.
pub struct Room {
    patience: Duration,
    all: Arc<Semaphore>,
    /// Teams are made by the operator, so their number is bounded.
    teams: Mutex<HashMap<TeamId, Arc<Semaphore>>>,
}

/// Room that is given back at the end.
pub struct Lease {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Room {
    fn default() -> Self {
        Self { patience: PATIENCE, all: Arc::new(Semaphore::new(PIECES)), teams: Mutex::default() }
    }
}

impl Room {
    /// Room for an answer whose largest part are `bytes` of bodies; a 503 if there is none for a while.
    pub async fn lease(&self, team: TeamId, bytes: u64) -> Result<Lease, Problem> {
        let most = u64::try_from(TEAMS_PIECES).unwrap_or(u64::MAX);
        let pieces = u32::try_from((bytes * FACTOR / PIECE + 1).min(most)).unwrap_or(u32::MAX);
        let of_team = self.of_team(team);
        let leased = async {
            let own = of_team.acquire_many_owned(pieces).await;
            let of_all = self.all.clone().acquire_many_owned(pieces).await;
            own.ok().zip(of_all.ok())
        };
        let leased = tokio::time::timeout(self.patience, leased).await.ok().flatten();
        leased.map(|(own, of_all)| Lease { _own: own, _of_all: of_all }).ok_or_else(Problem::unavailable)
    }

    fn of_team(&self, team: TeamId) -> Arc<Semaphore> {
        let mut teams = self.teams.lock().unwrap_or_else(PoisonError::into_inner);
        teams.entry(team).or_insert_with(|| Arc::new(Semaphore::new(TEAMS_PIECES))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 16 << 20;

    #[tokio::test]
    async fn there_is_room_for_so_much_and_no_more_and_one_team_cannot_have_it_all() {
        let room = Room { patience: Duration::from_millis(20), ..Room::default() };
        let mut leases = Vec::new();
        for team in [1, 2] {
            for _ in 0..2 {
                leases.push(room.lease(TeamId(team), LARGE).await.expect("room"));
            }
            assert!(room.lease(TeamId(team), LARGE).await.is_err(), "a team has half of it");
        }
        leases.push(room.lease(TeamId(3), LARGE).await.expect("what is left"));
        assert!(room.lease(TeamId(4), LARGE).await.is_err(), "there is no more");
        leases.remove(0);
        assert!(room.lease(TeamId(1), LARGE).await.is_ok(), "what is given back is there again");
        // More than a team may have at all is had alone.
        drop(leases);
        assert!(room.lease(TeamId(1), u64::MAX / FACTOR).await.is_ok());
    }
}
