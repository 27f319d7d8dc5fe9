//! What the operator has opened beyond the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::Host;

use super::address;

/// One thing the operator has opened: a network or a host, on every port or on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowTarget {
    /// Addresses, however they were arrived at.
    Net {
        /// The network; a single address is one of full prefix length.
        net: IpNet,
        /// `None` is every port.
        port: Option<u16>,
    },
    /// A name, and whatever it resolves to except metadata addresses.
    Host {
        /// Lower-case, without a trailing dot.
        name: String,
        /// `None` is every port.
        port: Option<u16>,
    },
}

impl AllowTarget {
    /// Reads a network (`10.0.0.0/8`), an address (`::1`) or a host name; the last two with an optional `:port`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net { net: net.trunc(), port: None });
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Net { net: ip.into(), port: None });
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Net { net: socket.ip().into(), port: Some(socket.port()) });
        }
        let named = parse_host(text);
        named.ok_or_else(|| format!("`{text}` is not a network, an address or a host name, with an optional port"))
    }

    fn port(&self) -> Option<u16> {
        match self {
            Self::Net { port, .. } | Self::Host { port, .. } => *port,
        }
    }

    fn is_name(&self, host: &str) -> bool {
        matches!(self, Self::Host { name, .. } if name.eq_ignore_ascii_case(host))
    }

    fn holds(&self, ip: IpAddr) -> bool {
        matches!(self, Self::Net { net, .. } if address::aliases(ip).any(|alias| net.contains(&alias)))
    }
}

/// Everything the operator has opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(pub Vec<AllowTarget>);

impl AllowList {
    /// Whether the name is opened by itself, and with it whatever it resolves to.
    pub(super) fn opens_name(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.on(port).any(|target| target.is_name(host))
    }

    /// Whether the name may be looked up. `localhost` may where loopback is open: people open `127.0.0.0/8` and then
    /// write `http://localhost`. Its addresses are still judged.
    pub(super) fn accepts_name(&self, host: &str, port: u16) -> bool {
        self.opens_name(host, port) || (host == "localhost" && self.opens_loopback(port))
    }

    /// Whether the address is opened, by whatever name it goes.
    pub(super) fn opens_address(&self, ip: IpAddr, port: u16) -> bool {
        self.on(port).any(|target| target.holds(ip))
    }

    /// Whether this very host or address is opened with this very port.
    pub(super) fn names(&self, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut exact = self.0.iter().filter(|target| target.port() == Some(port));
        exact.any(|target| target.is_name(host) || ip.is_some_and(|ip| target.holds(ip)))
    }

    fn opens_loopback(&self, port: u16) -> bool {
        let either = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        either.into_iter().any(|ip| self.opens_address(ip, port))
    }

    fn on(&self, port: u16) -> impl Iterator<Item = &AllowTarget> {
        self.0.iter().filter(move |target| target.port().is_none_or(|only| only == port))
    }
}

fn parse_host(text: &str) -> Option<AllowTarget> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (text, None),
    };
    match Host::parse(name).ok()? {
        Host::Domain(domain) => {
            let name = domain.strip_suffix('.').unwrap_or(&domain).to_owned();
            super::name::check_form(&name).ok()?;
            Some(AllowTarget::Host { name, port })
        }
        Host::Ipv4(ip) => Some(AllowTarget::Net { net: IpAddr::V4(ip).into(), port }),
        Host::Ipv6(ip) => Some(AllowTarget::Net { net: IpAddr::V6(ip).into(), port }),
    }
}
