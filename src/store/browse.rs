//! What people look for among tasks. These questions have no index of their own, because an index on what every task
//! goes through would be the dearest write there is: they walk along keys and indexes that are there anyway, in bounded
//! steps, and say how far they came.
//!
//! [`Browse`] is a trait beside [`Store`](super::Store), so that what serves callers cannot ask what only pages ask.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Counts, HostId, StoreError};
use crate::task::{Delivery, DeliveryStatus, Method, Status, Task, TaskId, TeamId, Timestamp};

/// Which tasks are looked for; each filter narrows it.
#[derive(Clone, Debug)]
pub struct Search {
    /// Whose.
    pub team: TeamId,
    /// Only those in this status.
    pub status: Option<Status>,
    /// Only those whose completion webhook stands there.
    pub webhook: Option<DeliveryStatus>,
    /// Only those with this provider template.
    pub provider: Option<String>,
    /// Only those that call this host.
    pub host: Option<HostId>,
    /// Only those with this text in their id or URL, whatever its case.
    pub text: Option<String>,
    /// Only those created at or after this moment.
    pub from: Option<Timestamp>,
    /// Only those created before this moment.
    pub until: Option<Timestamp>,
    /// Only those older than this one: where the page before ended.
    pub before: Option<TaskId>,
    /// At most this many.
    pub limit: usize,
    /// Looking at a task takes a step; looking into its request takes [`REQUEST_STEPS`].
    pub steps: usize,
}

/// What it costs to look into a request, in steps.
pub const REQUEST_STEPS: usize = 5;

impl Search {
    /// Every task of a team, newest first.
    pub fn all(team: TeamId, limit: usize, steps: usize) -> Self {
        Self {
            team,
            status: None,
            webhook: None,
            provider: None,
            host: None,
            text: None,
            from: None,
            until: None,
            before: None,
            limit,
            steps,
        }
    }

    /// The keys between which tasks are walked: from the first, and below the second. Keys begin with the time.
    pub(super) fn keys(&self) -> (i64, i64) {
        let key_at = |at: Timestamp| TaskId::from_parts(u64::try_from(at.0).unwrap_or_default(), 0, 0).sort_key();
        let until = self.until.map_or(i64::MAX, key_at);
        let beyond = self.before.map_or(until, |id| id.sort_key().min(until));
        (self.from.map_or(0, key_at), beyond)
    }

    /// Whether a task can only be judged by its request.
    pub(super) fn asks_the_request(&self) -> bool {
        self.provider.is_some() || self.text.is_some()
    }

    /// Whether the task's request fits.
    pub(super) fn fits_request(&self, id: TaskId, url: &str, provider: Option<&str>) -> bool {
        let provider_fits = self.provider.as_deref().is_none_or(|wanted| provider == Some(wanted));
        let text_fits = self.text.as_deref().is_none_or(|text| {
            let text = text.to_ascii_lowercase();
            url.to_ascii_lowercase().contains(&text) || id.to_string().contains(&text)
        });
        provider_fits && text_fits
    }
}

/// A page of the tasks of several teams that fit, newest first, with the promises of [`Browse::search`]. Each team is walked
/// along its own keys, with its share of the steps.
pub async fn search_teams(browse: &dyn Browse, teams: &[TeamId], search: Search) -> Result<Found, StoreError> {
    let steps = (search.steps / teams.len().max(1)).max(1);
    let mut all = Found { tasks: Vec::new(), next: None, looked_at: 0 };
    for team in teams {
        let found = browse.search(Search { team: *team, steps, ..search.clone() }).await?;
        all.tasks.extend(found.tasks);
        all.next = all.next.max(found.next);
        all.looked_at += found.looked_at;
    }
    // Beyond the place where the first of the walks ended, not every team is known.
    all.tasks.retain(|summary| all.next.is_none_or(|next| summary.task.id >= next));
    all.tasks.sort_unstable_by_key(|summary| Reverse(summary.task.id));
    if all.tasks.len() > search.limit {
        all.tasks.truncate(search.limit);
        all.next = all.tasks.last().map(|summary| summary.task.id);
    }
    Ok(all)
}

/// A task as a list shows it: without its bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its state.
    pub task: Task,
    /// How it calls.
    pub method: Method,
    /// Where.
    pub target_url: String,
    /// Its provider template.
    pub provider: Option<String>,
    /// Where its completion webhook stands.
    pub delivery: Option<Delivery>,
}

/// A page of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The tasks, newest first.
    pub tasks: Vec<Summary>,
    /// The last one that was looked at, where there may be more behind it.
    pub next: Option<TaskId>,
    /// How many were looked at.
    pub looked_at: usize,
}

/// What does not get on, as far as was looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    /// The task that is due longest, of the oldest that are due.
    pub due: Option<Summary>,
    /// The task that waits or is polled longest, of those whose deadlines come next.
    pub waiting: Option<Summary>,
    /// Whether every deadline was looked at.
    pub all_waiting: bool,
    /// Tasks whose completion webhooks are to be delivered, the next due first.
    pub undelivered: Vec<Summary>,
    /// Whether every webhook that is to be delivered was looked at.
    pub all_undelivered: bool,
}

/// At most this many undelivered webhooks are shown.
pub const UNDELIVERED_MAX: usize = 5;

/// Since when a task waits, by its deadline.
pub fn waiting_since(task: &Task) -> Option<Timestamp> {
    use crate::task::{State, Then};
    match (task.state, task.policy.then) {
        (State::Polling { deadline }, Then::Poll(poll)) => Some(deadline.plus_millis(-poll.for_ms)),
        (State::Waiting { deadline } | State::Polling { deadline }, _) => {
            Some(deadline.plus_millis(-task.policy.max_wait_ms))
        }
        _ => None,
    }
}

/// The questions that pages ask. Each is answered in bounded time, however many tasks there are.
#[async_trait]
pub trait Browse: Send + Sync + 'static {
    /// A page of the tasks that fit, newest first. The walk ends where the page is full or the steps are used up; from
    /// `next` it goes on, and whoever follows it to its end has seen every task that fits.
    async fn search(&self, search: Search) -> Result<Found, StoreError>;

    /// What does not get on, looking at no more than `steps` tasks for each question.
    async fn stuck(&self, team: TeamId, steps: usize) -> Result<Stuck, StoreError>;

    /// How many tasks are in each status, by team.
    async fn depths(&self) -> Result<BTreeMap<TeamId, Counts>, StoreError>;

    /// How many of a team's tasks are in each status.
    async fn depth(&self, team: TeamId) -> Result<Counts, StoreError>;
}
