//! The real service in this process, on a free port, with a store in a folder of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use async_trait::async_trait;
use asyncqueue::admin::{Act, Outcome};
use asyncqueue::app::{App, Surroundings, socket};
use asyncqueue::clock::{Clock, SystemClock};
use asyncqueue::config::{Config, FlagValues, Host, args};
use asyncqueue::outbound::{Detours, Resolver};
use asyncqueue::task::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::{Answer, Connection, PATIENCE};

/// The key of team `default`.
pub const KEY: &str = "async_integration-tests-0123456789abcdef";

/// What nodes share that share a store.
const SECRET_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What the service proves to an OpenID provider who it is with.
pub const OIDC_SECRET: &str = "client secret: of + queue/";

/// The system's clock, ahead by as much as a test says.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// Jumps ahead.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Names and what they resolve to; others do not resolve.
#[derive(Clone, Default)]
pub struct Names(pub HashMap<String, Vec<IpAddr>>);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.0.get(host.trim_end_matches('.')).cloned();
        known.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))
    }
}

/// A service.
pub struct Service {
    pub address: SocketAddr,
    pub clock: Arc<TestClock>,
    pub folder: Arc<Folder>,
    app: App,
}

/// A created task, with the credentials that only its creation shows.
#[derive(Clone, Debug)]
pub struct Created {
    pub id: String,
    pub callback: Option<String>,
    pub signal: Option<String>,
    pub json: Value,
}

impl Created {
    /// Reads the answer to a creation.
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        let json = answer.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            id: text(&json["task"]["id"]).expect("an id"),
            callback: text(&json["task"]["callbackId"]),
            signal: text(&json["signalToken"]),
            json,
        }
    }

    /// The path of its callback URL.
    pub fn callback_path(&self) -> String {
        format!("/v1/callbacks/{}", self.callback.as_deref().expect("a callback id"))
    }

    /// The path of its signal token.
    pub fn signal_path(&self) -> String {
        format!("/v1/signals/{}", self.signal.as_deref().expect("a signal token"))
    }
}

