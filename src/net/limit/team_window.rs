//! The requests a team may make in a minute. Fixed windows, because clients are shown when the count starts anew; on the monotonic clock, so
//! that setting the wall clock neither frees nor locks out anyone.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::told::Told;

const WINDOW: Duration = Duration::from_secs(60);
const SHARDS: usize = 16;
/// Teams remembered in each shard.
const TEAMS: usize = 8192;

/// What a team is told about its limit, and whether the request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Requests in a window (`X-RateLimit-Limit`).
    pub limit: u32,
    /// Requests left in this window (`X-RateLimit-Remaining`).
    pub remaining: u32,
    /// When the window ends, in Unix seconds rounded up (`X-RateLimit-Reset`).
    pub reset_unix_seconds: i64,
    /// Set if the request is refused: seconds until the window ends, rounded up, at least 1 (`Retry-After`).
    pub retry_after: Option<u32>,
}

/// Counts each team's requests in windows of a minute, the first of which starts with its first request.
#[derive(Debug, Default)]
pub struct TeamWindow {
    shards: [Mutex<HashMap<i64, Window>>; SHARDS],
    told: Told<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    used: u32,
}

impl TeamWindow {
    /// No team has asked for anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers whom it admits, for limiters that share its limit.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.told.begin();
        self
    }

    /// Which teams' requests it admitted since this was asked last, and how many.
    pub fn admitted(&self) -> HashMap<i64, u32> {
        self.told.take()
    }

    /// A limiter that shares this limit admitted so many of a team's requests.
    pub fn hear(&self, team: i64, count: u32, now: Instant) {
        let mut teams = self.teams(team);
        make_room(&mut teams, team, now);
        let window = teams.entry(team).or_insert(Window { start: now, used: 0 });
        if window.left(now).is_zero() {
            *window = Window { start: now, used: 0 };
        }
        window.used = window.used.saturating_add(count);
    }

    fn teams(&self, team: i64) -> MutexGuard<'_, HashMap<i64, Window>> {
        let index = usize::try_from(team.unsigned_abs()).unwrap_or_default() % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of `team` against `limit`, which may change from call to call. The wall clock `unix_millis` is only shown.
    pub fn admit(&self, team: i64, limit: u32, unix_millis: i64, now: Instant) -> Admission {
        let mut teams = self.teams(team);
        make_room(&mut teams, team, now);
        let window = teams.entry(team).or_insert(Window { start: now, used: 0 });
        if window.left(now).is_zero() {
            *window = Window { start: now, used: 0 };
        }
        let is_admitted = window.used < limit;
        if is_admitted {
            window.used += 1;
            self.told.admitted(team);
        }
        window.admission(limit, is_admitted, unix_millis, now)
    }
}

/// Forgets windows that are over when there are too many, and if none is, the one that ends first.
fn make_room(teams: &mut HashMap<i64, Window>, team: i64, now: Instant) {
    if teams.len() < TEAMS || teams.contains_key(&team) {
        return;
    }
    teams.retain(|_, window| !window.left(now).is_zero());
    if teams.len() >= TEAMS {
        let first = teams.iter().min_by_key(|(_, window)| window.start).map(|(team, _)| *team);
        first.and_then(|team| teams.remove(&team));
    }
}

impl Window {
    fn left(self, now: Instant) -> Duration {
        WINDOW.saturating_sub(now.saturating_duration_since(self.start))
    }

    fn admission(self, limit: u32, is_admitted: bool, unix_millis: i64, now: Instant) -> Admission {
        let left = self.left(now).as_millis().max(1);
        let reset = unix_millis.saturating_add(i64::try_from(left).unwrap_or(i64::MAX));
        let wait = u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX);
        Admission {
            limit,
            remaining: limit.saturating_sub(self.used),
            reset_unix_seconds: reset.saturating_add(999).div_euclid(1000),
            retry_after: (!is_admitted).then_some(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Admission, TEAMS, TeamWindow};

    const TEAM: i64 = 7;
    /// From one team of a shard to the next.
    const STRIDE: i64 = 16;

    #[test]
    fn a_team_is_refused_above_its_limit_until_its_minute_is_over() {
        let (teams, start) = (TeamWindow::new(), Instant::now());
        let at = |millis: u64, unix| teams.admit(TEAM, 2, unix, start + Duration::from_millis(millis));
        let told = |remaining, reset_unix_seconds, retry_after| Admission {
            limit: 2,
            remaining,
            reset_unix_seconds,
            retry_after,
        };
        assert_eq!(at(0, 1_000_500), told(1, 1061, None));
        assert_eq!(at(10_000, 1_010_500), told(0, 1061, None));
        assert_eq!(at(58_500, 1_059_000), told(0, 1061, Some(2)));
        assert_eq!(at(59_999, 1_060_499), told(0, 1061, Some(1)));
        assert_eq!(at(60_000, 1_060_500), told(1, 1121, None));
        assert_eq!(teams.admit(TEAM + STRIDE, 2, 0, start).remaining, 1);
    }

    #[test]
    fn setting_the_wall_clock_changes_nothing() {
        let (teams, start) = (TeamWindow::new(), Instant::now());
        assert_eq!(teams.admit(TEAM, 1, 5_000_000, start).retry_after, None);
        assert_eq!(teams.admit(TEAM, 1, 9_000_000_000, start).retry_after, Some(60));
        assert_eq!(teams.admit(TEAM, 1, -9_000_000, start + Duration::from_secs(60)).retry_after, None);
    }

    #[test]
    fn a_limit_may_change_within_a_window() {
        let (teams, now) = (TeamWindow::new(), Instant::now());
        assert_eq!(teams.admit(TEAM, 1, 0, now).remaining, 0);
        assert_eq!(teams.admit(TEAM, 3, 0, now).remaining, 1);
        assert_eq!(teams.admit(TEAM, 1, 0, now).retry_after, Some(60));
    }

    #[test]
    fn the_table_is_bounded() {
        let (teams, now) = (TeamWindow::new(), Instant::now());
        let most = i64::try_from(TEAMS).unwrap();
        for team in 0..most + 100 {
            teams.admit(team * STRIDE, 1, 0, now + Duration::from_millis(team.unsigned_abs()));
        }
        assert_eq!(teams.shards[0].lock().unwrap().len(), TEAMS);
    }

    #[test]
    fn what_others_admit_counts_and_is_not_told_again() {
        let (one, two, now) = (TeamWindow::new().shared(), TeamWindow::new().shared(), Instant::now());
        one.admit(TEAM, 3, 0, now);
        one.admit(TEAM, 3, 0, now);
        for (team, count) in one.admitted() {
            two.hear(team, count, now);
        }
        assert!(one.admitted().is_empty() && two.admitted().is_empty());
        assert_eq!(two.admit(TEAM, 3, 0, now).retry_after, None);
        assert_eq!(two.admit(TEAM, 3, 0, now).retry_after, Some(60));
        assert_eq!(two.admitted(), [(TEAM, 1)].into());
    }
}
