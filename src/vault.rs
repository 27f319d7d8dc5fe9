//! The vault: secrets that tasks name by reference, so that a provider's key is neither in a task nor in a log.
//!
//! A value is sealed at rest, opened only for a call, and forgotten after it. What a target echoes of it is masked.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use zeroize::Zeroizing;

use crate::credentials::Keyring;
use crate::guard::{Guard, Target};
use crate::store::{Store, StoreError, Token};
use crate::task::{Payload, TeamId, placeholder};

/// What a reference begins with.
pub const PREFIX: &str = "tok_";

/// Shorter values are not masked: they would be found in too much that is not them.
const MASKED_FROM: usize = 12;

/// What stands in place of a masked value.
const MASK: &str = "***";

/// Why a value is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// There is none such of this team, or it was revoked.
    #[error("Token not found: {0}")]
    NotFound(String),
    /// It only verifies signatures.
    #[error("{0} is for verifying only and is never sent")]
    VerifyOnly(String),
    /// It may not be sent to that host.
    #[error("{id} must not be sent to {host}")]
    OtherHost {
        /// The reference.
        id: String,
        /// The host.
        host: String,
    },
    /// It may be sent over TLS only.
    #[error("{0} must be sent over https only")]
    NotEncrypted(String),
    /// It cannot be opened with this service's secret.
    #[error("{0} cannot be opened")]
    Sealed(String),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens references.
pub struct Vault {
    /// Holds the sealed values.
    pub store: Arc<dyn Store>,
    /// Opens them.
    pub keyring: Keyring,
    /// Knows which targets the operator has opened.
    pub guard: Arc<Guard>,
}

/// Headers with their values opened, and what must not be seen of them.
#[derive(Default)]
pub struct Filled {
    /// Names and values, in order.
    pub headers: Vec<(String, Zeroizing<String>)>,
    /// Takes the opened values out of what comes back.
    pub mask: Mask,
}

impl Vault {
    /// Opens every reference among `headers` for one call to `target`.
    pub async fn fill(&self, team: TeamId, headers: &[(String, String)], target: &Target) -> Result<Filled, Denied> {
        let mut filled = Filled { headers: Vec::with_capacity(headers.len()), ..Filled::default() };
        for (name, value) in headers {
            let value = if value.starts_with(PREFIX) {
                let opened = self.open(&self.for_sending(team, value, target).await?)?;
                filled.mask.add(&opened);
                opened
            } else {
                Zeroizing::new(value.clone())
            };
            filled.headers.push((name.clone(), value));
        }
        Ok(filled)
    }

    /// Opens the secret that a provider is told to sign with, for one call to `target`. One that only verifies is never
    /// sent: whoever made it has told the provider.
    pub async fn tell(
        &self,
        team: TeamId,
        id: &str,
        target: &Target,
        mask: &mut Mask,
    ) -> Result<Option<Zeroizing<String>>, Denied> {
        let opened = match self.for_sending(team, id, target).await {
            Ok(token) => self.open(&token)?,
            Err(Denied::VerifyOnly(_)) => return Ok(None),
            Err(denied) => return Err(denied),
        };
        mask.add(&opened);
        Ok(Some(opened))
    }

    /// Opens a reference to check a signature with.
    pub async fn verifier(&self, team: TeamId, id: &str) -> Result<Zeroizing<String>, Denied> {
        self.open(&self.live(team, id).await?)
    }

    /// The token behind a reference, if the team may use it now.
    pub async fn live(&self, team: TeamId, id: &str) -> Result<Token, Denied> {
        match self.store.token(team, id.to_owned()).await {
            Ok(token) if token.revoked_at.is_none() => Ok(token),
            Ok(_) | Err(StoreError::NotFound) => Err(Denied::NotFound(shown(id))),
            Err(error) => Err(error.into()),
        }
    }

