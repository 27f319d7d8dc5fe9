//! The place where a run happens: the scratch folder, the counts, and how each kind of server is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Outcome};
use crate::options::Options;
use crate::postgres;
use crate::process::{Server, free_address};
use crate::requests::Door;
use crate::rows::Measured;
use crate::wire::Connection;

/// The key of team `default` in every store of the benchmark.
pub const API_KEY: &str = "async_benchmark-key-0123456789-abcdefghij";
/// The service's secret in every store of the benchmark: 32 bytes in base64.
pub const SECRET_KEY: &str = "YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcy0tLS0=";

/// How much of everything.
#[derive(Clone, Copy)]
pub struct Counts {
    /// Requests to the echo server.
    pub echo: u32,
    /// Requests to the yardstick.
    pub yardstick: u32,
    /// Tasks created.
    pub create: u32,
    /// Callbacks posted, each to a waiting task.
    pub resolve: u32,
    /// Whole cycles.
    pub cycle: u32,
    /// Waiting tasks in the large store.
    pub million: u32,
    /// Waiting tasks in the store that the large one is compared with.
    pub small_store: u32,
    /// Long polls held open.
    pub long_polls: u32,
}

impl Counts {
    const QUICK: Self = Self {
        echo: 60_000,
        yardstick: 40_000,
        create: 20_000,
        resolve: 10_000,
        cycle: 6_000,
        million: 30_000,
        small_store: 3_000,
        long_polls: 500,
    };
    const FULL: Self = Self {
        echo: 200_000,
        yardstick: 150_000,
        create: 80_000,
        resolve: 50_000,
        cycle: 20_000,
        million: 1_000_000,
        small_store: 10_000,
        long_polls: 10_000,
    };
}

/// What every measurement is given.
pub struct Lab {
    /// The folder that holds every file of the run.
    pub scratch: Scratch,
    /// How much of everything.
    pub counts: Counts,
    binary: PathBuf,
    stores: AtomicU32,
    postgres: Option<postgres::Server>,
    nodes: u32,
}

impl Lab {
    /// Makes the scratch folder.
    pub fn new(options: &Options) -> Outcome<Self> {
        let counts = if options.quick { Counts::QUICK } else { Counts::FULL };
        let postgres = options.postgres.then(|| {
            let mut server = postgres::Server::start();
            server.stop(postgres::Stop::Fast);
            server.configure("shared_buffers = '1GB'\nmax_wal_size = '8GB'\ncheckpoint_timeout = '15min'");
            server.run();
            server
        });
        Ok(Self {
            scratch: Scratch::new()?,
            counts,
            binary: options.binary.clone(),
            stores: AtomicU32::new(0),
            postgres,
            nodes: options.nodes,
        })
    }

