//! The pure core: what a task is and how it may change. No I/O, no clock, no randomness.

mod time;

pub use time::Timestamp;
