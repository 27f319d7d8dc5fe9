//! After the load: everything open is brought to its end, and then everything is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::server::Server;
use super::site::files_below;
use super::time::{parse_ms, wall_ms};
use super::world::World;
use super::{PATIENCE, large};
use crate::check::{Observed, TaskRead, Violation, assert_none, check, integrity};
use crate::ledger::Entry;

/// Deadlines that passed while the server was down fire a minute after it is ready; then there is some work to do, and the
/// machine may be busy.
const LIMIT: Duration = Duration::from_secs(300);
/// A task due later than this is not waited for.
const FAR: i64 = 60_000;

impl World {
    /// Ends what is open, checks every invariant, and stops the server.
    pub async fn settle_and_check(&self, server: Server) {
        assert_none(&self.settle(server).await);
    }

    /// The same, giving the violations.
    pub async fn settle(&self, server: Server) -> Vec<Violation> {
        let mut violations = self.settle_serving().await;
        server.stop().await;
        violations.extend(integrity(&self.site.database()));
        violations
    }

    /// The same while whatever serves goes on.
    pub async fn settle_serving(&self) -> Vec<Violation> {
        self.end_what_waits().await;
        self.wait_until_quiet().await;
        self.wait_for_webhooks().await;
        let seen = self.observe().await;
        self.note_losses();
        println!("checking {} tasks, {} calls, {} webhooks", seen.tasks.len(), seen.calls.len(), seen.hooks.len());
        check(&self.ledger.read(), &seen)
    }

