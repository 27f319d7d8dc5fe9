//! Dot paths: where in a JSON text (or beside it) a value is.

use std::fmt;

use super::json::Json;

/// More than any provider nests its answers.
const SEGMENTS_MAX: usize = 64;
const BYTES_MAX: usize = 1024;
/// Longer than any provider's ids; ids are keys in the store.
const JOB_ID_BYTES_MAX: usize = 1024;
const HTTP_STATUS: &str = "@http.status";

/// A way into JSON: names of members and numbers of elements. The empty one is the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads `a.b.0`; an empty text is the whole value. The error completes “`<field>` …”.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let segments: Vec<String> = text.split('.').take(SEGMENTS_MAX + 1).map(str::to_owned).collect();
        if text.len() > BYTES_MAX || segments.len() > SEGMENTS_MAX {
            return Err(format!("must be at most {SEGMENTS_MAX} names and {BYTES_MAX} bytes long"));
        }
        if segments.iter().any(String::is_empty) {
            return Err("must be names parted by single dots, such as data.status or images.0.url".to_owned());
        }
        // Never a provider's field, and poison to whatever reads our answers with JavaScript.
        if segments.iter().any(|segment| segment == "__proto__") {
            return Err("must not hold __proto__".to_owned());
        }
        if segments.iter().any(|segment| segment.contains(['[', ']', '\0'])) {
            return Err("must have numbers of elements behind a dot: images.0.url, not images[0].url".to_owned());
        }
        Ok(Self(segments))
    }

    /// A path of names that were parts of a path.
    pub(super) fn from_segments(segments: &[String]) -> Self {
        Self(segments.to_vec())
    }

    /// The names and numbers, outermost first.
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Where a rule looks: in the body, at the status code, or in the query that a callback came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path into the body.
    Body(Path),
    /// `@http.status`: the answer's status code.
    HttpStatus,
    /// `?name`: a parameter of the URL that was called.
    Query(String),
}

impl Place {
    /// Reads a path, `@http.status` or `?name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == HTTP_STATUS {
            return Ok(Self::HttpStatus);
        }
        if text.starts_with('@') {
            return Err(format!("must be a path into the body, or {HTTP_STATUS}"));
        }
        match text.strip_prefix('?') {
            Some("") => Err("must have a parameter's name behind the question mark".to_owned()),
            Some(name) => Ok(Self::Query(name.to_owned())),
            None => Path::parse(text).map(Self::Body),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(path) => path.fmt(f),
            Self::HttpStatus => f.write_str(HTTP_STATUS),
            Self::Query(name) => write!(f, "?{name}"),
        }
    }
}

/// What a rule may look at. It may be secret, so it cannot be shown.
#[derive(Clone, Copy, Default)]
pub struct View<'a> {
    /// The body, if it is JSON.
    pub body: Option<Json<'a>>,
    /// The status code, of an answer.
    pub status: Option<u16>,
    /// The query, of a callback, as it came.
    pub query: Option<&'a str>,
}

impl View<'_> {
    /// The scalar at a place, as text for comparison.
    pub fn scalar(&self, place: &Place) -> Option<String> {
        match place {
            Place::Body(path) => self.body?.find(path)?.scalar().map(std::borrow::Cow::into_owned),
            Place::HttpStatus => self.status.map(|status| status.to_string()),
            Place::Query(name) => query_value(self.query?, name),
        }
    }

    /// The job's id: the first of these places that has one.
    pub fn job_id(&self, places: &[Place]) -> Option<String> {
        let is_id = |text: &String| (1..=JOB_ID_BYTES_MAX).contains(&text.len()) && text != "null";
        places.iter().filter_map(|place| self.scalar(place)).find(is_id)
    }
}

/// The last parameter of this name, decoded as forms are (`application/x-www-form-urlencoded`).
fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
}
