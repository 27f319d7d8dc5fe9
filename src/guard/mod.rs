//! Decides where a call may go and which headers a user may set, so that nobody's task can reach into the
//! operator's network.
//!
//! Pure policy: no look-up is made here. [`Guard::check_url`] judges what can be judged from the text alone;
//! [`Guard::check_address`] judges each address once a name has been resolved. Both must pass.

mod address;
mod allow;
mod header;
mod name;
mod own;
mod port;
mod refused;
mod target;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use allow::{AllowList, AllowTarget};
pub use header::{HeaderRefused, check_header};
pub use own::Own;
pub use refused::Refused;
pub use target::{MAX_URL_BYTES, Target};

/// The policy, with what the operator has opened.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: AllowList,
    own: Own,
    trusts_all: bool,
}

impl Guard {
    /// A guard that opens what `allow` lists, and nothing else that is closed by default.
    pub fn new(allow: AllowList) -> Self {
        Self { allow, own: Own::default(), trusts_all: false }
    }

    /// The same guard for a service that can be reached itself. It is closed whatever range is open; only naming its
    /// host and port opens it.
    #[must_use]
    pub fn of(self, own: Own) -> Self {
        Self { own, ..self }
    }

    /// A guard that only asks for a well-formed URL: for the command-line client, whose user names the server. Nothing that
    /// serves others may use it.
    pub fn trusting() -> Self {
        Self { trusts_all: true, ..Self::default() }
    }

    /// Judges a URL as a user wrote it. Where the host is a name, its addresses are still to be judged.
    pub fn check_url(&self, raw: &str) -> Result<Target, Refused> {
        target::check_raw(raw)?;
        let target = target::parse(raw)?;
        self.check_host(&target)?;
        Ok(target)
    }

    /// Judges the `Location` of an answer that came from `from`, exactly as strictly as a first URL.
    pub fn check_redirect(&self, from: &Target, location: &str) -> Result<Target, Refused> {
        target::check_characters(location)?;
        let joined = from.url().join(location).map_err(|error| Refused::Malformed(error.to_string()))?;
        self.check_url(joined.as_str())
    }

    /// Judges one address that `host` stands for. For a literal, `host` is the literal itself.
    pub fn check_address(&self, ip: IpAddr, host: &str, port: u16) -> Result<(), Refused> {
        if self.trusts_all {
            return Ok(());
        }
        if address::is_metadata(ip) || name::is_metadata(host) {
            return Err(Refused::Metadata);
        }
        if self.own.listens_at(ip, port) && !self.allow.names(host, Some(ip), port) {
            return Err(Refused::Own);
        }
        if self.allow.opens_name(host, port) || self.allow.opens_address(ip, port) {
            return Ok(());
        }
        address::check(ip)
    }

    /// Judges a connection that was made, before anything is written: whether it came out at our own door.
    pub fn check_connection(&self, local: SocketAddr, peer: SocketAddr, host: &str) -> Result<(), Refused> {
        let ours = self.own.is_loop(local, peer) && !self.allow.names(host, Some(peer.ip()), peer.port());
        if ours { Err(Refused::Own) } else { Ok(()) }
    }

    /// Whether the operator has opened this target by name or address; most targets need no opening.
    pub fn opens(&self, target: &Target) -> bool {
        let port = target.port();
        match target.literal() {
            Some(ip) => self.allow.opens_address(ip, port),
            None => self.allow.accepts_name(target.host(), port),
        }
    }

    fn check_host(&self, target: &Target) -> Result<(), Refused> {
        let port = target.port();
        port::check(port)?;
        if self.own.is_public(target) && !self.allow.names(target.host(), target.literal(), port) {
            return Err(Refused::Own);
        }
        match target.literal() {
            Some(ip) => self.check_address(ip, target.host(), port),
            None if self.trusts_all => name::check_form(target.host()),
            None if self.allow.accepts_name(target.host(), port) => name::check_open(target.host()),
            None => name::check(target.host()),
        }
    }
}
