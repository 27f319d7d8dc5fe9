//! A site, a target, two teams and the journal: what a client does here is written down.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::http::{Client, Outcome};
use super::random;
use super::server::Server;
use super::site::{Site, word_with_prefix};
use super::target::Target;
use super::time::{iso, wall_ms};
use crate::ledger::{Act, By, Create, Entry, Kind, Ledger, Verdict};

/// Everything a test needs besides the running server.
pub struct World {
    pub site: Site,
    pub target: Target,
    pub ledger: Ledger,
    /// A client for each team, once the first server is up: `default`, then `other`.
    pub teams: Vec<Client>,
    /// The teams' webhook secrets.
    pub secrets: Vec<String>,
    /// Signal tokens with their tasks, until somebody takes them.
    pub tokens: Mutex<Vec<(String, String)>>,
    /// Tasks made to be cancelled.
    pub victims: Mutex<Vec<(usize, String)>>,
    /// Where clients go: to the site, or to what stands before many nodes.
    pub entry: SocketAddr,
    /// Where the logs of nodes are, if there are several.
    pub node_folders: Vec<PathBuf>,
    /// The service's clock is set during the test.
    pub clock_is_set: bool,
    run: String,
    next: AtomicU64,
}

impl World {
    pub async fn new(label: &str) -> Self {
        Self::on(Site::new(label)).await
    }

    /// On a site that was prepared already.
    pub async fn on(site: Site) -> Self {
        Self {
            target: Target::start().await,
            ledger: Ledger::open(&site.dir),
            teams: vec![Client::new(site.addr, Some(&site.key))],
            secrets: Vec::new(),
            tokens: Mutex::default(),
            victims: Mutex::default(),
            node_folders: Vec::new(),
            clock_is_set: false,
            entry: site.addr,
            run: random::hex(4),
            next: AtomicU64::new(0),
            site,
        }
    }

    /// Starts the server; the first time also learns the secret and makes the second team.
    pub async fn start(&mut self) -> Server {
        let server = Server::start(&self.site).await;
        self.ledger.write(&Entry::Ready(wall_ms()));
        if self.secrets.is_empty() {
            self.introduce();
        }
        server
    }

    /// Learns the secrets, and makes the second team.
    pub fn introduce(&mut self) {
        self.site.command(&["team", "create", "other"]);
        let key = word_with_prefix(&self.site.command(&["key", "create", "--team", "other"]), "async_");
        self.teams.push(Client::new(self.entry, Some(&key)));
        for team in ["default", "other"] {
            let shown = self.site.command(&["team", "secret", "show", "--team", team]);
            self.secrets.push(word_with_prefix(&shown, "whsec_"));
        }
    }

    pub fn api(&self) -> &Client {
        &self.teams[0]
    }

    /// Requests of all teams that are sent and not answered.
    pub fn unanswered(&self) -> usize {
        self.teams.iter().map(Client::unanswered).sum()
    }

    /// Notes that the server is going down now.
    pub fn note_down(&self) {
        self.ledger.write(&Entry::Down(wall_ms()));
    }

