//! From a raw string to the one canonical URL that is stored, vetted and called.

use std::net::IpAddr;

use http::Uri;
use url::{Host, Url};

use super::Refused;

/// The longest URL taken, in bytes as written.
pub const MAX_URL_BYTES: usize = 8192;

/// A URL that has passed the guard. Only [`Guard::check_url`](super::Guard::check_url) makes one, and only one of
/// these can be sent to.
///
/// It holds the canonical form: what the parser understood, never what the user typed, so that the address that
/// was vetted and the address that is called cannot be two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
    /// The same URL as the HTTP library wants it; made here, so that a URL it cannot hold is refused early.
    uri: Uri,
}

impl Target {
    /// The canonical URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The canonical URL for the HTTP library.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host in lower case; IPv6 literals in brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, also where the URL leaves it to the scheme.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(0)
    }

    /// `host:port`, lower-case, the port always written out.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host(), self.port())
    }

    /// `scheme://host:port`: what must be equal for credentials to go along.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.url.scheme(), self.authority())
    }

    /// The address, where the host is one and no look-up is needed.
    pub fn literal(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
        }
    }
}

/// What can be said before parsing. Parsers repair much of this silently; two parsers repair it differently.
pub(super) fn check_raw(raw: &str) -> Result<(), Refused> {
    check_characters(raw)?;
    let rest = after_scheme(raw).ok_or(Refused::Scheme)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(Refused::NoHost);
    }
    Ok(())
}

/// Length and characters: the part of the raw check that holds for a relative `Location` too.
pub(super) fn check_characters(raw: &str) -> Result<(), Refused> {
    if raw.len() > MAX_URL_BYTES {
        return Err(Refused::TooLong);
    }
    // Nearly every URL is plain; only the others are read as characters.
    if raw.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Ok(());
    }
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || c == '\\' || c == '\u{feff}';
    if raw.contains(forbidden) { Err(Refused::Character) } else { Ok(()) }
}

/// Parses what passed [`check_raw`] into its canonical form.
pub(super) fn parse(raw: &str) -> Result<Target, Refused> {
    let mut url = Url::parse(raw).map_err(|error| Refused::Malformed(error.to_string()))?;
    if has_userinfo(raw) {
        return Err(Refused::Userinfo);
    }
    drop_trailing_dot(&mut url)?;
    let uri = url.as_str().parse().map_err(|_| Refused::Malformed("cannot be sent over HTTP".to_owned()))?;
    Ok(Target { url, uri })
}

fn after_scheme(raw: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let head = raw.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &raw[scheme.len()..])
    })
}

/// Asks the raw text: the parser forgets an empty user name.
fn has_userinfo(raw: &str) -> bool {
    let rest = after_scheme(raw).unwrap_or_default();
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// `example.com.` and `example.com` are one host; one origin must not have two spellings.
fn drop_trailing_dot(url: &mut Url) -> Result<(), Refused> {
    let Some(Host::Domain(domain)) = url.host() else {
        return Ok(());
    };
    let Some(short) = domain.strip_suffix('.').map(str::to_owned) else {
        return Ok(());
    };
    super::name::check_form(&short)?;
    url.set_host(Some(&short)).map_err(|error| Refused::Malformed(error.to_string()))
}
