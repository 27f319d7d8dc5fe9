//! Memory for large request bodies. A connection costs little and a body can be megabytes, so many of the latter at once would be the
//! end of the process. What is small is taken as it comes; for more a body leases room, and waits or goes away if others have it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::memory;

/// Up to this size a body needs no lease.
pub(super) const SMALL: usize = 256 * 1024;

/// Room is handed out in pieces of this size.
const PIECE: usize = 64 * 1024;

/// How much room there is at least and at most, and which part of the memory it is: a body is there several times on its way into
/// the store and back into the answer.
const LEAST: u64 = 32 << 20;
const MOST: u64 = 512 << 20;
const PART: u64 = 8;

/// How long to wait for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// The room of this process.
static ROOM: LazyLock<Room> = LazyLock::new(|| Room::of((memory::limit() / PART).clamp(LEAST, MOST)));

/// Room for so many bytes at once.
struct Room {
    pieces: usize,
    free: Arc<Semaphore>,
}

/// Room that is given back at the end.
pub(super) struct Lease(#[expect(dead_code, reason = "it is only held")] OwnedSemaphorePermit);

impl Room {
    fn of(bytes: u64) -> Self {
        let pieces = usize::try_from(bytes).unwrap_or(usize::MAX) / PIECE;
        Self { pieces, free: Arc::new(Semaphore::new(pieces)) }
    }

    /// Room for a body of so many bytes; none if there is none for a while. One that is larger than all the room has it alone.
    async fn lease(&self, bytes: usize, patience: Duration) -> Option<Lease> {
        let pieces = u32::try_from((bytes / PIECE + 1).min(self.pieces)).ok()?;
        timeout(patience, self.free.clone().acquire_many_owned(pieces)).await.ok()?.ok().map(Lease)
    }
}

/// Room for a body of so many bytes.
pub(super) async fn lease(bytes: usize) -> Option<Lease> {
    ROOM.lease(bytes, PATIENCE).await
}

/// Bytes whose room is given back when the last of those who share them is done.
pub(super) fn hold(bytes: Bytes, lease: Lease) -> Bytes {
    struct Held(Bytes, #[expect(dead_code, reason = "it is only held")] Lease);
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_room_for_so_much_until_the_last_who_shares_it_is_done() {
        let soon = Duration::from_millis(20);
        let room = Room::of(32 << 20);
        let one = hold(Bytes::from_static(b"one"), room.lease(16 << 20, soon).await.expect("room"));
        assert!(room.lease(16 << 20, soon).await.is_none(), "each takes a piece more than it needs");
        let rest = room.lease(8 << 20, soon).await.expect("what is left");
        let part = one.slice(1..2);
        drop(one);
        assert!(room.lease(16 << 20, soon).await.is_none(), "a part is still there");
        assert_eq!(part, "n");
        drop(part);
        assert!(room.lease(16 << 20, soon).await.is_some());
        drop(rest);
        assert!(room.lease(usize::MAX, soon).await.is_some(), "more than there is, it has alone");
    }
}
