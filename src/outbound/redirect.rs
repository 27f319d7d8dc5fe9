//! Redirects: each hop is judged like a first call, and nothing of the user's leaves the first origin.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

use super::Request;
use super::error::CallError;
use super::signing::Signer;
use crate::guard::{Guard, Target, check_header};

/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: usize = 5;

/// One request of a call: the first, or one that a redirect led to.
pub(super) struct Hop {
    method: Method,
    pub(super) target: Target,
    /// The user's headers and ours; empty once another origin has been entered, and never filled again.
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
    signer: Option<Signer>,
    redirects: Redirects,
}

/// Which redirects a call follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirects {
    /// None: what is told to one URL is not told to another.
    None,
    /// All but a 307 or 308 to another origin, which asks for the request as it was.
    Usual,
    /// Those too, where the request is a GET: it asks and tells nothing, so without its headers nothing is lost.
    Fetching,
}

/// Where an answer leads, if it is a redirect that can be followed. Without a `Location` it is just an answer.
pub(super) fn location<B>(response: &Response<B>) -> Result<Option<String>, CallError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut all = response.headers().get_all(header::LOCATION).iter();
    let Some(first) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(forbidden("two Location headers"));
    }
    let text = std::str::from_utf8(first.as_bytes()).map_err(|_| forbidden("Location is not text"))?;
    Ok(Some(text.to_owned()))
}

fn forbidden(why: &str) -> CallError {
    CallError::ForbiddenRedirect(why.to_owned())
}

impl Hop {
    pub(super) fn first(request: Request, redirects: Redirects) -> Self {
        let Request { method, target, headers, body, own, signer, .. } = request;
        let body = body.filter(|_| carries_body(&method));
        // The creation has refused these already. One that got here all the same must not frame our request.
        let mut all = Vec::with_capacity(headers.len() + own.len());
        all.extend(headers.into_iter().filter(|(name, _)| check_header(name.as_str(), "").is_ok()));
        all.extend(own);
        Self { headers: all, method, target, body, signer, redirects }
    }

    /// The request that answers a redirect to `location`.
    pub(super) fn follow(self, guard: &Guard, status: StatusCode, location: &str) -> Result<Self, CallError> {
        let target = guard.check_redirect(&self.target, location).map_err(CallError::Refused)?;
        let same_origin = target.origin() == self.target.origin();
        let hop = Self { target, ..self }.with_method_after(status);
        if same_origin { Ok(hop) } else { hop.into_foreign(status) }
    }

    /// 303 asks for a GET. 301 and 302 do so for a POST only, as every browser understands them.
    fn with_method_after(mut self, status: StatusCode) -> Self {
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            // Labels of a body that is no longer there.
            self.headers.retain(|(name, _)| !name.as_str().starts_with("content-"));
        }
        self
    }

    /// Another origin gets a bare request. One that has to keep its body cannot be made bare: an emptied PUT would be
    /// another request than the one that was asked for.
    fn into_foreign(self, status: StatusCode) -> Result<Self, CallError> {
        let code = status.as_u16();
        let asks = self.redirects == Redirects::Fetching && self.method == Method::GET;
        let as_it_was = matches!(code, 307 | 308) && !asks;
        if as_it_was || self.body.as_ref().is_some_and(|body| !body.is_empty()) {
            return Err(forbidden(&format!("HTTP {code} to another origin")));
        }
        Ok(Self { headers: Vec::new(), body: None, signer: None, ..self })
    }

    /// The request as it goes over the wire.
    pub(super) fn to_message(&self, user_agent: &HeaderValue) -> http::Request<Full<Bytes>> {
        let body = self.body.clone().unwrap_or_default();
        let mut message = http::Request::new(Full::new(body.clone()));
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = self.origin_form();
        *message.headers_mut() = self.to_headers(user_agent, &body);
        message
    }

    fn origin_form(&self) -> http::Uri {
        self.target.uri().path_and_query().cloned().map_or_else(http::Uri::default, Into::into)
    }

    fn to_headers(&self, user_agent: &HeaderValue, body: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 8);
        headers.insert(header::HOST, self.host());
        for (name, value) in self.headers.iter().cloned() {
            headers.insert(name, value);
        }
        headers.entry(header::USER_AGENT).or_insert_with(|| user_agent.clone());
        if self.body.is_some() || carries_body(&self.method) {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        if looks_like_json(body) {
            let json = HeaderValue::from_static("application/json");
            headers.entry(header::CONTENT_TYPE).or_insert(json);
        }
        // Last, and replacing: a user's own `webhook-id` must not stand beside the signed one.
        for (name, value) in self.signer.iter().flat_map(|signer| signer.headers(body)) {
            headers.insert(name, value);
        }
        headers
    }

    /// The host as users of virtual hosting expect it: the port only where the URL names it.
    fn host(&self) -> HeaderValue {
        let authority = self.target.uri().authority().map_or("", |authority| authority.as_str());
        HeaderValue::from_str(authority).expect("a canonical authority is plain ASCII")
    }
}

fn carries_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

fn looks_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}
