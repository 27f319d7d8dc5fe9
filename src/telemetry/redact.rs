//! Takes the credentials out of request paths before anything is logged.

use std::borrow::Cow;

/// What stands where something was taken out.
const GONE: char = '…';
/// The path segments after which a credential follows.
const GUARDED: [&str; 4] = ["callbacks", "signals", "setup", "invite"];
/// How our keys and secrets begin.
const PREFIXES: [&str; 3] = ["async_", "tok_", "whsec_"];
/// No segment of ours that may be shown has as many hex digits in a row; callback ids and signal tokens have 64.
const HEX_RUN: usize = 40;
/// Longer paths are cut: nothing of ours is as long, and a log line should stay one.
const LONGEST: usize = 200;
/// How much of a percent-encoded path is looked at, so that nested escapes cost nobody any time.
const READ: usize = 1024;

/// The path as it may be logged: without query and fragment, with `…` for whatever follows `callbacks/`,
/// `signals/`, `setup/` or `invite/` and for anything that looks like a credential elsewhere. Percent-encoding hides nothing from this.
pub fn path(raw: &str) -> Cow<'_, str> {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    if path.contains('%') { Cow::Owned(redact(&decoded(head(path, READ))).into_owned()) } else { redact(path) }
}

/// Redacts a path in which nothing is encoded.
fn redact(path: &str) -> Cow<'_, str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let plain = path.len() <= LONGEST && !path.contains(char::is_control);
    let mut segments = path.split(['/', '\\']);
    let mut after_guard = false;
    let clean = segments.all(|segment| {
        let clean = segment.is_empty() || !(after_guard || is_credential(segment));
        after_guard |= is_guarded(segment);
        clean
    });
    if plain && clean { Cow::Borrowed(path) } else { Cow::Owned(rewritten(path)) }
}

fn rewritten(path: &str) -> String {
    let mut shown = String::new();
    for (place, segment) in path.split(['/', '\\']).enumerate() {
        if place > 0 {
            shown.push('/');
        }
        if is_credential(segment) {
            shown.push(GONE);
        } else {
            shown.extend(segment.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }));
        }
        if is_guarded(segment) {
            shown.push('/');
            shown.push(GONE);
            return shown;
        }
        if shown.len() > LONGEST {
            return cut(&shown);
        }
    }
    shown
}

fn cut(shown: &str) -> String {
    let mut shown = head(shown, LONGEST).to_owned();
    shown.push(GONE);
    shown
}

/// The first `most` bytes, or a few less where that would split a character.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn is_guarded(segment: &str) -> bool {
    GUARDED.iter().any(|name| segment.trim().eq_ignore_ascii_case(name))
}

fn is_credential(segment: &str) -> bool {
    let longest_run = segment.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    longest_run >= Some(HEX_RUN) || PREFIXES.iter().any(|prefix| segment.contains(prefix))
}

/// Decoded until nothing changes: whoever encoded it twice may have meant to.
fn decoded(path: &str) -> String {
    let mut text = path.to_owned();
    // Each round shortens the text, so this ends.
    while let Some(shorter) = decoded_once(&text) {
        text = shorter;
    }
    text
}

fn decoded_once(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if let Some(byte) = escape(&bytes[at..]) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    (out.len() < bytes.len()).then(|| match String::from_utf8(out) {
        Ok(text) => text,
        // ASCII's own substitute: U+FFFD would be longer than the byte it stands for. It is shown as U+FFFD all the same.
        Err(error) => {
            error.into_bytes().into_iter().map(|byte| if byte.is_ascii() { byte as char } else { '\u{1a}' }).collect()
        }
    })
}

/// The byte that a `%XX` at the start stands for.
fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: &u8| (*byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn ordinary_paths_are_borrowed() {
        let task = "/v1/tasks/0198c0de-1234-7abc-8def-0123456789ab/cancel";
        for plain in ["", "/", "*", "/healthz", "/v1/tasks", task, "/v1/callbacks", "/v1/callbacks/"] {
            assert!(matches!(path(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }

    #[test]
    fn queries_and_fragments_go() {
        assert_eq!(path("/v1/tasks?limit=5"), "/v1/tasks");
        assert_eq!(path("/v1/tasks#x"), "/v1/tasks");
        assert_eq!(path("/v1/tasks%3Fkey=async_x"), "/v1/tasks");
    }

    #[test]
    fn whatever_follows_a_guarded_segment_goes() {
        for (raw, shown) in [
            (format!("/v1/callbacks/{ID}"), "/v1/callbacks/…"),
            (format!("/v1/signals/{ID}"), "/v1/signals/…"),
            ("/v1/callbacks/x".to_owned(), "/v1/callbacks/…"),
            (format!("/v1/callbacks/{ID}/extra/{ID}"), "/v1/callbacks/…"),
            (format!("/v1/callbacks/{ID}?a=b"), "/v1/callbacks/…"),
            (format!("/v1/CallBacks/{ID}"), "/v1/CallBacks/…"),
            (format!("//v1//callbacks//{ID}"), "//v1//callbacks/…"),
            (format!("/base/v1/callbacks/{ID}"), "/base/v1/callbacks/…"),
            (format!("http://h/v1/signals/{ID}"), "http://h/v1/signals/…"),
            (format!("/v1\\callbacks\\{ID}"), "/v1/callbacks/…"),
            ("/v1/callbacks/".to_owned() + &"a".repeat(70_000), "/v1/callbacks/…"),
        ] {
            assert_eq!(path(&raw), shown, "{raw}");
        }
    }

    #[test]
    fn encoding_hides_nothing() {
        for raw in [
            "/v1/%63allbacks/%30secret",
            "/v1/callbacks%2Fsecret",
            "/v1/%2563allbacks%252fsecret",
            "/v1/callbacks/%FFsecret",
        ] {
            assert_eq!(path(raw), "/v1/callbacks/…", "{raw}");
        }
    }

    #[test]
    fn credentials_in_the_wrong_place_go_too() {
        for raw in [
            format!("/v1/callback/{ID}"),
            format!("/v1/callback/{}", ID.to_uppercase()),
            "/v1/callback/async_x".to_owned(),
        ] {
            assert_eq!(path(&raw), "/v1/callback/…", "{raw}");
        }
    }

    #[test]
    fn a_path_cannot_break_the_line_or_flood_it() {
        assert_eq!(path("/a%0Ab"), "/a\u{fffd}b");
        assert!(path(&"/ab".repeat(10_000)).len() <= LONGEST + GONE.len_utf8());
    }

    proptest! {
        #[test]
        fn no_id_survives(before in "[ -~]{0,20}", after in "[ -~]{0,20}", escaped in prop::collection::vec(any::<bool>(), 64)) {
            let id: String = ID.chars().zip(escaped).map(|(c, escape)| {
                if escape { format!("%{:02X}", c as u32) } else { c.to_string() }
            }).collect();
            for raw in [format!("{before}{id}{after}"), format!("{before}/v1/callbacks/{id}{after}")] {
                let shown = path(&raw).into_owned();
                let run = shown.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
                prop_assert!(run < Some(HEX_RUN), "{raw} -> {shown}");
            }
        }

        #[test]
        fn any_text_is_taken(raw in "\\PC*") {
            let _ = path(&raw);
        }
    }
}
