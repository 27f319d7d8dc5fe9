//! Whether a webhook is really from its provider: signatures over the exact bytes, compared in constant time.

mod compare;
mod jwks;
mod jwt;
mod scheme;

pub use jwks::Jwks;
pub use scheme::{Encoding, Invalid, Keys, Scheme, Signed};

/// The time that a signature may be away from ours, either way, where the provider says nothing else; seconds.
pub const TOLERANCE: i64 = 300;