    /// A text that occurs nowhere else.
    pub fn marker(&self) -> String {
        format!("m-{}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates a task of `kind`, with some fields changed.
    pub async fn create(&self, team: usize, kind: Kind, changes: &Value) -> (Outcome, Option<String>) {
        self.create_with(&self.teams[team], team, kind, changes).await
    }

    /// The same by another client of the team.
    pub async fn create_with(
        &self,
        client: &Client,
        team: usize,
        kind: Kind,
        changes: &Value,
    ) -> (Outcome, Option<String>) {
        let marker = self.marker();
        let mut request = self.request(kind, &marker);
        for (field, value) in changes.as_object().into_iter().flatten() {
            request[field] = value.clone();
        }
        let sent = wall_ms();
        let outcome = client.post("/v1/tasks", request.to_string()).await;
        let verdict = Verdict::from(&outcome);
        let answer = outcome.json();
        let acknowledged = verdict == Verdict::Acknowledged;
        let id = answer["task"]["id"].as_str().filter(|_| acknowledged).map(str::to_owned);
        let status = outcome.status();
        let entry = Create { marker, team, kind, request, verdict, status, sent, id: id.clone() };
        self.ledger.write(&Entry::Create(entry));
        if let Some(id) = &id {
            self.remember(team, kind, id, &answer);
        }
        (outcome, id)
    }

    fn remember(&self, team: usize, kind: Kind, id: &str, answer: &Value) {
        match (kind, answer["signalToken"].as_str()) {
            (Kind::Victim, _) => self.victims.lock().unwrap().push((team, id.to_owned())),
            (Kind::Signal, Some(token)) => self.tokens.lock().unwrap().push((id.to_owned(), token.to_owned())),
            _ => {}
        }
    }

    fn request(&self, kind: Kind, marker: &str) -> Value {
        let mut request = json!({
            "targetUrl": self.target.url("/call?delay=20"),
            "body": json!({"marker": marker, "n": [1.5, true]}).to_string(),
            "headers": {"X-Marker": marker},
            "metadata": {"marker": marker},
            "timeout": 20,
            "maxRetries": 3,
        });
        match kind {
            Kind::Plain => {}
            Kind::Flaky => request["targetUrl"] = self.target.url("/call?fail=1").into(),
            Kind::Delayed => request["delayUntil"] = iso(wall_ms() + 1500).into(),
            Kind::Callback => {
                request["body"] = json!({"marker": marker, "callback": "{asyncqueue_callback_url}"}).to_string().into();
                request["maxWaitTime"] = 3600.into();
            }
            Kind::Signal => (request["waitForSignal"], request["maxWaitTime"]) = (true.into(), 3600.into()),
            Kind::Short => (request["waitForSignal"], request["maxWaitTime"]) = (true.into(), 2.into()),
            Kind::Victim => request["delayUntil"] = iso(wall_ms() + 3_600_000).into(),
        }
        request
    }

    /// Posts a callback with a body that occurs nowhere else.
    pub async fn callback(&self, task: &str, id: &str) -> Outcome {
        let body = format!(r#"{{ "marker" : "{}", "n" : [ 1.0e2, 196619188014358660 ] }}"#, self.marker());
        self.act(0, By::Callback, task, id, body).await
    }

    /// Notes a callback that was sent by other means, and whose answer nobody read.
    pub fn note_unread_callback(&self, task: &str, id: &str, body: &str) {
        let (task, credential, body) = (task.to_owned(), id.to_owned(), body.to_owned());
        let (sent, answered) = (wall_ms(), wall_ms());
        let (by, verdict, answer) = (By::Callback, Verdict::Unknown, Value::Null);
        let act = Act { by, task, credential, body, verdict, status: 0, answer, sent, answered };
        self.ledger.write(&Entry::Act(act));
    }

    /// Posts a signal.
    pub async fn signal(&self, task: &str, token: &str, failed: bool) -> Outcome {
        let marker = self.marker();
        let body = if failed {
            json!({"status": "failed", "error": marker})
        } else {
            json!({"status": "completed", "result": {"marker": marker}})
        };
        self.act(0, By::Signal, task, token, body.to_string()).await
    }

    pub async fn cancel(&self, team: usize, task: &str) -> Outcome {
        self.act(team, By::Cancel, task, "", String::new()).await
    }

    async fn act(&self, team: usize, by: By, task: &str, credential: &str, body: String) -> Outcome {
        let path = match by {
            By::Callback => format!("/v1/callbacks/{credential}"),
            By::Signal => format!("/v1/signals/{credential}"),
            By::Cancel => format!("/v1/tasks/{task}/cancel"),
        };
        let sent = wall_ms();
        let outcome = self.teams[team].post(&path, body.clone()).await;
        let entry = Act {
            by,
            task: task.to_owned(),
            credential: credential.to_owned(),
            body,
            verdict: Verdict::from(&outcome),
            status: outcome.status(),
            answer: outcome.json(),
            sent,
            answered: wall_ms(),
        };
        self.ledger.write(&Entry::Act(entry));
        outcome
    }

    /// The task as the API shows it now.
    pub async fn task(&self, id: &str) -> Value {
        self.api().get(&format!("/v1/tasks/{id}")).await.json()["task"].clone()
    }
}
