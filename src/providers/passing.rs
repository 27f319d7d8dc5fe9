//! How a provider wants to be told the callback URL, and a request that tells it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::inject::{self, Existing, NotPassed, quoted};
use super::path::Path;

/// Stands for the callback URL in a template's values.
pub const URL: &str = "{callbackUrl}";
/// Stands for the provider's webhook secret in a template's values.
pub const SECRET: &str = "{callbackSecret}";

/// Stands before a secret that is told as an `Authorization`.
const BEARER: &str = "Bearer ";

/// Where a provider takes the callback URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The part of the request.
    pub place: Part,
    /// What is written there, the URL first, then what the provider needs beside.
    pub settings: Vec<Setting>,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The URL's query.
    Query,
    /// The body: JSON, or a form.
    Body,
    /// Not in the request: one URL for all jobs was registered with the account.
    Account,
}

/// One value of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which part it is in.
    pub part: Part,
    /// The parameter's name, or the field's path.
    pub at: Path,
    /// What to write: JSON text, with placeholders inside of its strings.
    pub value: String,
    /// Written as base64 of the JSON text (Apify).
    pub base64: bool,
    /// Whether a value of the user's gives way.
    pub replace: bool,
    /// Whether it is written only along with a secret.
    pub with_secret: bool,
}

/// A request's URL and body, to be changed as little as can be. They may hold secrets, so they cannot be shown.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The target's URL.
    pub url: &'a str,
    /// The body, if there is one.
    pub body: Option<&'a str>,
    /// Its content type, if the user gave one.
    pub content_type: Option<&'a str>,
}

/// A request that tells the provider where to call.
#[derive(Clone, PartialEq, Eq)]
pub struct Passed {
    /// The URL, with the callback URL where it belongs.
    pub url: String,
    /// The body, likewise.
    pub body: Option<String>,
}

/// The callback URL is a credential, and so is the secret, so neither is shown.
impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passed { … }")
    }
}

impl Passing {
    /// Whether the provider takes a callback URL with the request.
    pub fn per_request(&self) -> bool {
        self.place != Part::Account
    }

    /// Whether some setting tells the provider the webhook secret.
    pub fn tells_secret(&self) -> bool {
        self.settings.iter().any(|setting| setting.value.contains(SECRET))
    }

    /// The request with all that the provider has to be told. Without a secret, what would tell it is left out.
    pub fn apply(&self, request: Outgoing<'_>, callback_url: &str, secret: Option<&str>) -> Result<Passed, NotPassed> {
        let mut passed = Passed { url: request.url.to_owned(), body: request.body.map(str::to_owned) };
        let wanted = |setting: &&Setting| secret.is_some() || !(setting.with_secret || setting.value.contains(SECRET));
        for setting in self.settings.iter().filter(wanted) {
            let value = setting.filled(callback_url, secret.unwrap_or_default());
            let existing = if setting.replace { Existing::Replace } else { Existing::Keep };
            match setting.part {
                Part::Query => {
                    let name = setting.at.to_string();
                    passed.url = inject::into_query(&passed.url, &name, &inject::plain(&value), existing);
                }
                Part::Body => {
                    let body = passed.body.as_deref().unwrap_or_default();
                    passed.body = Some(setting.write_body(body, request.content_type, &value, existing)?);
                }
                Part::Account => {}
            }
        }
        Ok(passed)
    }
}

impl Setting {
    /// The value as JSON text.
    fn filled(&self, callback_url: &str, secret: &str) -> String {
        let inside = |text: &str| {
            let quoted = quoted(text);
            quoted[1..quoted.len() - 1].to_owned()
        };
        let mut value = Cow::Borrowed(self.value.as_str());
        // A secret that was kept with its scheme is told with one scheme, as it is checked.
        let bare = secret.strip_prefix(BEARER).filter(|_| value.contains(&format!("{BEARER}{SECRET}")));
        let secret = bare.unwrap_or(secret);
        for (name, text) in [(URL, callback_url), (SECRET, secret)] {
            if value.contains(name) {
                value = Cow::Owned(value.replace(name, &inside(text)));
            }
        }
        if self.base64 { quoted(&STANDARD.encode(value.as_bytes())) } else { value.into_owned() }
    }

    fn write_body(
        &self,
        body: &str,
        content_type: Option<&str>,
        value: &str,
        existing: Existing,
    ) -> Result<String, NotPassed> {
        match content_type.and_then(inject::boundary) {
            Some(boundary) => inject::into_form(body, boundary, &self.at, value, existing),
            None => inject::into_json(body, &self.at, value, existing),
        }
    }
}
