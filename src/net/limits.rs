//! What one client may cost us, in one place, so that an operator can see and set it all.

use std::time::Duration;

/// How long the server waits for its clients, and how much it takes from them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// From the first byte of a request to the end of its header block, however steadily bytes drip in.
    pub header: Duration,
    /// Between an answer and the first byte of the next request.
    pub idle: Duration,
    /// How long a client may leave an answer untaken; any byte it takes starts this anew.
    pub write_stall: Duration,
    /// How long a refused client may go on sending before the connection is cut. Cutting at once would make the
    /// client's kernel throw our answer away.
    pub linger: Duration,
    /// How long requests under way may take to finish once the server was told to stop.
    pub grace: Duration,
    /// The request line and all fields together; more is answered 431.
    pub header_bytes: usize,
    /// Header fields; more is answered 431.
    pub header_fields: usize,
    /// The request target; a longer one is answered 414.
    pub uri_bytes: usize,
    /// Connections at once; one above is answered 503 and closed.
    pub connections: usize,
    /// Connections at once from one address (one /64 in IPv6). 0 is off, because providers and proxies send all they
    /// have from a few addresses.
    pub connections_per_source: usize,
}

impl Limits {
    /// How many connections fit under a limit of `descriptors` open files. An eighth and 64 more stay free for the store, the
    /// logs and the calls that go out.
    pub fn connections_within(descriptors: usize) -> usize {
        const MOST: usize = 4 * 4096;
        descriptors.saturating_sub(64 + descriptors / 8).clamp(16, MOST)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(5),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            linger: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            header_bytes: 32 * 1024,
            header_fields: 64,
            uri_bytes: 8 * 1024,
            connections: Self::connections_within(open_files()),
            connections_per_source: 0,
        }
    }
}

/// The soft limit of open files; the composition has raised it as far as it may.
fn open_files() -> usize {
    let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    soft.map_or(usize::MAX, |soft| usize::try_from(soft).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn descriptors_stay_free_for_the_store() {
        assert_eq!(Limits::connections_within(1024), 832);
        assert_eq!(Limits::connections_within(20_000), 16_384);
        assert_eq!(Limits::connections_within(usize::MAX), 16_384);
        assert_eq!(Limits::connections_within(0), 16);
    }
}
