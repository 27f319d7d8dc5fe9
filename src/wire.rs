//! How times and results are spelled in JSON, wherever they leave the service.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::task::{Payload, Timestamp};

/// ISO 8601, UTC, milliseconds, `Z`.
pub fn iso(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => PRINTER.timestamp_to_string(&time),
        // Beyond the year 9999 there is no such spelling; no time of ours comes there.
        Err(_) => "9999-12-31T23:59:59.999Z".to_owned(),
    }
}

/// A time that serializes as [`iso`] does.
#[derive(Clone, Copy, Debug)]
pub struct Iso(pub Timestamp);

impl Serialize for Iso {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&iso(self.0))
    }
}

/// A result: `{"statusCode", "headers", "body", "duration"}`, and `bodyEncoding` where the body is binary.
#[derive(Clone, Copy, Debug)]
pub struct ResultView<'a>(pub &'a Payload);

impl Serialize for ResultView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let payload = self.0;
        let (body, binary) = text_or_base64(&payload.body);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("statusCode", &payload.status_code)?;
        map.serialize_entry("headers", &Headers(&payload.headers))?;
        map.serialize_entry("body", &body)?;
        map.serialize_entry("duration", &payload.duration_ms)?;
        if binary {
            map.serialize_entry("bodyEncoding", "base64")?;
        }
        map.end()
    }
}

/// The body as text; what is not UTF-8 as base64, which the flag says.
fn text_or_base64(body: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(body) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (Cow::Owned(STANDARD.encode(body)), true),
    }
}

/// Pairs as a JSON object, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(pub &'a [(String, String)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(iso(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(Timestamp(1_763_900_000_120)), "2025-11-23T12:13:20.120Z");
        assert_eq!(iso(Timestamp(i64::MAX)).len(), 24);
    }

    #[test]
    fn binary_bodies_are_base64_and_say_so() {
        let text = serde_json::to_string(&ResultView(&Payload::told("{\"a\":1}".into()))).unwrap();
        assert_eq!(text, r#"{"statusCode":200,"headers":{},"body":"{\"a\":1}","duration":0}"#);
        let binary = serde_json::to_string(&ResultView(&Payload::told(vec![0xff, 0].into()))).unwrap();
        assert_eq!(binary, r#"{"statusCode":200,"headers":{},"body":"/wA=","duration":0,"bodyEncoding":"base64"}"#);
    }
}
