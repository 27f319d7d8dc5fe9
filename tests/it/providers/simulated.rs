//! Every template against its own simulation, at the hosts that it names, as an application would use it; and `dev`, which
//! plays the same before somebody's eyes.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncqueue::clock::SystemClock;
use asyncqueue::outbound::Detours;
use asyncqueue::simulate::{Facts, Listener, Outcome, Plan, Simulator};
use serde_json::{Value, json};

use crate::support::provider::*;
use crate::support::service::is_shared;
use crate::support::{Created, KEY, Service};

/// A simulation, a service whose look-ups lead to it, and what the simulation did.
struct Scene {
    facts: Facts,
    simulator: Simulator,
    service: Service,
    plan: Plan,
    did: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    async fn open(facts: Facts, plan: Plan) -> Self {
        let did: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = did.clone();
        let listener = Listener::new(move |what| heard.lock().unwrap().push(what.to_owned()));
        let simulator = Simulator::start(facts.clone(), plan.clone(), Arc::new(SystemClock), listener).await.unwrap();
        let mut detours = Detours::default();
        simulator.lead(&mut detours);
        let service = Service::with_detours(detours).await;
        Self { facts, simulator, service, plan, did }
    }

    fn did(&self, what: &str) -> usize {
        self.did.lock().unwrap().iter().filter(|did| did.contains(what)).count()
    }

    /// A task as an application would create it, with the provider's secret in the vault; polled so often, in seconds.
    async fn create(&self, interval: u32) -> Created {
        let signature = &self.facts["callback"]["signature"];
        let shared = signature.is_object() && self.facts.keys_url().is_none();
        let secret = if shared { Some(token(&self.service, &self.plan.secret, json!({})).await) } else { None };
        let takes = self.facts.takes_callback_url();
        let mut task = json!({
            "provider": self.facts.id(), "targetUrl": self.facts.target_url(), "body": "{}", "useCallback": takes,
            "providerParams": self.facts.params(),
        });
        if self.facts["pollConfig"].is_object() {
            task["pollConfig"] = json!({"interval": interval});
        }
        if self.facts.is_account_level() {
            self.register(secret.as_deref()).await;
        } else if let Some(secret) = secret {
            task["callbackSecret"] = json!(secret);
        }
        self.service.create(&task).await
    }

    async fn register(&self, secret: Option<&str>) {
        let mut body = json!({"provider": self.facts.id()});
        if let Some(secret) = secret {
            body["secret"] = json!(secret);
        }
        let headers = [("x-api-key", KEY)];
        let made = self.service.send("POST", "/v1/endpoints", &headers, Some(&body.to_string())).await.expect(201);
        self.simulator.register(made.json()["endpoint"]["url"].as_str().unwrap().to_owned());
    }
}

fn plan(outcome: Outcome, millis: u64) -> Plan {
    Plan { outcome, work: Duration::from_millis(millis), ..Plan::default() }
}

