//! What a submission tells the provider: whom to call, and what to sign with. Looked for where the template says that the
//! provider looks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::facts::Facts;
use super::values::{at, texts};

const URL: &str = "{callbackUrl}";
const SECRET: &str = "{callbackSecret}";

/// More receivers than any provider takes.
const RECEIVERS_MAX: usize = 16;

/// Somebody who wants to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receiver {
    /// Where.
    pub url: String,
    /// The secret that the submission told along with it.
    pub secret: Option<String>,
    /// The header that the submission wants the secret in.
    pub header: Option<String>,
}

/// A submission: its path with the query, and its body.
#[derive(Clone, Copy)]
pub(super) struct Submission<'a> {
    pub path: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Whom a submission wants called.
pub fn receivers(facts: &Facts, path: &str, content_type: &str, body: &[u8]) -> Vec<Receiver> {
    let submission = Submission { path, content_type, body };
    let url = &facts["callback"]["url"];
    let Some(place) = url["at"].as_str() else { return anywhere(submission) };
    if url["in"] == "query" {
        let told = submission.parameter(place).into_iter();
        let urls = told.flat_map(|text| if url["encoding"] == "base64-json" { packed(url, &text) } else { vec![text] });
        return urls.map(|url| Receiver { url, ..Receiver::default() }).collect();
    }
    let Some(body) = submission.json(place) else { return Vec::new() };
    let several = if place.split('.').any(|segment| segment == "-") { RECEIVERS_MAX } else { 1 };
    let header = facts["callback"]["signature"]["headerFrom"].as_str().and_then(|path| at(&body, path, 0)?.as_str());
    let receiver = |number: usize| {
        Some(Receiver {
            url: at(&body, place, number)?.as_str()?.to_owned(),
            secret: secret(&url["beside"], &body, number),
            header: header.map(str::to_owned),
        })
    };
    (0..several).filter_map(receiver).collect()
}

/// The URLs of receivers that a parameter holds in base64, where the template's own value has its URL.
fn packed(url: &Value, text: &str) -> Vec<String> {
    let list: Option<Vec<Value>> = STANDARD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let ours = url["value"][0].as_object().into_iter().flatten();
    let member = ours.filter(|(_, value)| *value == URL).map(|(name, _)| name).next();
    let (Some(list), Some(member)) = (list, member) else { return Vec::new() };
    list.iter().filter_map(|entry| entry[member].as_str()).map(str::to_owned).collect()
}

/// The secret that stands beside a receiver.
fn secret(beside: &Value, body: &Value, number: usize) -> Option<String> {
    let mut settings = beside.as_array().into_iter().flatten();
    settings.find_map(|setting| {
        let pattern = texts(&setting["value"]).into_iter().find(|text| text.contains(SECRET))?;
        let told = texts(at(body, setting["at"].as_str()?, number)?);
        let before = pattern.strip_suffix(SECRET)?;
        told.iter().find_map(|text| text.strip_prefix(before).map(str::to_owned))
    })
}

/// A URL of ours wherever it is, for providers that know nothing of callbacks: whoever they run has been told.
fn anywhere(submission: Submission<'_>) -> Vec<Receiver> {
    let pairs = submission.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let values = url::form_urlencoded::parse(pairs.as_bytes()).map(|(_, value)| value.into_owned());
    let ours = values.filter(|value| value.contains("/v1/callbacks/"));
    ours.map(|url| Receiver { url, ..Receiver::default() }).collect()
}

impl Submission<'_> {
    fn parameter(&self, name: &str) -> Option<String> {
        let query = self.path.split_once('?')?.1;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The body as JSON; of a form, the field that this path begins with.
    fn json(&self, path: &str) -> Option<Value> {
        if !self.content_type.starts_with("multipart/form-data") {
            return serde_json::from_slice(self.body).ok();
        }
        let (text, name) = (String::from_utf8_lossy(self.body), path.split('.').next()?);
        let field = text.split_once(&format!("name=\"{name}\""))?.1.split_once("\r\n\r\n")?.1;
        let content = field.split("\r\n--").next()?;
        let value: Value = serde_json::from_str(content).unwrap_or_else(|_| content.into());
        Some(serde_json::json!({ name: value }))
    }
}
