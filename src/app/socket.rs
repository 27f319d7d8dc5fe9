//! The private socket beside the database: how commands reach a running service.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::admin::{Act, Admin, Outcome};

/// The longest request, bytes.
const REQUEST_MAX: u64 = 64 * 1024;

/// How long a command may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket's address is at most this long on every platform.
const ADDRESS_MAX: usize = 100;

/// Where the socket of the database at `path` is.
pub fn path_for(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".sock");
    let path = PathBuf::from(path);
    if path.as_os_str().len() <= ADDRESS_MAX {
        return path;
    }
    // A long path's socket lies elsewhere, under a name that is made from the path.
    let digest = crate::credentials::hash_key(&path.to_string_lossy());
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    std::env::temp_dir().join(format!("asyncqueue-{:016x}.sock", u64::from_be_bytes(number)))
}

/// Opens the socket. The caller holds the store's lock, so one that lies there is of a service that was killed.
pub fn open(path: &Path) -> io::Result<UnixListener> {
    let made = path.with_extension("sock-new");
    for old in [path, &made] {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&made)?;
    // Nobody can have connected under its first name before only its owner may.
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

/// Serves commands until `stop`.
pub async fn serve(listener: UnixListener, admin: Arc<Admin>, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &admin).await {
                        tracing::debug!(%error, "A command went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "A command could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, admin: &Admin) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_MAX));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    let outcome = match serde_json::from_str::<Act>(&line) {
        Ok(act) => admin.perform(act).await,
        Err(_) => Outcome::Refused("the service does not understand this command; are both of one version?".to_owned()),
    };
    let mut text = serde_json::to_vec(&outcome)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

/// Asks the running service.
pub async fn ask(path: &Path, act: &Act) -> io::Result<Outcome> {
    let mut stream = UnixStream::connect(path).await?;
    let mut text = serde_json::to_vec(act)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}
