//! The schemes by which providers sign, named in their templates.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::compare::{equal, is_base64, is_hex, mac, sha256_hex, unhex};
use super::jwks::Jwks;
use super::{TOLERANCE, jwt};
use crate::providers::json::Json;
use crate::providers::path::Path;

/// How a provider signs its webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Scheme {
    /// `webhook-id`, `-timestamp`, `-signature: v1,<base64>`: HMAC over `id.timestamp.body`, keyed with what the secret
    /// decodes to behind `whsec_` (the Standard Webhooks specification). The names `svix-…` are taken too.
    StandardWebhooks {
        /// Where per-request webhooks are signed with a token instead (Gemini): the keys' URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwks_url: Option<String>,
    },
    /// `WaveSpeed`'s look-alike: `v3,<hex>`, keyed with the secret behind `whsec_` as it is.
    WavespeedV3,
    /// `t=<time>,<version>=<hex>` in one header: HMAC over `t.body` (`OpenRouter`: `t,body`), keyed with the secret as it
    /// is.
    Timestamped {
        /// The header's name.
        header: String,
        /// `v0` or `v1`.
        version: String,
        /// Seconds, where it is not five minutes.
        #[serde(default = "tolerance")]
        tolerance: i64,
        /// What stands between the time and the body, where it is no dot.
        #[serde(default = "dot")]
        separator: String,
    },
    /// HMAC over `time.body` in one header, the time in another (Synthesia).
    TwoHeaders {
        /// The signature's header.
        header: String,
        /// The time's header.
        timestamp_header: String,
    },
    /// HMAC over the body alone.
    Body {
        /// Header names, of which one has to be there.
        headers: Vec<String>,
        /// What stands before each signature: `sha256=`, `v1=`, or nothing.
        #[serde(default)]
        prefix: String,
        /// How it is written.
        #[serde(default)]
        encoding: Encoding,
    },
    /// HMAC over `<job id>.<time>`: the body is not protected (kie.ai).
    JobAndTime {
        /// The signature's header.
        header: String,
        /// The time's header.
        timestamp_header: String,
        /// Where the job's id is in the body; the first that is there.
        id_paths: Vec<String>,
    },
    /// The secret itself in a header.
    Header {
        /// The header's name; the user chooses it in the request where the provider lets them.
        header: String,
        /// What stands before it: `Bearer `, or nothing.
        #[serde(default)]
        prefix: String,
        /// Where the request's body names another header, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header_from: Option<String>,
    },
    /// fal: Ed25519 over `request id \n user id \n time \n sha256(body)`, any key of a set.
    FalEd25519 {
        /// The keys' URL.
        jwks_url: String,
    },
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal, in lower case.
    #[default]
    Hex,
    /// Base64, padded.
    Base64,
}

/// A signed webhook.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Its body's exact bytes.
    pub body: &'a [u8],
}

/// What signatures are checked with.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Shared secrets; more than one while the provider changes them.
    pub secrets: &'a [&'a str],
    /// The provider's public keys.
    pub jwks: Option<&'a Jwks>,
}

/// Neither what came nor what it is checked with is shown.
impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} secrets, jwks: {})", self.secrets.len(), self.jwks.is_some())
    }
}

/// Why a signature is not believed. For our log; whoever called is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A header is not there.
    Missing,
    /// A header makes no sense.
    Malformed,
    /// The time is too far from ours.
    Stale,
    /// Another key or another body.
    Mismatch,
    /// The set of keys has none of this id, and may be out of date.
    UnknownKey {
        /// The key's id.
        id: String,
    },
    /// There is nothing to check it with.
    NoKey,
}

