//! Credentials: what lets a stranger in, and the keys that they are made with.
//!
//! Callback ids and signal tokens are derived, not stored: the database alone gives none away, and looking one up costs
//! no index. Webhook secrets are sealed. Of API keys only a hash is kept.

mod api_key;
mod bearer;
mod derived;
mod ids;
mod jwt;
pub mod key_file;
mod keyring;
mod seal;

pub use api_key::{ApiKeySecret, hash_key};
pub use bearer::Bearer;
pub use derived::{CLASSES, Kind};
pub use ids::Ids;
pub use jwt::Ticket;
pub use keyring::{Keyring, SECRET_BYTES, SecretKeys};
