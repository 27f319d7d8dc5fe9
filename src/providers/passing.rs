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
    /// What becomes of a value of the user's.
    pub existing: Existing,
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
        let new = self.place_of_new(&request);
        for setting in self.settings.iter().filter(wanted) {
            let value = setting.filled(callback_url, secret.unwrap_or_default());
            match setting.part {
                Part::Query => passed.url = setting.write_query(&passed.url, &value)?,
                Part::Body => {
                    let body = passed.body.as_deref().unwrap_or_default();
                    passed.body = Some(setting.write_body(body, request.content_type, &value, new)?);
                }
                Part::Account => {}
            }
        }
        Ok(passed)
    }

    /// The number of the array's element that is ours, for the providers that take several receivers. All settings of
    /// one request mean the same one.
    fn place_of_new(&self, request: &Outgoing<'_>) -> usize {
        let url = self.settings.first().filter(|setting| setting.part == Part::Body);
        url.map_or(0, |url| inject::place_of_new(request.body.unwrap_or_default(), request.content_type, &url.at))
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
        value.into_owned()
    }

    fn write_query(&self, url: &str, value: &str) -> Result<String, NotPassed> {
        let name = self.at.to_string();
        if !self.base64 {
            return Ok(inject::into_query(url, &name, &inject::plain(value), self.existing));
        }
        let value = STANDARD.encode(self.among_others(url, &name, value)?);
        Ok(inject::into_query(url, &name, &value, Existing::Replace))
    }

    /// Our elements behind those of the array that the user's parameter holds in base64.
    fn among_others(&self, url: &str, name: &str, ours: &str) -> Result<String, NotPassed> {
        let Some(theirs) = inject::query_value(url, name).filter(|_| self.existing == Existing::Join) else {
            return Ok(ours.to_owned());
        };
        let text = STANDARD.decode(theirs.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let joined = text.and_then(|text| inject::into_json(&text, &Path::default(), ours, Existing::Join).ok());
        joined.ok_or_else(|| {
            NotPassed(format!("the URL's {name} must be base64 of a JSON array; leave it out, or make it one"))
        })
    }

    fn write_body(&self, body: &str, content_type: Option<&str>, value: &str, new: usize) -> Result<String, NotPassed> {
        let at = self.at.segments().iter();
        let at: Vec<String> = at.map(|one| if one == inject::NEW { new.to_string() } else { one.clone() }).collect();
        let at = Path::from_segments(&at);
        match content_type.and_then(inject::boundary) {
            Some(boundary) => inject::into_form(body, boundary, &at, value, self.existing),
            None => inject::into_json(body, &at, value, self.existing),
        }
    }
}
