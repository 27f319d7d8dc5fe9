//! What the numbers were measured on, and what the process needs from it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::failure::{Outcome, fail};
use crate::lab::Scratch;
use crate::stats::{median, micros};

/// Set in a process that has already tried to raise its limit.
const RAISED: &str = "BENCH_DESCRIPTORS_RAISED";

/// Sees to it that this process, and those that it starts, may open `needed` files: by starting anew under a raised limit,
/// because a process cannot raise its own without unsafe code.
pub fn ensure_descriptors(needed: u64) -> Outcome<()> {
    let soft = soft_descriptor_limit();
    if soft >= needed {
        return Ok(());
    }
    if std::env::var_os(RAISED).is_some() {
        return fail(format!("{needed} open files are needed and {soft} allowed; raise `ulimit -n`"));
    }
    let script = format!("ulimit -n {needed} 2>/dev/null; exec \"$0\" \"$@\"");
    let mut again = Command::new("sh");
    again.arg("-c").arg(script).arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(RAISED, "1");
    Err(again.exec().into())
}

fn soft_descriptor_limit() -> u64 {
    let limits = read("/proc/self/limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => u64::MAX,
        Some(number) => number.parse().unwrap_or(0),
        None => 0,
    }
}

/// Describes the machine. Refuses a scratch folder in memory, where a sync costs nothing.
pub fn describe(scratch: &Scratch) -> Outcome<Value> {
    let file_system = file_system_of(&scratch.path);
    if matches!(file_system.as_str(), "tmpfs" | "ramfs") {
        return fail(format!("{} is in memory ({file_system}); durable writes need a disk", scratch.path.display()));
    }
    Ok(json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism()?.get(),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "fileSystem": file_system,
        "fdatasyncMicros": sync_cost(&scratch.path)?,
    }))
}

/// The median cost of making 4 KiB durable in a file that does not grow.
fn sync_cost(folder: &Path) -> Outcome<f64> {
    let file = File::create(folder.join("sync.probe"))?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_all()?;
    let mut costs = Vec::new();
    for offset in (0..1 << 20).step_by(4096) {
        let started = Instant::now();
        file.write_all_at(&[1; 4096], offset)?;
        file.sync_data()?;
        costs.push(f64::from(micros(started.elapsed())));
    }
    Ok(median(costs))
}

/// The type of the file system with the longest mount point above `path`.
fn file_system_of(path: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = fields.filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map_or_else(|| "unknown".into(), |(_, kind)| kind.to_owned())
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']).trim()).to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
