//! What a callback says about a job, by a rule.

use super::inject::quoted;
use super::json::Json;
use super::path::{Path, Place, View};

/// More of a provider's error text is of no use to anybody.
const ERROR_BYTES_MAX: usize = 4 * 1024;

/// How a provider's events are to be read.
///
/// The order of the questions is part of the rule: a fail value fails; an interim value is news; then a present error,
/// or a code that is no success, fails, whatever the status says; then a done value, or a present result, is the end. All else is news, because a
/// wrong end cannot be taken back and a wrong wait can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackRule {
    /// Where the status is.
    pub status: Option<Place>,
    /// Values that mean success.
    pub done: Vec<String>,
    /// Values that mean failure.
    pub fail: Vec<String>,
    /// Values that mean that the job goes on.
    pub interim: Vec<String>,
    /// Where a value that is not null means success.
    pub done_when_present: Vec<Path>,
    /// Where a value that says something (not null, false, or empty) means failure.
    pub fail_when_present: Vec<Path>,
    /// Where the job's id is; the first that is there.
    pub id: Vec<Place>,
    /// Where the provider says what went wrong; the first that is there.
    pub error: Vec<Place>,
    /// Events with another value there are news, not about the job (Shotstack's hosting events).
    pub only_when: Option<(Place, String)>,
    /// Events with another value there tell of a failure, where there is a value (sunoapi's `code`).
    pub fail_unless: Option<(Place, String)>,
    /// Which bodies beside JSON are taken.
    pub forms: Forms,
    /// The id is not spelled as in the answer to the submission, so the two cannot be compared (Gemini's batches).
    pub id_spelled_otherwise: bool,
    /// The field whose value is sent back, where a provider tests the URL first (`MiniMax`).
    pub challenge: Option<String>,
}

/// Which bodies a callback may have beside JSON.
#[expect(clippy::struct_excessive_bools, reason = "independent of one another")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// None at all, the state being in the query.
    pub empty: bool,
    /// Text (UTF-8), multipart text included.
    pub text: bool,
    /// Anything else.
    pub binary: bool,
    /// Such a body is itself the result (Deepgram's audio).
    pub done: bool,
}

/// A request that came to a callback URL. It may hold anything, so it cannot be shown.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// The query, as it came, without the question mark.
    pub query: Option<&'a str>,
    /// The content type, as it came.
    pub content_type: Option<&'a str>,
    /// The body's bytes.
    pub body: &'a [u8],
}

/// What a callback says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The job is done.
    Done,
    /// The job failed, with the provider's own words.
    Fail {
        /// The provider's own words, or ours if it has none.
        error: String,
    },
    /// The job goes on.
    Interim,
    /// Not about the job: the URL is tested, and wants this JSON text back with 200.
    Challenge {
        /// The JSON text.
        answer: String,
    },
}

/// A callback that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// What it says.
    pub verdict: Verdict,
    /// The job that it is about, where the rule says how to know.
    pub job_id: Option<String>,
    /// What it brought.
    pub content: Content<'a>,
}

/// What a callback brought.
#[derive(Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// JSON, as it came.
    Json(Json<'a>),
    /// Text or nothing, as the text of a JSON string.
    Text(String),
    /// Bytes, to be kept in base64 with their type.
    Binary {
        /// The content type, as it came.
        content_type: String,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// Bodies may be secret, so only their kind and length is shown.
impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(json) => json.fmt(f),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary { content_type, bytes } => write!(f, "Binary({content_type}, {} bytes)", bytes.len()),
        }
    }
}

