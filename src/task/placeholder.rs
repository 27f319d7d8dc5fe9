//! The placeholder for the callback URL: where a request may mention it, and what it is replaced by.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem;

use super::{Payload, Request};

/// What a request says where the callback URL belongs.
pub const CALLBACK_URL: &str = "{asyncqueue_callback_url}";

static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(CALLBACK_URL));

/// Whether any part of the request mentions the placeholder.
pub fn mentioned(request: &Request) -> bool {
    let mentions = |text: &str| FINDER.find(text.as_bytes()).is_some();
    mentions(&request.target_url)
        || request.headers.iter().any(|(_, value)| mentions(value))
        || request.body.as_deref().is_some_and(mentions)
}

/// Whether a URL mentions the placeholder in its scheme or host, where no callback URL can stand, or in its fragment,
/// which is never sent.
pub fn out_of_place(url: &str) -> bool {
    let in_authority = url.find(CALLBACK_URL).is_some_and(|at| at < path_start(url));
    in_authority || url.split_once('#').is_some_and(|(_, fragment)| fragment.contains(CALLBACK_URL))
}

/// The URL with the callback URL put in: as it is in the path, percent-encoded in the query.
pub fn fill_url(url: &str, callback_url: &str) -> String {
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let filled = fill(path, callback_url);
    match FINDER.find(query.as_bytes()) {
        Some(_) => filled + &fill(query, &percent_encode(callback_url)),
        None => filled + query,
    }
}

/// Text with the callback URL put in as it is.
pub fn fill(text: &str, callback_url: &str) -> String {
    let mut filled = String::with_capacity(text.len() + callback_url.len());
    let mut rest = 0;
    for at in FINDER.find_iter(text.as_bytes()) {
        filled.push_str(&text[rest..at]);
        filled.push_str(callback_url);
        rest = at + CALLBACK_URL.len();
    }
    filled.push_str(&text[rest..]);
    filled
}

/// Where the path begins: behind the authority, or at the end if there is no path.
fn path_start(url: &str) -> usize {
    let authority = url.find("://").map_or(0, |at| at + 3);
    url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at)
}

/// Percent-encodes all but unreserved characters (RFC 3986, 2.3).
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// A payload that echoes the callback URL, with the placeholder in its place: the database alone gives no callback id
/// away.
pub fn hide(mut payload: Payload, url: &str) -> Payload {
    let Some((_, id)) = url.rsplit_once('/') else {
        return payload;
    };
    if memmem::find(&payload.body, id.as_bytes()).is_some() {
        let plain = replace(&payload.body, url.as_bytes(), CALLBACK_URL.as_bytes());
        // Escaped slashes, percent-encoding or the bare id: whatever spelling is left loses the id.
        payload.body = Bytes::from(replace(&plain, id.as_bytes(), b"{asyncqueue_callback_id}"));
    }
    for (_, value) in &mut payload.headers {
        if value.contains(id) {
            *value = value.replace(url, CALLBACK_URL).replace(id, "{asyncqueue_callback_id}");
        }
    }
    payload
}

/// Bytes with every `from` replaced.
pub fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = 0;
    for at in memmem::find_iter(text, from) {
        replaced.extend_from_slice(&text[rest..at]);
        replaced.extend_from_slice(to);
        rest = at + from.len();
    }
    replaced.extend_from_slice(&text[rest..]);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://q.example/v1/callbacks/ab";

    #[test]
    fn it_is_encoded_in_the_query_and_plain_in_the_path() {
        let filled = fill_url("https://x.example/{asyncqueue_callback_url}?a=1&hook={asyncqueue_callback_url}", URL);
        let expected = "https://x.example/https://q.example/v1/callbacks/ab\
                        ?a=1&hook=https%3A%2F%2Fq.example%2Fv1%2Fcallbacks%2Fab";
        assert_eq!(filled, expected);
    }

    #[test]
    fn it_is_filled_in_wherever_it_stands_and_nothing_else_changes() {
        assert_eq!(fill("é{asyncqueue_callback_url}日{asyncqueue_callback_url}", "u"), "éu日u");
        assert_eq!(fill("{{asyncqueue_callback_url}}{asyncqueue_callback_ur", "u"), "{u}{asyncqueue_callback_ur");
        assert_eq!(fill("", "u"), "");
    }

    #[test]
    fn scheme_host_and_fragment_are_told_from_path_and_query() {
        for bad in [
            "{asyncqueue_callback_url}",
            "http://{asyncqueue_callback_url}/",
            "http://a.{asyncqueue_callback_url}?x",
            "http://a.example/#{asyncqueue_callback_url}",
        ] {
            assert!(out_of_place(bad), "{bad}");
        }
        for good in ["http://a.example/{asyncqueue_callback_url}", "http://a.example?h={asyncqueue_callback_url}"] {
            assert!(!out_of_place(good), "{good}");
        }
    }

    #[test]
    fn an_echoed_callback_url_is_kept_as_the_placeholder() {
        let id = "ab".repeat(32);
        let url = format!("http://q.example/v1/callbacks/{id}");
        let escaped = url.replace('/', "\\/");
        let body = format!("{{\"a\":\"{url}\",\"b\":\"{escaped}\",\"c\":\"{id}\"}}");
        let hidden = hide(Payload::told(Bytes::from(body)), &url);
        let text = String::from_utf8(hidden.body.to_vec()).unwrap();
        assert!(!text.contains(&id), "{text}");
        assert!(text.starts_with("{\"a\":\"{asyncqueue_callback_url}\""), "{text}");
    }

    #[test]
    fn binary_answers_without_the_id_are_left_alone() {
        let body = Bytes::from_static(&[0, 255, 10]);
        let url = format!("http://q.example/v1/callbacks/{}", "ab".repeat(32));
        assert_eq!(hide(Payload::told(body.clone()), &url).body, body);
    }
}
