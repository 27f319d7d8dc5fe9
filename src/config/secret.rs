//! The values that come from the environment alone, and that nothing prints.

use std::fmt;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use zeroize::{Zeroize, Zeroizing};

use super::error::{Origin, Problem};
use super::sources::SecretTexts;

/// The first key of an empty store.
pub(super) const BOOTSTRAP_KEY: &str = "ASYNCQUEUE_BOOTSTRAP_KEY";
/// What every credential is derived from.
pub(super) const SECRET_KEY: &str = "ASYNCQUEUE_SECRET_KEY";

/// What we prove to the OpenID provider who we are with.
pub(super) const OIDC_SECRET: &str = "ASYNCQUEUE_OIDC_CLIENT_SECRET";

/// A value that no log, panic or dump of the configuration shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Closes the lid.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(set)")
    }
}

/// The service's secret keys: the current one first, then older ones that outstanding ids were made with.
pub type SecretKeys = Vec<[u8; 32]>;

/// The secrets that were given.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) bootstrap_key: Option<Secret<String>>,
    pub(super) secret_keys: Option<Secret<SecretKeys>>,
    pub(super) oidc_secret: Option<Secret<String>>,
}

impl Secrets {
    pub(super) fn read(texts: &SecretTexts, problems: &mut Vec<Problem>) -> Self {
        Self {
            bootstrap_key: read_one(texts, BOOTSTRAP_KEY, bootstrap_key, problems),
            secret_keys: read_one(texts, SECRET_KEY, secret_keys, problems),
            oidc_secret: read_one(texts, OIDC_SECRET, |text| Ok(text.to_owned()), problems),
        }
    }
}

type Refusal = (String, &'static str);

fn read_one<T: Zeroize>(
    texts: &SecretTexts,
    name: &str,
    read: impl Fn(&str) -> Result<T, Refusal>,
    problems: &mut Vec<Problem>,
) -> Option<Secret<T>> {
    match read(texts.get(name)?) {
        Ok(value) => Some(Secret::new(value)),
        Err((message, advice)) => {
            problems.push(Problem::new(Origin::Variable(name.to_owned()), message, advice));
            None
        }
    }
}

fn bootstrap_key(text: &str) -> Result<String, Refusal> {
    let is_urlsafe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let good = |rest: &str| (32..=256).contains(&rest.len()) && rest.chars().all(is_urlsafe);
    match text.strip_prefix("async_") {
        Some(rest) if good(rest) => Ok(text.to_owned()),
        _ => Err((
            "the value is not an API key".to_owned(),
            "give async_ and 32 to 256 letters, digits, - or _, or unset it to have a key made at the first start",
        )),
    }
}

fn secret_keys(text: &str) -> Result<SecretKeys, Refusal> {
    const ADVICE: &str = "give 32 bytes in base64 (openssl rand -base64 32), older keys after it, separated by commas";
    let mut keys: SecretKeys = Vec::new();
    for (place, part) in (1..).zip(text.split(',')) {
        let key = decode(part.trim()).ok_or_else(|| (format!("key {place} is not 32 bytes in base64"), ADVICE))?;
        if keys.contains(&key) {
            return Err((format!("key {place} is there twice"), "remove the repetition"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Either alphabet, padded or not: all of them are what some tool prints.
fn decode(text: &str) -> Option<[u8; 32]> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let bytes = Zeroizing::new(GeneralPurpose::new(alphabet, config).decode(text).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok()
}
