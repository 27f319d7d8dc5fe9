//! Which request headers a user may set.

/// Why a header was refused. The texts are part of the API; a value is never shown, it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefused {
    /// Empty, too long, or not a token.
    #[error("Invalid header name: {0}")]
    Name(String),
    /// The named header's value holds a control character.
    #[error("Invalid header value: {0}")]
    Value(String),
    /// The connection's framing and our own headers are not the user's to set.
    #[error("Header name is not allowed: {0}")]
    NotAllowed(String),
}

const MAX_NAME_BYTES: usize = 128;

/// Framing, routing and hop-by-hop headers: a user who sets one could speak for the client, or cut a body short.
const DENIED: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    "forwarded",
];

/// Families of the same kind; the last is ours.
const DENIED_PREFIXES: &[&str] = &["proxy-", "x-forwarded-", "x-asyncqueue-"];

/// Judges one header as a user wrote it.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderRefused> {
    if name.starts_with(':') {
        return Err(HeaderRefused::NotAllowed(name.to_owned()));
    }
    if !is_token(name) {
        return Err(HeaderRefused::Name(name.to_owned()));
    }
    if is_denied(&name.to_ascii_lowercase()) {
        return Err(HeaderRefused::NotAllowed(name.to_owned()));
    }
    if !value.bytes().all(is_value_byte) {
        return Err(HeaderRefused::Value(name.to_owned()));
    }
    Ok(())
}

fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(token)
}

fn is_denied(lower: &str) -> bool {
    DENIED.contains(&lower) || DENIED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
}

/// Visible ASCII, space, tab, and the bytes of UTF-8, which many targets understand.
fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> String {
        check_header(name, value).map_or_else(|refused| refused.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn ordinary_headers_are_the_users_own() {
        for (name, value) in [("Authorization", "Bearer x"), ("X-Tab", "tab\tand space"), ("Accept-Encoding", "gzip")] {
            assert_eq!(refusal(name, value), "accepted", "{name}");
        }
        assert_eq!(refusal("X-Note", "h\u{e9} \u{1f600}"), "accepted");
        assert_eq!(refusal("X-Empty", ""), "accepted");
        assert_eq!(refusal(&"n".repeat(128), "v"), "accepted");
    }

    #[test]
    fn names_that_are_no_tokens_are_invalid() {
        for name in ["", "a b", "a:b", "a\r\nb", "a\0", "\u{e9}", "a\"", "(a)"] {
            assert_eq!(refusal(name, "v"), format!("Invalid header name: {name}"));
        }
        let long = "n".repeat(129);
        assert_eq!(refusal(&long, "v"), format!("Invalid header name: {long}"));
    }

    #[test]
    fn values_with_controls_are_invalid_and_never_shown() {
        for value in ["a\rb", "a\nb", "a\0", "\u{1}", "\u{1b}[0m", "\u{7f}"] {
            assert_eq!(refusal("X-Key", value), "Invalid header value: X-Key");
        }
    }

    #[test]
    fn framing_and_our_own_headers_are_not_allowed() {
        let families =
            ["Proxy-Authorization", "proxy-connection", "X-Forwarded-For", "X-AsyncQueue-Task-Id", ":path", ":"];
        for name in DENIED.iter().copied().chain(families).chain(["HOST", "Content-Length", "TE"]) {
            assert_eq!(refusal(name, "v"), format!("Header name is not allowed: {name}"));
        }
    }
}
