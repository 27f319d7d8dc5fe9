//! Header values that may be secrets.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::CallError;

/// A header whose value is wiped from memory with the request that carries it, and shown by no `Debug`.
pub fn secret_header(name: &str, value: Zeroizing<String>) -> Result<(HeaderName, HeaderValue), CallError> {
    // Creation has checked both; a value may have become another one since, by what was put in.
    let refused = || CallError::Forbidden(format!("the header {name} cannot be sent"));
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(value))).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?, value))
}

/// Bytes that are wiped when the last who shares them is done.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
