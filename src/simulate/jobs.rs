//! Jobs, and how far they are.

use std::time::Duration;

use tokio::time::Instant;

use super::told::Receiver;

/// How a job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    #[default]
    Done,
    /// With an error.
    Failed,
}

/// How a simulated provider is to behave.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How jobs end.
    pub outcome: Outcome,
    /// How long a job takes.
    pub work: Duration,
    /// So many webhooks get lost on their way; the provider notices, and tries again as it does.
    pub lost: u32,
    /// So many submissions are answered 503 first.
    pub busy: u32,
    /// The secret that webhooks are signed with, where the submission tells none.
    pub secret: String,
}

impl Default for Plan {
    fn default() -> Self {
        let secret = "whsec_c2ltdWxhdGVkLXByb3ZpZGVyLXNlY3JldC0zMmI=".to_owned();
        Self { outcome: Outcome::Done, work: Duration::from_secs(2), lost: 0, busy: 0, secret }
    }
}

/// A job that was taken.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub id: String,
    pub taken: Instant,
    pub receivers: Vec<Receiver>,
    pub cancelled: bool,
}

impl Job {
    /// How much of the work is done; 1 is all.
    pub fn share(&self, work: Duration) -> f64 {
        if work.is_zero() { 1.0 } else { self.taken.elapsed().as_secs_f64() / work.as_secs_f64() }
    }
}
