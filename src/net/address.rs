//! Whose request is it? Behind proxies the socket does not say, and headers lie; only what a trusted proxy added counts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: the peer's, or, where the peer is one of `trusted`, the last in `X-Forwarded-For` that is not.
///
/// The list is read from its end, all lines as one, because every proxy adds at the end and anything before the first
/// address we do not trust may be the client's invention. An unreadable entry ends the walk at the last good address.
pub fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while trusted.iter().any(|net| net.contains(&address)) {
        let Some(next) = entries.next().and_then(parse) else {
            break;
        };
        address = next;
    }
    address
}

/// The source that limits count by: IPv4 addresses one by one, IPv6 by /64, because a single customer has all of that.
pub fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        IpAddr::V4(v4) => IpAddr::V4(v4),
    }
}

/// An address with or without brackets and a port, as proxies write them.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(bare);
    let address = address.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
