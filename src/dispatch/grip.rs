//! What a node may go on with. Where many nodes share a store, one that cannot say that it is alive must let go of its
//! calls before the others take them up.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The hold on calls under way.
pub struct Grip {
    root: CancellationToken,
    current: Mutex<CancellationToken>,
}

impl Grip {
    /// A grip that ends with `root`.
    pub fn new(root: CancellationToken) -> Self {
        let current = Mutex::new(root.child_token());
        Self { root, current }
    }

    /// What a call that begins now is held by.
    pub fn current(&self) -> CancellationToken {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of all calls under way; later ones are held anew.
    pub fn let_go(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, self.root.child_token()).cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letting_go_ends_what_is_under_way_and_not_what_comes() {
        let root = CancellationToken::new();
        let grip = Grip::new(root.clone());
        let before = grip.current();
        grip.let_go();
        let after = grip.current();
        assert!(before.is_cancelled() && !after.is_cancelled());
        root.cancel();
        assert!(after.is_cancelled());
    }
}
