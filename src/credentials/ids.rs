//! Makes task ids: time from a clock, a counter within the millisecond, the rest random.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::task::{TaskId, Timestamp};

/// Hands out ids that sort by creation; no two of one process are equal, nor are their sort keys.
pub struct Ids {
    clock: Arc<dyn Clock>,
    last: Mutex<Last>,
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
        Self { clock, last: Mutex::new(Last::default()) }
    }

    /// A new id, and the time it was made.
    pub fn make(&self) -> (TaskId, Timestamp) {
        let now = self.clock.now();
        let random = random_bits();
        let place = self.advance(u64::try_from(now.0).unwrap_or_default(), random);
        (TaskId::from_parts(place.millis, place.counter, random), now)
    }

    fn advance(&self, millis: u64, random: u64) -> Last {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if millis > last.millis {
            let start = u16::try_from(random >> 50).unwrap_or_default() % START_BELOW;
            *last = Last { millis, counter: start };
        } else if last.counter + 1 < COUNTER_END {
            last.counter += 1;
        } else {
            // The counter ran over: the id's time runs ahead of the clock's (RFC 9562, 6.2).
            *last = Last { millis: last.millis + 1, counter: 0 };
        }
        *last
    }
}

fn random_bits() -> u64 {
    getrandom::u64().expect("the operating system has randomness")
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
