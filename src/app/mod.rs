//! Composition: opens the store, starts the loops and the server, and stops them in order.

mod heart;
mod hub;
mod limits;
pub mod moving;
mod nodes;
mod pages;
pub mod process;
pub mod secrets;
pub mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use zeroize::Zeroizing;

use heart::Heart;
use hub::Hub;
use nodes::{introduction, shared_time, surface};

use crate::admin::{Admin, Outcome};
use crate::api::{self, Api, Room, Seats, Targets};
use crate::clock::Clock;
use crate::config::{Config, Database, EarlyCallbacks, RateLimit, RateLimitCounts, Role};
use crate::credentials::{ApiKeySecret, Ids, Keyring, key_file};
use crate::deliver::Deliverer;
use crate::dispatch::{Dispatcher, Grip};
use crate::guard::{AllowList, AllowTarget, Guard, Own};
use crate::keysets::KeySets;
use crate::net::limit::{SlidingLog, TeamWindow};
use crate::net::{self, Limits};
use crate::oidc::{self, Oidc};
use crate::outbound::{Client, ClientConfig, Detours, Resolver};
use crate::people::{self, People};
use crate::poll::{self, Poller};
use crate::providers;
use crate::store::browse::Browse;
use crate::store::postgres::{self, Postgres};
use crate::store::sqlite::{self, BEHIND_MAX, Sqlite};
use crate::store::{Directory, Store, StoreError};
use crate::strays::Strays;
use crate::task::{self, TaskId};
use crate::teams::Teams;
use crate::timers::{Retention, Timers};
use crate::ui::{self, Sso, Ui};
use crate::vault::Vault;

/// The team that everything belongs to until there are others.
pub const DEFAULT_TEAM: &str = "default";

/// How long answers under way may take once everything else has stopped.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the service takes from its surroundings. Tests pass their own.
pub struct Surroundings {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// Which certificates targets are trusted by; none is the public web's.
    pub tls: Option<rustls::ClientConfig>,
    /// Hosts that simulated providers stand in for.
    pub detours: Detours,
    /// Told why, when the disk cannot be trusted any more. Should end the process.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A running service.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// The API key that was made because the store was new; shown this once.
    pub first_key: Option<String>,
    /// Where the first account is made; none if there is one, or no dashboard.
    pub setup_url: Option<String>,
    stop: CancellationToken,
    give_up: CancellationToken,
    /// Set when nobody is heard any longer, once the loops have stopped.
    close: CancellationToken,
    /// The loops.
    tasks: TaskTracker,
    /// Those who listen: to clients, and to commands.
    edge: TaskTracker,
    notice: Duration,
    grace: Duration,
    /// Where commands come in; only an embedded store has such a place.
    socket: Option<PathBuf>,
    heart: Option<(Arc<Heart>, CancellationToken)>,
}

/// The store with the keys that it needs, not serving yet.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Answers what pages ask about tasks.
    pub browse: Arc<dyn Browse>,
    /// Who is who.
    pub people: Arc<People>,
    /// Makes ids.
    pub ids: Arc<Ids>,
    /// Its keys.
    pub keyring: Keyring,
    /// Does what operators ask.
    pub admin: Arc<Admin>,
    /// The embedded store's file.
    file: Option<PathBuf>,
    /// The store that other nodes share.
    shared: Option<Arc<Postgres>>,
    hub: Arc<Hub>,
}

/// A store, by all that it can do.
struct Backend {
    store: Arc<dyn Store>,
    directory: Arc<dyn Directory>,
    browse: Arc<dyn Browse>,
    shared: Option<Arc<Postgres>>,
}

async fn backend(
    config: &Config,
    surroundings: &Surroundings,
    hub: &Arc<Hub>,
    introduction: Option<postgres::Introduction>,
) -> Result<Backend, String> {
    match &config.database {
        Database::Sqlite(path) => {
            let (observer, fatal) = (hub.clone(), surroundings.fatal.clone());
            let store = Sqlite::open(sqlite::Options { path: path.clone(), observer, fatal, behind_max: BEHIND_MAX })
                .map_err(in_words)?;
            let store = Arc::new(store);
            Ok(Backend { store: store.clone(), directory: store.clone(), browse: store, shared: None })
        }
        Database::Postgres(url) => {
            let (url, observer, require_sync) = (url.expose().clone(), hub.clone(), config.require_sync);
            let options = postgres::Options { url, observer, introduction, require_sync };
            let store = Arc::new(Box::pin(Postgres::open(options)).await.map_err(in_words)?);
            let (directory, browse) = (store.clone(), store.clone());
            Ok(Backend { store: store.clone(), directory, browse, shared: Some(store) })
        }
    }
}

