use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::{bucket, client_address};

/// The proxy next to us, and the one in front of it.
const NEAR: &str = "10.0.0.1";
const FAR: &str = "2001:db8:aa::1";

/// Header lines as they arrive, and whom they lead to if nobody, the near proxy, or both proxies are trusted. The peer is
/// always the near proxy, `S` a spoofed address, `C` the client's.
const MATRIX: [(&[&str], [&str; 3]); 42] = [
    (&[], ["N", "N", "N"]),
    (&[""], ["N", "N", "N"]),
    (&["C"], ["N", "C", "C"]),
    (&["S, C"], ["N", "C", "C"]),
    (&["S,C"], ["N", "C", "C"]),
    (&["S , \tC "], ["N", "C", "C"]),
    (&["S", "C"], ["N", "C", "C"]),
    (&["C", ""], ["N", "N", "N"]),
    (&["", "C"], ["N", "C", "C"]),
    (&["S, S", "S, C"], ["N", "C", "C"]),
    (&["C, F"], ["N", "F", "C"]),
    (&["S, C, F"], ["N", "F", "C"]),
    (&["S", "C", "F"], ["N", "F", "C"]),
    (&["S, C", "F"], ["N", "F", "C"]),
    (&["F"], ["N", "F", "F"]),
    (&["F, F"], ["N", "F", "F"]),
    (&["N"], ["N", "N", "N"]),
    (&["C, N"], ["N", "C", "C"]),
    (&["C, F, N"], ["N", "F", "C"]),
    (&["C, N, F"], ["N", "F", "C"]),
    (&["S, C, F, N, F"], ["N", "F", "C"]),
    (&["N, C"], ["N", "C", "C"]),
    (&["F, C"], ["N", "C", "C"]),
    (&["unknown"], ["N", "N", "N"]),
    (&["S, unknown"], ["N", "N", "N"]),
    (&["S, unknown, F"], ["N", "F", "F"]),
    (&["S, , F"], ["N", "F", "F"]),
    (&["S,"], ["N", "N", "N"]),
    (&[",C"], ["N", "C", "C"]),
    (&["S, _hidden, C"], ["N", "C", "C"]),
    (&["S, 1.2.3, F"], ["N", "F", "F"]),
    (&["S, 1.2.3.4.5"], ["N", "N", "N"]),
    (&["S, 0x7f.1"], ["N", "N", "N"]),
    (&["S, 010.1.1.1"], ["N", "N", "N"]),
    (&["S, fe80::1%eth0"], ["N", "N", "N"]),
    (&["S, \"C\""], ["N", "N", "N"]),
    (&["S, for=C"], ["N", "N", "N"]),
    (&["S C"], ["N", "N", "N"]),
    (&["C:4711"], ["N", "C", "C"]),
    (&["S, ::ffff:C"], ["N", "C", "C"]),
    (&["C, [F]"], ["N", "F", "C"]),
    (&["C, [F]:4711"], ["N", "F", "C"]),
];

fn spell_out(line: &str) -> String {
    let spell = |letter| match letter {
        'C' => "198.51.100.7".into(),
        'S' => "203.0.113.9".into(),
        'N' => NEAR.into(),
        'F' => FAR.into(),
        other => String::from(other),
    };
    line.chars().map(spell).collect()
}

fn headers(lines: &[&str]) -> HeaderMap {
    let value = |line: &&str| HeaderValue::from_str(&spell_out(line)).unwrap();
    lines.iter().map(|line| (http::header::HeaderName::from_static("x-forwarded-for"), value(line))).collect()
}

#[test]
fn only_what_a_trusted_proxy_added_is_believed() {
    let near: IpNet = "10.0.0.0/8".parse().unwrap();
    let far: IpNet = "2001:db8:aa::/48".parse().unwrap();
    for peer in [NEAR, "::ffff:10.0.0.1"] {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        for (lines, expected) in MATRIX {
            for (trusted, expected) in [vec![], vec![near], vec![near, far]].into_iter().zip(expected) {
                let expected: IpAddr = spell_out(expected).parse().unwrap();
                assert_eq!(client_address(peer, &headers(lines), &trusted), expected, "{lines:?} trusting {trusted:?}");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_no_address() {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_bytes(b"1.2.3.4, \xff").unwrap());
    let peer: SocketAddr = "10.0.0.1:1".parse().unwrap();
    assert_eq!(client_address(peer, &headers, &["10.0.0.0/8".parse().unwrap()]), peer.ip());
}

#[test]
fn a_source_is_an_ipv4_address_or_a_64() {
    let bucket = |address: &str| bucket(address.parse().unwrap()).to_string();
    assert_eq!(bucket("198.51.100.7"), "198.51.100.7");
    assert_eq!(bucket("::ffff:198.51.100.7"), "198.51.100.7");
    assert_eq!(bucket("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(bucket("2001:db8:1:2:ffff::"), bucket("2001:db8:1:2::1"));
    assert_ne!(bucket("2001:db8:1:2::1"), bucket("2001:db8:1:3::1"));
}
