//! The catalogue of hostile URLs, and what an allow-list changes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;

const CATALOGUE: &str = include_str!("../../tests/data/ssrf_urls.tsv");

struct Case {
    verdict: &'static str,
    url: String,
    host: &'static str,
    answers: Vec<IpAddr>,
}

fn catalogue() -> impl Iterator<Item = Case> {
    CATALOGUE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [verdict, url, host, dns] = columns[..] else { panic!("four columns: {line}") };
        let answers = dns.strip_prefix("dns=").unwrap_or_default().split(',').filter(|answer| !answer.is_empty());
        Case { verdict, url: unescape(url), host, answers: answers.map(|answer| answer.parse().unwrap()).collect() }
    })
}

fn unescape(url: &str) -> String {
    let mut parts = url.split("\\u{");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_once('}').unwrap();
        plain.push(char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap());
        plain.push_str(rest);
    }
    plain
}

/// What becomes of a case: the word of the catalogue, and the host that would be called.
fn verdict(guard: &Guard, case: &Case) -> (&'static str, String) {
    let Ok(target) = guard.check_url(&case.url) else {
        return ("REJECT", case.host.to_owned());
    };
    let host = target.host().to_owned();
    if target.literal().is_none() && case.answers.is_empty() {
        return ("DNSERR", host);
    }
    let passes = |ip: &IpAddr| guard.check_address(*ip, &host, target.port()).is_ok();
    (if case.answers.iter().all(passes) { "ALLOW" } else { "BLOCK" }, host)
}

fn guard(allow: &[&str]) -> Guard {
    Guard::new(AllowList(allow.iter().map(|text| AllowTarget::parse(text).unwrap()).collect()))
}

fn refusal(guard: &Guard, url: &str) -> String {
    guard.check_url(url).map_or_else(|refused| refused.to_string(), |target| target.url().to_string())
}

#[test]
fn every_line_of_the_catalogue_gets_its_verdict() {
    let mut counts = BTreeMap::new();
    for case in catalogue() {
        let (found, host) = verdict(&Guard::default(), &case);
        assert_eq!((found, host.as_str()), (case.verdict, case.host), "{}", case.url);
        *counts.entry(found).or_insert(0) += 1;
    }
    let expected = BTreeMap::from([("ALLOW", 54), ("BLOCK", 16), ("DNSERR", 2), ("REJECT", 359)]);
    assert_eq!(counts, expected);
}

#[test]
fn a_redirect_is_judged_like_a_first_url() {
    let guard = Guard::default();
    let start = guard.check_url("https://start.example.com/a/b").unwrap();
    for case in catalogue().filter(|case| case.url.to_lowercase().starts_with("http") && case.url.contains("://")) {
        let direct = guard.check_url(&case.url).map(|target| target.origin());
        let redirected = guard.check_redirect(&start, &case.url).map(|target| target.origin());
        match direct {
            Ok(origin) => assert_eq!(redirected, Ok(origin), "{}", case.url),
            // A relative reference is repaired first ("http:///x" has a host then), and judged after.
            Err(Refused::NoHost | Refused::Scheme) => {}
            Err(_) => assert!(redirected.is_err(), "{}: {redirected:?}", case.url),
        }
    }
    assert_eq!(guard.check_redirect(&start, "../y?z").unwrap().url().as_str(), "https://start.example.com/y?z");
    assert_eq!(guard.check_redirect(&start, "//127.0.0.1/").unwrap_err().rule(), "loopback");
    assert_eq!(guard.check_redirect(&start, "file:///etc/passwd").unwrap_err(), Refused::Scheme);
    assert_eq!(guard.check_redirect(&start, &"a".repeat(10_000)).unwrap_err(), Refused::TooLong);
}

