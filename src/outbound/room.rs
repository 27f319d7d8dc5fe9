//! Memory for large answers. What a target sends is bounded for each call, and many calls are under way; so whatever is more than
//! a small answer leases room, and is not read on until there is some. The call's own time limit goes on meanwhile.
//!
//! Teams share the room by dynamic thresholds, as packets share a switch's buffer (Choudhury and Hahne, 1998): each may hold as
//! much as is left free. One alone has half of it, and always leaves the other half to whoever comes; so the targets of one team
//! that keep their answers going hold up no other. Those of several leave less, and the longest answers then wait.
//!
//! An answer that does not say how long it is grows from one size to the next, and each size has a room of its own. Who waits for
//! a larger one holds a smaller one only, so nobody waits in a circle.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::memory;

/// Up to this size an answer needs no lease.
pub(super) const SMALL: usize = 64 * 1024;

/// Up to which size answers share one room; the last is for all that are longer.
const SIZES: [usize; 3] = [1 << 20, 4 << 20, usize::MAX];

/// How much room there is at least and at most, and which part of the memory it is.
const LEAST: u64 = 32 << 20;
const MOST: u64 = 128 << 20;
const PART: u64 = 16;

/// The rooms of this process.
pub(super) static ROOMS: LazyLock<Arc<Rooms>> =
    LazyLock::new(|| Rooms::of(usize::try_from((memory::limit() / PART).clamp(LEAST, MOST)).unwrap_or(usize::MAX)));

/// A room for each size.
pub(super) struct Rooms([Arc<Room>; SIZES.len()]);

impl Rooms {
    /// Rooms for so many bytes together.
    pub fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self(SIZES.map(|_| Room::of(bytes / SIZES.len()))))
    }

    /// Waits for room for an answer of which so many bytes have come. It announced its length, or nothing (0), and is taken up to
    /// `most`. Says up to which length it may be read with this lease.
    pub async fn lease(&self, team: i64, come: usize, announced: usize, most: usize) -> (Lease, usize) {
        let length = come.max(announced);
        let size = SIZES.iter().position(|size| length <= *size).unwrap_or(SIZES.len() - 1);
        let length = if announced >= come { announced } else { SIZES[size].min(most) };
        (self.0[size].lease(team, length).await, length)
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.0.iter().map(|room| room.used().all).sum()
    }
}

/// Room for so many bytes at once.
struct Room {
    bytes: usize,
    used: Mutex<Used>,
    /// Somebody gave room back.
    freed: Notify,
}

impl Room {
    fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, used: Mutex::default(), freed: Notify::new() })
    }

    /// Waits until the team may have room for so many bytes.
    async fn lease(self: &Arc<Self>, team: i64, bytes: usize) -> Lease {
        // One that is larger than half of the room has that half alone.
        let bytes = bytes.min(self.bytes / 2);
        loop {
            let freed = self.freed.notified();
            if self.used().take(team, bytes, self.bytes) {
                return Lease { room: self.clone(), team, bytes };
            }
            freed.await;
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Used {
    all: usize,
    teams: HashMap<i64, usize>,
}

impl Used {
    fn take(&mut self, team: i64, bytes: usize, room: usize) -> bool {
        let own = self.teams.get(&team).copied().unwrap_or_default();
        let free = room.saturating_sub(self.all);
        if own + bytes > free {
            return false;
        }
        self.all += bytes;
        self.teams.insert(team, own + bytes);
        true
    }

    fn give_back(&mut self, team: i64, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(own) = self.teams.get_mut(&team) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.teams.remove(&team);
            }
        }
    }
}

/// Room that is given back at the end.
pub(super) struct Lease {
    room: Arc<Room>,
    team: i64,
    bytes: usize,
}

impl Lease {
    /// The whole answer: its room is given back when the last of those who share its bytes is done, and what it did
    /// not need at once.
    pub fn hold(mut self, answer: Bytes) -> Bytes {
        let unneeded = self.bytes.saturating_sub(answer.len());
        self.bytes -= unneeded;
        self.give_back(unneeded);
        Bytes::from_owner(Held(answer, self))
    }

    fn give_back(&self, bytes: usize) {
        self.room.used().give_back(self.team, bytes);
        self.room.freed.notify_waiters();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Held(Bytes, #[expect(dead_code, reason = "it is only held")] Lease);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn now(room: &Arc<Room>, team: i64, bytes: usize) -> Option<Lease> {
        room.lease(team, bytes).now_or_never()
    }

    #[test]
    fn a_team_that_takes_what_it_can_leaves_others_as_much() {
        let room = Room::of(1000);
        let first: Vec<_> = std::iter::from_fn(|| now(&room, 1, 100)).collect();
        assert_eq!(first.len(), 5);
        let second: Vec<_> = std::iter::from_fn(|| now(&room, 2, 50)).collect();
        assert_eq!(second.len(), 5);
        assert!(now(&room, 3, 100).is_some(), "there is always some left");
        drop(first);
        assert!(now(&room, 1, 300).is_some());
    }

    #[test]
    fn an_answer_grows_from_room_to_room() {
        let rooms = Rooms::of(96 << 20);
        let lease = |come, announced| {
            let (lease, length) = rooms.lease(1, come, announced, 16 << 20).now_or_never().expect("room");
            (lease.bytes, length)
        };
        assert_eq!(lease(70_000, 0), (1 << 20, 1 << 20));
        assert_eq!(lease((1 << 20) + 1, 0), (4 << 20, 4 << 20));
        assert_eq!(lease((4 << 20) + 1, 0), (16 << 20, 16 << 20));
        assert_eq!(lease(70_000, 80_000), (80_000, 80_000));
        assert_eq!(lease(70_000, 15 << 20), (15 << 20, 15 << 20));
        assert_eq!(rooms.held(), 0);
    }

    #[test]
    fn more_than_there_is_has_half_of_it_alone() {
        let room = Room::of(1000);
        let large = now(&room, 1, 10_000).expect("half of it");
        assert!(now(&room, 1, 1).is_none());
        assert!(now(&room, 2, 250).is_some());
        drop(large);
        assert!(now(&room, 1, 10_000).is_some());
    }

    #[tokio::test]
    async fn room_comes_back_with_the_last_who_shares_the_answer() {
        let room = Room::of(1000);
        let answer = now(&room, 1, 500).expect("room").hold(Bytes::from_static(&[b'x'; 400]));
        assert!(now(&room, 1, 100).is_some(), "what was not needed is free");
        let part = answer.slice(2..4);
        drop(answer);
        assert!(now(&room, 1, 300).is_none());
        let waits = tokio::spawn({
            let room = room.clone();
            async move { drop(room.lease(1, 300).await) }
        });
        tokio::task::yield_now().await;
        assert_eq!(part, "xx");
        drop(part);
        waits.await.unwrap();
        let used = room.used();
        assert_eq!((used.all, used.teams.len()), (0, 0));
    }
}