/// Opens the store and unlocks it, for a service, which introduces itself, or for one command.
pub async fn open(
    config: &Config,
    surroundings: &Surroundings,
    introduction: Option<postgres::Introduction>,
) -> Result<Opened, String> {
    providers::embedded().map_err(|bad| bad.to_string())?;
    let hub = Arc::new(Hub::new(surroundings.clock.clone()));
    let Backend { store, directory, browse, shared } = backend(config, surroundings, &hub, introduction).await?;
    let keyring = secrets::unlock(config, config.database.file(), &*store).await?;
    let teams = Arc::new(Teams::new(store.clone(), keyring.clone()));
    let ids = Arc::new(Ids::new(surroundings.clock.clone()));
    let around = people::Surroundings {
        directory,
        store: store.clone(),
        keyring: keyring.clone(),
        teams: teams.clone(),
        clock: surroundings.clock.clone(),
        ids: ids.clone(),
    };
    let people = Arc::new(People::new(around, terms(config)));
    let admin = Arc::new(Admin {
        store: store.clone(),
        keyring: keyring.clone(),
        people: people.clone(),
        teams,
        clock: surroundings.clock.clone(),
        base_url: config.base_url(config.listen),
        serves_at: OnceLock::new(),
        key_file: config.database.file().filter(|_| config.secret_keys.is_none()).map(key_file::beside),
        rotating: tokio::sync::Mutex::default(),
    });
    let file = config.database.file().map(Path::to_owned);
    Ok(Opened { store, browse, people, ids, keyring, admin, file, shared, hub })
}

impl App {
    /// Starts the service; it is ready when this returns.
    pub async fn start(config: &Config, surroundings: Surroundings) -> Result<Self, String> {
        let (surroundings, clock) = shared_time(config, surroundings);
        let introduction = introduction(config);
        let opened = open(config, &surroundings, Some(introduction)).await?;
        let first_key = bootstrap(config, &opened.admin).await?;
        let now = surroundings.clock.now();
        let voided = opened.store.void_claims(now).await.map_err(in_words)?;
        if voided > 0 {
            info!(voided, "Calls were interrupted when the service last ended");
        }
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.map_err(|error| format!("{} cannot be listened on: {error}", config.listen))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let _ = opened.admin.serves_at.set(config.base_url(address));
        let mut app = Self {
            address,
            first_key,
            setup_url: None,
            stop: opened.hub.stop.clone(),
            give_up: CancellationToken::new(),
            close: CancellationToken::new(),
            tasks: TaskTracker::new(),
            edge: TaskTracker::new(),
            notice: config.shutdown_notice,
            grace: config.shutdown_grace,
            socket: None,
            heart: None,
        };
        let grip = Arc::new(Grip::new(app.give_up.clone()));
        app.join_nodes(config, &opened, &grip, clock);
        let (cancelled, called_off) = mpsc::channel(poll::CALLED_OFF_MAX);
        app.start_loops(config, &surroundings, &opened, (called_off, grip)).await?;
        app.take_commands(&opened)?;
        let api = Arc::new(app.api(config, &surroundings, &opened, cancelled)?);
        if let Some((heart, _)) = &app.heart {
            let _ = heart.api.set(api.clone());
        }
        let pages = if config.no_dashboard || !config.role.contains(&Role::Api) {
            None
        } else {
            Some(ui::routes(app.ui(config, &surroundings, &opened, api.clone())?))
        };
        app.tasks.spawn(opened.people.clone().tidy_up(app.stop.clone()));
        app.setup_url = app.setup_url(config, &opened.people).await?;
        let limits = limits(config);
        app.edge.spawn(net::serve(listener, api::service(api, pages), limits, app.close.clone()));
        Ok(app)
    }

