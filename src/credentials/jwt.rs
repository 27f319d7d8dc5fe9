//! Signed tokens for the management API (JSON Web Token, RFC 7519): HS256 with a key that is derived for nothing else.
//! One says whose session it stands for and until when it is believed; whether the session still lasts is asked each time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Keyring;
use crate::task::Timestamp;

/// Who issues them, and for whom.
const ISSUER: &str = "asyncqueue";
const AUDIENCE: &str = "asyncqueue management";

/// Longer tokens are not looked at.
const BYTES_MAX: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    /// The number of the service's secret that it is signed with.
    kid: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    exp: i64,
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is.
    pub account: Uuid,
    /// Which session it stands for.
    pub session: Uuid,
    /// Until when it is believed.
    pub expires_at: Timestamp,
}

impl Keyring {
    /// Signs a token with the current key.
    pub fn sign_ticket(&self, ticket: Ticket, now: Timestamp) -> Zeroizing<String> {
        let number = self.current();
        let header = Header { alg: "HS256", typ: "JWT", kid: &number.to_string() };
        let claims = Claims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: ticket.account,
            sid: ticket.session,
            iat: now.unix_seconds(),
            exp: ticket.expires_at.unix_seconds(),
        };
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let key = self.ticket_key(number).expect("the current key is there");
        let signature = URL_SAFE_NO_PAD.encode(mac(&key, &signed).finalize().into_bytes());
        Zeroizing::new(format!("{signed}.{signature}"))
    }

    /// What a token says, if this service signed it and it is in force.
    pub fn open_ticket(&self, token: &str, now: Timestamp) -> Option<Ticket> {
        if token.len() > BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = decoded(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        if header.alg != "HS256" {
            return None;
        }
        let key = self.ticket_key(header.kid.parse().ok()?)?;
        mac(&key, signed).verify_slice(&decoded(signature)?).ok()?;
        let claims = decoded(claims)?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).ok()?;
        let in_force = claims.iss == ISSUER && claims.aud == AUDIENCE && now.unix_seconds() < claims.exp;
        let expires_at = Timestamp(claims.exp.checked_mul(1000)?);
        in_force.then_some(Ticket { account: claims.sub, session: claims.sid, expires_at })
    }
}

fn mac(key: &[u8; 32], signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(signed.as_bytes());
    mac
}

fn encoded(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("plain data is always JSON"))
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::SecretKeys;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn keyring() -> Keyring {
        Keyring::unlock(&SecretKeys::generate(), &[]).unwrap().0
    }

    fn ticket() -> Ticket {
        Ticket { account: Uuid::from_u128(1), session: Uuid::from_u128(2), expires_at: NOW.plus_millis(60_000) }
    }

    #[test]
    fn a_token_says_whose_it_is_until_it_expires() {
        let keyring = keyring();
        let token = keyring.sign_ticket(ticket(), NOW);
        assert_eq!(keyring.open_ticket(&token, NOW), Some(ticket()));
        assert_eq!(keyring.open_ticket(&token, NOW.plus_millis(59_999)), Some(ticket()));
        assert_eq!(keyring.open_ticket(&token, NOW.plus_millis(60_000)), None);
    }

    #[test]
    fn a_token_of_another_key_or_changed_anywhere_is_none() {
        let own = keyring();
        let token = own.sign_ticket(ticket(), NOW);
        assert_eq!(keyring().open_ticket(&token, NOW), None);
        for at in 0..token.len() {
            let mut changed = token.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(own.open_ticket(std::str::from_utf8(&changed).unwrap(), NOW), None, "{at}");
        }
        for odd in ["", ".", "..", "a.b.c", &"x".repeat(2000)] {
            assert_eq!(own.open_ticket(odd, NOW), None);
        }
    }

    #[test]
    fn a_token_without_a_signature_or_of_another_kind_is_none() {
        let keyring = keyring();
        let token = keyring.sign_ticket(ticket(), NOW);
        let claims = token.split('.').nth(1).unwrap();
        for header in [r#"{"alg":"none","typ":"JWT","kid":"1"}"#, r#"{"alg":"HS512","typ":"JWT","kid":"1"}"#] {
            let unsigned = format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(keyring.open_ticket(&unsigned, NOW), None);
        }
    }
}