#[test]
fn a_refusal_names_its_rule() {
    let texts = [
        ("http://127.1/", "loopback addresses are not allowed"),
        ("http://10.1.2.3/", "private addresses (10.0.0.0/8) are not allowed"),
        ("http://169.254.169.254/", "cloud metadata addresses are not allowed"),
        ("http://[fd12::1]/", "private addresses (fc00::/7) are not allowed"),
        ("http://localhost/", "names without a dot are not allowed"),
        ("http://db.internal/", "names under .internal are not allowed"),
        ("http://example.com:25/", "port 25 is not allowed"),
        ("ftp://example.com/", "only absolute http:// and https:// URLs are allowed"),
        ("http://a:b@example.com/", "credentials in a URL are not allowed; send an Authorization header instead"),
        ("http://@example.com/", "credentials in a URL are not allowed; send an Authorization header instead"),
        ("http://example.com/a b", "control characters, spaces and backslashes are not allowed in a URL"),
        ("http://256.0.0.1/", "malformed URL: invalid IPv4 address"),
    ];
    for (url, text) in texts {
        assert_eq!(refusal(&Guard::default(), url), text, "{url}");
    }
}

#[test]
fn the_length_limit_is_exact() {
    let url = |bytes: usize| format!("http://example.com/{}", "a".repeat(bytes - 19));
    assert!(Guard::default().check_url(&url(8192)).is_ok());
    assert_eq!(Guard::default().check_url(&url(8193)).unwrap_err(), Refused::TooLong);
}

#[test]
fn a_target_has_one_spelling() {
    let target = Guard::default().check_url("HTTPS://EXAMPLE.com./a?b#c").unwrap();
    assert_eq!(target.authority(), "example.com:443");
    assert_eq!(target.origin(), "https://example.com:443");
    assert_eq!(target.url().as_str(), "https://example.com/a?b#c");
    assert_eq!(target.uri().path_and_query().unwrap(), "/a?b");
}

#[test]
fn an_open_loopback_network_opens_every_spelling_of_it() {
    let open = guard(&["127.0.0.0/8"]);
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "localhost", "LOCALHOST."]
    {
        assert!(open.check_url(&format!("http://{host}:9000/")).is_ok(), "{host}");
    }
    for host in ["10.0.0.1", "[::2]", "0", "router", "foo.localhost", "127.0.0.1:25", "localhost:22"] {
        assert!(open.check_url(&format!("http://{host}/")).is_err(), "{host}");
    }
    for ip in ["127.0.0.1", "::1"] {
        assert!(open.check_address(ip.parse().unwrap(), "localhost", 80).is_ok());
    }
    let elsewhere = open.check_address("10.0.0.1".parse().unwrap(), "localhost", 80);
    assert!(elsewhere.is_err(), "the network was opened, not the name");
}

#[test]
fn an_open_name_opens_whatever_it_resolves_to_except_metadata() {
    let open = guard(&["router", "db.internal:8080", "metadata.goog", "metadata.google.internal"]);
    assert!(open.check_url("http://ROUTER/").is_ok());
    assert!(open.check_url("http://db.internal:8080/").is_ok());
    assert!(open.check_url("http://db.internal/").is_err(), "another port stays closed");
    assert!(open.check_address("10.0.0.1".parse().unwrap(), "router", 80).is_ok());
    assert!(open.check_address("10.0.0.1".parse().unwrap(), "other.example.com", 80).is_err());
    assert_eq!(open.check_url("http://metadata.goog/"), Err(Refused::Metadata));
    assert_eq!(open.check_url("http://metadata.google.internal/"), Err(Refused::Metadata));
    assert_eq!(open.check_address("169.254.169.254".parse().unwrap(), "router", 80), Err(Refused::Metadata));
    assert_eq!(open.check_address("8.8.8.8".parse().unwrap(), "metadata.goog", 80), Err(Refused::Metadata));
}