impl Scheme {
    /// The scheme's name, as templates write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StandardWebhooks { .. } => "standard-webhooks",
            Self::WavespeedV3 => "wavespeed-v3",
            Self::Timestamped { .. } => "timestamped",
            Self::TwoHeaders { .. } => "two-headers",
            Self::Body { .. } => "body",
            Self::JobAndTime { .. } => "job-and-time",
            Self::Header { .. } => "header",
            Self::FalEd25519 { .. } => "fal-ed25519",
        }
    }

    /// The scheme for callbacks to a request with this body, which may have chosen the header's name.
    #[must_use]
    pub fn for_request(&self, body: Option<&str>) -> Self {
        let Self::Header { header_from: Some(path), prefix, .. } = self else { return self.clone() };
        let chosen = || {
            let path = Path::parse(path).ok()?;
            let name = Json::parse(body?.as_bytes())?.find(&path)?.string()?;
            http::HeaderName::from_bytes(name.as_bytes()).ok()
        };
        let header = chosen().map(|name| name.as_str().to_owned());
        header.map_or_else(|| self.clone(), |header| Self::Header { header, prefix: prefix.clone(), header_from: None })
    }

    /// Where the provider's public keys are, for the schemes that have any.
    pub fn jwks_url(&self) -> Option<&str> {
        match self {
            Self::StandardWebhooks { jwks_url } => jwks_url.as_deref(),
            Self::FalEd25519 { jwks_url } => Some(jwks_url),
            _ => None,
        }
    }

    /// Whether every webhook can be checked without a secret of the user's.
    pub fn needs_no_secret(&self) -> bool {
        self.jwks_url().is_some()
    }

    /// Whether this webhook, if it is true, is signed with a public key rather than a shared secret.
    pub fn wants_jwks(&self, signed: &Signed<'_>) -> bool {
        match self {
            Self::StandardWebhooks { jwks_url: Some(_) } => text(signed, "webhook-signature").is_ok_and(is_token),
            other => matches!(other, Self::FalEd25519 { .. }),
        }
    }

    /// Whether the provider made this webhook, by its signature; `now` is in seconds since 1970.
    pub fn verify(&self, signed: &Signed<'_>, keys: &Keys<'_>, now: i64) -> Result<(), Invalid> {
        match self {
            Self::StandardWebhooks { jwks_url } => standard_webhooks(signed, keys, jwks_url.is_some(), now),
            Self::WavespeedV3 => wavespeed(signed, keys, now),
            Self::Timestamped { header, version, tolerance, separator } => {
                let (given, time) = timed(text(signed, header)?, version, now, *tolerance)?;
                let parts = [time.as_bytes(), separator.as_bytes(), signed.body];
                any(keys, |key| given.iter().filter(|given| is_hex(given, &mac(key.as_bytes(), &parts))).count() > 0)
            }
            Self::TwoHeaders { header, timestamp_header } => {
                let time = timely(text(signed, timestamp_header)?, now, TOLERANCE)?;
                let given = text(signed, header)?;
                any(keys, |key| is_hex(given, &mac(key.as_bytes(), &[time.as_bytes(), b".", signed.body])))
            }
            Self::Body { headers, prefix, encoding } => body(signed, keys, headers, prefix, *encoding),
            Self::JobAndTime { header, timestamp_header, id_paths } => {
                job_and_time(signed, keys, header, timestamp_header, id_paths, now)
            }
            Self::Header { header, prefix, .. } => {
                let given = text(signed, header)?.strip_prefix(prefix.as_str()).ok_or(Invalid::Malformed)?;
                any(keys, |key| equal(given.as_bytes(), key.strip_prefix(prefix.as_str()).unwrap_or(key).as_bytes()))
            }
            Self::FalEd25519 { .. } => fal(signed, keys, now),
        }
    }
}

fn tolerance() -> i64 {
    TOLERANCE
}

fn dot() -> String {
    ".".to_owned()
}

/// Whether any secret fits. All are tried, so that the time does not tell which.
fn any(keys: &Keys<'_>, fits: impl Fn(&str) -> bool) -> Result<(), Invalid> {
    if keys.secrets.is_empty() {
        return Err(Invalid::NoKey);
    }
    // An empty secret would let anybody sign.
    let fitting = keys.secrets.iter().filter(|key| !key.is_empty() && fits(key)).count();
    if fitting > 0 { Ok(()) } else { Err(Invalid::Mismatch) }
}

/// A header that has to be there once.
fn text<'a>(signed: &Signed<'a>, name: &str) -> Result<&'a str, Invalid> {
    let mut values = signed.headers.get_all(name).iter();
    let value = values.next().ok_or(Invalid::Missing)?;
    if values.next().is_some() {
        return Err(Invalid::Malformed);
    }
    value.to_str().map(str::trim).map_err(|_| Invalid::Malformed)
}

/// The time as it was written, if it is near enough to ours.
fn timely(time: &str, now: i64, tolerance: i64) -> Result<&str, Invalid> {
    let plain = !time.is_empty() && time.len() <= 15 && time.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = plain.then(|| time.parse().ok()).flatten().ok_or(Invalid::Malformed)?;
    if (now - seconds).abs() > tolerance { Err(Invalid::Stale) } else { Ok(time) }
}

fn is_token(signature: &str) -> bool {
    !signature.contains([',', ' ']) && signature.matches('.').count() == 2
}

