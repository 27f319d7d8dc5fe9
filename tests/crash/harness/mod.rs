//! What every test of this binary drives the service with.

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub mod http;
pub mod load;
pub mod mount;
pub mod random;
pub mod server;
pub mod settle;
pub mod signature;
pub mod site;
pub mod target;
pub mod time;
pub mod world;

/// The longest that anything is waited for. Nothing is decided by how long it took.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `holds` says yes.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the right moment to strike, if it comes within a twentieth of a second.
pub async fn until_soon(now: impl Fn() -> bool) {
    for _ in 0..50 {
        if now() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Whether the large forms were asked for.
pub fn large() -> bool {
    std::env::var("ASYNCQUEUE_TEST_LARGE").is_ok_and(|value| value == "1")
}

/// The small form's number, or the large one's where that was asked for.
pub fn sized(small: usize, in_large: usize) -> usize {
    if large() { in_large } else { small }
}
