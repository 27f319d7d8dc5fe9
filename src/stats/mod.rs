//! How the last hour went: counted in memory, minute by minute, from what commits and calls tell anyway. Nothing is
//! written for it, and nothing is asked of the store but how deep the queues are, and once, at the start, which tasks there
//! were in the hour before (`recall`). From then on it is this process's view.

mod latency;
mod recall;
mod ring;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use latency::Latencies;
pub use ring::{Calls, MINUTES, Minute, Ring};

use crate::clock::Clock;
use crate::store::browse::Browse;
use crate::store::{Ended, StoreError};
use crate::task::{TeamId, Timestamp};

/// So many teams are counted; more would be a flood.
const TEAMS_MAX: usize = 2000;

/// So many hosts, or providers, are counted of one team.
const NAMES_MAX: usize = 100;

/// So many of all teams.
const ALL_NAMES_MAX: usize = 5000;

/// How often the queues are measured.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// Everything that was counted.
pub struct Statistics {
    clock: Arc<dyn Clock>,
    started: Timestamp,
    teams: Mutex<HashMap<TeamId, Team>>,
}

/// Calls by a name.
pub type Names = HashMap<String, Ring<Calls>>;

/// What was counted of one team.
#[derive(Clone, Debug, Default)]
pub struct Team {
    /// Since when its minutes are whole; without it, since this process began to count.
    pub since: Option<Timestamp>,
    /// Its tasks, minute by minute.
    pub minutes: Ring<Minute>,
    /// Calls by host.
    pub hosts: Names,
    /// Calls by provider template.
    pub providers: Names,
    /// Polls by provider template.
    pub polls: Names,
    /// Completion webhooks by receiving host.
    pub receivers: Names,
}

/// One call to somebody else, as it ended.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose.
    pub team: TeamId,
    /// Where.
    pub url: &'a str,
    /// The provider template.
    pub provider: Option<&'a str>,
    /// Whether it failed.
    pub failed: bool,
    /// How long it took.
    pub took: Duration,
}

impl Team {
    fn names(&self) -> usize {
        [&self.hosts, &self.providers, &self.polls, &self.receivers].map(HashMap::len).iter().sum()
    }
}

impl Statistics {
    /// Nothing counted yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self { clock, started, teams: Mutex::default() }
    }

    /// Since when is counted.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// A commit created and ended these tasks.
    pub fn committed(&self, created: &[TeamId], ended: &[Ended]) {
        if created.is_empty() && ended.is_empty() {
            return;
        }
        let minute = self.minute();
        self.with(|teams| {
            for team in created {
                change(teams, *team, |team| team.minutes.at(minute).created += 1);
            }
            for end in ended {
                change(teams, end.team, |team| team.minutes.at(minute).ended(end));
            }
        });
    }

    /// A target was called.
    pub fn called(&self, call: Call<'_>) {
        let minute = self.minute();
        self.with(|teams| {
            count(teams, call, |team| &mut team.hosts, host(call.url), minute);
            if let Some(provider) = call.provider {
                count(teams, call, |team| &mut team.providers, provider, minute);
            }
        });
    }

    /// A provider was asked how a job goes.
    pub fn polled(&self, call: Call<'_>) {
        let minute = self.minute();
        let name = call.provider.unwrap_or_else(|| host(call.url));
        self.with(|teams| count(teams, call, |team| &mut team.polls, name, minute));
    }

    /// A completion webhook was tried.
    pub fn told(&self, call: Call<'_>) {
        let minute = self.minute();
        self.with(|teams| count(teams, call, |team| &mut team.receivers, host(call.url), minute));
    }

    /// What was counted of a team.
    pub fn of(&self, team: TeamId) -> Team {
        self.with(|teams| teams.get(&team).cloned().unwrap_or_default())
    }

    /// Recalls the hour before, and then measures the queues until `stop`.
    pub async fn run(self: Arc<Self>, store: Arc<dyn Browse>, stop: CancellationToken) {
        match stop.run_until_cancelled(self.recall(&*store)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "The hour before the start could not be read"),
            None => return,
        }
        loop {
            if let Err(error) = self.measure(&*store).await {
                tracing::debug!(%error, "The queues could not be measured");
            }
            if stop.run_until_cancelled(tokio::time::sleep(MEASURED_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Measures the queues now.
    pub async fn measure(&self, store: &dyn Browse) -> Result<(), StoreError> {
        let depths = store.depths().await?;
        let minute = self.minute();
        self.with(|teams| {
            for (team, counts) in depths {
                change(teams, team, |team| team.minutes.at(minute).measured(&counts));
            }
        });
        Ok(())
    }

    fn minute(&self) -> i64 {
        self.clock.now().0.div_euclid(60_000)
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<TeamId, Team>) -> T) -> T {
        act(&mut self.teams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn change(teams: &mut HashMap<TeamId, Team>, id: TeamId, act: impl FnOnce(&mut Team)) {
    if let Some(team) = teams.get_mut(&id) {
        return act(team);
    }
    if teams.len() < TEAMS_MAX {
        act(teams.entry(id).or_default());
    }
}

fn count(
    teams: &mut HashMap<TeamId, Team>,
    call: Call<'_>,
    pick: fn(&mut Team) -> &mut Names,
    name: &str,
    minute: i64,
) {
    // Nearly always it is a name that is counted already.
    if let Some(ring) = teams.get_mut(&call.team).and_then(|team| pick(team).get_mut(name)) {
        return ring.at(minute).add(call.failed, call.took);
    }
    if !make_room(teams, call.team, pick, minute) {
        return;
    }
    change(teams, call.team, |team| {
        pick(team).entry(name.to_owned()).or_default().at(minute).add(call.failed, call.took);
    });
}

/// Whether one more name can be counted, when those are forgotten that nobody called for an hour.
fn make_room(teams: &mut HashMap<TeamId, Team>, id: TeamId, pick: fn(&mut Team) -> &mut Names, minute: i64) -> bool {
    let Some(team) = teams.get_mut(&id) else { return true };
    if pick(team).len() >= NAMES_MAX {
        pick(team).retain(|_, ring| ring.is_used(minute));
    }
    pick(team).len() < NAMES_MAX && teams.values().map(Team::names).sum::<usize>() < ALL_NAMES_MAX
}

/// The host and port of a URL; `http://` stays before them, because https is usual.
fn host(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let start = if rest.starts_with("http://") { "http://".len() } else { 0 };
    let end = rest[start..].find(['/', '?', '#']).map_or(rest.len(), |at| start + at);
    rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host)
}

#[cfg(test)]
mod tests;
