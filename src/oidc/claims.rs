//! What an `id_token` says, after everything about it was checked (OpenID Connect Core 1.0, 3.1.3.7): RS256 and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::providers::Jwks;

/// Longer tokens are not looked at.
const BYTES_MAX: usize = 16 * 1024;

/// How far the provider's clock may be from ours, seconds.
const TOLERANCE: i64 = 60;

/// Who signed in, as the provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Whose word it is.
    pub issuer: String,
    /// Whom it means, for ever.
    pub subject: String,
    /// Their e-mail address, if the provider has made sure of it.
    pub email: Option<String>,
    /// How they are called.
    pub name: String,
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: i64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: Option<f64>,
    nonce: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: Truth,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Some providers write booleans as text.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Truth {
    Bool(bool),
    Text(String),
    #[default]
    Missing,
}

/// Which key a token says it was signed with.
pub(super) fn key_id(token: &str) -> Option<String> {
    part::<Header>(token.split('.').next()?)?.kid
}

/// Who a token is about; an error says what is wrong with it.
pub(super) fn read(token: &str, keys: &Jwks, expected: &Expected<'_>) -> Result<Person, &'static str> {
    if token.len() > BYTES_MAX {
        return Err("is too long");
    }
    let (signed, signature) = token.rsplit_once('.').ok_or("is none")?;
    let (header, claims) = signed.split_once('.').ok_or("is none")?;
    let header: Header = part(header).ok_or("is none")?;
    if header.alg != "RS256" || header.crit.is_some() {
        return Err("is signed in a way that is not taken");
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "is none")?;
    if !keys.verify_rs256(header.kid.as_deref(), signed.as_bytes(), &signature) {
        return Err("is not signed by its issuer");
    }
    check(part(claims).ok_or("says nothing that is understood")?, expected)
}

fn check(claims: Claims, expected: &Expected<'_>) -> Result<Person, &'static str> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
    let (now, tolerance) = (expected.now as f64, TOLERANCE as f64);
    let is_for_us = match &claims.aud {
        Audience::One(one) => one == expected.client_id,
        Audience::Many(many) => {
            many.iter().any(|one| one == expected.client_id)
                && (many.len() == 1 || claims.azp.as_deref() == Some(expected.client_id))
        }
    };
    if claims.iss != expected.issuer {
        return Err("is of another issuer");
    }
    if !is_for_us || claims.azp.as_deref().is_some_and(|azp| azp != expected.client_id) {
        return Err("is for somebody else");
    }
    if now >= claims.exp + tolerance || claims.iat.is_some_and(|iat| iat > now + tolerance) {
        return Err("is not in force");
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err("is of another attempt");
    }
    if claims.sub.is_empty() || claims.sub.len() > 255 || claims.sub.contains(char::is_control) {
        return Err("does not say whom it is about");
    }
    let is_sure = match claims.email_verified {
        Truth::Bool(is) => is,
        Truth::Text(text) => text == "true",
        Truth::Missing => false,
    };
    let email = claims.email.filter(|_| is_sure);
    Ok(Person { issuer: claims.iss, subject: claims.sub, email, name: claims.name.unwrap_or_default() })
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