fn standard_webhooks(signed: &Signed<'_>, keys: &Keys<'_>, tokens: bool, now: i64) -> Result<(), Invalid> {
    let header = |name: &str| match text(signed, &format!("webhook-{name}")) {
        Err(Invalid::Missing) => text(signed, &format!("svix-{name}")),
        found => found,
    };
    let signature = header("signature")?;
    if tokens && is_token(signature) {
        timely(header("timestamp")?, now, TOLERANCE)?;
        return jwt::verify(signature, keys.jwks.ok_or(Invalid::NoKey)?, now, TOLERANCE);
    }
    let id = header("id")?;
    let time = timely(header("timestamp")?, now, TOLERANCE)?;
    any(keys, |secret| {
        let Some(key) = decoded(secret) else { return false };
        let mac = mac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", signed.body]);
        let given = signature.split(' ').filter_map(|entry| entry.strip_prefix("v1,"));
        given.filter(|given| is_base64(given, &mac)).count() > 0
    })
}

/// The key that a secret stands for: base64 behind `whsec_`, padded or not.
fn decoded(secret: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret).trim_end_matches('=');
    let key = STANDARD_NO_PAD.decode(text).ok()?;
    Some(Zeroizing::new(key)).filter(|key| !key.is_empty())
}

fn wavespeed(signed: &Signed<'_>, keys: &Keys<'_>, now: i64) -> Result<(), Invalid> {
    let id = text(signed, "webhook-id")?;
    let time = timely(text(signed, "webhook-timestamp")?, now, TOLERANCE)?;
    let signature = text(signed, "webhook-signature")?;
    any(keys, |secret| {
        let key = secret.strip_prefix("whsec_").unwrap_or(secret);
        let mac = mac(key.as_bytes(), &[id.as_bytes(), b".", time.as_bytes(), b".", signed.body]);
        let given = signature.split(' ').filter_map(|entry| entry.strip_prefix("v3,"));
        !key.is_empty() && given.filter(|given| is_hex(given, &mac)).count() > 0
    })
}

/// The signatures of a version, and the time, out of `t=<time>,<version>=<hex>,…`.
fn timed<'a>(header: &'a str, version: &str, now: i64, tolerance: i64) -> Result<(Vec<&'a str>, &'a str), Invalid> {
    let entries: Vec<(&str, &str)> = header.split(',').filter_map(|entry| entry.trim().split_once('=')).collect();
    let named = |name: &str| entries.iter().filter(|entry| entry.0 == name).map(|entry| entry.1).collect::<Vec<_>>();
    match named("t")[..] {
        [time] => Ok((named(version), timely(time, now, tolerance)?)),
        _ => Err(Invalid::Malformed),
    }
}

fn body(
    signed: &Signed<'_>,
    keys: &Keys<'_>,
    headers: &[String],
    prefix: &str,
    encoding: Encoding,
) -> Result<(), Invalid> {
    let name = headers.iter().find(|name| signed.headers.contains_key(name.as_str())).ok_or(Invalid::Missing)?;
    let given = text(signed, name)?;
    any(keys, |key| {
        let mac = mac(key.as_bytes(), &[signed.body]);
        let fits = |entry: &str| match encoding {
            Encoding::Hex => is_hex(entry, &mac),
            Encoding::Base64 => is_base64(entry, &mac),
        };
        let entries = given.split(',').filter_map(|entry| entry.trim().strip_prefix(prefix));
        entries.filter(|entry| fits(entry)).count() > 0
    })
}

fn job_and_time(
    signed: &Signed<'_>,
    keys: &Keys<'_>,
    header: &str,
    timestamp_header: &str,
    id_paths: &[String],
    now: i64,
) -> Result<(), Invalid> {
    let given = text(signed, header)?;
    let time = timely(text(signed, timestamp_header)?, now, TOLERANCE)?;
    let body = Json::parse(signed.body).ok_or(Invalid::Malformed)?;
    let mut paths = id_paths.iter().filter_map(|path| Path::parse(path).ok());
    let id = paths.find_map(|path| body.find(&path)?.scalar()).ok_or(Invalid::Malformed)?;
    any(keys, |key| is_base64(given, &mac(key.as_bytes(), &[id.as_bytes(), b".", time.as_bytes()])))
}

fn fal(signed: &Signed<'_>, keys: &Keys<'_>, now: i64) -> Result<(), Invalid> {
    let header = |name: &str| text(signed, &format!("x-fal-webhook-{name}"));
    let (request, user, signature) = (header("request-id")?, header("user-id")?, header("signature")?);
    let time = timely(header("timestamp")?, now, TOLERANCE)?;
    let signature = unhex(signature).ok_or(Invalid::Malformed)?;
    let message = format!("{request}\n{user}\n{time}\n{}", sha256_hex(signed.body));
    let jwks = keys.jwks.ok_or(Invalid::NoKey)?;
    if jwks.verify_ed25519(message.as_bytes(), &signature) { Ok(()) } else { Err(Invalid::Mismatch) }
}
