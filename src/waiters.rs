//! Who waits for which task: long polls are woken by the commit that changes a task, and cost nothing until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::task::TaskId;

/// The table is cut into this many parts, so that waking and waiting rarely meet at a lock.
const PARTS: usize = 64;

type Part = Mutex<HashMap<TaskId, (Arc<Notify>, usize)>>;

/// The waiting.
pub struct Waiters {
    parts: Vec<Part>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Part::default()).collect() }
    }
}

impl Waiters {
    /// Begins to wait for a task. Register first, then look at the task: a change in between is not missed.
    pub fn register(self: &Arc<Self>, task: TaskId) -> Waiter {
        let mut part = self.part(task).lock().unwrap_or_else(PoisonError::into_inner);
        let (notify, waiting) = part.entry(task).or_default();
        *waiting += 1;
        let notify = notify.clone();
        drop(part);
        Waiter { waiters: self.clone(), task, notify }
    }

    /// Wakes all who wait for these tasks.
    pub fn wake(&self, tasks: &[TaskId]) {
        for task in tasks {
            let part = self.part(*task).lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((notify, _)) = part.get(task) {
                notify.notify_waiters();
            }
        }
    }

    /// How many tasks somebody waits for.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// The tasks that somebody waits for.
    pub fn tasks(&self) -> Vec<TaskId> {
        let parts = self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner));
        parts.flat_map(|part| part.keys().copied().collect::<Vec<_>>()).collect()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, task: TaskId) -> &Part {
        let place = task.0.as_u128() % PARTS as u128;
        &self.parts[usize::try_from(place).unwrap_or_default()]
    }
}

/// One who waits for a task; waiting ends when this is dropped.
pub struct Waiter {
    waiters: Arc<Waiters>,
    task: TaskId,
    notify: Arc<Notify>,
}

impl Waiter {
    /// Completes at the first change after this call. Call it before looking at the task, and await it afterwards.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut part = self.waiters.part(self.task).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiting)) = part.get_mut(&self.task) {
            *waiting -= 1;
            if *waiting == 0 {
                part.remove(&self.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_registering_and_looking_is_not_missed() {
        let waiters = Arc::new(Waiters::default());
        let task = TaskId::from_parts(1, 2, 3);
        let waiter = waiters.register(task);
        let changed = waiter.changed();
        waiters.wake(&[task]);
        changed.await;
    }

    #[tokio::test]
    async fn who_no_longer_waits_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let task = TaskId::from_parts(1, 2, 3);
        let first = waiters.register(task);
        let second = waiters.register(task);
        drop(first);
        assert_eq!(waiters.len(), 1);
        drop(second);
        assert!(waiters.is_empty());
    }
}
