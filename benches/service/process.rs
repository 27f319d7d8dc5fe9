//! A server under test: started, watched until it is ready, accounted for, ended.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Outcome, fail};
use crate::requests::Door;
use crate::wire::Connection;

/// A server that is not ready by then never will be.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Microseconds in the clock tick in which Linux tells processor time to programs: 100 to the second, on every machine.
const TICK_MICROS: f64 = 10_000.0;

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// From the start of the process to its first 200 on `/readyz`.
    pub ready_after: Duration,
    /// More nodes on the same store, which count as one with it.
    pub others: Vec<Self>,
}

/// A loopback address that was free a moment ago.
pub fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Server {
    /// Starts `command`, which listens on `address`, with its output in `log`, and waits until it is ready.
    pub async fn start(mut command: Command, address: SocketAddr, log: PathBuf) -> Outcome<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let name = command.get_program().display().to_string();
        let child = command.spawn().map_err(|error| Failure(format!("{name} cannot be started: {error}")))?;
        let mut server = Self { child, log, address, ready_after: Duration::ZERO, others: Vec::new() };
        server.wait_until_ready(started).await.map_err(|failure| failure.during(&name))?;
        server.ready_after = started.elapsed();
        Ok(server)
    }

    async fn wait_until_ready(&mut self, started: Instant) -> Outcome<()> {
        loop {
            if is_ready(self.address).await {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return fail(format!("ended before it was ready ({status}){}", tail(&self.log)));
            }
            if started.elapsed() > START_PATIENCE {
                return fail(format!("not ready after {} s{}", START_PATIENCE.as_secs(), tail(&self.log)));
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Adds the end of the server's log to a failure, since that is where the reason tends to be.
    pub fn explain(&self, failure: Failure) -> Failure {
        Failure(failure.0 + &tail(&self.log))
    }

    /// Where it and its other nodes listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(self.address).chain(self.others.iter().map(|other| other.address)).collect()
    }

    /// Processor time of all threads of all nodes so far, those that have ended included, in microseconds.
    pub fn cpu_micros(&self) -> Outcome<f64> {
        let others: Outcome<Vec<f64>> = self.others.iter().map(Self::cpu_micros).collect();
        let stat = self.proc_file("stat")?;
        // The program's name, in parentheses, may hold anything; user and system time are the 12th and 13th after it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let times = after_name.split_whitespace().skip(11).take(2);
        let ticks: u32 = times.filter_map(|time| time.parse::<u32>().ok()).sum();
        Ok(f64::from(ticks) * TICK_MICROS + others?.iter().sum::<f64>())
    }

    /// The most memory that was ever resident, in megabytes, over all nodes.
    pub fn peak_rss_mb(&self) -> Outcome<f64> {
        let others: Outcome<Vec<f64>> = self.others.iter().map(Self::peak_rss_mb).collect();
        let others: f64 = others?.iter().sum();
        let status = self.proc_file("status")?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        let kib = kib.and_then(|text| text.trim().parse::<u32>().ok());
        kib.map(|kib| f64::from(kib) / 1024.0 + others).ok_or_else(|| Failure("no VmHWM in /proc".into()))
    }

    fn proc_file(&self, name: &str) -> Outcome<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(&path).map_err(|error| Failure(format!("{path}: {error}{}", tail(&self.log))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let request = Door { address, key: None }.get("/readyz");
    let Ok(mut connection) = Connection::open(address).await else {
        return false;
    };
    connection.exchange(request.as_bytes()).await.is_ok_and(|answer| answer.status == 200)
}

/// The last lines of a log, ready to follow a message.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    if last.is_empty() { String::new() } else { format!("\n  its last words:\n  {}", last.join("\n  ")) }
}
