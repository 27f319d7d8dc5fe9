//! Where the service's secret comes from, and whether it belongs to the store.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::credentials::{Keyring, SecretKeys};
use crate::store::{Store, StoreError};

/// Under this name the store keeps a check value of each secret that it was used with, 32 bytes each, in order.
const CHECKS: &str = "secret checks";

/// The keyring for this store.
pub async fn unlock(config: &Config, database: &Path, store: &dyn Store) -> Result<Keyring, String> {
    let in_words = |error: StoreError| error.to_string();
    let stored = store.meta(CHECKS).await.map_err(in_words)?.unwrap_or_default();
    let known: Vec<[u8; 32]> = stored.chunks_exact(32).filter_map(|check| check.try_into().ok()).collect();
    let secrets = match &config.secret_keys {
        Some(keys) => from_variable(keys.expose())?,
        None => from_file(&file_for(database), known.is_empty())?,
    };
    let (keyring, added) = Keyring::unlock(&secrets, &known)?;
    if let Some(check) = added {
        let all = [stored.as_slice(), &check].concat();
        store.set_meta(CHECKS, all).await.map_err(in_words)?;
    }
    Ok(keyring)
}

/// The private file beside the database.
pub fn file_for(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    PathBuf::from(path)
}

fn from_variable(keys: &[[u8; 32]]) -> Result<SecretKeys, String> {
    let texts: Vec<String> = keys.iter().map(|key| STANDARD.encode(key)).collect();
    SecretKeys::parse(&Zeroizing::new(texts.join(",")))
}

fn from_file(path: &Path, new_store: bool) -> Result<SecretKeys, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => SecretKeys::parse(text.trim()).map_err(|error| named(format!("the secret key {error}"))),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(named(error.to_string())),
        Err(_) if new_store => make_file(path).map_err(|error| named(error.to_string())),
        Err(_) => Err(named(
            "the secret key file is missing; put it back, or set ASYNCQUEUE_SECRET_KEY to the key that it held".into(),
        )),
    }
}

/// Makes a secret, and answers it only once the file is on disk.
fn make_file(path: &Path) -> std::io::Result<SecretKeys> {
    let secrets = SecretKeys::generate();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secrets.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()?;
    Ok(secrets)
}
