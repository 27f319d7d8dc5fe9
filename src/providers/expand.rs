//! URLs with placeholders: which are well-formed, and what becomes of them when the values are known.
//!
//! The values come out of strangers' answers, so a value can only ever be one part of a path or query. The one
//! exception is a template that is nothing but a placeholder: then the answer names the whole URL (fal's `status_url`),
//! and no credential goes there unless its host is trusted for another reason.

use std::fmt;

use super::json::Json;
use super::path::{Path, Place, View};

const BYTES_MAX: usize = 8 * 1024;

/// A URL template that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value(Name),
}

/// What a placeholder names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `{startResult.body.<path>}`: the answer to the submission.
    Start(Path),
    /// `{pollResult.body.<path>}`: the latest poll's answer.
    Poll(Path),
    /// `{id}`: the job's id, by the template's idPath.
    Id,
    /// `{<key>}`: one of the task's providerParams.
    Param(String),
}

/// Who wrote a template, which decides what may stand in its host part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A user, in `pollConfig`: the host is literal, or the whole URL one placeholder.
    User,
    /// This project: a parameter may be one label of the host (`{resource}.openai.azure.com`), or the URL's start
    /// (`{base}/status`).
    Project,
}

/// Where the values come from. They may be secret, so they cannot be shown.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The body of the answer to the submission, if it is JSON.
    pub start: Option<Json<'a>>,
    /// The body of the latest poll's answer, if it is JSON.
    pub poll: Option<Json<'a>>,
    /// Where the job's id is in the answer to the submission; the first that is there.
    pub id: &'a [Place],
    /// The task's providerParams.
    pub params: &'a [(String, String)],
}

impl Sources<'_> {
    /// The job's id, if the answer to the submission holds it.
    pub fn job_id(&self) -> Option<String> {
        View { body: self.start, ..View::default() }.job_id(self.id)
    }
}

/// Why a URL cannot be filled in, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotExpanded(pub String);

impl fmt::Display for NotExpanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl UrlTemplate {
    /// Checks a template. The error completes “`<field>` …”.
    pub fn parse(text: &str, author: Author) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("must be at most {BYTES_MAX} bytes long"));
        }
        let template = Self { text: text.to_owned(), parts: parts(text)? };
        if !template.is_one_placeholder() {
            template.check_host(author)?;
        } else if matches!(template.parts[..], [Part::Value(Name::Id)]) {
            return Err("must not be {id} alone: an id is no URL".to_owned());
        }
        Ok(template)
    }

    /// The text it was made of.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the providerParams it needs.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.names().filter_map(|name| if let Name::Param(key) = name { Some(key.as_str()) } else { None })
    }

    /// Whether it needs the job's id.
    pub fn needs_id(&self) -> bool {
        self.names().any(|name| *name == Name::Id)
    }

    /// The host that is written out in it, if it is: `https://host[:port]`, to be read as a URL.
    pub fn literal_origin(&self) -> Option<String> {
        let Part::Literal(text) = self.parts.first()? else { return None };
        let start = text.find("://")? + 3;
        let end = text[start..].find(['/', '?', '#']).map(|at| start + at);
        let whole = end.or((self.parts.len() == 1).then_some(text.len()))?;
        Some(text[..whole].to_owned())
    }

    /// The whole URL if nothing is to be filled in, else its [origin](Self::literal_origin).
    pub fn literal_url(&self) -> Option<String> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text.clone()),
            _ => self.literal_origin(),
        }
    }

    /// Fills the values in. `slashes` leaves slashes inside of values as they are (Google's names of
    /// operations, Cloudflare's of models).
    pub fn expand(&self, sources: &Sources<'_>, slashes: bool) -> Result<String, NotExpanded> {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => url.push_str(text),
                Part::Value(name) => {
                    let value = name.value(sources)?;
                    url.push_str(&self.fitted(&url, name, &value, slashes)?);
                }
            }
        }
        Ok(url)
    }

    /// The first of these providerParams that cannot stand where the template has it, and why.
    pub fn bad_param(&self, params: &[(String, String)], slashes: bool) -> Option<(String, String)> {
        let mut before = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => before.push_str(text),
                Part::Value(name) => {
                    let Name::Param(key) = name else {
                        before.push('x');
                        continue;
                    };
                    let value = &params.iter().find(|(known, _)| known == key)?.1;
                    match self.fitted(&before, name, value, slashes) {
                        Ok(filled) => before.push_str(&filled),
                        Err(error) => return Some((key.clone(), error.0)),
                    }
                }
            }
        }
        None
    }

    /// A value in the form in which it may stand behind `before`.
    fn fitted(&self, before: &str, name: &Name, value: &str, slashes: bool) -> Result<String, NotExpanded> {
        if before.is_empty() {
            return whole_url(name, value, !self.is_one_placeholder());
        }
        if in_host(before) { label(name, value) } else { encoded(value, slashes) }
    }

    /// Whether the answer, and not the template, names the host.
    pub fn is_one_placeholder(&self) -> bool {
        matches!(self.parts[..], [Part::Value(_)])
    }

    fn names(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| if let Part::Value(name) = part { Some(name) } else { None })
    }

    fn check_host(&self, author: Author) -> Result<(), String> {
        let refused = || {
            Err("must name the host as it is; a placeholder may only stand in the path or the query, or be the \
                 whole URL"
                .to_owned())
        };
        let by_param = author == Author::Project;
        let mut before = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(text) => before.push_str(text),
                Part::Value(Name::Param(_)) if by_param && index == 0 => before.push_str("http://base/"),
                Part::Value(Name::Param(_)) if by_param && in_host(&before) => before.push('x'),
                Part::Value(_) if index == 0 || in_host(&before) => return refused(),
                Part::Value(_) => before.push('x'),
            }
        }
        let valid = url::Url::parse(&before).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if valid { Ok(()) } else { Err("must be an absolute http or https URL".to_owned()) }
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, String> {
        let path = |path: &str| match path.strip_prefix('.') {
            Some(path) if !path.is_empty() => {
                Path::parse(path).map_err(|error| format!("has the placeholder {{{text}}}, whose path {error}"))
            }
            _ => Err(format!("has the placeholder {{{text}}}, which needs a path: {{{text}.id}}")),
        };
        if let Some(rest) = text.strip_prefix("startResult.body") {
            return path(rest).map(Self::Start);
        }
        if let Some(rest) = text.strip_prefix("pollResult.body") {
            return path(rest).map(Self::Poll);
        }
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        match text {
            "id" => Ok(Self::Id),
            key if !key.is_empty() && key.len() <= 64 && plain(key) => Ok(Self::Param(key.to_owned())),
            _ => {
                let shown: String = text.chars().take(64).collect();
                Err(format!(
                    "has an unknown placeholder {{{shown}}}; known are {{startResult.body.<path>}}, \
                     {{pollResult.body.<path>}}, {{id}} and the keys of providerParams"
                ))
            }
        }
    }

    fn value(&self, sources: &Sources<'_>) -> Result<String, NotExpanded> {
        let at = |json: Option<Json<'_>>, path: &Path| {
            let value = json?.find(path)?;
            if value.is_null() { None } else { value.scalar().map(std::borrow::Cow::into_owned) }
        };
        let (value, place) = match self {
            Self::Start(path) => (at(sources.start, path), format!("the answer to the submission holds no {path}")),
            Self::Poll(path) => (at(sources.poll, path), format!("the poll's answer holds no {path}")),
            Self::Id => (sources.job_id(), "the answer to the submission holds no job id".to_owned()),
            Self::Param(key) => {
                let param = sources.params.iter().find(|(name, _)| name == key);
                (param.map(|(_, value)| value.clone()), format!("providerParams has no {key}"))
            }
        };
        match value {
            Some(value) if !value.is_empty() && value.len() <= BYTES_MAX => Ok(value),
            _ => Err(NotExpanded(format!("The URL cannot be filled in: {place}"))),
        }
    }
}