    /// Notes when nodes lost their calls, as their logs tell: on a busy machine that happens at other times than the test's, too.
    fn note_losses(&self) {
        let said = ["lets go of its calls", "took this one for dead", "Took back the calls"];
        let logs = self.node_folders.iter().flat_map(|folder| files_below(folder));
        for log in logs.filter(|file| file.extension().is_some_and(|end| end == "log")) {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines = text.lines().filter(|line| said.iter().any(|said| line.contains(said)));
            for line in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                let at = line["timestamp"].as_str().and_then(parse_ms).expect("a line of the log has its time");
                self.ledger.write(&Entry::Down(at));
                self.ledger.write(&Entry::Ready(at + 1));
            }
        }
    }

    /// Uses up the credentials that are left, then cancels what still waits for something that will not come.
    pub async fn end_what_waits(&self) {
        while let Some((task, id)) = self.target.take_callback(|_| 0) {
            self.callback(&task, &id).await;
        }
        let tokens = std::mem::take(&mut *self.tokens.lock().unwrap());
        for (task, token) in tokens {
            self.signal(&task, &token, false).await;
        }
    }

    async fn wait_until_quiet(&self) {
        let started = Instant::now();
        loop {
            let open = self.open_tasks().await;
            if open.is_empty() {
                return;
            }
            assert!(started.elapsed() < LIMIT, "I8: still open after {LIMIT:?}: {} such as {}", open.len(), open[0].1);
            self.end_what_waits().await;
            for (team, task) in open.iter().filter(|(_, task)| waits_for_nothing(task)) {
                self.cancel(*team, task["id"].as_str().unwrap_or("")).await;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// Tasks that are not final and not due much later.
    async fn open_tasks(&self) -> Vec<(usize, Value)> {
        let mut open = Vec::new();
        for team in 0..self.teams.len() {
            for status in ["pending", "processing", "waiting", "delayed"] {
                open.extend(self.list(team, &format!("&status={status}")).await.into_iter().map(|task| (team, task)));
            }
        }
        open.retain(|(_, task)| !is_far(task));
        open
    }

    async fn wait_for_webhooks(&self) {
        let started = Instant::now();
        while self.undelivered().await > 0 && started.elapsed() < PATIENCE {
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn undelivered(&self) -> usize {
        let mut count = 0;
        for team in 0..self.teams.len() {
            let tasks = self.list(team, "").await;
            count += tasks
                .iter()
                .filter(|task| task["onComplete"]["status"] == "pending" && !task["completedAt"].is_null())
                .count();
        }
        count
    }

    /// All tasks of a team.
    pub async fn list(&self, team: usize, filter: &str) -> Vec<Value> {
        let mut tasks = Vec::new();
        loop {
            let path = format!("/v1/tasks?limit=100&offset={}{filter}", tasks.len());
            let outcome = self.teams[team].get(&path).await;
            assert_eq!(outcome.status(), 200, "{path}: {outcome:?}");
            let page = outcome.json();
            tasks.extend(page["tasks"].as_array().expect("a list").iter().cloned());
            if page["pagination"]["hasMore"] != true {
                return tasks;
            }
        }
    }

    /// Reads everything, twice where it may not change.
    pub async fn observe(&self) -> Observed {
        let mut tasks = Vec::new();
        for (id, (team, listed)) in self.known_tasks().await {
            tasks.push(self.first_read(team, id, listed).await);
        }
        for read in &mut tasks {
            let path = format!("/v1/tasks/{}", read.id);
            read.second = self.teams[read.team].get(&path).await.json()["task"].clone();
        }
        let foreign = self.foreign_looks(&tasks).await;
        let (calls, hooks, secrets) = (self.target.calls(), self.target.hooks(), self.secrets.clone());
        // Two seconds on a quiet machine. The small forms run beside others, and there it counts that it is noticed.
        let lateness = if large() { 2_000 } else { 20_000 };
        let clock_was_set = self.clock_is_set;
        Observed { at: wall_ms(), tasks, calls, hooks, secrets, foreign, lateness, clock_was_set }
    }

    /// Every task that a list shows or the journal knows: its team, and whether it was listed.
    async fn known_tasks(&self) -> BTreeMap<String, (usize, bool)> {
        let mut known = BTreeMap::new();
        for entry in self.ledger.read() {
            if let Entry::Create(create) = entry {
                known.extend(create.id.map(|id| (id, (create.team, false))));
            }
        }
        for team in 0..self.teams.len() {
            let ids = self.list(team, "").await;
            known.extend(ids.iter().filter_map(|task| Some((task["id"].as_str()?.to_owned(), (team, true)))));
        }
        known
    }

    async fn first_read(&self, team: usize, id: String, listed: bool) -> TaskRead {
        let path = format!("/v1/tasks/{id}");
        let first = self.teams[team].get(&path).await.json()["task"].clone();
        let timed = first["status"] == "timeout" || first["status"] == "waiting";
        let events = if timed {
            self.teams[team].get(&format!("{path}/events")).await.json()["events"].clone()
        } else {
            Value::Null
        };
        TaskRead { team, id, first, second: Value::Null, events, listed }
    }

    /// Some tasks, asked for with another team's key.
    async fn foreign_looks(&self, tasks: &[TaskRead]) -> Vec<(String, u16)> {
        let mut looks = Vec::new();
        let teams: BTreeSet<usize> = tasks.iter().map(|read| read.team).collect();
        for team in teams {
            for read in tasks.iter().filter(|read| read.team == team).take(20) {
                let other = &self.teams[(team + 1) % self.teams.len()];
                looks.push((read.id.clone(), other.get(&format!("/v1/tasks/{}", read.id)).await.status()));
            }
        }
        looks
    }
}

/// Whether a task waits for a callback or a signal that nobody is going to send.
fn waits_for_nothing(task: &Value) -> bool {
    task["status"] == "waiting" && task["maxWaitTime"].as_f64().is_some_and(|seconds| seconds > 60.0)
}

fn is_far(task: &Value) -> bool {
    let due = task["nextAttemptAt"].as_str().or(task["delayUntil"].as_str()).and_then(parse_ms);
    task["status"] == "delayed" && due.is_some_and(|due| due > wall_ms() + FAR)
}
