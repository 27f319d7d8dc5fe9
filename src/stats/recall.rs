//! The hour before the start, out of the store: a restart does not empty the charts, and no commit pays for that.
//!
//! What is counted is the tasks that were created in that hour. It is read once, behind the start, in pages, and no more of
//! it than a moment's work; where that does not reach back an hour, a team's minutes are whole since later.

use super::{MINUTES, Statistics, Team, change};
use crate::store::browse::{Browse, Search, Summary};
use crate::store::{Ended, StoreError};
use crate::task::{TeamId, Timestamp};

/// So many tasks are looked at, of all teams together.
const LOOKED_AT_MAX: usize = 30_000;

/// So many at once.
const PAGE: usize = 500;

impl Statistics {
    /// Counts what the store knows of the hour before the start.
    pub async fn recall(&self, store: &dyn Browse) -> Result<(), StoreError> {
        let mut left = LOOKED_AT_MAX;
        for team in store.depths().await?.into_keys() {
            left = self.recall_team(store, team, left).await?;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The same for one team; answers how many tasks may still be looked at.
    async fn recall_team(&self, store: &dyn Browse, id: TeamId, mut left: usize) -> Result<usize, StoreError> {
        let hour_ago = self.started.plus_millis(-MINUTES * 60_000);
        let all = Search::all(id, PAGE, PAGE);
        let mut search = Search { from: Some(hour_ago), until: Some(self.started), ..all };
        let mut since = self.started;
        while left > 0 {
            let found = store.search(search.clone()).await?;
            left = left.saturating_sub(found.looked_at.max(1));
            since = found.tasks.last().map_or(since, |oldest| oldest.task.created_at);
            self.with(|teams| change(teams, id, |team| team.remember(&found.tasks, self.started)));
            search.before = found.next;
            if found.next.is_none() {
                since = hour_ago;
                break;
            }
        }
        self.with(|teams| change(teams, id, |team| team.since = Some(since)));
        Ok(left)
    }
}

impl Team {
    /// Counts tasks that were created before the start. What happened to them since then is counted as it happens.
    fn remember(&mut self, tasks: &[Summary], started: Timestamp) {
        let minute = |at: Timestamp| at.0.div_euclid(60_000);
        for Summary { task, .. } in tasks {
            self.minutes.past(minute(task.created_at)).created += 1;
            let over = task.completed_at().filter(|at| *at < started);
            if let (Some(at), Some(end)) = (over, Ended::of(task)) {
                self.minutes.past(minute(at)).ended(&end);
            }
        }
    }
}