/// A value that stays within its place in the path or the query.
fn encoded(value: &str, slashes: bool) -> Result<String, NotExpanded> {
    let segments: Vec<&str> = if slashes { value.split('/').collect() } else { vec![value] };
    // Encoded or not, a URL parser takes dots for steps in the path.
    if segments.iter().any(|segment| matches!(*segment, "." | "..") || (slashes && segment.is_empty())) {
        return Err(NotExpanded("The URL cannot be filled in: a value would change its path".to_owned()));
    }
    Ok(segments.iter().map(|segment| percent_encode(segment)).collect::<Vec<_>>().join("/"))
}

/// A value that is the URL, or the start of one.
fn whole_url(name: &Name, value: &str, start: bool) -> Result<String, NotExpanded> {
    let url = url::Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let odd = start && (value.contains(['?', '#']) || !matches!(name, Name::Param(_)));
    if url.is_none() || odd {
        return Err(NotExpanded("The URL cannot be filled in: a value is no absolute http or https URL".to_owned()));
    }
    Ok(if start { value.trim_end_matches('/').to_owned() } else { value.to_owned() })
}

/// A value that is one label of a host, and cannot become another host.
fn label(name: &Name, value: &str) -> Result<String, NotExpanded> {
    let plain = value.len() <= 63 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let key = if let Name::Param(key) = name { key.as_str() } else { "a value" };
    if plain && !value.starts_with('-') && !value.ends_with('-') {
        return Ok(value.to_owned());
    }
    Err(NotExpanded(format!("The URL cannot be filled in: {key} must be letters, digits and dashes")))
}

/// Whether what follows this text belongs to scheme or host.
fn in_host(before: &str) -> bool {
    before.find("://").is_none_or(|at| !before[at + 3..].contains(['/', '?', '#']))
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let inside = &rest[open + 1..];
        if rest.as_bytes()[open] == b'}' {
            return Err("has a closing brace without an opening one".to_owned());
        }
        let Some(close) = inside.find('}') else { return Err("has a placeholder that is not closed".to_owned()) };
        let name = &inside[..close];
        if name.contains('{') {
            return Err("has a placeholder inside of another".to_owned());
        }
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        parts.push(Part::Value(Name::parse(name)?));
        rest = &inside[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// Percent-encodes all but unreserved characters (RFC 3986, 2.3).
pub(super) fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes any text");
        }
    }
    encoded
}