/// The body is not JSON, and the rule takes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl CallbackRule {
    /// Reads a callback.
    pub fn read<'a>(&self, delivery: &Delivery<'a>) -> Result<Reading<'a>, NotJson> {
        let content = self.content(delivery).ok_or(NotJson)?;
        let body = if let Content::Json(json) = &content { Some(*json) } else { None };
        let view = View { body, status: None, query: delivery.query };
        let verdict = match self.challenge(body) {
            Some(answer) => Verdict::Challenge { answer },
            None => self.judge(&view),
        };
        Ok(Reading { verdict, job_id: view.job_id(&self.id), content })
    }

    /// Whether a callback is about another job than the one whose id the answer to the submission held.
    pub fn is_of_another_job(&self, reading: &Reading<'_>, submitted: Option<&str>) -> bool {
        !self.id_spelled_otherwise && submitted.zip(reading.job_id.as_deref()).is_some_and(|(ours, its)| ours != its)
    }

    fn content<'a>(&self, delivery: &Delivery<'a>) -> Option<Content<'a>> {
        if let Some(json) = Json::parse(delivery.body) {
            return Some(Content::Json(json));
        }
        if delivery.body.is_empty() {
            return self.forms.empty.then(|| Content::Text("\"\"".to_owned()));
        }
        // What comes without a type is what it can be read as.
        let media = delivery.content_type.is_some_and(is_media);
        let text = std::str::from_utf8(delivery.body).ok().filter(|_| !media);
        let content_type = delivery.content_type.unwrap_or("application/octet-stream");
        match text {
            Some(text) => self.forms.text.then(|| Content::Text(quoted(text))),
            None if self.forms.binary => {
                Some(Content::Binary { content_type: content_type.to_owned(), bytes: delivery.body })
            }
            None => None,
        }
    }

    /// A test of the URL has the field, and no status.
    fn challenge(&self, body: Option<Json<'_>>) -> Option<String> {
        let (field, body) = (self.challenge.as_deref()?, body?);
        let value = body.child(field).filter(|value| value.string().is_some())?;
        let name = quoted(field);
        let view = View { body: Some(body), ..View::default() };
        let about_a_job = self.status.as_ref().is_some_and(|place| view.scalar(place).is_some());
        (!about_a_job).then(|| format!("{{{name}:{}}}", value.text()))
    }

    /// Whether it says of anything that it is the end, or that it is not.
    fn judges(&self) -> bool {
        let values = [&self.done, &self.fail, &self.interim];
        let paths = [&self.done_when_present, &self.fail_when_present];
        values.iter().any(|values| !values.is_empty()) || paths.iter().any(|paths| !paths.is_empty()) || self.forms.done
    }

    fn judge(&self, view: &View<'_>) -> Verdict {
        if !self.judges() {
            return Verdict::Done;
        }
        let differs = |(place, wanted): &(Place, String)| view.scalar(place).is_some_and(|found| found != *wanted);
        if self.only_when.as_ref().is_some_and(differs) {
            return Verdict::Interim;
        }
        let status = self.status.as_ref().and_then(|place| view.scalar(place));
        let is = |values: &[String]| status.as_ref().is_some_and(|status| values.contains(status));
        let other_form = view.body.is_none();
        if is(&self.fail) {
            return Verdict::Fail { error: error_text(view, &self.error, status.as_deref()) };
        }
        if is(&self.interim) {
            return Verdict::Interim;
        }
        if says_something(view, &self.fail_when_present) || self.fail_unless.as_ref().is_some_and(differs) {
            return Verdict::Fail { error: error_text(view, &self.error, status.as_deref()) };
        }
        let present = is_present(view, &self.done_when_present);
        if is(&self.done) || present || (other_form && self.forms.done) { Verdict::Done } else { Verdict::Interim }
    }
}

/// Whether a content type says that its bytes are no text, even if they could be read as some.
fn is_media(content_type: &str) -> bool {
    let kind = content_type.trim_start().to_ascii_lowercase();
    ["audio/", "video/", "image/", "application/octet-stream"].iter().any(|media| kind.starts_with(media))
}

/// Whether a value that is not null is at one of these paths.
pub(super) fn is_present(view: &View<'_>, paths: &[Path]) -> bool {
    let at = |path| view.body?.find(path).filter(|value| !value.is_null());
    paths.iter().any(|path| at(path).is_some())
}

/// Whether a value that says something is at one of these paths.
pub(super) fn says_something(view: &View<'_>, paths: &[Path]) -> bool {
    let at = |path| view.body?.find(path).filter(|value| !value.is_empty());
    paths.iter().any(|path| at(path).is_some())
}

/// Words that say that a request went well, and so nothing of why its job did not.
const NO_REASON: [&str; 2] = ["success", "ok"];

/// The provider's own words; an object is told as JSON.
pub(super) fn error_text(view: &View<'_>, places: &[Place], status: Option<&str>) -> String {
    let mut told = places.iter().filter_map(|place| match place {
        Place::Body(path) => {
            let value = view.body?.find(path).filter(|value| !value.is_empty())?;
            Some(value.scalar().map_or_else(|| value.text().to_owned(), std::borrow::Cow::into_owned))
        }
        other => view.scalar(other),
    });
    let reason = told.find(|text| !NO_REASON.iter().any(|word| text.eq_ignore_ascii_case(word)));
    let text = reason.unwrap_or_else(|| match status {
        Some(status) => format!("The provider reported: {status}"),
        None => "The provider reported a failure".to_owned(),
    });
    shortened(text)
}

fn shortened(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
