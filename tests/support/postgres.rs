//! A real PostgreSQL server, in a folder of its own, that ends with the test.
//!
//! It keeps every promise of durability, as a server of production does: a test that ran on less would prove less.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Whom the server runs as where the tests run as root, whom it refuses.
const USER: &str = "postgres";

/// The superuser of the databases.
const OWNER: &str = "aq";

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(180);

/// One server.
pub struct Server {
    pub port: u16,
    folder: PathBuf,
    child: Option<Child>,
    /// Removes the folder when this process is gone, however it ends: what a process shares is never dropped.
    sweeper: Child,
}

/// How a server is stopped.
#[allow(dead_code, reason = "not every test that shares this file stops servers")]
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Connections are cut, and the log is closed properly.
    Fast,
    /// It is left as a crash leaves it.
    Immediate,
}

/// The server that all tests of one binary share.
#[allow(dead_code, reason = "the benchmark has one of its own")]
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (sender, started) = std::sync::mpsc::channel();
        // A process's death signal comes when the thread ends that started it: this one never does.
        std::thread::spawn(move || {
            sender.send(Server::start()).expect("somebody waits for it");
            loop {
                std::thread::park();
            }
        });
        started.recv().expect("the server starts")
    })
}

#[allow(dead_code, reason = "not every test that shares this file needs all of it")]
impl Server {
    /// A new server with an empty cluster.
    pub fn start() -> Self {
        let folder = new_folder();
        let cluster = folder.join("data");
        succeed(as_user("initdb").arg("-D").arg(&cluster).args([
            "-U",
            OWNER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]));
        let mut server = Self { port: free_port(), sweeper: sweeper(&folder), folder, child: None };
        server.configure("");
        server.run();
        server
    }

    /// A standby of this server, following it by its log.
    pub fn standby(&self) -> Self {
        let folder = new_folder();
        let from = format!("host=127.0.0.1 port={} user={OWNER} application_name=standby", self.port);
        let cluster = folder.join("data");
        succeed(as_user("pg_basebackup").arg("-D").arg(&cluster).args(["-R", "-X", "stream", "-d", &from]));
        let mut server = Self { port: free_port(), sweeper: sweeper(&folder), folder, child: None };
        server.configure("");
        server.run();
        server
    }

    /// Adds to the configuration; it holds from the next start, or from a reload on.
    pub fn configure(&self, more: &str) {
        let Self { port, folder, .. } = self;
        let text = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 3000\n\
             shared_buffers = 128MB\nmax_wal_size = 2GB\nlogging_collector = off\n{more}\n",
            folder.display()
        );
        let path = folder.join("data/test.conf");
        std::fs::write(&path, text).expect("the configuration is written");
        let main = folder.join("data/postgresql.conf");
        let known = std::fs::read_to_string(&main).expect("initdb made a configuration");
        if !known.contains("include 'test.conf'") {
            std::fs::write(&main, format!("{known}\ninclude 'test.conf'\n")).expect("the configuration is written");
        }
    }

    /// Has a running server read its configuration again.
    pub fn reload(&self) {
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// Starts the server, and waits until it answers.
    pub fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = as_user("postgres");
        command.arg("-D").arg(self.folder.join("data")).stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(command.spawn().expect("the server starts"));
        self.wait_until(Self::answers, "answer");
    }

    fn answers(&self) -> bool {
        let ready = tool("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
        ready.is_ok_and(|status| status.success())
    }

    fn wait_until(&self, holds: impl Fn(&Self) -> bool, what: &str) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() > end {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let last = log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
                panic!("PostgreSQL does not {what}; its log ends with:\n{}", last.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it; [`run`](Self::run) starts it again.
    pub fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => "-INT",
            Stop::Immediate => "-QUIT",
        };
        self.signal(signal);
        self.wait();
    }

    /// Kills it: the postmaster, whose children end when they notice.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.wait();
        // Until the last child is gone, a new server refuses the cluster.
        let data = self.folder.join("data").display().to_string();
        self.wait_until(|_| !processes_with(&data), "end");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).status();
    }

    fn wait(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote(true, 60)");
    }

    /// A fresh database; answers its URL.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// What pgbench measures on this server: transactions a second, and how long one takes, milliseconds.
    pub fn pgbench(&self) -> (f64, f64) {
        let url = self.database();
        succeed(tool("pgbench").args(["-q", "-i", "-s", "10", &url]));
        let said = succeed(tool("pgbench").args(["-N", "-s", "10", "-c", "64", "-j", "2", "-T", "8", &url]));
        let number = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(name)).expect("pgbench says so");
            line.split(['=', ' ']).find_map(|word| word.parse::<f64>().ok()).expect("a number")
        };
        (number("tps"), number("latency average"))
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}", self.port)
    }

    /// What the server says to a statement, by its own client; one row a line.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let port = self.port.to_string();
        let mut psql = tool("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port, "-U", OWNER]);
        succeed(psql.args(["-d", database, "-c", statement]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal("-QUIT");
            self.wait();
        }
        // The end of its input is its sign.
        drop(self.sweeper.stdin.take());
        let _ = self.sweeper.wait();
    }
}

/// What removes a folder as soon as its standard input ends, which is when nobody holds the other end any more.
fn sweeper(folder: &Path) -> Child {
    // A server that is just being killed may still write.
    let script = "cat; for i in $(seq 100); do rm -rf \"$1\" 2>/dev/null && exit; sleep 0.1; done";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sweeper"]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("a shell starts")
}

fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("asyncqueue-pg-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).expect("a folder");
    if is_root() {
        succeed(Command::new("chown").arg(USER).arg(&folder));
    }
    folder
}

fn processes_with(text: &str) -> bool {
    let found = Command::new("pgrep").args(["-f", text]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

/// A client's program, of the system's newest version.
fn tool(name: &str) -> Command {
    Command::new(packaged().join(name))
}

/// A server's program, as a user whom the server accepts, and gone when the test is. It is of the version that the environment
/// names the folder of, or else of the system's newest.
fn as_user(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    }
    let folder = std::env::var_os("AQ_TEST_POSTGRES").map_or_else(|| packaged().to_owned(), PathBuf::from);
    command.arg(folder.join(name)).current_dir(std::env::temp_dir());
    command
}

fn packaged() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
        let newest = newest.expect("these tests need a PostgreSQL server: install the package postgresql");
        PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
    })
}

/// A port that nobody listens on, and that this process gives out once. It is below those that the system gives to outgoing
/// connections, so that none of them takes it, also while a server that had it is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    loop {
        let port = 20_000 + (base + NEXT.fetch_add(7, Ordering::Relaxed) % 12_000) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
