//! The pure core: what a task is and how it may change. No I/O, no clock, no randomness, no wire format.
//!
//! Everything that happens to a task is an [`Event`]; [`step`] decides what becomes of it, and returns what the world
//! must do next as data.

mod backoff;
mod delivery;
mod event;
mod id;
mod model;
pub mod placeholder;
mod poll;
mod state;
mod step;
mod time;

pub use backoff::Backoff;
pub use delivery::{Delivery, DeliveryOutcome, DeliveryStatus};
pub use event::{Answer, CallbackVerdict, EarlyCallbacks, Entry, Event, Left};
pub use id::{TaskId, TeamId};
pub use model::{Late, Method, Payload, Policy, Request, Task, Then};
pub use poll::{Follow, Job, PollPolicy, PollVerdict, Polling, REFUSALS_MAX, mark};
pub use state::{EndedBy, State, Status};
pub use step::{Keep, Refusal, Step, Why, step};
pub use time::Timestamp;