    async fn start_loops(
        &mut self,
        config: &Config,
        around: &Surroundings,
        opened: &Opened,
        (called_off, grip): (mpsc::Receiver<TaskId>, Arc<Grip>),
    ) -> Result<(), String> {
        let guard = self.guard(config)?;
        let client = client(config, around, &guard);
        let dispatcher = Dispatcher {
            store: opened.store.clone(),
            client: client.clone(),
            guard: guard.clone(),
            keyring: opened.keyring.clone(),
            teams: opened.admin.teams.clone(),
            vault: vault(opened, &guard),
            clock: around.clock.clone(),
            metrics: opened.hub.metrics.clone(),
            stats: opened.hub.stats.clone(),
            wake: opened.hub.dispatch.clone(),
            callback_base: self.callback_base(config),
            max_in_flight: config.max_in_flight,
            max_per_host: config.max_in_flight_per_host,
            grip,
        };
        let poller = Arc::new(Self::poller(config, around, opened, &client, &guard));
        self.tasks.spawn(poller.clone().call_off(called_off, self.stop.clone(), self.give_up.clone()));
        let deliverer = Deliverer {
            store: opened.store.clone(),
            client,
            guard,
            teams: opened.admin.teams.clone(),
            clock: around.clock.clone(),
            metrics: opened.hub.metrics.clone(),
            stats: opened.hub.stats.clone(),
            wake: opened.hub.deliver.clone(),
            max_in_flight: config.max_deliveries,
        };
        if config.role.contains(&Role::Deliver) {
            self.tasks.spawn(Arc::new(deliverer).run(self.stop.clone(), self.give_up.clone()));
        }
        if config.role.contains(&Role::Poll) {
            self.tasks.spawn(poller.run(self.stop.clone(), self.give_up.clone()));
        }
        if !config.role.contains(&Role::Dispatch) {
            return Ok(());
        }
        self.tasks.spawn(Arc::new(dispatcher).run(self.stop.clone()));
        self.start_timers(config, around, opened).await
    }

    /// What time alone does, and what was waited for by events that came too early.
    async fn start_timers(&self, config: &Config, around: &Surroundings, opened: &Opened) -> Result<(), String> {
        let timers =
            Timers { store: opened.store.clone(), clock: around.clock.clone(), alarm: opened.hub.alarm.clone() };
        timers.put_off_missed(around.clock.now()).await.map_err(in_words)?;
        let retention = Retention { store: opened.store.clone(), clock: around.clock.clone(), keep: config.retention };
        let strays = Strays {
            store: opened.store.clone(),
            clock: around.clock.clone(),
            metrics: opened.hub.metrics.clone(),
            wake: opened.hub.matched.clone(),
        };
        self.tasks.spawn(strays.run(self.stop.clone()));
        self.tasks.spawn(timers.run(self.stop.clone()));
        self.tasks.spawn(retention.run(self.stop.clone()));
        Ok(())
    }

    /// Opens the way in for commands beside an embedded store.
    fn take_commands(&mut self, opened: &Opened) -> Result<(), String> {
        let Some(file) = &opened.file else { return Ok(()) };
        let socket = socket::path_for(file);
        let commands = socket::open(&socket).map_err(|error| format!("{}: {error}", socket.display()))?;
        self.edge.spawn(socket::serve(commands, opened.admin.clone(), self.close.clone()));
        self.socket = Some(socket);
        Ok(())
    }

    fn poller(config: &Config, around: &Surroundings, opened: &Opened, client: &Client, guard: &Arc<Guard>) -> Poller {
        Poller {
            store: opened.store.clone(),
            client: client.clone(),
            guard: guard.clone(),
            vault: vault(opened, guard),
            clock: around.clock.clone(),
            metrics: opened.hub.metrics.clone(),
            stats: opened.hub.stats.clone(),
            alarm: opened.hub.poll.clone(),
            max_in_flight: config.max_polls,
            max_per_host: config.max_in_flight_per_host,
        }
    }

