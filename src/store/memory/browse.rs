//! What people look for, answered by looking at every task in turn.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::Memory;
use super::shelf::{Row, Shelf};
use crate::store::browse::{Browse, Found, REQUEST_STEPS, Search, Stuck, Summary, UNDELIVERED_MAX, waiting_since};
use crate::store::{Counts, StoreError};
use crate::task::{State, TeamId};

#[async_trait]
impl Browse for Memory {
    async fn search(&self, search: Search) -> Result<Found, StoreError> {
        self.read_with(|shelf| Ok(shelf.search(&search)))
    }

    async fn stuck(&self, team: TeamId, steps: usize) -> Result<Stuck, StoreError> {
        self.read_with(|shelf| Ok(shelf.stuck(team, steps)))
    }

    async fn depths(&self) -> Result<BTreeMap<TeamId, Counts>, StoreError> {
        self.read_with(|shelf| {
            let mut depths = BTreeMap::<TeamId, Counts>::new();
            for row in shelf.rows.values() {
                let task = &row.record.task;
                *depths.entry(task.team).or_default().entry(task.status()).or_default() += 1;
            }
            Ok(depths)
        })
    }

    async fn depth(&self, team: TeamId) -> Result<Counts, StoreError> {
        Ok(self.depths().await?.remove(&team).unwrap_or_default())
    }
}

fn summary(row: &Row) -> Summary {
    let record = &row.record;
    Summary {
        task: record.task.clone(),
        method: record.request.method,
        target_url: record.request.target_url.clone(),
        provider: record.request.follow.provider.clone(),
        delivery: record.delivery,
    }
}

impl Shelf {
    fn search(&self, search: &Search) -> Found {
        let mut found = Found { tasks: Vec::new(), next: None, looked_at: 0 };
        let mut steps = search.steps;
        let mut last = None;
        let (lowest, beyond) = search.keys();
        let between = |row: &&Row| (lowest..beyond).contains(&row.record.task.id.sort_key());
        for row in self.rows.values().rev().filter(|row| row.record.task.team == search.team).filter(between) {
            if found.tasks.len() == search.limit || steps == 0 {
                found.next = last;
                break;
            }
            steps = steps.saturating_sub(if search.asks_the_request() { REQUEST_STEPS } else { 1 });
            found.looked_at += 1;
            last = Some(row.record.task.id);
            if fits(row, search) {
                found.tasks.push(summary(row));
            }
        }
        found
    }

    fn stuck(&self, team: TeamId, steps: usize) -> Stuck {
        let rows = || self.rows.values().filter(|row| row.record.task.team == team);
        let due = rows().filter_map(|row| match row.record.task.state {
            State::Pending { since } => Some((since, row.record.task.id, row)),
            _ => None,
        });
        let due = due.take(steps).min_by_key(|(since, id, _)| (*since, *id)).map(|(_, _, row)| summary(row));
        let waiting = rows().filter_map(|row| Some((waiting_since(&row.record.task)?, row.record.task.id, row)));
        let waiting = waiting.min_by_key(|(since, id, _)| (*since, *id)).map(|(_, _, row)| summary(row));
        let mut undelivered: Vec<_> =
            rows().filter_map(|row| Some((row.record.delivery?.next_attempt_at?, row.record.task.id, row))).collect();
        undelivered.sort_by_key(|(at, id, _)| (*at, *id));
        let undelivered: Vec<_> = undelivered.into_iter().map(|(_, _, row)| summary(row)).collect();
        Stuck {
            due,
            waiting,
            all_waiting: true,
            all_undelivered: undelivered.len() <= UNDELIVERED_MAX,
            undelivered: undelivered.into_iter().take(UNDELIVERED_MAX).collect(),
        }
    }
}

fn fits(row: &Row, search: &Search) -> bool {
    let task = &row.record.task;
    search.status.is_none_or(|status| task.status() == status)
        && search.webhook.is_none_or(|status| row.record.delivery.is_some_and(|hook| hook.status == status))
        && search.host.is_none_or(|host| row.host == host)
        && search.fits_request(task.id, &row.record.request.target_url, row.record.request.follow.provider.as_deref())
}
