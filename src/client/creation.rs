//! A creation as it is sent: the fields that were given, in their order, and nothing that was not.

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::failure::Failure;

/// The JSON object that a request's body is.
#[derive(Default)]
pub struct Creation(Vec<(&'static str, Box<RawValue>)>);

impl Creation {
    /// Adds a field, if it was given.
    pub fn set<T: Serialize>(&mut self, name: &'static str, value: Option<T>) {
        let raw = value.map(|value| to_raw_value(&value).expect("plain data is always JSON"));
        self.0.extend(raw.map(|raw| (name, raw)));
    }

    /// Adds a field that is JSON already.
    pub fn set_json(&mut self, name: &'static str, text: Option<String>) -> Result<(), Failure> {
        let Some(text) = text else { return Ok(()) };
        let raw = RawValue::from_string(text).map_err(|error| {
            Failure::usage(format!("{name} is no JSON: error at line {} column {}", error.line(), error.column()))
        })?;
        self.0.push((name, raw));
        Ok(())
    }

    /// The body.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("plain data is always JSON")
    }
}

impl Serialize for Creation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// `name=value` texts as a JSON object, in their order; the server says what it thinks of a repeated one.
pub fn pairs(texts: &[String], mark: char) -> Result<Option<impl Serialize>, Failure> {
    let split = |text: &String| {
        let (name, value) = text.split_once(mark)?;
        Some((name.trim().to_owned(), if mark == ':' { value.trim() } else { value }.to_owned()))
    };
    let wrong = |text: &String| Failure::usage(format!("{text:?} is not of the form NAME{mark}VALUE"));
    let read: Result<Vec<_>, _> = texts.iter().map(|text| split(text).ok_or_else(|| wrong(text))).collect();
    Ok(Some(Pairs(read?)).filter(|pairs| !pairs.0.is_empty()))
}

struct Pairs(Vec<(String, String)>);

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_given_is_not_sent_and_json_stays_as_it_was_written() {
        let mut creation = Creation::default();
        creation.set("targetUrl", Some("https://x"));
        creation.set("method", None::<String>);
        let headers = ["A: b:c ".to_owned(), "a:2".to_owned()];
        creation.set("headers", pairs(&headers, ':').unwrap_or_else(|failure| panic!("{}", failure.text)));
        assert!(creation.set_json("pollConfig", Some("{\"interval\": 1.50}".to_owned())).is_ok());
        let text = r#"{"targetUrl":"https://x","headers":{"A":"b:c","a":"2"},"pollConfig":{"interval": 1.50}}"#;
        assert_eq!(creation.text(), text);
        assert!(creation.set_json("callbackConfig", Some("{".to_owned())).is_err());
        assert!(pairs(&["novalue".to_owned()], '=').is_err());
    }
}
