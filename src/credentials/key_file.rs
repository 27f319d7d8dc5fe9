//! The private file beside the database that keeps the service's secrets, where no variable gives them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SecretKeys;

/// The file of the database at `database`.
pub fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    PathBuf::from(path)
}

/// What the file holds; the inner error says what is wrong with it.
pub fn read(path: &Path) -> io::Result<Result<SecretKeys, String>> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new)?;
    Ok(SecretKeys::parse(text.trim()))
}

/// Makes a secret, and answers it only once the file is on disk.
pub fn make(path: &Path) -> io::Result<SecretKeys> {
    let secrets = SecretKeys::generate();
    write(path, &secrets)?;
    Ok(secrets)
}

/// Puts these secrets in place of those that the file holds: whole, or not at all.
pub fn replace(path: &Path, secrets: &SecretKeys) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write(&new, secrets)?;
    std::fs::rename(&new, path)?;
    sync_folder(path)
}

fn write(path: &Path, secrets: &SecretKeys) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secrets.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
