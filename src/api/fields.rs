//! Reads the fields of a JSON object, strictly and with words for people: an unknown field is refused by name, so is a
//! repeated one, and all that is wrong is told at once.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{Detail, Problem};

/// The fields of an object, not looked into yet.
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Takes an object apart; its fields must be among `known`.
    pub fn parse(text: &'a [u8], known: &[&str]) -> Result<Self, Problem> {
        // A struct would be read from an array too.
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let object: Self = serde_json::from_slice(text).map_err(|error| match first {
            Some(b'{') | None => Problem::bad_request(format!("Request body must be valid JSON: {}", place(&error))),
            Some(_) if serde_json::from_slice::<&RawValue>(text).is_ok() => {
                Problem::bad_request("Request body must be a JSON object")
            }
            Some(_) => Problem::bad_request("Request body must be valid JSON"),
        })?;
        object.check_names(known)?;
        Ok(object)
    }

    fn check_names(&self, known: &[&str]) -> Result<(), Problem> {
        let mut details = Vec::new();
        for (index, (name, _)) in self.0.iter().enumerate() {
            let fault = if !known.contains(&&**name) {
                "Unknown"
            } else if self.0[..index].iter().any(|(before, _)| before == name) {
                "Duplicate"
            } else {
                continue;
            };
            let shown: String = name.chars().take(100).collect();
            details.push(Detail { message: format!("{fault} field: {shown}"), field: shown });
            if details.len() == 20 {
                break;
            }
        }
        if details.is_empty() { Ok(()) } else { Err(Problem::invalid(details)) }
    }

    /// A field's JSON text as it was sent; none if the field is not there.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.json(name).map(RawValue::get)
    }

    /// A field's JSON value as it was sent; none if the field is not there.
    pub fn json(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// Where the parser stopped, without what it saw there: that may be a secret.
fn place(error: &serde_json::Error) -> String {
    format!("error at line {} column {}", error.line(), error.column())
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

/// A field's name, borrowed where it needs no unescaping.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads fields one by one and gathers what is wrong with them.
pub struct Reader<'f, 'a> {
    fields: &'f Fields<'a>,
    details: Vec<Detail>,
}

impl<'f, 'a> Reader<'f, 'a> {
    /// Reads these fields.
    pub fn new(fields: &'f Fields<'a>) -> Self {
        Self { fields, details: Vec::new() }
    }

    /// Notes that a field is wrong.
    pub fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.details.push(Detail { field: field.to_owned(), message: message.into() });
    }

    /// All that is wrong, if anything is.
    pub fn finish(self) -> Result<(), Problem> {
        if self.details.is_empty() { Ok(()) } else { Err(Problem::invalid(self.details)) }
    }

    /// A field of any type; `null` is as good as none where a field has no default.
    pub fn read<T: Deserialize<'a>>(&mut self, field: &str, wanted: &str) -> Option<T> {
        let text = self.fields.raw(field).filter(|text| *text != "null")?;
        self.parsed(field, text, wanted)
    }

    /// A string that may be left out or `null`.
    pub fn string(&mut self, field: &str) -> Option<String> {
        self.read(field, "a string")
    }

    /// A field with a default, for which `null` is no value.
    pub fn read_or<T: Deserialize<'a>>(&mut self, field: &str, wanted: &str, default: T) -> T {
        match self.fields.raw(field) {
            Some(text) => self.parsed(field, text, wanted).unwrap_or(default),
            None => default,
        }
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, field: &str, default: u32, bounds: std::ops::RangeInclusive<u32>) -> u32 {
        let Some(text) = self.fields.raw(field) else {
            return default;
        };
        let wanted = format!("an integer from {} to {}", bounds.start(), bounds.end());
        let value = self.parsed(field, text, &wanted).unwrap_or(default);
        if !bounds.contains(&value) {
            self.refuse(field, format!("{field} must be {wanted}"));
        }
        value
    }

    /// A number of seconds within bounds, as milliseconds; fractions of a millisecond are dropped.
    pub fn seconds(&mut self, field: &str, default_ms: i64, bounds_ms: std::ops::RangeInclusive<i64>) -> i64 {
        let Some(text) = self.fields.raw(field) else {
            return default_ms;
        };
        let (least, most) = (millis_to_seconds(*bounds_ms.start()), millis_to_seconds(*bounds_ms.end()));
        let wanted = format!("a number of seconds from {least} to {most}");
        let Some(seconds) = self.parsed::<f64>(field, text, &wanted) else {
            return default_ms;
        };
        #[expect(clippy::cast_precision_loss, reason = "30 days of milliseconds are exact in a double")]
        let within = seconds * 1000.0 >= *bounds_ms.start() as f64 && seconds * 1000.0 <= *bounds_ms.end() as f64;
        if !within {
            self.refuse(field, format!("{field} must be {wanted}"));
            return default_ms;
        }
        #[expect(clippy::cast_possible_truncation, reason = "within bounds, as was just checked")]
        let millis = (seconds * 1000.0).round() as i64;
        millis
    }

    fn parsed<T: Deserialize<'a>>(&mut self, field: &str, text: &'a str, wanted: &str) -> Option<T> {
        match serde_json::from_str(text) {
            Ok(value) => Some(value),
            Err(_) => {
                self.refuse(field, format!("{field} must be {wanted}"));
                None
            }
        }
    }
}

fn millis_to_seconds(millis: i64) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{}.{}", millis / 1000, millis % 1000 / 100) }
}
