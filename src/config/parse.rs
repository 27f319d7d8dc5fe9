//! From text to values. Each function says what is wrong in a clause that follows the place it stands in.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::secret::Secret;
use super::settings::{Database, EarlyCallbacks, RateLimit, RateLimitCounts, Role};
use crate::telemetry::logging;

type Read<T> = Result<T, String>;

/// Exactly one value.
pub(super) fn one<T>(read: impl Fn(&str) -> Read<T>) -> impl Fn(&[String]) -> Read<T> {
    move |texts| match texts {
        [text] => read(text.trim()),
        [] => Err("a value is needed, and there is no default here".to_owned()),
        _ => Err("takes one value, not several".to_owned()),
    }
}

/// One value or none.
pub(super) fn optional<T>(read: impl Fn(&str) -> Read<T>) -> impl Fn(&[String]) -> Read<Option<T>> {
    let read = one(read);
    move |texts| {
        if texts.is_empty() { Ok(None) } else { read(texts).map(Some) }
    }
}

/// Any number of values.
pub(super) fn many<T>(read: impl Fn(&str) -> Read<T>) -> impl Fn(&[String]) -> Read<Vec<T>> {
    move |texts| texts.iter().map(|text| read(text.trim())).collect()
}

/// Text without spaces, which somebody else will look into.
pub(super) fn word(text: &str) -> Read<String> {
    let bad = text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control());
    if bad { Err(format!("{text:?} is not a host or a range")) } else { Ok(text.to_owned()) }
}

/// An address with a port.
pub(super) fn socket(text: &str) -> Read<SocketAddr> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address with a port"))
}

/// A store.
pub(super) fn database(text: &str) -> Read<Database> {
    match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() && !path.contains('\0') => Ok(Database::Sqlite(PathBuf::from(path))),
        Some(("sqlite", _)) => Err("no path after sqlite:".to_owned()),
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
            Ok(Database::Postgres(Secret::new(text.to_owned())))
        }
        // Another kind of URL may hold a password, so it is not repeated.
        _ => Err("this kind of database is not supported".to_owned()),
    }
}

/// Roles of a node, joined by commas.
pub(super) fn roles(text: &str) -> Read<Vec<Role>> {
    let role = |name: &str| {
        let found = Role::ALL.into_iter().find(|role| role.name() == name.trim());
        found.ok_or_else(|| format!("{:?} is none of {}", name.trim(), Role::ALL.map(Role::name).join(", ")))
    };
    text.split(',').map(role).collect()
}

/// How long a silent node counts as alive.
pub(super) fn lease(text: &str) -> Read<Duration> {
    let lease = period(text)?;
    if (Duration::from_secs(3)..=Duration::from_secs(300)).contains(&lease) {
        return Ok(lease);
    }
    Err(format!("{text:?} is not between 3s and 5m"))
}

/// The base of callback URLs, without a trailing slash. Never repeated in the refusal: it may hold a password.
pub(super) fn public_url(text: &str) -> Read<String> {
    let url = Url::parse(text).map_err(|cause| format!("the value is not an absolute URL ({cause})"))?;
    let refusals = [
        (!matches!(url.scheme(), "http" | "https"), "is neither http nor https"),
        (!url.username().is_empty() || url.password().is_some(), "holds a user name or password"),
        (url.query().is_some(), "has a query"),
        (url.fragment().is_some(), "has a fragment"),
    ];
    match refusals.into_iter().find(|(refused, _)| *refused) {
        Some((_, reason)) => Err(format!("the URL {reason}")),
        None => Ok(url.as_str().trim_end_matches('/').to_owned()),
    }
}

/// A range of addresses, or one address.
pub(super) fn network(text: &str) -> Read<IpNet> {
    let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    range.map(|range| range.trunc()).map_err(|_| format!("{text:?} is neither an address nor a range of them"))
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn count<const MIN: usize, const MAX: usize>(text: &str) -> Read<usize> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a whole number from {MIN} to {MAX}"))
}

/// A whole number, of which 0 says that there is none.
pub(super) fn count_or_zero(text: &str) -> Read<Option<usize>> {
    count::<0, 10_000_000>(text).map(|number| Some(number).filter(|number| *number > 0))
}

/// Requests a minute, of which 0 says that there is no limit.
pub(super) fn per_minute(text: &str) -> Read<Option<u32>> {
    let number = count_or_zero(text)?;
    Ok(number.and_then(|number| u32::try_from(number).ok()))
}

/// `N/SECONDS`; 0 is off. The bounds keep the log of admitted requests small.
pub(super) fn rate_limit(text: &str) -> Read<Option<RateLimit>> {
    let wrong = || format!("{text:?} is neither 0 nor N/SECONDS with N up to 1000000 and SECONDS from 1 to 86400");
    if text == "0" {
        return Ok(None);
    }
    let (count, seconds) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().ok().filter(|count| *count <= 1_000_000).ok_or_else(wrong)?;
    let seconds = seconds.trim().parse().ok().filter(|seconds| (1..=86_400).contains(seconds)).ok_or_else(wrong)?;
    Ok((count > 0).then_some(RateLimit { count, window: Duration::from_secs(seconds) }))
}

/// Bytes, with a unit or without. At most 1 GiB, since a body is held in memory.
pub(super) fn size(text: &str) -> Read<usize> {
    let (number, unit) = split_unit(text);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = scale.and_then(|scale: usize| number.parse::<usize>().ok()?.checked_mul(scale));
    let bytes = bytes.filter(|bytes| (1..=1 << 30).contains(bytes));
    bytes.ok_or_else(|| format!("{text:?} is not a size from 1B to 1GiB"))
}