/// Plays one round trip; false if the template knows no such end.
async fn play(facts: Facts, outcome: Outcome) -> bool {
    let (failed, polled) = (outcome == Outcome::Failed, facts["pollConfig"].is_object());
    let told = facts.end("job", failed).is_some();
    if !told && !(polled && (!failed || facts.failed("job").is_some())) {
        return false;
    }
    let scene = Scene::open(facts, plan(outcome, 100)).await;
    // Where a webhook tells of the end, no poll is to come first.
    let created = scene.create(if told { 3600 } else { 1 }).await;
    let task = scene.service.becomes(&created.id, if failed { "failed" } else { "completed" }).await;
    let id = scene.facts.id();
    assert!(task["result"]["body"].is_string(), "{id}: {task}");
    if told {
        crate::support::until(id, || scene.did("posts its webhook: answered 200") > 0).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn every_template_comes_to_both_ends_at_its_own_hosts() {
    // Each has a service of its own, and one database server makes all their databases.
    let at_once = if is_shared() { 8 } else { 12 };
    for (outcome, least) in [(Outcome::Done, 53), (Outcome::Failed, 48)] {
        let (mut playing, mut played) = (tokio::task::JoinSet::new(), 0);
        for facts in Facts::all() {
            if playing.len() >= at_once {
                played += usize::from(playing.join_next().await.unwrap().unwrap());
            }
            playing.spawn(play(facts, outcome));
        }
        played += playing.join_all().await.into_iter().filter(|played| *played).count();
        assert!(played >= least, "{played} came to {outcome:?}");
    }
}

#[tokio::test]
async fn a_lost_webhook_is_healed_by_the_poll() {
    for id in ["fal", "replicate", "luma", "openai-videos", "minimax", "speechmatics"] {
        let lost = Plan { lost: u32::MAX, ..plan(Outcome::Done, 100) };
        let scene = Scene::open(Facts::named(id).unwrap(), lost).await;
        let created = scene.create(1).await;
        let task = scene.service.becomes(&created.id, "completed").await;
        assert!(scene.did("it gets lost") > 0 && scene.did("answered 200") == 0, "{id}");
        let types = scene.service.event_types(&created.id).await;
        assert!(types.contains(&"poll.finished".to_owned()) && task["result"]["body"].is_string(), "{id}: {types:?}");
    }
}

#[tokio::test]
async fn a_webhook_that_got_lost_is_sent_again_as_the_provider_does() {
    // Luma tries three times, 100 ms apart; its poll would take an hour here.
    let scene = Scene::open(Facts::named("luma").unwrap(), Plan { lost: 2, ..plan(Outcome::Done, 0) }).await;
    let task = json!({
        "provider": "luma", "targetUrl": scene.facts.target_url(), "body": "{}", "useCallback": true,
        "pollConfig": {"interval": 3600},
    });
    let created = scene.service.create(&task).await;
    scene.service.becomes(&created.id, "completed").await;
    assert!(scene.did("it gets lost; again in 0.1 s") >= 1, "{:?}", scene.did.lock().unwrap());
}

#[tokio::test]
async fn a_busy_provider_is_called_again_and_a_cancelled_job_is_called_off() {
    let busy = Plan { busy: 1, ..plan(Outcome::Done, 3_600_000) };
    let scene = Scene::open(Facts::named("replicate").unwrap(), busy).await;
    let created = scene.create(1).await;
    let task = scene.service.once(&created.id, "taken", |task| task["status"] == "polling").await;
    assert_eq!((scene.did("answers 503"), &task["retryCount"]), (1, &json!(1)));
    scene.service.ask("POST", &format!("/v1/tasks/{}/cancel", created.id)).await.expect(200);
    crate::support::until("the job to be called off", || scene.did("calls the job off") == 1).await;
}

/// Runs `dev` once.
fn dev(flags: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_asyncqueue"));
    let ran = command.args(["dev", "--once", "--listen", "127.0.0.1:0"]).args(flags).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    (ran, text)
}

#[test]
fn dev_plays_a_round_trip_with_a_provider_of_each_kind() {
    for (id, shows) in [
        ("fal", "https://queue.fal.run/my-model_id"),
        ("replicate", "callbackSecret"),
        ("luma", "\"dreaming\""),
        ("openai", "/v1/callbacks/endpoints/"),
        ("runwayml", "answers a poll: the job has ended"),
        ("modal", "posts its webhook: answered 200"),
    ] {
        let (ran, text) = dev(&["--provider", id, "--work", "0.2"]);
        assert!(ran.status.success() && text.contains(shows), "{id}: {text}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(text.contains("completed") && text.contains("takes the job"), "{id}: {text}");
    }
    let (ran, text) = dev(&["--provider", "fal", "--work", "0", "--outcome", "failed", "--busy", "1"]);
    assert!(ran.status.success() && text.contains("\"error\": \"it broke\"") && text.contains("503"), "{text}");
    let (ran, text) = dev(&["--provider", "luma", "--work", "0", "--lose-webhooks", "all"]);
    assert!(ran.status.success() && text.contains("it gets lost") && text.contains("poll.finished"), "{text}");
}

#[test]
fn dev_says_what_it_cannot_play_and_fails() {
    for (flags, says) in [
        (vec!["--provider", "nobody"], "--provider nobody: there is no such template"),
        (vec!["--provider", "deepgram", "--lose-webhooks", "all"], "cannot be polled"),
        (vec!["--provider", "cloudflare-batch", "--outcome", "failed"], "never says that a job failed"),
        (vec!["--provider", "fal", "--work", "-1"], "--work"),
        (vec!["--outcome", "failed"], "--provider"),
    ] {
        let (ran, _) = dev(&flags);
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && told.contains(says), "{flags:?}: {told}");
    }
}

#[test]
fn a_value_is_shown_as_it_is() {
    let facts = Facts::named("minimax").unwrap();
    let answer = facts.submitted("7", &|_| String::new());
    assert_eq!(answer, json!({"task_id": "7", "base_resp": {"status_code": 0}}));
    assert_eq!(facts.done("7").1["base_resp"]["status_code"], Value::from(0));
}