    /// The token behind a reference, if it may be sent to `target`.
    pub async fn for_sending(&self, team: TeamId, id: &str, target: &Target) -> Result<Token, Denied> {
        let token = self.live(team, id).await?;
        if token.verify_only {
            return Err(Denied::VerifyOnly(token.id));
        }
        if token.allowed_hosts.is_empty() {
            return Ok(token);
        }
        if !token.allowed_hosts.iter().any(|pattern| matches_host(pattern, target.host())) {
            return Err(Denied::OtherHost { id: token.id, host: target.host().to_owned() });
        }
        if target.url().scheme() != "https" && !self.guard.opens(target) {
            return Err(Denied::NotEncrypted(token.id));
        }
        Ok(token)
    }

    fn open(&self, token: &Token) -> Result<Zeroizing<String>, Denied> {
        let opened = self.keyring.open_token(token.team, &token.id, &token.sealed);
        opened.ok_or_else(|| Denied::Sealed(token.id.clone()))
    }
}

/// Enough of what was given for a reference to find it again.
fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}

/// Whether `host` is `pattern`, or below it where the pattern is `*.suffix`.
pub fn matches_host(pattern: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match pattern.strip_prefix("*.") {
        Some(suffix) => host.len().checked_sub(suffix.len() + 1).is_some_and(|at| {
            at > 0
                && host.is_char_boundary(at)
                && host[at..].strip_prefix('.').is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }),
        None => host.eq_ignore_ascii_case(pattern),
    }
}

/// A value as it is, and as URLs and JSON writers spell it: the plain ones, PHP's, and those that are careful of HTML, such
/// as Go's and .NET's.
fn spellings(text: &str) -> [Zeroizing<String>; 6] {
    let spelled = |by: &dyn Fn(char) -> String| Zeroizing::new(text.chars().map(by).collect());
    let json = |c: char| if matches!(c, '"' | '\\') { format!("\\{c}") } else { c.to_string() };
    [
        Zeroizing::new(text.to_owned()),
        spelled(&json),
        spelled(&|c| if c == '/' { "\\/".to_owned() } else { json(c) }),
        spelled(&|c| if "<>&".contains(c) { format!("\\u{:04x}", u32::from(c)) } else { json(c) }),
        spelled(&|c| if "<>&'\"+`".contains(c) { format!("\\u{:04X}", u32::from(c)) } else { json(c) }),
        Zeroizing::new(placeholder::percent_encode(text)),
    ]
}

/// Values that must not be seen in what a target says.
#[derive(Default)]
pub struct Mask(Vec<Zeroizing<String>>);

impl Mask {
    fn add(&mut self, value: &Zeroizing<String>) {
        // `Bearer x` may come back as `x`.
        let bare = value.split_once(' ').map(|(_, bare)| bare.trim());
        for text in [Some(value.as_str()), bare].into_iter().flatten() {
            if text.len() < MASKED_FROM {
                continue;
            }
            for spelling in spellings(text) {
                if !self.0.contains(&spelling) {
                    self.0.push(spelling);
                }
            }
        }
    }

    /// These values too.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The text without the values.
    pub fn text(&self, text: String) -> String {
        self.0.iter().fold(
            text,
            |text, value| if text.contains(value.as_str()) { text.replace(value.as_str(), MASK) } else { text },
        )
    }

    /// The answer without the values.
    pub fn payload(&self, mut payload: Payload) -> Payload {
        for value in &self.0 {
            if memmem::find(&payload.body, value.as_bytes()).is_some() {
                let number = value.bytes().all(is_of_number) && is_json(&payload.body);
                let masked = if number { without_number } else { without };
                payload.body = Bytes::from(masked(&payload.body, value.as_bytes()));
            }
        }
        for (_, value) in &mut payload.headers {
            *value = self.text(std::mem::take(value));
        }
        payload
    }
}

fn without(text: &[u8], value: &[u8]) -> Vec<u8> {
    placeholder::replace(text, value, MASK.as_bytes())
}

