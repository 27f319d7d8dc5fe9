//! Judges a request's head before any handler sees it. What the parser lets through but two parties could read in two ways
//! is refused.

use http::{
    HeaderMap, Request, Version,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};

use super::{answer::Refusal, framing::BodyFraming};

/// How the parser will read the body of a request with these headers.
pub(super) fn body_framing(headers: &HeaderMap) -> BodyFraming {
    if headers.contains_key(TRANSFER_ENCODING) {
        return BodyFraming::Chunked;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    BodyFraming::Sized(length.unwrap_or(0))
}

/// Refuses what no handler should have to think about.
pub(super) fn judge<B>(request: &Request<B>, uri_bytes: usize) -> Result<(), Refusal> {
    let headers = request.headers();
    if !is_chunked_or_absent(headers) {
        return Err(Refusal::MALFORMED);
    }
    if !has_one_host(headers, request.version()) || has_userinfo(request.uri()) {
        return Err(Refusal::HOST);
    }
    if uri_len(request.uri()) > uri_bytes {
        return Err(Refusal::URI_TOO_LONG);
    }
    Ok(())
}

fn is_chunked_or_absent(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

fn has_one_host(headers: &HeaderMap, version: Version) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version == Version::HTTP_10,
        (Some(host), None) => host.as_bytes().iter().all(|byte| is_host_byte(*byte)),
        _ => false,
    }
}

/// RFC 3986's characters of a host and a port. `@` is not among them, so a name cannot hide behind userinfo.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte)
}

fn has_userinfo(uri: &http::Uri) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
}

fn uri_len(uri: &http::Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    authority + path
}
