//! Makes task ids: time from a clock, a counter within the millisecond, the rest random.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::task::{TaskId, Timestamp};

/// Hands out ids that sort by creation; no two of one process are equal, nor are their sort keys.
pub struct Ids {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Last,
    pool: Pool,
}

/// Randomness fetched ahead: asking the system for each id costs more than the rest of making it.
struct Pool {
    bytes: [u8; 512],
    left: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { bytes: [0; 512], left: 0 }
    }
}

#[derive(Clone, Copy, Default)]
struct Last {
    millis: u64,
    counter: u16,
}

/// Where the counter of a new millisecond starts is random below this, so that ids of two process lives differ.
const START_BELOW: u16 = 1 << 14;

/// One more than the counter's greatest value.
const COUNTER_END: u16 = 1 << TaskId::COUNTER_BITS;

impl Ids {
    /// Ids by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State::default()) }
    }

    /// A new id, and the time it was made.
    pub fn make(&self) -> (TaskId, Timestamp) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let random = state.pool.next();
        let place = state.last.advance(u64::try_from(now.0).unwrap_or_default(), random);
        (TaskId::from_parts(place.millis, place.counter, random), now)
    }
}

impl Last {
    fn advance(&mut self, millis: u64, random: u64) -> Self {
        if millis > self.millis {
            let start = u16::try_from(random >> 50).unwrap_or_default() % START_BELOW;
            *self = Self { millis, counter: start };
        } else if self.counter + 1 < COUNTER_END {
            self.counter += 1;
        } else {
            // The counter ran over: the id's time runs ahead of the clock's (RFC 9562, 6.2).
            *self = Self { millis: self.millis + 1, counter: 0 };
        }
        *self
    }
}

impl Pool {
    fn next(&mut self) -> u64 {
        if self.left == 0 {
            getrandom::fill(&mut self.bytes).expect("the operating system has randomness");
            self.left = self.bytes.len() / 8;
        }
        self.left -= 1;
        let mut bits = [0; 8];
        bits.copy_from_slice(&self.bytes[self.left * 8..][..8]);
        u64::from_ne_bytes(bits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp(1_763_900_000_000)
        }
    }

    #[test]
    fn ids_ascend_and_differ_while_the_clock_stands_still() {
        let ids = Ids::new(Arc::new(Stopped));
        let made: Vec<TaskId> = (0..100_000).map(|_| ids.make().0).collect();
        assert!(made.is_sorted());
        assert_eq!(made.iter().map(|id| id.sort_key()).collect::<HashSet<_>>().len(), made.len());
    }
}
