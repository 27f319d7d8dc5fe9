//! Leaves secrets out of a payload that is shown: providers repeat webhook secrets, keys and the callback URL.

use std::borrow::Cow;

use super::json::Json;
use super::path::Path;

const REDACTED: &str = "\"[redacted]\"";

/// The JSON text with the values at these paths replaced; every other byte stays. Text that is not JSON stays whole.
pub fn redact<'a>(text: &'a [u8], paths: &[Path]) -> Cow<'a, [u8]> {
    let mut shown = Cow::Borrowed(text);
    for path in paths {
        let Some(spots) = spots(&shown, path) else { return shown };
        if !spots.is_empty() {
            shown = Cow::Owned(replaced(&shown, &spots));
        }
    }
    shown
}

fn replaced(text: &[u8], spots: &[(usize, usize)]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(text.len());
    let mut copied = 0;
    for (from, to) in spots {
        changed.extend_from_slice(&text[copied..*from]);
        changed.extend_from_slice(REDACTED.as_bytes());
        copied = *to;
    }
    changed.extend_from_slice(&text[copied..]);
    changed
}

/// Where the values at a path are, those of repeated keys included, in the order of the text.
fn spots(text: &[u8], path: &Path) -> Option<Vec<(usize, usize)>> {
    let whole = Json::parse(text)?;
    let start = whole.text().as_ptr() as usize - text.as_ptr() as usize;
    let all = path
        .segments()
        .iter()
        .fold(vec![whole], |values, segment| values.into_iter().flat_map(|value| value.children(segment)).collect());
    let spot = |value: Json<'_>| {
        let from = start + value.offset_in(whole);
        (from, from + value.text().len())
    };
    Some(all.into_iter().filter(|value| !value.is_null()).map(spot).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str, paths: &[&str]) -> String {
        let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
        String::from_utf8(redact(text.as_bytes(), &paths).into_owned()).unwrap()
    }

    #[test]
    fn values_go_and_every_other_byte_stays() {
        let text = r#" {"a": 1.0e2, "key" : {"secret": "s"}, "key":{"secret":[1,2]}, "n": null} "#;
        let shown = r#" {"a": 1.0e2, "key" : {"secret": "[redacted]"}, "key":{"secret":"[redacted]"}, "n": null} "#;
        assert_eq!(redacted(text, &["key.secret", "n", "absent"]), shown);
        assert_eq!(redacted("not json", &["key"]), "not json");
    }
}