    fn api(
        &self,
        config: &Config,
        around: &Surroundings,
        opened: &Opened,
        cancelled: mpsc::Sender<TaskId>,
    ) -> Result<Api, String> {
        let (file, many) = (opened.file.clone(), opened.shared.is_some());
        let (callbacks, signals) = (sliding_log(config.callback_rate_limit), sliding_log(config.signal_rate_limit));
        let guard = self.guard(config)?;
        Ok(Api {
            store: opened.store.clone(),
            clock: around.clock.clone(),
            ids: Ids::new(around.clock.clone()),
            keyring: opened.keyring.clone(),
            people: opened.people.clone(),
            teams: opened.admin.teams.clone(),
            vault: vault(opened, &guard),
            keysets: Arc::new(KeySets::new(client(config, around, &guard), guard.clone())),
            guard,
            targets: Targets::default(),
            waiters: opened.hub.waiters.clone(),
            metrics: opened.hub.metrics.clone(),
            limits: api_limits(config),
            base_url: config.base_url(self.address),
            callback_base: self.callback_base(config),
            callback_log: if many { callbacks.shared() } else { callbacks },
            signal_log: if many { signals.shared() } else { signals },
            team_window: if many { TeamWindow::new().shared() } else { TeamWindow::new() },
            room: Room::default(),
            creating: Mutex::default(),
            cancelled,
            streams: Arc::new(Seats::new(config.max_streams)),
            stopping: self.stop.clone(),
            surface: surface(config),
            log_bytes: Box::new(move || file.as_ref().map_or(0, |file| sqlite::log_bytes(file))),
        })
    }

    fn ui(&self, config: &Config, around: &Surroundings, opened: &Opened, api: Arc<Api>) -> Result<Arc<Ui>, String> {
        self.tasks.spawn(opened.hub.live.clone().run());
        self.tasks.spawn(opened.hub.stats.clone().run(opened.browse.clone(), self.stop.clone()));
        Ok(Arc::new(Ui {
            views: pages::views(config, around.clock.clone(), opened, api, self.address),
            people: opened.people.clone(),
            oidc: self.sso(config, around)?,
            store: opened.store.clone(),
            trusted_proxies: config.trusted_proxy.clone(),
            base_url: config.base_url(self.address),
        }))
    }

    fn sso(&self, config: &Config, around: &Surroundings) -> Result<Option<Sso>, String> {
        let (Some(issuer), Some(client_id), Some(secret)) =
            (&config.oidc_issuer, &config.oidc_client_id, &config.oidc_secret)
        else {
            return Ok(None);
        };
        let settings = oidc::Settings {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: Zeroizing::new(secret.expose().clone()),
            redirect_uri: format!("{}/login/oidc/callback", config.base_url(self.address)),
        };
        let guard = Arc::new(guard(config)?);
        let client = client(config, around, &guard);
        let keysets = Arc::new(KeySets::new(client.clone(), guard.clone()));
        let oidc = Oidc::new(settings, client, guard, keysets, around.clock.clone());
        let allowed_domains = config.oidc_allowed_domain.iter().map(|domain| domain.to_lowercase()).collect();
        Ok(Some(Sso { oidc, allowed_domains }))
    }

    /// A fresh link for the first account.
    async fn setup_url(&self, config: &Config, people: &People) -> Result<Option<String>, String> {
        if config.no_dashboard {
            return Ok(None);
        }
        let link = people.new_setup_link().await.map_err(in_words)?;
        Ok(link.map(|link| format!("{}/setup/{}", config.base_url(self.address), link.expose())))
    }

    /// The guard that the configuration asks for, which knows where this service listens.
    fn guard(&self, config: &Config) -> Result<Arc<Guard>, String> {
        let own = Own::new(self.address, &config.base_url(self.address));
        Ok(Arc::new(guard(config)?.of(own)))
    }

    fn callback_base(&self, config: &Config) -> String {
        format!("{}/v1/callbacks/", config.base_url(self.address))
    }

