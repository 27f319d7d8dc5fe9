//! The service's own addresses, so that no task calls the service that runs it: such tasks could go round for ever, and
//! reach what listens to this machine alone.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::{Target, address};

/// Where this service is reached.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Where it listens.
    listen: Option<SocketAddr>,
    /// The base of its public URLs.
    public: Option<Url>,
}

impl Own {
    /// A service that listens here and is known by this URL.
    pub fn new(listen: SocketAddr, public: &str) -> Self {
        Self { listen: Some(listen), public: Url::parse(public).ok() }
    }

    /// Whether the URL is the public one, or lies below it.
    pub(super) fn is_public(&self, target: &Target) -> bool {
        let Some(public) = &self.public else { return false };
        let (url, base) = (target.url(), public.path().trim_end_matches('/'));
        let below = url.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below
            && host(url).eq_ignore_ascii_case(host(public))
            && url.port_or_known_default() == public.port_or_known_default()
    }

    /// Whether a connection to this address would reach us, as far as the address tells.
    pub(super) fn listens_at(&self, ip: IpAddr, port: u16) -> bool {
        let Some(listen) = self.listen.filter(|listen| listen.port() == port) else { return false };
        let is_ours = |ip: IpAddr| match listen.ip() {
            any if any.is_unspecified() => ip.is_loopback() || ip.is_unspecified(),
            ours => ip == ours || (ip.is_unspecified() && ours.is_loopback()),
        };
        address::aliases(ip).any(is_ours)
    }

    /// Whether a connection between these two ends came out where we listen: all addresses of a machine are one machine,
    /// and only the connection shows which they are.
    pub(super) fn is_loop(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        self.listen.is_some_and(|listen| {
            let everywhere = listen.ip().is_unspecified() && local.ip() == peer.ip();
            listen.port() == peer.port() && (everywhere || listen.ip() == peer.ip())
        })
    }
}

/// The host as it is compared: a trailing dot says nothing.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_end_matches('.')
}
