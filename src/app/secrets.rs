//! Where the service's secret comes from, and whether it belongs to the store.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::admin::secret_key::{add_check, known_checks};
use crate::config::Config;
use crate::credentials::{Keyring, SecretKeys, key_file};
use crate::store::{Store, StoreError};

/// The keyring for this store.
pub async fn unlock(config: &Config, file: Option<&Path>, store: &dyn Store) -> Result<Keyring, String> {
    let in_words = |error: StoreError| error.to_string();
    let known = known_checks(store).await.map_err(in_words)?;
    let secrets = match (&config.secret_keys, file) {
        (Some(keys), _) => from_variable(keys.expose())?,
        (None, Some(file)) => from_file(&key_file::beside(file), known.is_empty())?,
        (None, None) => return Err("ASYNCQUEUE_SECRET_KEY is not set".to_owned()),
    };
    let (keyring, added) = Keyring::unlock(&secrets, &known)?;
    if let Some(check) = added {
        add_check(store, &known, check).await.map_err(in_words)?;
    }
    Ok(keyring)
}

fn from_variable(keys: &[[u8; 32]]) -> Result<SecretKeys, String> {
    let texts: Vec<String> = keys.iter().map(|key| STANDARD.encode(key)).collect();
    SecretKeys::parse(&Zeroizing::new(texts.join(",")))
}

fn from_file(path: &Path, new_store: bool) -> Result<SecretKeys, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    match key_file::read(path) {
        Ok(keys) => keys.map_err(|error| named(format!("the secret key {error}"))),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(named(error.to_string())),
        Err(_) if new_store => key_file::make(path).map_err(|error| named(error.to_string())),
        Err(_) => Err(named(
            "the secret key file is missing; put it back, or set ASYNCQUEUE_SECRET_KEY to the key that it held".into(),
        )),
    }
}
