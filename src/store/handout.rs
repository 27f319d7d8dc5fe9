//! How work finds its way out of the store: whoever makes calls is handed what is due, where the store can in the very
//! commit that makes it due. That spares a commit between a creation and its call, and between an end and its webhook.

use super::{Capacity, Claimed, ClaimedDelivery};

/// Makes calls, and takes on what is due.
pub trait Taker<Room, Work>: Send + Sync + 'static {
    /// How much it can take on now.
    fn room(&self) -> Room;

    /// Takes on what was claimed for it, which is on disk; also if that is nothing. Must return quickly.
    fn take(&self, work: Vec<Work>);
}

/// Takes on tasks, to call their targets.
pub type TaskTaker = dyn Taker<Capacity, Claimed>;

/// Takes on completion webhooks, to deliver them. Its room is a number of webhooks.
pub type DeliveryTaker = dyn Taker<usize, ClaimedDelivery>;
