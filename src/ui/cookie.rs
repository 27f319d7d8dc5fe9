//! The session's cookie: out of scripts' reach, not sent along with other sites' forms, and bound to this very host where
//! the connection is encrypted.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::credentials::Bearer;

/// Its name. A browser takes one with this prefix only over https, for one host and all paths; no other host can set it.
pub fn name(secure: bool) -> &'static str {
    if secure { "__Host-asyncqueue" } else { "asyncqueue" }
}

/// What the browser holds, if it has the form of it. Two that differ are none: one of them was put there by somebody else.
pub fn read(headers: &HeaderMap, secure: bool) -> Option<Bearer> {
    let mut found = pairs(headers).filter(|(known, _)| *known == name(secure)).map(|(_, value)| value);
    let first = found.next()?;
    found.all(|other| other == first).then(|| Bearer::parse(first)).flatten()
}

/// Gives it to the browser.
pub fn give(bearer: &Bearer, lifetime: Duration, secure: bool) -> HeaderValue {
    line(bearer.expose(), lifetime.as_secs(), secure)
}

/// The name of the cookie that holds an attempt to sign in elsewhere.
fn attempt_name(secure: bool) -> &'static str {
    if secure { "__Host-asyncqueue-oidc" } else { "asyncqueue-oidc" }
}

/// Gives the browser what ties its way to a provider to its way back; a few minutes are enough for that.
pub fn give_attempt(value: &str, secure: bool) -> HeaderValue {
    cookie(attempt_name(secure), value, 600, secure)
}

/// Takes it from the browser.
pub fn take_attempt(secure: bool) -> HeaderValue {
    cookie(attempt_name(secure), "", 0, secure)
}

/// What the browser holds of it.
pub fn read_attempt(headers: &HeaderMap, secure: bool) -> Option<String> {
    pairs(headers).find(|(known, _)| *known == attempt_name(secure)).map(|(_, value)| value.to_owned())
}

/// Takes it from the browser.
pub fn take(secure: bool) -> HeaderValue {
    line("", 0, secure)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn line(value: &str, seconds: u64, secure: bool) -> HeaderValue {
    cookie(name(secure), value, seconds, secure)
}

fn cookie(name: &str, value: &str, seconds: u64, secure: bool) -> HeaderValue {
    let only_https = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{only_https}");
    let mut line = HeaderValue::try_from(text).expect("a cookie of ours is plain text");
    line.set_sensitive(true);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_over_https_is_bound_to_the_host() {
        let bearer = Bearer::generate();
        let text = give(&bearer, Duration::from_secs(60), true);
        let value = bearer.expose();
        assert_eq!(text, format!("__Host-asyncqueue={value}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"));
        assert_eq!(take(false), "asyncqueue=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn one_is_read_and_two_that_differ_are_not() {
        let (one, two) = (Bearer::generate(), Bearer::generate());
        let (one, two) = (one.expose(), two.expose());
        let read = |lines: &[&str], secure| read(&headers(lines), secure).map(|bearer| bearer.expose().to_owned());
        let own = format!("theme=dark; __Host-asyncqueue={one}; x=y");
        assert_eq!(read(&[&own], true).as_deref(), Some(one));
        assert_eq!(read(&[&own], false), None, "the other name");
        assert_eq!(read(&[&own, &format!("__Host-asyncqueue={two}")], true), None);
        assert_eq!(read(&["asyncqueue=short", "x"], false), None);
    }
}