/// A folder that goes away at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn make() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("asyncqueue-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Service {
    /// A service that may call loopback and limits nobody.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with further flags.
    pub async fn with(flags: &[&str]) -> Self {
        let flags = [&["--allow-target", "127.0.0.0/8"], flags].concat();
        Self::among(&flags, Names::default()).await
    }

    /// A service with just these flags, among these names.
    pub async fn among(flags: &[&str], names: impl Resolver + 'static) -> Self {
        Self::in_folder(Arc::new(Folder::make()), Arc::default(), flags, Arc::new(names), Detours::default()).await
    }

    /// A service that may call loopback, and finds some hosts elsewhere than where they are.
    pub async fn with_detours(detours: Detours) -> Self {
        let flags = ["--allow-target", "127.0.0.0/8"];
        let names = Arc::new(Names::default());
        Self::in_folder(Arc::new(Folder::make()), Arc::default(), &flags, names, detours).await
    }

    async fn in_folder(
        folder: Arc<Folder>,
        clock: Arc<TestClock>,
        flags: &[&str],
        resolver: Arc<dyn Resolver>,
        detours: Detours,
    ) -> Self {
        let surroundings = surroundings(clock.clone(), resolver, detours);
        let app = App::start(&config(&folder, flags), surroundings).await.unwrap();
        Self { address: app.address, clock, folder, app }
    }

    /// Stops it and starts it anew on the same store.
    pub async fn restart(self, flags: &[&str]) -> Self {
        let (folder, clock) = (self.folder.clone(), self.clock.clone());
        self.stop().await;
        Self::again(folder, clock, flags).await
    }

    /// Stops it.
    pub async fn stop(self) {
        self.app.stop().await;
    }

    /// A service on a store that another has left.
    pub async fn again(folder: Arc<Folder>, clock: Arc<TestClock>, flags: &[&str]) -> Self {
        let flags = [&["--allow-target", "127.0.0.0/8"], flags].concat();
        Self::in_folder(folder, clock, &flags, Arc::new(Names::default()), Detours::default()).await
    }

    /// Where the first account is made.
    pub fn setup_url(&self) -> Option<&str> {
        self.app.setup_url.as_deref()
    }

    /// Where its database is.
    pub fn database(&self) -> PathBuf {
        self.folder.0.join("store.db")
    }

    /// The name of the database that its store is, if it is one that nodes share.
    pub fn shared_database(&self) -> Option<String> {
        let url = database(&self.folder);
        is_shared().then(|| url.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Does an operator's act: through the private socket, or on the store that the service shares.
    pub async fn act(&self, act: Act) -> Outcome {
        if is_shared() {
            let surroundings = surroundings(self.clock.clone(), Arc::new(Names::default()), Detours::default());
            let opened = asyncqueue::app::open(&config(&self.folder, &[]), &surroundings, None).await.unwrap();
            let outcome = opened.admin.perform(act).await;
            // What a node believes of keys and teams, it believes for less than a second.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            return outcome;
        }
        socket::ask(&socket::path_for(&self.database()), &act).await.unwrap()
    }

    /// A request with headers of the test's own choice.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let mut connection = Connection::open(self.address).await;
        connection.send(method, path, headers, body.map(str::as_bytes)).await
    }

    /// A request with the key of team `default`.
    pub async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[("x-api-key", KEY)], None).await
    }

    /// A POST without a key.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], Some(body)).await
    }

    /// Asks for a task, whatever comes of it.
    pub async fn try_create(&self, body: &str) -> Answer {
        let headers = [("authorization", &*format!("Bearer {KEY}")), ("content-type", "application/json")];
        self.send("POST", "/v1/tasks", &headers, Some(body)).await
    }

    /// Creates a task.
    pub async fn create(&self, body: &Value) -> Created {
        Created::of(&self.try_create(&body.to_string()).await.expect(201))
    }

    /// The task as it is.
    pub async fn task(&self, id: &str) -> Value {
        self.ask("GET", &format!("/v1/tasks/{id}")).await.expect(200).json()["task"].clone()
    }

    /// The task once it has this status. Asks again and again: a long poll that comes after the change is held for nothing.
    pub async fn becomes(&self, id: &str, status: &str) -> Value {
        self.once(id, status, |task| task["status"] == status).await
    }

    /// The task once a look at it says yes.
    pub async fn once(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let task = self.task(id).await;
            if is(&task) {
                return task;
            }
            assert!(Instant::now() < deadline, "never {what}: {task}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// What the task went through.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        let answer = self.ask("GET", &format!("/v1/tasks/{id}/events")).await.expect(200);
        answer.json()["events"].as_array().unwrap().clone()
    }

    /// The types of what the task went through.
    pub async fn event_types(&self, id: &str) -> Vec<String> {
        self.events(id).await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes another team, and a key of its.
    pub async fn another_team(&self, name: &str) -> String {
        let made = self.act(Act::CreateTeam { name: name.to_owned(), rate_limit: None }).await;
        assert!(matches!(made, Outcome::Teams(_)), "{made:?}");
        team_key(self, name).await.0
    }

    /// The secret that the team `default` signs with.
    pub async fn secret(&self) -> String {
        match self.act(Act::ShowSecret { team: "default".to_owned() }).await {
            Outcome::Secret { secret, .. } => secret,
            other => panic!("{other:?}"),
        }
    }
}

fn surroundings(clock: Arc<TestClock>, resolver: Arc<dyn Resolver>, detours: Detours) -> Surroundings {
    let fatal = Arc::new(|why: &str| panic!("the store failed: {why}"));
    Surroundings { clock, resolver, tls: None, detours, fatal }
}

/// Whether the tests run on the store that nodes share.
pub fn is_shared() -> bool {
    std::env::var("AQ_TEST_DATABASE").is_ok_and(|value| value == "postgres")
}

/// Where the tasks of a service with this folder are kept.
fn database(folder: &Folder) -> String {
    if !is_shared() {
        return format!("sqlite:{}", folder.0.join("store.db").display());
    }
    let known = folder.0.join("database");
    std::fs::read_to_string(&known).unwrap_or_else(|_| {
        let url = crate::postgres::shared().database();
        std::fs::write(&known, &url).unwrap();
        url
    })
}

/// A new key of this team, and its id.
pub async fn team_key(service: &Service, team: &str) -> (String, String) {
    match service.act(Act::CreateKey { team: team.to_owned(), name: "test".to_owned() }).await {
        Outcome::Key { key, id } => (key, id),
        other => panic!("{other:?}"),
    }
}

/// The configuration that these flags make; a later flag wins over an earlier one.
fn config(folder: &Folder, flags: &[&str]) -> Config {
    let database = database(folder);
    let mut all = vec!["it", "--database", &database];
    let defaults = [
        ("--listen", "127.0.0.1:0"),
        ("--callback-rate-limit", "0"),
        ("--signal-rate-limit", "0"),
        ("--shutdown-notice", "0s"),
        ("--shutdown-grace", "2s"),
    ];
    for (name, value) in defaults.iter().filter(|(name, _)| !flags.contains(name)) {
        all.extend([name, value]);
    }
    all.extend(flags);
    let matches = clap::Command::new("it").args(args()).try_get_matches_from(all).unwrap();
    let secret_key = ("ASYNCQUEUE_SECRET_KEY".to_owned(), SECRET_KEY.to_owned());
    let environment = [
        ("ASYNCQUEUE_BOOTSTRAP_KEY".to_owned(), KEY.to_owned()),
        ("ASYNCQUEUE_OIDC_CLIENT_SECRET".to_owned(), OIDC_SECRET.to_owned()),
    ];
    let environment = environment.into_iter().chain(is_shared().then_some(secret_key));
    let host = Host { read_file: &|path| std::fs::read_to_string(path), data_folder: None, check_target: &|_| Ok(()) };
    Config::load(FlagValues::from_matches(&matches), environment, &host).unwrap()
}
