//! Rate limits: an exact one by source address, and one by team whose state clients are shown.

mod sliding_log;
mod team_window;
mod told;

pub use sliding_log::{RetryAfter, SlidingLog};
pub use team_window::{Admission, TeamWindow};
