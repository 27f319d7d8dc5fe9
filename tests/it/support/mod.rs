//! The service as its callers see it, and the world around it.

mod client;
pub mod provider;
pub mod service;
mod target;

pub use client::{Answer, Connection};
pub use service::{Created, KEY, Names, OIDC_SECRET, Service};
pub use target::{Reply, Seen, Target, gate, open};

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The longest that anything is waited for. Nothing is decided by how long it took.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Whether the large forms are wanted.
pub fn large() -> bool {
    std::env::var("ASYNCQUEUE_TEST_LARGE").is_ok_and(|value| value == "1")
}

/// Waits until `ready` says yes.
pub async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// HMAC-SHA256, written down here once more (RFC 2104), so that the service is not its own witness.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| block.map(|own| own ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