    /// Starts the bare echo server.
    pub async fn echo(&self) -> Outcome<Server> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve-echo", &address.to_string()]);
        Server::start(command, address, self.scratch.path.join("echo.log")).await
    }

    /// Starts the yardstick; its log is kept from round to round.
    pub async fn yardstick(&self) -> Outcome<Server> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve-yardstick", &address.to_string()]).arg(self.scratch.path.join("yardstick.data"));
        Server::start(command, address, self.scratch.path.join("yardstick.log")).await
    }

    /// Starts the service on a new store.
    pub async fn service(&self) -> Outcome<Service> {
        self.service_on(self.new_store()?).await
    }

    /// Starts the service on a store that exists.
    pub async fn service_on(&self, store: Store) -> Outcome<Service> {
        self.service_with(store, &[]).await
    }

    /// The same with further flags.
    pub async fn service_with(&self, store: Store, flags: &[&str]) -> Outcome<Service> {
        let mut server = self.node(&store, flags, 0).await?;
        for number in 1..self.nodes {
            server.others.push(self.node(&store, flags, number).await?);
        }
        Ok(Service { server, _store: store })
    }

    async fn node(&self, store: &Store, flags: &[&str], number: u32) -> Outcome<Server> {
        let address = free_address()?;
        let mut command = self.serve_command(store);
        command.args(["--listen", &address.to_string()]).args(flags);
        Server::start(command, address, store.folder.join(format!("service-{number}.log"))).await
    }

    /// What pgbench does on the same server: one small transaction of its own after the other, on 64 connections.
    pub fn pgbench(&self) -> Outcome<Measured> {
        let server = self.postgres.as_ref().ok_or("pgbench needs --database postgres")?;
        let (throughput, latency_ms) = server.pgbench();
        Ok(Measured { throughput, p50_ms: latency_ms, p99_ms: f64::NAN, cpu_us: f64::NAN, rss_mb: f64::NAN })
    }

    /// The name of a store that does not exist yet.
    pub fn new_store(&self) -> Outcome<Store> {
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let folder = self.scratch.path.join(format!("store-{number}"));
        std::fs::create_dir(&folder)?;
        let shared = self.postgres.as_ref().map(postgres::Server::database);
        Ok(Store { folder, shared })
    }

    fn serve_command(&self, store: &Store) -> Command {
        let mut command = Command::new(&self.binary);
        // Whoever runs the benchmark may have settings for a service of their own.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ASYNCQUEUE_")) {
            command.env_remove(name);
        }
        command.env("ASYNCQUEUE_BOOTSTRAP_KEY", API_KEY).env("ASYNCQUEUE_SECRET_KEY", SECRET_KEY);
        command.args(["serve", "--database", &store.url()]);
        command.args(["--allow-target", "127.0.0.0/8", "--callback-rate-limit", "0", "--log", "json"]);
        command
    }
}

/// A folder with one database, or with what belongs to one on a server; removed when dropped.
pub struct Store {
    folder: PathBuf,
    shared: Option<String>,
}

impl Store {
    /// What `--database` takes.
    pub fn url(&self) -> String {
        let file = || format!("sqlite:{}", self.folder.join("asyncqueue.db").display());
        self.shared.clone().unwrap_or_else(file)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The scratch folder goes at the end in any case.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The service, running on a store. The fields' order matters: the process ends before its files go.
pub struct Service {
    /// The process.
    pub server: Server,
    /// Its files, removed once it has ended.
    _store: Store,
}

impl Service {
    /// How to address it with the key.
    pub fn door(&self) -> Door<'static> {
        Door { address: self.server.address, key: Some(API_KEY) }
    }

    /// How to address it as someone who has none.
    pub fn public_door(&self) -> Door<'static> {
        Door { address: self.server.address, key: None }
    }

    /// How many tasks the service says are in `status`.
    pub async fn total(&self, status: &str) -> Outcome<u32> {
        let request = self.door().get(&format!("/v1/tasks?status={status}&limit=1"));
        let mut connection = Connection::open(self.server.address).await?;
        let answer = connection.exchange(request.as_bytes()).await?;
        answer.expect(200, "a list of tasks")?;
        let listing: Listing = serde_json::from_slice(answer.body)?;
        Ok(listing.pagination.total)
    }

    /// Waits until exactly `count` tasks are in `status`; `patience` is for how long their number may stand still.
    pub async fn wait_for_total(&self, status: &str, count: u32, patience: Duration) -> Outcome<()> {
        let (mut changed, mut last) = (Instant::now(), None);
        loop {
            let total = self.total(status).await?;
            if total == count {
                return Ok(());
            }
            if last.replace(total) != Some(total) {
                changed = Instant::now();
            } else if changed.elapsed() > patience {
                let message = format!("{total} tasks are {status} where {count} should be");
                return Err(self.server.explain(Failure(message)));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[derive(Deserialize)]
struct Listing {
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    total: u32,
}

/// A folder beside the build's output, so on the disk that the project is on; removed when dropped.
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
}

impl Scratch {
    fn new() -> Outcome<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-service-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("bench: {} is left over: {error}", self.path.display());
        }
    }
}
