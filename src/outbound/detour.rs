//! Detours: hosts that are reached at another address and in clear, because a simulated provider stands in for them. Only
//! who composes the program can set one.

use std::net::SocketAddr;

/// Hosts and where they are reached instead.
#[derive(Clone, Debug, Default)]
pub struct Detours(Vec<(String, SocketAddr)>);

impl Detours {
    /// `host` (or, as `*.example.com`, any host below it) is reached at `address`.
    pub fn add(&mut self, host: String, address: SocketAddr) {
        self.0.push((host, address));
    }

    pub(super) fn of(&self, host: &str) -> Option<SocketAddr> {
        let stands_for = |pattern: &str| match pattern.strip_prefix('*') {
            Some(below) => host.len() > below.len() && host.ends_with(below),
            None => host == pattern,
        };
        self.0.iter().find(|(pattern, _)| stands_for(pattern)).map(|(_, address)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_or_all_below_it_and_no_other() {
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut detours = Detours::default();
        detours.add("api.example".to_owned(), at);
        detours.add("*.modal.run".to_owned(), at);
        assert_eq!((detours.of("api.example"), detours.of("a.modal.run")), (Some(at), Some(at)));
        for other in ["x.api.example", "api.example.evil", "modal.run", ".modal.run", "amodal.run", ""] {
            assert_eq!(detours.of(other), None, "{other}");
        }
    }
}