/// A length of time, with its unit: a bare `30` would be days to one reader and seconds to another.
pub(super) fn duration(text: &str) -> Read<Duration> {
    let (number, unit) = split_unit(text);
    let scale = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let millis = scale.and_then(|scale: u64| number.parse::<u64>().ok()?.checked_mul(scale));
    let millis = millis.filter(|millis| *millis <= 36_500 * 86_400_000);
    let wrong = || format!("{text:?} is not a length of time: a whole number and ms, s, m, h or d");
    millis.map(Duration::from_millis).ok_or_else(wrong)
}

/// A length of time that is not zero.
pub(super) fn period(text: &str) -> Read<Duration> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        period => Ok(period),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim())
}

/// A name that somebody else gave.
pub(super) fn name(text: &str) -> Read<String> {
    let is_fine = !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
    if is_fine { Ok(text.to_owned()) } else { Err("is no name of 1 to 256 visible characters".to_owned()) }
}

/// An OpenID issuer: https, but for one on this machine. Exactly as its tokens name it.
pub(super) fn issuer(text: &str) -> Read<String> {
    let url = Url::parse(text).map_err(|cause| format!("{text:?} is not an absolute URL ({cause})"))?;
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_fine = url.scheme() == "https" || url.scheme() == "http" && is_here;
    if is_fine && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no https URL without query, fragment and user"))
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Read<bool> {
    choice(text, &[("true", true), ("false", false)])
}

/// `accept` or `reject`.
pub(super) fn early(text: &str) -> Read<EarlyCallbacks> {
    choice(text, &[("accept", EarlyCallbacks::Accept), ("reject", EarlyCallbacks::Reject)])
}

/// `all` or `refused`.
pub(super) fn counts(text: &str) -> Read<RateLimitCounts> {
    choice(text, &[("all", RateLimitCounts::All), ("refused", RateLimitCounts::Refused)])
}

/// `text`, `json` or `auto`.
pub(super) fn log_format(text: &str) -> Read<logging::Format> {
    use logging::Format::{Auto, Json, Text};
    choice(text, &[("text", Text), ("json", Json), ("auto", Auto)])
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Read<T> {
    let chosen = choices.iter().find(|(name, _)| *name == text);
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not one of {}", names.join(", "))
    })
}

/// A filter that the log understands.
pub(super) fn log_filter(text: &str) -> Read<String> {
    logging::check_filter(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("12h", 43_200), ("30d", 2_592_000), ("30 d", 2_592_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "30", "d", "-1s", "1.5h", "1w", "99999999999999999999d", "99999999d", "1s2"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(period("0s").is_err());
    }

    #[test]
    fn sizes_know_both_kinds_of_unit() {
        let good = [("1", 1), ("10MiB", 10 << 20), ("10 mib", 10 << 20), ("1MB", 1_000_000), ("1GiB", 1 << 30)];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "1TiB", "2GiB", "MiB", "1e6"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_limit_of_zero_is_off() {
        let limit = RateLimit { count: 30, window: Duration::from_secs(60) };
        assert_eq!(rate_limit("30/60"), Ok(Some(limit)));
        assert_eq!(rate_limit("0"), Ok(None));
        assert_eq!(rate_limit("0/60"), Ok(None));
        for text in ["", "30", "30/", "/60", "30/0", "-1/60", "30/60/60", "30/99999", "2000000/60"] {
            assert!(rate_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_url_is_a_base_and_nothing_more() {
        assert_eq!(public_url("https://q.example/"), Ok("https://q.example".to_owned()));
        assert_eq!(public_url("https://q.example/base/"), Ok("https://q.example/base".to_owned()));
        for text in ["q.example", "/x", "ftp://q.example", "https://q.example/?a=1", "https://q.example/#x"] {
            assert!(public_url(text).is_err(), "{text}");
        }
        let refusal = public_url("https://user:hunter2@q.example").unwrap_err();
        assert!(!refusal.contains("hunter2"));
    }

    #[test]
    fn a_network_may_be_one_address() {
        for (text, net) in [("10.1.2.3/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("::1", "::1/128")] {
            assert_eq!(network(text).map(|net| net.to_string()), Ok(net.to_owned()));
        }
        assert!(network("localhost").is_err());
    }

    #[test]
    fn a_database_is_a_file_or_a_server_and_shows_no_password() {
        assert_eq!(database("sqlite:/x/y.db"), Ok(Database::Sqlite("/x/y.db".into())));
        for text in ["", "sqlite:", "/x/y.db", "postgres:db", "mysql://u:hunter2@h/db"] {
            assert!(!database(text).unwrap_err().contains("hunter2"), "{text}");
        }
        for (url, shown) in [
            ("postgres://u:hunter2@h/db", "postgres://u@h/db"),
            ("postgresql://u:hun@ter2@h:1,i:2/db?sslmode=require", "postgresql://u@h:1,i:2/db?sslmode=require"),
            ("postgres://h/db?password=hunter2&user=u", "postgres://h/db?user=u"),
        ] {
            let database = database(url).unwrap();
            assert_eq!(database.shown(), shown);
            assert!(!format!("{database:?}").contains("hunter2"));
        }
    }

    #[test]
    fn roles_are_named() {
        assert_eq!(roles("api, poll"), Ok(vec![Role::Api, Role::Poll]));
        assert!(roles("api,cook").unwrap_err().contains("callbacks"));
        assert!(roles("").is_err());
    }

    #[test]
    fn a_lease_is_neither_tiny_nor_endless() {
        assert_eq!(lease("15s"), Ok(Duration::from_secs(15)));
        assert!(lease("1s").is_err() && lease("1h").is_err());
    }
}
