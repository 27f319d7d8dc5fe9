//! A value is put where it belongs, and nothing else changes.

use proptest::prelude::*;
use serde_json::Value;

use super::json::{any_json, any_path};
use crate::providers::inject::{Existing, boundary, into_form, into_json, into_query};
use crate::providers::{Json, Path};

const URL: &str = r#""https://q.example/v1/callbacks/ab""#;

fn put(body: &str, path: &str) -> Result<String, String> {
    into_json(body, &Path::parse(path).unwrap(), URL, Existing::Replace).map_err(|error| error.0)
}

#[test]
fn objects_and_arrays_are_made_on_the_way_and_no_other_byte_changes() {
    for (body, path, expected) in [
        ("{}", "webhook", format!(r#"{{"webhook":{URL}}}"#)),
        (r#" { "b": 1.0e2, "a":1 } "#, "webhook", format!(r#" {{ "b": 1.0e2, "a":1,"webhook":{URL} }} "#)),
        ("{}", "webhookConfig.uris.0", format!(r#"{{"webhookConfig":{{"uris":[{URL}]}}}}"#)),
        ("{}", "a.0.url", format!(r#"{{"a":[{{"url":{URL}}}]}}"#)),
        ("{}", "a.2", format!(r#"{{"a":[null,null,{URL}]}}"#)),
        (r#"{"a":[1]}"#, "a.2", format!(r#"{{"a":[1,null,{URL}]}}"#)),
        (r#"{"a":[ ]}"#, "a.0", format!(r#"{{"a":[{URL} ]}}"#)),
        (r#"{"a":[{"x":1}]}"#, "a.0.url", format!(r#"{{"a":[{{"x":1,"url":{URL}}}]}}"#)),
        (r#"{"a":null,"b":1}"#, "a.0.url", format!(r#"{{"a":[{{"url":{URL}}}],"b":1}}"#)),
        (
            r#"{"webhook":"mine","n":196619188014358660}"#,
            "webhook",
            format!(r#"{{"webhook":{URL},"n":196619188014358660}}"#),
        ),
        (r#"{"webhook":{"url":"mine"}}"#, "webhook.url", format!(r#"{{"webhook":{{"url":{URL}}}}}"#)),
        ("null", "a", format!(r#"{{"a":{URL}}}"#)),
        (r#"{"0":1}"#, "0", format!(r#"{{"0":{URL}}}"#)),
    ] {
        assert_eq!(put(body, path).as_deref(), Ok(expected.as_str()), "{body} {path}");
    }
}

#[test]
fn what_the_user_said_can_be_kept() {
    let keep = |body: &str| into_json(body, &Path::parse("events").unwrap(), "[1]", Existing::Keep).unwrap();
    assert_eq!(keep(r#"{"events":["start"]}"#), r#"{"events":["start"]}"#);
    assert_eq!(keep(r#"{"events":null}"#), r#"{"events":[1]}"#);
    assert_eq!(keep("{}"), r#"{"events":[1]}"#);
}

#[test]
fn errors_say_what_to_do() {
    for body in ["", "a=b", "{", "<xml/>"] {
        assert_eq!(
            put(body, "webhook").unwrap_err(),
            "the body must be JSON, because the provider takes the callback URL in the body's field webhook; send \
             JSON, or write {asyncqueue_callback_url} where the provider wants it and leave useCallback out"
        );
    }
    assert_eq!(
        put(r#"{"extra":"x"}"#, "extra.webhook.url").unwrap_err(),
        "the callback URL belongs into the body's field extra.webhook.url, but the body's extra is of another type; \
         leave it out, or make it an object or array as the provider's documentation says"
    );
    assert!(put("\"text\"", "webhook").unwrap_err().contains("but the body is of another type"));
    assert!(put("[1]", "webhook").unwrap_err().contains("but the body is of another type"));
    assert!(put("[1]", "1000").is_err(), "no endless arrays");
}

#[test]
fn a_query_parameter_is_set_encoded_and_once() {
    for (url, expected) in [
        ("https://a.example/x", "https://a.example/x?hook=http%3A%2F%2Fq%2F%3Fa%26b"),
        ("https://a.example/x?", "https://a.example/x?hook=http%3A%2F%2Fq%2F%3Fa%26b"),
        ("https://a.example/x?a=1#f", "https://a.example/x?a=1&hook=http%3A%2F%2Fq%2F%3Fa%26b#f"),
        ("https://a.example/x?hook=mine&a=1", "https://a.example/x?hook=http%3A%2F%2Fq%2F%3Fa%26b&a=1"),
        ("https://a.example/x?a=%20&ho%6fk=1&b&hook", "https://a.example/x?a=%20&hook=http%3A%2F%2Fq%2F%3Fa%26b&b"),
    ] {
        assert_eq!(into_query(url, "hook", "http://q/?a&b", Existing::Replace), expected);
    }
    let kept = into_query("https://a.example/x?hook=mine", "hook", "ours", Existing::Keep);
    assert_eq!(kept, "https://a.example/x?hook=mine");
}

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"config\"\r\nContent-Type: application/json\r\n\r\n\
                    {\"type\": \"transcription\"}\r\n--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n\
                    --bytes\r\n--b--\r\n";

#[test]
fn a_field_of_a_form_is_set() {
    let set = |path: &str, value: &str| into_form(FORM, "b", &Path::parse(path).unwrap(), value, Existing::Replace);
    let expected = FORM.replace(
        "{\"type\": \"transcription\"}",
        "{\"type\": \"transcription\",\"notification_config\":[{\"url\":\"https://q\"}]}",
    );
    assert_eq!(set("config.notification_config.0.url", "\"https://q\""), Ok(expected));
    let expected = FORM.replace("--bytes", "https://q");
    assert_eq!(set("file", "\"https://q\""), Ok(expected));
    let added = "--b\r\nContent-Disposition: form-data; name=\"webhook\"\r\n\r\ntrue\r\n--b--";
    assert_eq!(set("webhook", "true"), Ok(FORM.replace("--b--", added)));
    assert!(into_form("{}", "b", &Path::parse("a").unwrap(), "1", Existing::Replace).is_err());
    assert!(into_form("--b\r\nx", "b", &Path::parse("a").unwrap(), "1", Existing::Replace).is_err());
}

#[test]
fn a_forms_boundary_is_read_from_its_type() {
    assert_eq!(boundary("multipart/form-data; boundary=bnd42"), Some("bnd42"));
    assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b\""), Some("a b"));
    for other in ["application/json", "multipart/form-data", "multipart/form-data; boundary=", ""] {
        assert_eq!(boundary(other), None, "{other}");
    }
}

/// What putting means, on values.
fn put_value(value: &mut Value, path: &[&str], new: &Value) -> bool {
    let Some((first, rest)) = path.split_first() else {
        *value = new.clone();
        return true;
    };
    let index = first.parse::<usize>().ok();
    if value.is_null() {
        *value = if index.is_some() { Value::Array(Vec::new()) } else { Value::Object(serde_json::Map::new()) };
    }
    match (value, index) {
        (Value::Object(map), _) => put_value(map.entry(*first).or_insert(Value::Null), rest, new),
        (Value::Array(items), Some(index)) => {
            while items.len() <= index {
                items.push(Value::Null);
            }
            put_value(&mut items[index], rest, new)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn putting_is_what_a_library_would_do(value in any_json(), path in any_path(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let new: Value = serde_json::from_str(URL).unwrap();
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        let segments: Vec<&str> = path.split('.').filter(|segment| !segment.is_empty()).collect();
        let possible = put_value(&mut expected, &segments, &new);
        match put(&text, &path) {
            Ok(changed) => {
                prop_assert!(possible);
                prop_assert_eq!(serde_json::from_str::<Value>(&changed).unwrap(), expected);
            }
            Err(_) => prop_assert!(!possible),
        }
    }

    #[test]
    fn what_was_put_is_found_and_the_rest_of_the_text_stays(value in any_json(), path in any_path()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        if let Ok(changed) = put(&text, &path) {
            let found = Json::parse(changed.as_bytes()).unwrap().find(&Path::parse(&path).unwrap());
            prop_assert_eq!(found.map(Json::text), Some(URL));
            let same = text.bytes().zip(changed.bytes()).take_while(|(a, b)| a == b).count();
            let tail = text.bytes().rev().zip(changed.bytes().rev()).take_while(|(a, b)| a == b).count();
            prop_assert!(same + tail > 0 || path.is_empty() || value.is_null(), "something was kept");
        }
    }
}