    /// Stops: takes nothing new up, finishes what is under way within the grace time, then closes the store.
    ///
    /// Who comes meanwhile is still answered, because what is acknowledged is on disk and outlives the stop; only
    /// `/readyz` says 503, so that a balancer has the time to hear it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.edge.close();
        let in_order = async {
            tokio::join!(self.tasks.wait(), tokio::time::sleep(self.notice));
            self.close.cancel();
            self.edge.wait().await;
        };
        if tokio::time::timeout(self.grace, in_order).await.is_err() {
            warn!("The grace time is over; what is under way is given up");
            self.give_up.cancel();
            self.close.cancel();
            let all = async { tokio::join!(self.tasks.wait(), self.edge.wait()) };
            let _ = tokio::time::timeout(LAST_WORDS, all).await;
        }
        if let Some((heart, stop)) = &self.heart {
            // Until here this node had something in hand, and had to be alive.
            stop.cancel();
            heart.leave().await;
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Makes the first team and its key if the store has none; answers the key if it was made up here.
async fn bootstrap(config: &Config, admin: &Admin) -> Result<Option<String>, String> {
    let teams = admin.store.teams().await.map_err(in_words)?;
    let team = match teams.into_iter().find(|team| team.name == DEFAULT_TEAM) {
        Some(team) => team,
        None => admin.new_team(DEFAULT_TEAM.to_owned(), None).await.map_err(in_words)?,
    };
    // The service may have ended between the two acts.
    if !admin.store.keys(team.id).await.map_err(in_words)?.is_empty() {
        return Ok(None);
    }
    let given = config.bootstrap_key.as_ref();
    let key = match given {
        Some(key) => ApiKeySecret::parse(key.expose()).ok_or("ASYNCQUEUE_BOOTSTRAP_KEY is no API key")?,
        None => ApiKeySecret::generate(),
    };
    match admin.add_key(team.id, "first key".to_owned(), key).await? {
        Outcome::Key { key, .. } if given.is_none() => Ok(Some(key)),
        _ => Ok(None),
    }
}

fn terms(config: &Config) -> people::Terms {
    people::Terms {
        session_idle: config.session_idle,
        session_lifetime: config.session_lifetime,
        secret_grace: config.secret_grace,
    }
}

fn client(config: &Config, around: &Surroundings, guard: &Arc<Guard>) -> Client {
    Client::new(ClientConfig {
        resolver: around.resolver.clone(),
        max_answer_bytes: config.max_answer_bytes,
        tls: around.tls.clone(),
        detours: around.detours.clone(),
        ..ClientConfig::new(guard.clone())
    })
}

fn vault(opened: &Opened, guard: &Arc<Guard>) -> Arc<Vault> {
    Arc::new(Vault { store: opened.store.clone(), keyring: opened.keyring.clone(), guard: guard.clone() })
}

/// The guard that the configuration asks for.
pub fn guard(config: &Config) -> Result<Guard, String> {
    let allowed: Result<Vec<AllowTarget>, String> =
        config.allow_target.iter().map(|text| AllowTarget::parse(text.trim())).collect();
    Ok(Guard::new(AllowList(allowed?)))
}

fn limits(config: &Config) -> Limits {
    let stock = Limits::default();
    Limits {
        first_byte: config.first_byte_timeout,
        header: config.header_timeout,
        idle: config.idle_timeout,
        grace: config.shutdown_grace,
        connections: config.max_connections.unwrap_or(stock.connections),
        connections_per_source: config.max_connections_per_source.unwrap_or(0),
        ..stock
    }
}

fn api_limits(config: &Config) -> api::Limits {
    api::Limits {
        task_bytes: config.max_task_bytes,
        callback_bytes: config.max_callback_bytes,
        body_time: config.body_timeout,
        team_rate: config.team_rate_limit,
        trusted_proxies: config.trusted_proxy.clone(),
        exempt: config.callback_rate_limit_exempt.clone(),
        count_refused_only: config.callback_rate_limit_counts == RateLimitCounts::Refused,
        early: match config.callback_early {
            EarlyCallbacks::Accept => task::EarlyCallbacks::Accept,
            EarlyCallbacks::Reject => task::EarlyCallbacks::Reject,
        },
    }
}

fn sliding_log(limit: Option<RateLimit>) -> SlidingLog {
    let (count, window) = limit.map_or((0, Duration::from_secs(60)), |limit| (limit.count, limit.window));
    SlidingLog::new(count, window, <SlidingLog>::SOURCES)
}

fn in_words(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(text) | StoreError::Damaged(text) => text,
        other => other.to_string(),
    }
}

/// Whether a service has the database open.
pub fn in_use(database: &Path) -> bool {
    Sqlite::in_use(database)
}
