//! How much memory there is, for those who must not use it up.

use std::fs;
use std::path::PathBuf;

/// Taken where the system does not say how much there is: 4 GiB.
const UNKNOWN: u64 = 4 << 30;

/// What this process may use, bytes: what there is, or what its control group leaves it.
pub fn limit() -> u64 {
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    let total = read("/proc/meminfo".into()).and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = read("/proc/self/cgroup".into()).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| read(path)?.trim().parse().ok());
    limits.chain(total).min().unwrap_or(UNKNOWN)
}

/// Where the limits of the control groups stand, in either version; in a container they are at the root.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            all if all.split(',').any(|one| one == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        files.push(PathBuf::from(format!("{root}{path}/{file}")));
        files.push(PathBuf::from(format!("{root}/{file}")));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_both_versions_of_control_groups_are_found() {
        let first = "12:cpu,cpuacct:/x\n4:memory:/a/b\n0::/c\n";
        let files = limit_files(first).into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let root = "/sys/fs/cgroup";
        let expected = [
            format!("{root}/memory/a/b/memory.limit_in_bytes"),
            format!("{root}/memory/memory.limit_in_bytes"),
            format!("{root}/c/memory.max"),
            format!("{root}/memory.max"),
        ];
        assert_eq!(files, expected);
        assert!(limit() > 0);
    }
}
