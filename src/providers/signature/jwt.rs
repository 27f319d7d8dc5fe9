//! Signed tokens (JSON Web Token, RFC 7519) as Gemini's dynamic webhooks carry them: RS256 and nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::jwks::Jwks;
use super::scheme::Invalid;

/// Longer tokens are not looked at.
const BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11); we understand none.
    crit: Option<serde_json::Value>,
}

/// The claims about time (RFC 7519, 4.1); fractions are allowed there.
#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// Whether a key of the set signed this token, and whether it is in force.
pub(super) fn verify(token: &str, keys: &Jwks, now: i64, tolerance: i64) -> Result<(), Invalid> {
    if token.len() > BYTES_MAX {
        return Err(Invalid::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Invalid::Malformed)?;
    let header: Header = part(header)?;
    if header.alg != "RS256" || header.crit.is_some() {
        return Err(Invalid::Malformed);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Invalid::Malformed)?;
    if let Some(id) = header.kid.as_deref().filter(|id| !keys.has(id)) {
        return Err(Invalid::UnknownKey { id: id.chars().take(128).collect() });
    }
    if !keys.verify_rs256(header.kid.as_deref(), signed.as_bytes(), &signature) {
        return Err(Invalid::Mismatch);
    }
    in_force(&part(claims)?, now, tolerance)
}

fn in_force(claims: &Claims, now: i64, tolerance: i64) -> Result<(), Invalid> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
    let (now, tolerance) = (now as f64, tolerance as f64);
    let over = claims.exp.is_some_and(|exp| now >= exp + tolerance);
    let early = [claims.nbf, claims.iat].into_iter().flatten().any(|from| from > now + tolerance);
    // A token without an end is as old as it says.
    let old = claims.exp.is_none() && claims.iat.is_some_and(|iat| iat < now - tolerance);
    if over || early || old { Err(Invalid::Stale) } else { Ok(()) }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Invalid::Malformed)
}
