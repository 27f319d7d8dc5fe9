//! Who is next: in memory only the best pending task per team and host, in turn by team; the rest is in an index.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{Capacity, HostId};
use crate::task::TeamId;

/// A pending task's place among its team's: higher priority, then longer due, then older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The priority, negated so that higher ones sort first.
    pub rank: i64,
    pub since: i64,
    pub key: i64,
}

#[derive(Debug, Default)]
struct TeamQueue {
    heads: BTreeMap<Place, HostId>,
    hosts: HashMap<HostId, Place>,
}

/// The queue's heads, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Ready {
    teams: HashMap<TeamId, TeamQueue>,
    turns: VecDeque<TeamId>,
    /// The store is known to have more than one team.
    several_teams: bool,
}

impl Ready {
    /// Finds the heads by stepping through the index from team and host to the next; no other row is read.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut ready = Self::default();
        let mut next = db.prepare_cached(
            "SELECT team, host FROM task WHERE status = 0 AND (team, host) > (?1, ?2) ORDER BY team, host LIMIT 1",
        )?;
        let mut at = (i64::MIN, i64::MIN);
        while let Some(found) = next.query_row([at.0, at.1], |row| Ok((row.get(0)?, row.get(1)?))).optional()? {
            at = found;
            ready.refill(db, TeamId(at.0), HostId(at.1))?;
        }
        Ok(ready)
    }

    /// A task became pending.
    pub(super) fn add(&mut self, team: TeamId, host: HostId, place: Place) {
        let queue = self.teams.entry(team).or_insert_with(|| {
            self.turns.push_back(team);
            TeamQueue::default()
        });
        match queue.hosts.get(&host) {
            Some(head) if *head <= place => {}
            Some(head) => {
                let head = *head;
                queue.heads.remove(&head);
                queue.set(host, place);
            }
            None => queue.set(host, place),
        }
    }

    /// A task is pending no longer; its row says so already.
    pub(super) fn remove(&mut self, db: &Connection, team: TeamId, host: HostId, key: i64) -> rusqlite::Result<()> {
        let Some(queue) = self.teams.get_mut(&team) else {
            return Ok(());
        };
        if queue.hosts.get(&host).is_some_and(|head| head.key == key) {
            if let Some(head) = queue.hosts.remove(&host) {
                queue.heads.remove(&head);
            }
            self.refill(db, team, host)?;
            self.forget_if_empty(team);
        }
        Ok(())
    }

    /// The next task that may be claimed, and its host. The team whose turn it was goes to the end of the line.
    pub(super) fn next(&mut self, db: &Connection, capacity: &Capacity) -> rusqlite::Result<Option<(i64, HostId)>> {
        for _ in 0..self.turns.len() {
            self.turns.rotate_left(1);
            let Some(team) = self.turns.back().copied() else { break };
            if capacity.slots_for(team) == 0 && self.has_several_teams(db)? {
                continue;
            }
            let Some(queue) = self.teams.get(&team) else { break };
            if let Some((place, host)) = queue.heads.iter().find(|(_, host)| capacity.room_at(**host) > 0) {
                return Ok(Some((place.key, *host)));
            }
        }
        Ok(None)
    }

    /// Whether what is reserved is so for anybody. Asked only where a team would be passed over, so that most commits do
    /// without; and of an answer that stays the same, no more than once: teams are never removed. What a commit that was
    /// taken back said of them goes with it, since all of this is then loaded anew.
    fn has_several_teams(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        if !self.several_teams {
            let mut second = db.prepare_cached("SELECT id FROM team WHERE id > (SELECT min(id) FROM team)")?;
            self.several_teams = second.exists([])?;
        }
        Ok(self.several_teams)
    }

    fn refill(&mut self, db: &Connection, team: TeamId, host: HostId) -> rusqlite::Result<()> {
        let mut best = db.prepare_cached(
            "SELECT priority, at, key FROM task WHERE status = 0 AND team = ?1 AND host = ?2 \
             ORDER BY priority DESC, at, key LIMIT 1",
        )?;
        let place =
            |row: &rusqlite::Row<'_>| Ok(Place { rank: -row.get::<_, i64>(0)?, since: row.get(1)?, key: row.get(2)? });
        if let Some(place) = best.query_row(params![team.0, host.0], place).optional()? {
            self.add(team, host, place);
        }
        Ok(())
    }

    fn forget_if_empty(&mut self, team: TeamId) {
        if self.teams.get(&team).is_some_and(|queue| queue.heads.is_empty()) {
            self.teams.remove(&team);
            self.turns.retain(|waiting| *waiting != team);
        }
    }
}

impl TeamQueue {
    fn set(&mut self, host: HostId, place: Place) {
        self.heads.insert(place, host);
        self.hosts.insert(host, place);
    }
}
