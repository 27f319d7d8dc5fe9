//! The journal and the observations, put together by task.

use std::collections::HashMap;

use serde_json::Value;

use super::{Observed, TaskRead};
use crate::harness::target::{Call, Hook};
use crate::ledger::{Act, Create, Entry, Verdict};

/// What the rules look at.
pub struct Facts<'a> {
    pub seen: &'a Observed,
    pub creates: Vec<&'a Create>,
    pub acts: Vec<&'a Act>,
    /// From each end of the server to its next readiness.
    pub downtimes: Vec<(i64, i64)>,
    reads: HashMap<&'a str, &'a TaskRead>,
    acts_of: HashMap<&'a str, Vec<&'a Act>>,
    calls_of: HashMap<&'a str, Vec<&'a Call>>,
    hooks_of: HashMap<&'a str, Vec<&'a Hook>>,
}

impl<'a> Facts<'a> {
    pub fn new(entries: &'a [Entry], seen: &'a Observed) -> Self {
        let creates = entries.iter().filter_map(|entry| if let Entry::Create(it) = entry { Some(it) } else { None });
        let acts = entries.iter().filter_map(|entry| if let Entry::Act(it) = entry { Some(it) } else { None });
        let acts: Vec<&Act> = acts.collect();
        Self {
            seen,
            creates: creates.collect(),
            downtimes: downtimes(entries),
            reads: seen.tasks.iter().map(|read| (read.id.as_str(), read)).collect(),
            acts_of: grouped(acts.iter().copied(), |act| &act.task),
            calls_of: grouped(&seen.calls, |call| &call.task),
            hooks_of: grouped(&seen.hooks, |hook| &hook.task),
            acts,
        }
    }

    pub fn read(&self, task: &str) -> Option<&'a TaskRead> {
        self.reads.get(task).copied()
    }

    pub fn acts_of(&self, task: &str) -> &[&'a Act] {
        self.acts_of.get(task).map_or(&[], Vec::as_slice)
    }

    /// The clients' acts on a task that the service acknowledged, or that it may have performed.
    pub fn acts_with(&self, task: &str, verdict: Verdict) -> impl Iterator<Item = &'a Act> {
        self.acts_of(task).iter().copied().filter(move |act| act.verdict == verdict)
    }

    pub fn calls_of(&self, task: &str) -> &[&'a Call] {
        self.calls_of.get(task).map_or(&[], Vec::as_slice)
    }

    pub fn hooks_of(&self, task: &str) -> &[&'a Hook] {
        self.hooks_of.get(task).map_or(&[], Vec::as_slice)
    }

    /// All tasks that were seen, with the creations that made them.
    pub fn made(&self) -> Vec<(&'a Create, &'a TaskRead)> {
        let by_marker: HashMap<&str, &Create> = self.creates.iter().map(|it| (it.marker.as_str(), *it)).collect();
        let creation = |read: &'a TaskRead| Some((*by_marker.get(marker(&read.first))?, read));
        self.seen.tasks.iter().filter_map(creation).collect()
    }

    /// Whether the server was down, or going down or coming up, at some time from `start` to `end`.
    pub fn was_down_between(&self, start: i64, end: i64) -> bool {
        self.downtimes.iter().any(|(down, ready)| *down <= end && start <= *ready)
    }
}

/// The text that names a task's creation.
pub fn marker(task: &Value) -> &str {
    task["metadata"]["marker"].as_str().unwrap_or("")
}

/// Whether a task has ended.
pub fn is_final(task: &Value) -> bool {
    matches!(task["status"].as_str(), Some("completed" | "failed" | "timeout" | "cancelled"))
}

fn downtimes(entries: &[Entry]) -> Vec<(i64, i64)> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Down(at) => found.push((*at, i64::MAX)),
            Entry::Ready(at) => found.last_mut().into_iter().for_each(|last| last.1 = last.1.min(*at)),
            Entry::Create(_) | Entry::Act(_) => {}
        }
    }
    found
}

fn grouped<'a, T: 'a>(
    items: impl IntoIterator<Item = &'a T>,
    task: impl Fn(&'a T) -> &'a String,
) -> HashMap<&'a str, Vec<&'a T>> {
    let mut groups: HashMap<&str, Vec<&T>> = HashMap::new();
    for item in items {
        groups.entry(task(item)).or_default().push(item);
    }
    groups
}
