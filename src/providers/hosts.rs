//! Which hosts may be told a user's credentials: the target's own origin, hosts that this project's templates name, and
//! hosts that the user wrote out; never one that only an answer named.

use url::{Origin, Url};

/// One host or family of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedHost {
    /// A host of a provider; over https on its own port only.
    Host(String),
    /// All hosts below a domain (`*.api.baseten.co`); over https on its own port only.
    Below(String),
    /// Scheme, host and port as the user wrote them.
    Origin(Origin),
}

impl TrustedHost {
    /// Reads `api.example.com`, `*.example.com` or `https://api.example.com:8443`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            let url = Url::parse(text).map_err(|_| format!("{text} is no origin"))?;
            let origin = url.origin();
            return if origin.is_tuple() { Ok(Self::Origin(origin)) } else { Err(format!("{text} is no origin")) };
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !name.bytes().all(plain) || !name.contains('.') || name.starts_with('.') || name.ends_with('.') {
            return Err(format!("{text} is no host name"));
        }
        Ok(if below { Self::Below(name.to_owned()) } else { Self::Host(name.to_owned()) })
    }

    fn allows(&self, url: &Url) -> bool {
        let https = || url.scheme() == "https" && url.port().is_none();
        let host = url.host_str().unwrap_or_default();
        match self {
            Self::Host(name) => https() && host == name,
            Self::Below(name) => {
                https() && host.strip_suffix(name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Self::Origin(origin) => url.origin() == *origin,
        }
    }
}

impl std::fmt::Display for TrustedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Origin(origin) => f.write_str(&origin.ascii_serialization()),
        }
    }
}

/// The origin of `target_url` if it is one of the provider's own hosts, as its template names them.
pub fn origin_of_provider(target_url: &str, trusted: &[TrustedHost]) -> Option<String> {
    let url = Url::parse(target_url).ok()?;
    let named = trusted.iter().any(|host| !matches!(host, TrustedHost::Origin(_)) && host.allows(&url));
    named.then(|| url.origin().ascii_serialization())
}

/// Whether credentials that were given for `target_url` may go to `url`.
pub fn may_carry_credentials(url: &str, target_url: &str, trusted: &[TrustedHost]) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let same = Url::parse(target_url).is_ok_and(|target| {
        let origin = target.origin();
        origin.is_tuple() && origin == url.origin()
    });
    same || trusted.iter().any(|host| host.allows(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(hosts: &[&str], url: &str) -> bool {
        let hosts: Vec<TrustedHost> = hosts.iter().map(|host| TrustedHost::parse(host).unwrap()).collect();
        may_carry_credentials(url, "https://target.example/submit", &hosts)
    }

    #[test]
    fn the_targets_own_origin_is_trusted_and_its_neighbours_are_not() {
        assert!(trusts(&[], "https://target.example/status"));
        assert!(trusts(&[], "https://TARGET.example:443/status"));
        for other in [
            "http://target.example/",
            "https://target.example:8443/",
            "https://a.target.example/",
            "https://target.example.evil.example/",
            "https://user@evil.example/?target.example",
            "https://target.example@evil.example/",
            "data:text/plain,x",
            "nonsense",
            "",
        ] {
            assert!(!trusts(&[], other), "{other}");
        }
    }

    #[test]
    fn a_providers_hosts_are_trusted_over_https_on_their_own_port() {
        let hosts = ["queue.fal.run", "*.bfl.ai"];
        for good in ["https://queue.fal.run/x", "https://api.bfl.ai/x", "https://api.us1.bfl.ai/x"] {
            assert!(trusts(&hosts, good), "{good}");
        }
        for bad in [
            "http://queue.fal.run/x",
            "https://queue.fal.run:444/x",
            "https://xqueue.fal.run/",
            "https://bfl.ai/",
            "https://.bfl.ai/",
            "https://evilbfl.ai/",
            "https://api.bfl.ai.evil.example/",
            "https://api.bfl.ai./",
        ] {
            assert!(!trusts(&hosts, bad), "{bad}");
        }
    }

    #[test]
    fn a_users_own_origin_is_trusted_as_it_was_written() {
        let hosts = ["http://127.0.0.1:9000"];
        assert!(trusts(&hosts, "http://127.0.0.1:9000/status"));
        assert!(!trusts(&hosts, "http://127.0.0.1:9001/status"));
        assert!(!trusts(&hosts, "https://127.0.0.1:9000/status"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in ["", "*", "*.", "localhost", "Api.example", "a.example/", "a..", "*.*.example", "file://x"] {
            assert!(TrustedHost::parse(bad).is_err(), "{bad}");
        }
        for good in ["api.fal.ai", "*.fal.ai", "https://api.fal.ai:8443"] {
            assert_eq!(TrustedHost::parse(good).unwrap().to_string(), good);
        }
    }
}
