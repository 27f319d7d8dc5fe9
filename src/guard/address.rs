//! Which addresses lie outside the public internet, in every way an IPv4 address can hide inside an IPv6 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Refused;

/// A closed range: network, prefix length, short name, plain words.
struct Range<A>(A, u8, &'static str, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The IANA special-purpose registry for IPv4, and multicast.
const CLOSED_V4: &[Range<Ipv4Addr>] = &[
    Range(v4(0, 0, 0, 0), 8, "unspecified", "\"this network\" addresses (0.0.0.0/8)"),
    Range(v4(10, 0, 0, 0), 8, "private", "private addresses (10.0.0.0/8)"),
    Range(v4(100, 64, 0, 0), 10, "shared", "carrier-grade NAT addresses (100.64.0.0/10)"),
    Range(v4(127, 0, 0, 0), 8, "loopback", "loopback addresses"),
    Range(v4(169, 254, 0, 0), 16, "link_local", "link-local addresses"),
    Range(v4(172, 16, 0, 0), 12, "private", "private addresses (172.16.0.0/12)"),
    Range(v4(192, 0, 0, 0), 24, "reserved", "protocol assignment addresses (192.0.0.0/24)"),
    Range(v4(192, 0, 2, 0), 24, "documentation", "documentation addresses"),
    Range(v4(192, 31, 196, 0), 24, "reserved", "AS112 addresses"),
    Range(v4(192, 52, 193, 0), 24, "reserved", "AMT addresses"),
    Range(v4(192, 88, 99, 0), 24, "reserved", "6to4 relay addresses"),
    Range(v4(192, 168, 0, 0), 16, "private", "private addresses (192.168.0.0/16)"),
    Range(v4(192, 175, 48, 0), 24, "reserved", "AS112 addresses"),
    Range(v4(198, 18, 0, 0), 15, "benchmarking", "benchmarking addresses (198.18.0.0/15)"),
    Range(v4(198, 51, 100, 0), 24, "documentation", "documentation addresses"),
    Range(v4(203, 0, 113, 0), 24, "documentation", "documentation addresses"),
    Range(v4(224, 0, 0, 0), 4, "multicast", "multicast addresses"),
    Range(v4(240, 0, 0, 0), 4, "reserved", "reserved addresses (240.0.0.0/4)"),
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// Closed parts of global unicast (`2000::/3`), and ranges outside it that deserve a better word than "not public".
const CLOSED_V6: &[Range<Ipv6Addr>] = &[
    Range(Ipv6Addr::LOCALHOST, 128, "loopback", "loopback addresses"),
    Range(Ipv6Addr::UNSPECIFIED, 128, "unspecified", "unspecified addresses"),
    Range(v6(0xfc00, 0, 0), 7, "private", "private addresses (fc00::/7)"),
    Range(v6(0xfe80, 0, 0), 10, "link_local", "link-local addresses"),
    Range(v6(0xff00, 0, 0), 8, "multicast", "multicast addresses"),
    Range(v6(0x2001, 0, 0), 23, "reserved", "protocol assignment addresses (2001::/23)"),
    Range(v6(0x2001, 0xdb8, 0), 32, "documentation", "documentation addresses"),
    Range(v6(0x2002, 0, 0), 16, "embedded", "IPv6 addresses that wrap an IPv4 address"),
    Range(v6(0x3fff, 0, 0), 20, "documentation", "documentation addresses"),
    Range(v6(0x2620, 0x4f, 0x8000), 48, "reserved", "AS112 addresses"),
];

const WRAPPED: Refused = Refused::Address { rule: "embedded", shown: "IPv6 addresses that wrap an IPv4 address" };
const NOT_PUBLIC: Refused = Refused::Address { rule: "not_public", shown: "IPv6 addresses outside 2000::/3" };

const METADATA_V4: &[Ipv4Addr] = &[
    v4(169, 254, 169, 254), // nearly every cloud
    v4(169, 254, 170, 2),   // ECS task credentials
    v4(169, 254, 169, 253), // the AWS resolver
    v4(169, 254, 42, 42),   // Scaleway
    v4(192, 0, 0, 192),     // Oracle, classic
    v4(100, 100, 100, 200), // Alibaba
    v4(168, 63, 129, 16),   // Azure WireServer, publicly routable
];

const METADATA_V6: &[Ipv6Addr] =
    &[Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Refuses everything but public unicast.
pub(super) fn check(ip: IpAddr) -> Result<(), Refused> {
    match ip {
        IpAddr::V4(ip) => check_v4(ip),
        IpAddr::V6(ip) => check_v6(ip),
    }
}

/// Whether this is a cloud's metadata or control address, in any spelling that could be routed to it.
pub(super) fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => METADATA_V6.contains(&ip) || wrapped(ip).iter().any(|inner| METADATA_V4.contains(inner)),
    }
}

/// The addresses under which an allow-list may know `ip`: itself, and the IPv4 address a mapped or NAT64 one is.
/// `::1` counts as 127.0.0.1, because `localhost` answers with both and both must pass.
pub(super) fn aliases(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let within = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => {
            let loopback = (v6 == Ipv6Addr::LOCALHOST).then_some(Ipv4Addr::LOCALHOST);
            v6.to_ipv4_mapped().or_else(|| nat64(v6)).or(loopback)
        }
    };
    std::iter::once(ip).chain(within.map(IpAddr::V4))
}

fn check_v4(ip: Ipv4Addr) -> Result<(), Refused> {
    if METADATA_V4.contains(&ip) {
        return Err(Refused::Metadata);
    }
    let inside = |range: &&Range<Ipv4Addr>| (ip.to_bits() ^ range.0.to_bits()) >> (32 - range.1) == 0;
    refuse(CLOSED_V4.iter().find(inside))
}

fn check_v6(ip: Ipv6Addr) -> Result<(), Refused> {
    if let Some(inner) = nat64(ip) {
        return check_v4(inner);
    }
    let inside = |range: &&Range<Ipv6Addr>| (ip.to_bits() ^ range.0.to_bits()) >> (128 - range.1) == 0;
    refuse(CLOSED_V6.iter().find(inside))?;
    match (wrapped(ip).first(), ip.segments()[0] & 0xe000 == 0x2000) {
        (Some(_), false) => Err(WRAPPED),
        (None, false) => Err(NOT_PUBLIC),
        (inner, true) => inner.map_or(Ok(()), |inner| check_v4(*inner)),
    }
}

fn refuse<A>(range: Option<&Range<A>>) -> Result<(), Refused> {
    range.map_or(Ok(()), |Range(_, _, rule, shown)| Err(Refused::Address { rule, shown }))
}

/// Every IPv4 address that `ip` may be carried to: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
fn wrapped(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = ip.octets();
    let quad = |at: usize| v4(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    match ip.segments() {
        [0x2002, ..] => vec![quad(2)],
        // Teredo: the server in the open, the client with its bits flipped.
        [0x2001, 0, ..] => vec![quad(4), Ipv4Addr::from_bits(!quad(12).to_bits())],
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0 | 1, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => vec![quad(12)],
        _ => vec![],
    }
}

/// The IPv4 address behind the well-known NAT64 prefix, which a DNS64 resolver answers with for public hosts.
fn nat64(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => wrapped(ip).first().copied(),
        _ => None,
    }
}
