//! Reads the fields of a configuration, strictly and with words for people; all that is wrong is told at once.

use std::fmt;

use super::json::{Json, Kind};
use super::wire::Texts;

/// More than this of an unknown name is not repeated.
const SHOWN_MAX: usize = 64;
/// More mistakes are not listed.
const WRONG_MAX: usize = 20;

/// One thing that is wrong with what a user gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field, such as `pollConfig.interval`.
    pub field: String,
    /// What is wrong, naming the field.
    pub message: String,
}

impl Wrong {
    /// A mistake in a field; `text` completes “`<field>` …”.
    pub fn of(field: &str, text: &str) -> Self {
        Self { field: field.to_owned(), message: format!("{field} {text}") }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The fields of one object, taken out one by one.
pub(super) struct Fields<'a> {
    prefix: &'static str,
    left: Vec<(String, Json<'a>)>,
    wrong: Vec<Wrong>,
}

impl<'a> Fields<'a> {
    /// The fields of an object that is the field `prefix`.
    pub fn new(prefix: &'static str, json: Json<'a>) -> Result<Self, Vec<Wrong>> {
        if json.kind() != Kind::Object {
            return Err(vec![Wrong::of(prefix, "must be an object")]);
        }
        let mut fields = Self { prefix, left: Vec::new(), wrong: Vec::new() };
        for (key, value) in json.members().take(100) {
            let name = Json::parse(key.as_bytes()).and_then(Json::string).unwrap_or_default().into_owned();
            if fields.left.iter().any(|(known, _)| *known == name) {
                let shown: String = name.chars().take(SHOWN_MAX).collect();
                fields.refuse(&shown, "is given twice");
            }
            fields.left.push((name, value));
        }
        Ok(fields)
    }

    /// Notes a mistake; `text` completes “`<field>` …”.
    pub fn refuse(&mut self, name: &str, text: &str) {
        self.wrong.push(Wrong::of(&format!("{}.{name}", self.prefix), text));
    }

    /// Whether a mistake is noted about a field.
    pub fn is_wrong(&self, name: &str) -> bool {
        let field = format!("{}.{name}", self.prefix);
        self.wrong.iter().any(|wrong| wrong.field == field)
    }

    /// All that is wrong, unknown fields included.
    pub fn finish(mut self) -> Result<(), Vec<Wrong>> {
        for (name, _) in std::mem::take(&mut self.left) {
            let shown: String = name.chars().take(SHOWN_MAX).collect();
            let field = format!("{}.{shown}", self.prefix);
            self.wrong.push(Wrong { message: format!("Unknown field: {field}"), field });
        }
        self.wrong.truncate(WRONG_MAX);
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong) }
    }

    /// A string.
    pub fn string(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        let text = value.string().map(std::borrow::Cow::into_owned);
        self.or_refuse(name, text, "must be a string")
    }

    /// A string that passes a check.
    pub fn checked(&mut self, name: &str, check: impl Fn(&str) -> Result<(), String>) -> Option<String> {
        let text = self.string(name)?;
        match check(&text) {
            Ok(()) => Some(text),
            Err(error) => {
                self.refuse(name, &error);
                None
            }
        }
    }

    /// A string or an array of strings, each of which passes a check.
    pub fn texts(&mut self, name: &str, check: impl Fn(&str) -> Result<(), String>) -> Texts {
        let Some(value) = self.take(name) else { return Texts::default() };
        let texts = match value.kind() {
            Kind::String => value.string().map(|text| Texts::One(text.into_owned())),
            Kind::Array => all_strings(value, 20).map(Texts::Several),
            _ => None,
        };
        let texts = self.or_refuse(name, texts, "must be a path, or an array of at most 20 paths").unwrap_or_default();
        if let Some(error) = texts.all().iter().find_map(|text| check(text).err()) {
            self.refuse(name, &error);
        }
        texts
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?;
        self.or_refuse(name, value.text().parse().ok(), "must be true or false")
    }

    /// An array of strings.
    pub fn strings(&mut self, name: &str, most: usize) -> Option<Vec<String>> {
        let value = self.take(name)?;
        self.or_refuse(name, all_strings(value, most), &format!("must be an array of at most {most} strings"))
    }

    /// A number of seconds within bounds of milliseconds.
    pub fn seconds(&mut self, name: &str, bounds: std::ops::RangeInclusive<i64>) -> Option<f64> {
        let value = self.take(name)?;
        #[expect(clippy::cast_precision_loss, reason = "30 days of milliseconds are exact in a double")]
        let (least, most) = (*bounds.start() as f64 / 1000.0, *bounds.end() as f64 / 1000.0);
        let seconds = (value.kind() == Kind::Other).then(|| value.text().parse::<f64>().ok()).flatten();
        let within = seconds.filter(|seconds| (least..=most).contains(seconds));
        self.or_refuse(name, within, &format!("must be a number of seconds from {least} to {most}"))
    }

    fn or_refuse<T>(&mut self, name: &str, value: Option<T>, text: &str) -> Option<T> {
        if value.is_none() {
            self.refuse(name, text);
        }
        value
    }

    /// A field's value; `null` is as good as none.
    fn take(&mut self, name: &str) -> Option<Json<'a>> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.left.swap_remove(at);
        self.left.retain(|(known, _)| known != name);
        Some(value).filter(|value| !value.is_null())
    }
}

fn all_strings(value: Json<'_>, most: usize) -> Option<Vec<String>> {
    if value.kind() != Kind::Array {
        return None;
    }
    let texts: Option<Vec<String>> =
        value.elements().take(most + 1).map(|item| item.string().map(std::borrow::Cow::into_owned)).collect();
    texts.filter(|texts| texts.len() <= most)
}
