//! One life of the service as a process.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::http::Client;
use super::site::Site;

/// Debug builds on a busy machine; how fast a start should be is reported, not guessed from this.
const START_LIMIT: Duration = Duration::from_secs(90);
/// More than a stop may take: its notice, its grace, and a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    log: std::path::PathBuf,
    /// From spawn to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

/// A server that ended instead of becoming ready.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

impl Server {
    /// Starts the service and waits until it is ready; panics where it is not.
    pub async fn start(site: &Site) -> Self {
        Self::try_start(site).await.unwrap_or_else(|ended| panic!("did not start: {} {}", ended.status, ended.said))
    }

    /// Starts the service and waits until it is ready or has ended.
    pub async fn try_start(site: &Site) -> Result<Self, Ended> {
        let started = Instant::now();
        let mut server = Self::spawn(site);
        let client = Client::new(site.addr, None).without_keep_alive();
        while client.get("/readyz").await.status() != 200 {
            if let Some(status) = server.exited() {
                return Err(Ended { status, said: server.said() });
            }
            assert!(started.elapsed() < START_LIMIT, "not ready after {START_LIMIT:?}: {}", server.said());
            sleep(Duration::from_millis(10)).await;
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    fn spawn(site: &Site) -> Self {
        let lives = std::fs::read_dir(&site.dir).map_or(0, Iterator::count);
        let log = site.dir.join(format!("serve-{lives:04}.log"));
        let file = File::create(&log).expect("a log file");
        let mut command = site.serve();
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a second handle")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        Self { child, log, ready_after: Duration::ZERO }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed, the last 4,000 bytes of it.
    pub fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(4000)..]).into_owned()
    }

    /// Whether it ever printed this.
    pub fn has_said(&self, text: &str) -> bool {
        let all = std::fs::read(&self.log).unwrap_or_default();
        memchr::memmem::find(&all, text.as_bytes()).is_some()
    }

    /// The exit status, once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// Stops it in order.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended(STOP_LIMIT).await;
        assert!(status.is_some_and(|status| status.success()), "SIGTERM: {status:?} {}", self.said());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server that must refuse to: gives what it said; panics where it serves, or ends with exit code 0.
pub async fn refused(site: &Site, why: &str) -> String {
    match Server::try_start(site).await {
        Ok(_) => panic!("{why}: it serves"),
        Err(ended) if ended.status.success() => panic!("{why}: ended with code 0: {}", ended.said),
        Err(ended) => {
            assert!(ended.status.code().is_some_and(|code| code != 101), "{why}: {} {}", ended.status, ended.said);
            ended.said
        }
    }
}
