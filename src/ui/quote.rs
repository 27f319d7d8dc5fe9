//! What a target or a provider said in its own words, found in the body that it answered.

use std::borrow::Cow;

use crate::providers::Json;

/// Where APIs write it, the most telling places first.
const PLACES: [&str; 14] = [
    "error.message",
    "error.detail",
    "error.msg",
    "error",
    "payload.detail.0.msg",
    "payload.detail",
    "detail.0.msg",
    "detail.message",
    "detail",
    "errors.0.message",
    "errors.0",
    "message",
    "reason",
    "title",
];

/// Larger bodies are not searched.
const BODY_MAX: usize = 256 * 1024;

/// The most of it that is quoted, in characters.
const QUOTE_MAX: usize = 300;

/// What the body says in words; none if it does not say it where such things are said.
pub fn own_words(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_MAX)?;
    let said = match Json::parse(body) {
        Some(json) => PLACES.iter().find_map(|place| at(json, place)).or_else(|| json.string())?,
        // A page is made for browsers, and says little.
        None if text.trim_start().starts_with('<') => return None,
        None => Cow::Borrowed(text),
    };
    let words: Vec<&str> =
        said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    let mut quote: String = line.chars().take(QUOTE_MAX).collect();
    if quote.len() < line.len() {
        quote.push('…');
    }
    (!quote.is_empty()).then_some(quote)
}

fn at<'a>(json: Json<'a>, place: &str) -> Option<Cow<'a, str>> {
    let found = place.split('.').try_fold(json, Json::child)?;
    found.string().filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_found_where_apis_write_them() {
        for (body, words) in [
            (r#"{"error":{"message":"Invalid size","code":400}}"#, "Invalid size"),
            (r#"{"error":"no credit"}"#, "no credit"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, "field required"),
            (r#"{"status":"ERROR","payload":{"detail":[{"msg":"bad image"}]}}"#, "bad image"),
            (r#"{"errors":["first","second"]}"#, "first"),
            (r#"{"error":null,"message":" over\n the   limit "}"#, "over the limit"),
            (r#""just words""#, "just words"),
            ("upstream connect error\n", "upstream connect error"),
        ] {
            assert_eq!(own_words(body.as_bytes()).as_deref(), Some(words), "{body}");
        }
    }

    #[test]
    fn what_says_nothing_in_words_is_not_quoted() {
        for body in
            ["", "  ", "{}", "[1,2]", "<html><h1>502</h1></html>", r#"{"error":true,"id":"x"}"#, r#"{"error":" "}"#]
        {
            assert_eq!(own_words(body.as_bytes()), None, "{body}");
        }
        assert_eq!(own_words(&[0xff]), None);
        let long = own_words("x".repeat(5000).as_bytes()).unwrap();
        assert_eq!(long.chars().count(), QUOTE_MAX + 1);
    }
}