/// JSON without a value that may stand in it as a number: there the mask is a string, so that it stays JSON.
fn without_number(json: &[u8], value: &[u8]) -> Vec<u8> {
    let (mut masked, mut rest) = (Vec::with_capacity(json.len()), json);
    while !rest.is_empty() {
        let (outside, from_quote) = rest.split_at(memchr::memchr(b'"', rest).unwrap_or(rest.len()));
        for token in outside.chunk_by(|one, next| is_of_number(*one) == is_of_number(*next)) {
            match memmem::find(token, value) {
                Some(_) => masked.extend([b"\"", MASK.as_bytes(), b"\""].concat()),
                None => masked.extend(token),
            }
        }
        let (string, behind) = from_quote.split_at(string_length(from_quote));
        masked.extend(without(string, value));
        rest = behind;
    }
    masked
}

/// How long the string is that JSON begins with, its quotes included.
fn string_length(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = json.get(at) {
        at += match byte {
            b'\\' => 2,
            b'"' => return at + 1,
            _ => 1,
        };
    }
    json.len()
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || b"+-.eE".contains(&byte)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_covers_what_is_below_it_and_nothing_else() {
        assert!(matches_host("api.example", "API.example."));
        assert!(matches_host("*.example.com", "a.b.example.com"));
        for (pattern, host) in [
            ("*.example.com", "example.com"),
            ("*.example.com", "evilexample.com"),
            ("api.example", "api.example.evil"),
            ("*.example.com", "x.example.com.evil"),
            ("*.example.com", ".com"),
            ("*.example.com", ".example.com"),
        ] {
            assert!(!matches_host(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn what_a_target_echoes_is_masked() {
        let mut mask = Mask::default();
        mask.add(&Zeroizing::new("Bearer sk-0123456789abcdef".to_owned()));
        mask.add(&Zeroizing::new("short".to_owned()));
        let body = Bytes::from_static(
            b"{\"key\":\"sk-0123456789abcdef\",\"all\":\"Bearer sk-0123456789abcdef\",\"x\":\"short\"}",
        );
        let payload = Payload { headers: vec![("echo".into(), "k=sk-0123456789abcdef".into())], ..Payload::told(body) };
        let masked = mask.payload(payload);
        assert_eq!(masked.body, "{\"key\":\"***\",\"all\":\"***\",\"x\":\"short\"}");
        assert_eq!(masked.headers[0].1, "k=***");
        mask.add(&Zeroizing::new("abcdefgh/ijklmnop+q==".to_owned()));
        let spelled = r"abcdefgh\/ijklmnop+q== abcdefgh%2Fijklmnop%2Bq%3D%3D abcdefgh/ijklmnop+q==";
        assert_eq!(mask.text(spelled.to_owned()), "*** *** ***");
        mask.add(&Zeroizing::new("k<e>y&+\"\\x/0123".to_owned()));
        for spelled in [
            r#"k<e>y&+"\x/0123"#,
            r#"k<e>y&+\"\\x/0123"#,
            r#"k<e>y&+\"\\x\/0123"#,
            r#"k\u003ce\u003ey\u0026+\"\\x/0123"#,
            r"k\u003Ce\u003Ey\u0026\u002B\u0022\\x/0123",
            "k%3Ce%3Ey%26%2B%22%5Cx%2F0123",
        ] {
            assert_eq!(mask.text(format!("a {spelled} b")), "a *** b", "{spelled}");
        }
        assert_eq!(mask.text("no sk-0123456789abcdef here".to_owned()), "no *** here");
    }

    #[test]
    fn what_is_echoed_as_a_number_leaves_json_behind() {
        let mut mask = Mask::default();
        mask.add(&Zeroizing::new("123456789012".to_owned()));
        for (echoed, masked) in [
            (r#"{"key":123456789012,"a":[123456789012, -9123456789012.5e1]}"#, r#"{"key":"***","a":["***", "***"]}"#),
            (r#"{"a\"123456789012":"x: 123456789012, y","b":true}"#, r#"{"a\"***":"x: ***, y","b":true}"#),
            (r#"["\\",123456789012,12345678901]"#, r#"["\\","***",12345678901]"#),
            ("123456789012", "\"***\""),
            ("your key: 123456789012", "your key: ***"),
        ] {
            assert_eq!(mask.payload(Payload::told(Bytes::from_static(echoed.as_bytes()))).body, masked);
        }
    }
}
