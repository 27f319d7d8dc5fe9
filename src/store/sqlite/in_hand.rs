//! What was handed out and has not come back: webhooks being delivered, polls being made.
//!
//! The store has one owner, so memory is enough: a restart voids them all.

use std::collections::HashSet;

/// Keys in hand, and how the transaction under way changes them.
#[derive(Debug, Default)]
pub(super) struct InHand {
    keys: HashSet<i64>,
    /// What the transaction did, in order: taken or given back.
    changes: Vec<(i64, Change)>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Taken,
    GivenBack,
}

impl InHand {
    pub fn contains(&self, key: i64) -> bool {
        self.keys.contains(&key)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn take(&mut self, key: i64) {
        if self.keys.insert(key) {
            self.changes.push((key, Change::Taken));
        }
    }

    pub fn give_back(&mut self, key: i64) {
        if self.keys.remove(&key) {
            self.changes.push((key, Change::GivenBack));
        }
    }

    /// The transaction is on disk.
    pub fn commit(&mut self) {
        self.changes.clear();
    }

    /// How far the transaction has come.
    pub fn mark(&self) -> usize {
        self.changes.len()
    }

    /// What was done since `mark` is taken back: nobody was told of what was handed out.
    pub fn roll_back(&mut self, mark: usize) {
        for (key, change) in self.changes.drain(mark..).rev() {
            match change {
                Change::Taken => self.keys.remove(&key),
                Change::GivenBack => self.keys.insert(key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InHand;

    #[test]
    fn what_is_rolled_back_was_never_handed_out() {
        let mut hand = InHand::default();
        hand.take(1);
        hand.commit();
        hand.give_back(1);
        hand.take(2);
        hand.roll_back(0);
        assert!(hand.contains(1) && !hand.contains(2));
        hand.give_back(1);
        hand.take(1);
        hand.roll_back(0);
        assert!(hand.contains(1), "given back and taken again within one transaction");
        assert_eq!(hand.len(), 1);
    }
}