#[test]
fn metadata_stays_closed_whatever_is_open() {
    let open = guard(&["0.0.0.0/0", "::/0"]);
    assert!(open.check_url("http://10.0.0.1/").is_ok());
    assert!(open.check_url("http://[fd00::1]/").is_ok());
    let plain = ["169.254.169.254", "169.254.170.2", "169.254.169.253", "169.254.42.42", "192.0.0.192"];
    let more = ["100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "[fd20:ce::254]"];
    let wrapped = ["[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::169.254.169.254]"];
    let deeper = ["[2001:0:4136:e378:8000:63bf:5601:5601]", "[2606:4700::5efe:a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]"];
    for host in plain.iter().chain(&more).chain(&wrapped).chain(&deeper) {
        assert_eq!(open.check_url(&format!("http://{host}/")), Err(Refused::Metadata), "{host}");
    }
}

#[test]
fn allow_targets_are_networks_addresses_and_names() {
    for text in
        ["10.0.0.0/8", "10.1.2.3/8", "::1", "127.0.0.1:9000", "[::1]:9000", "localhost", "DB.internal.:80", "127.1"]
    {
        assert!(AllowTarget::parse(text).is_ok(), "{text}");
    }
    for text in ["", "10.0.0.0/33", "a b", "http://x", "x:port", "x:70000", "*.example.com", "a..b", "/8"] {
        assert!(AllowTarget::parse(text).is_err(), "{text}");
    }
    let one_port = guard(&["127.0.0.1:9000"]);
    assert!(one_port.check_url("http://127.0.0.1:9000/").is_ok());
    assert!(one_port.check_url("http://127.0.0.1:9001/").is_err());
}

/// A service on this machine, known by this URL, that may call what `allow` opens.
fn serving(listen: &str, public: &str, allow: &[&str]) -> Guard {
    guard(allow).of(Own::new(listen.parse().unwrap(), public))
}

#[test]
fn the_services_own_addresses_are_closed_whatever_range_is_open() {
    let wide = ["127.0.0.0/8", "10.0.0.0/8", "::/0", "localhost", "queue.internal"];
    let guard = serving("127.0.0.1:8080", "https://queue.example.com", &wide);
    for own in [
        "http://127.0.0.1:8080/v1/tasks",
        "http://2130706433:8080/",
        "http://[::1]:8080/",
        "http://[::ffff:7f00:1]:8080/",
        "https://queue.example.com/v1/callbacks/x",
        "https://QUEUE.example.com.:443",
    ] {
        assert_eq!(guard.check_url(own), Err(Refused::Own), "{own}");
    }
    for other in ["http://127.0.0.1:8081/", "http://127.0.0.2:8080/", "http://queue.example.com:8080/"] {
        assert!(guard.check_url(other).is_ok(), "{other}");
    }
    // A name that leads here.
    assert_eq!(guard.check_address("127.0.0.1".parse().unwrap(), "queue.internal", 8080), Err(Refused::Own));
    assert_eq!(guard.check_address("127.0.0.1".parse().unwrap(), "localhost", 8080), Err(Refused::Own));
}

#[test]
fn behind_a_path_only_what_lies_below_it_is_the_services_own() {
    let guard = serving("127.0.0.1:8080", "https://app.example.com/queue/", &[]);
    for own in ["https://app.example.com/queue", "https://app.example.com/queue/v1/tasks?x"] {
        assert_eq!(guard.check_url(own), Err(Refused::Own), "{own}");
    }
    for other in ["https://app.example.com/hooks", "https://app.example.com/queues", "http://app.example.com/queue"] {
        assert!(guard.check_url(other).is_ok(), "{other}");
    }
}

#[test]
fn a_service_that_listens_everywhere_knows_itself_by_the_connection() {
    let everywhere = serving("0.0.0.0:8080", "https://queue.example.com", &["127.0.0.0/8", "10.0.0.0/8"]);
    assert_eq!(everywhere.check_url("http://127.9.9.9:8080/"), Err(Refused::Own));
    // Whether this is one of the machine's own addresses, no text tells.
    let (local, peer) = ("10.1.2.3:50000".parse().unwrap(), "10.1.2.3:8080".parse().unwrap());
    assert!(everywhere.check_url("http://10.1.2.3:8080/").is_ok());
    assert_eq!(everywhere.check_connection(local, peer, "10.1.2.3"), Err(Refused::Own));
    assert_eq!(everywhere.check_connection(local, "10.1.2.3:8081".parse().unwrap(), "10.1.2.3"), Ok(()));
    assert_eq!(everywhere.check_connection(local, "10.1.2.4:8080".parse().unwrap(), "10.1.2.4"), Ok(()));
}

#[test]
fn naming_host_and_port_opens_the_service_to_its_own_tasks() {
    let guard = serving("127.0.0.1:8080", "https://queue.example.com", &["127.0.0.1:8080", "queue.example.com:443"]);
    for own in ["http://127.0.0.1:8080/v1/tasks", "https://queue.example.com/v1/tasks"] {
        assert!(guard.check_url(own).is_ok(), "{own}");
    }
    let (local, peer) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
    assert_eq!(guard.check_connection(local, peer, "127.0.0.1"), Ok(()));
}
