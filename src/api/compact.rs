//! JSON made compact without being changed: only the white space between tokens goes.

use bytes::Bytes;
use serde_json::value::RawValue;

/// The compact form of a JSON text; none if it is not one valid JSON value.
///
/// Key order, repeated keys and the spelling of numbers and escapes stay as they are. Any depth is taken.
pub fn compact(text: &Bytes) -> Option<Bytes> {
    let valid: &RawValue = serde_json::from_slice(text).ok()?;
    Some(strip(text, valid.get().as_bytes()))
}

/// Removes white space outside of strings from valid JSON; shares the bytes if there is none.
fn strip(whole: &Bytes, value: &[u8]) -> Bytes {
    let mut kept = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while at < value.len() {
        match value[at] {
            b'"' => at = string_end(value, at),
            b' ' | b'\n' | b'\r' | b'\t' => {
                if kept.capacity() == 0 {
                    kept.reserve(value.len());
                }
                kept.extend_from_slice(&value[copied..at]);
                at += 1;
                copied = at;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return whole.slice_ref(value);
    }
    kept.extend_from_slice(&value[copied..]);
    Bytes::from(kept)
}

/// Just behind the string that begins at `start`.
fn string_end(value: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &value[at..]) {
        at += found;
        if value[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compacted(text: &str) -> Option<String> {
        let bytes = compact(&Bytes::copy_from_slice(text.as_bytes()))?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn nothing_but_white_space_changes() {
        let same = [
            "196619188014358660",
            "1.0e2",
            "-0",
            r#""lone \ud800""#,
            r#""a  b\" c\\""#,
            r#"{"b":1,"a":2,"b":3}"#,
            "123456789012345678901234567890",
            "1e400",
        ];
        for text in same {
            assert_eq!(compacted(text).as_deref(), Some(text));
        }
        assert_eq!(compacted(" { \"a\" :\t[ 1 ,\r\n 2 ] } \n").as_deref(), Some(r#"{"a":[1,2]}"#));
        assert_eq!(compacted("\n \"a b\" ").as_deref(), Some(r#""a b""#));
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for text in ["", " ", "{", "1 2", "{}x", "NaN", "'a'", "[1,]", "// a\n1", "\u{feff}1", "tru", "\"\t\""] {
            assert_eq!(compacted(text), None, "{text:?}");
        }
        assert!(compact(&Bytes::from_static(b"\"\xff\"")).is_none(), "invalid UTF-8");
        assert!(compact(&Bytes::from_static(b"\"\xed\xa0\x80\"")).is_none(), "a raw surrogate");
    }

    #[test]
    fn any_depth_is_taken() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(compacted(&deep).map(|text| text.len()), Some(deep.len()));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_and_compact_come_to_the_same(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compacted(&pretty), Some(serde_json::to_string(&value).unwrap()));
        }
    }
}
