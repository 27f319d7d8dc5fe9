//! Look-ups give what a JSON library gives, but never change a byte, and stand any depth.

use proptest::prelude::*;
use serde_json::Value;

use crate::providers::{Json, Kind, Path, Place, View};

fn find<'a>(text: &'a str, path: &str) -> Option<&'a str> {
    Json::parse(text.as_bytes()).unwrap().find(&Path::parse(path).unwrap()).map(Json::text)
}

#[test]
fn a_look_up_gives_the_text_as_it_was_written() {
    let text = r#" { "a" : {"b":[1.0e2 , {"c" : 196619188014358660}]}, "s":"x\u00e9\"}", "n":null, "e":{} } "#;
    for (path, found) in [
        ("a.b.0", Some("1.0e2")),
        ("a.b.1.c", Some("196619188014358660")),
        ("a.b.1", Some(r#"{"c" : 196619188014358660}"#)),
        ("s", Some(r#""x\u00e9\"}""#)),
        ("n", Some("null")),
        ("e", Some("{}")),
        ("a.b.2", None),
        ("a.b.00", None),
        ("a.b.-1", None),
        ("a.x", None),
        ("s.0", None),
        ("n.x", None),
    ] {
        assert_eq!(find(text, path), found, "{path}");
    }
    assert_eq!(find(text, ""), Some(text.trim()));
}

#[test]
fn keys_are_compared_unescaped_and_the_last_of_repeated_ones_counts() {
    assert_eq!(find(r#"{"st\u0061tus":"x"}"#, "status"), Some("\"x\""));
    assert_eq!(find(r#"{"status":"first","status":"last"}"#, "status"), Some("\"last\""));
    assert_eq!(find(r#"{"0":"name"}"#, "0"), Some("\"name\""));
}

#[test]
fn scalars_are_compared_as_text() {
    let scalar = |text: &str| Json::parse(text.as_bytes()).unwrap().scalar().map(std::borrow::Cow::into_owned);
    for (text, expected) in [
        ("true", "true"),
        ("200", "200"),
        ("1.0e2", "1.0e2"),
        ("null", "null"),
        (r#""OK""#, "OK"),
        (r#""a\n\t\"\\\/\u00e9\ud83d\ude00""#, "a\n\t\"\\/é😀"),
        (r#""lone \ud800 and \udc00\ud800x""#, "lone \u{fffd} and \u{fffd}\u{fffd}x"),
    ] {
        assert_eq!(scalar(text).as_deref(), Some(expected), "{text}");
    }
    assert_eq!((scalar("{}"), scalar("[1]")), (None, None));
}

#[test]
fn any_depth_is_stood() {
    let deep = format!("{}1{}", "[".repeat(500_000), "]".repeat(500_000));
    let json = Json::parse(deep.as_bytes()).unwrap();
    assert_eq!(json.find(&Path::parse("0.0.0").unwrap()).map(|value| value.text().len()), Some(deep.len() - 6));
    let wide = format!("{{{}\"x\":1}}", "\"a\":{\"b\":[]},".repeat(100_000));
    assert_eq!(find(&wide, "x"), Some("1"));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(find(&objects, "a.a").map(str::len), Some(objects.len() - 12));
}

#[test]
fn paths_that_make_no_sense_are_refused() {
    for bad in ["a..b", ".", "a.", ".a", "__proto__", "a.__proto__.b", "a[0]", &".".repeat(10_000), &"a".repeat(2000)] {
        assert!(Path::parse(bad).is_err(), "{bad:.20}");
    }
    for good in ["", "a", "a.0.b", "data.task_id", "with space", "ünicode"] {
        assert_eq!(Path::parse(good).unwrap().to_string(), good);
    }
    for bad in ["@http.headers", "@", "?"] {
        assert!(Place::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn places_beside_the_body_are_seen() {
    let view = View { body: None, status: Some(202), query: Some("status=error&id=a%20b+c&status=fetch_error") };
    let at = |place: &str| view.scalar(&Place::parse(place).unwrap());
    assert_eq!(at("@http.status").as_deref(), Some("202"));
    assert_eq!(at("?status").as_deref(), Some("fetch_error"));
    assert_eq!(at("?id").as_deref(), Some("a b c"));
    assert_eq!((at("?none"), at("status")), (None, None));
}

#[test]
fn a_body_is_not_shown() {
    assert_eq!(format!("{:?}", Json::parse(b"\"secret\"").unwrap()), "Json(8 bytes)");
    assert_eq!(Json::parse(b"null").unwrap().kind(), Kind::Null);
}

/// The oracle's own look-up.
fn find_value<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|_| !path.is_empty()).try_fold(value, |value, segment| match value {
        Value::Object(map) => map.get(segment),
        Value::Array(items) => {
            let plain = segment == "0" || !segment.starts_with('0');
            items.get(segment.parse::<usize>().ok().filter(|_| plain && !segment.starts_with('+'))?)
        }
        _ => None,
    })
}

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-c0-2]|.{1,3}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

pub(super) fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-c0-2]", 0..5).prop_map(|segments| segments.join("."))
}

proptest! {
    #[test]
    fn a_look_up_is_what_a_library_finds(value in any_json(), path in any_path(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let ours = find(&text, &path).map(|text| serde_json::from_str::<Value>(text).unwrap());
        let oracle: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(ours.as_ref(), find_value(&oracle, &path));
    }

    #[test]
    fn strings_are_unescaped_as_a_library_does(text in ".*") {
        let quoted = serde_json::to_string(&text).unwrap();
        let escaped = text.encode_utf16().fold(String::new(), |text, unit| format!("{text}\\u{unit:04X}"));
        for json in [quoted, format!("\"{escaped}\"")] {
            prop_assert_eq!(Json::parse(json.as_bytes()).unwrap().string().unwrap(), text.as_str());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), path in any_path()) {
        if let Some(json) = Json::parse(&bytes) {
            let _ = json.find(&Path::parse(&path).unwrap());
            prop_assert_eq!(json.members().count() > 0 || json.elements().count() > 0,
                !json.text()[1..].trim_start().starts_with([']', '}']) && matches!(json.kind(), Kind::Object | Kind::Array));
        }
    }
}
