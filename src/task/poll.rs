//! Asking a provider how a job goes: when, and what its answers mean for the task.

use super::{TaskId, Timestamp};

/// How a job is asked after, once the target took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollPolicy {
    /// The time between two polls, milliseconds.
    pub every_ms: i64,
    /// How long polling may last, milliseconds.
    pub for_ms: i64,
    /// Whether a webhook is expected too, so that polls grow rare.
    pub eases: bool,
}

/// Polls grow no rarer than this while a webhook is expected.
const EASED_MS: i64 = 60_000;

/// So many 401, 403, 404 or 410 in a row fail the task; or end the polling, where a webhook is expected.
pub const REFUSALS_MAX: u8 = 3;

impl PollPolicy {
    /// The time until the poll after `polls` others, milliseconds.
    ///
    /// It is spread by the task's id, so that tasks created together are not polled together: the first poll comes
    /// after one interval and at most half of another, later ones within a tenth of the interval.
    pub fn delay_ms(&self, id: TaskId, polls: u32) -> i64 {
        let eased = self.every_ms.saturating_mul(1 << polls.min(6));
        let base = if self.eases { eased.min(EASED_MS.max(self.every_ms)) } else { self.every_ms };
        let share = |of: i64| of.saturating_mul(i64::from(dice(id, polls) >> 16)) >> 16;
        if polls == 0 { base + share(base / 2) } else { base - base / 10 + share(base / 5) }
    }
}

/// Evenly spread bits out of an id and a number (the finalizer of splitmix64).
fn dice(id: TaskId, number: u32) -> u32 {
    let (high, low) = id.0.as_u64_pair();
    let seed = high ^ low.rotate_left(32) ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((mixed ^ mixed >> 31) >> 32).unwrap_or_default()
}

/// Where the polling of a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polling {
    /// Polls made so far. An answer to any other than the next one is stale.
    pub polls: u32,
    /// 401, 403, 404 or 410 in a row.
    pub refusals: u8,
    /// Stands for what the last poll said, so that only news are written down.
    pub mark: u32,
    /// When the next poll is due; none while none is planned.
    pub next_at: Option<Timestamp>,
}

/// What one poll found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollVerdict {
    /// The job is done; the payload is the result.
    Done,
    /// The job failed, with the provider's own words.
    Failed {
        /// Why.
        error: String,
    },
    /// The job goes on.
    Pending,
    /// 401, 403, 404 or 410: it may pass, but not for ever.
    Refused {
        /// What to tell when it fails the task.
        error: String,
    },
    /// 429, a 5xx, no answer, or a result that could not be fetched: the provider is asked again.
    Later {
        /// What went wrong.
        error: String,
        /// The beginning of what was answered. It may differ from poll to poll, and is no news.
        said: Option<String>,
        /// The provider's own wish (`Retry-After`), milliseconds.
        retry_after_ms: Option<i64>,
    },
    /// No poll can be made: its URL cannot be filled in, or must not be called.
    Impossible {
        /// Why.
        error: String,
    },
}

impl PollVerdict {
    /// What went wrong, in words for people.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Pending => None,
            Self::Failed { error }
            | Self::Refused { error }
            | Self::Later { error, .. }
            | Self::Impossible { error } => Some(error),
        }
    }
}

/// Stands for what a poll said (FNV-1a), never 0: a job that is asked after for hours mostly says the same.
pub fn mark(status_code: Option<u16>, word: Option<&str>, error: Option<&str>) -> u32 {
    let code = status_code.unwrap_or_default().to_be_bytes();
    let texts = [word, error].map(Option::unwrap_or_default);
    let bytes = code.iter().chain(texts.iter().flat_map(|text| text.as_bytes()));
    bytes.fold(0x811c_9dc5_u32, |mark, byte| (mark ^ u32::from(*byte)).wrapping_mul(0x0100_0193)) | 1
}

/// A job as its provider names it, for webhooks that come to one address for all jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// The provider template's id.
    pub provider: String,
    /// The provider's own id of the job.
    pub id: String,
}

/// What is followed after the call, and how: written once, and read by those who judge callbacks and polls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    /// The provider template's id.
    pub provider: Option<String>,
    /// The expanded poll configuration, as JSON.
    pub poll_config: Option<String>,
    /// Whether the callback URL is put where the template says.
    pub use_callback: bool,
    /// The task's own callback rule, as JSON.
    pub callback_config: Option<String>,
    /// The vault reference of the provider's webhook secret.
    pub callback_secret: Option<String>,
    /// What the template's URLs need and the answer does not hold.
    pub provider_params: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(eases: bool) -> PollPolicy {
        PollPolicy { every_ms: 5_000, for_ms: 600_000, eases }
    }

    #[test]
    fn the_first_poll_comes_after_one_interval_and_tasks_are_spread() {
        let delays: Vec<i64> = (0..1000).map(|n| policy(false).delay_ms(TaskId::from_parts(9, 1, n), 0)).collect();
        assert!(delays.iter().all(|delay| (5_000..7_500).contains(delay)));
        for tenth in 0..10 {
            let from = 5_000 + tenth * 250;
            let inside = delays.iter().filter(|delay| (from..from + 250).contains(*delay)).count();
            assert!((60..140).contains(&inside), "{inside} of 1000 in the tenth from {from}");
        }
    }

    #[test]
    fn later_polls_keep_to_the_interval_within_a_tenth() {
        for polls in 1..200 {
            let delay = policy(false).delay_ms(TaskId::from_parts(9, 1, 7), polls);
            assert!((4_500..5_500).contains(&delay), "{delay}");
        }
    }

    #[test]
    fn polls_ease_off_to_once_a_minute_while_a_webhook_is_expected() {
        let task = TaskId::from_parts(9, 1, 7);
        let slow = policy(true).delay_ms(task, 100);
        assert!((54_000..66_000).contains(&slow), "{slow}");
        assert!((9_000..11_000).contains(&policy(true).delay_ms(task, 1)));
        let rare = PollPolicy { every_ms: 600_000, ..policy(true) };
        assert!((540_000..660_000).contains(&rare.delay_ms(task, 100)), "a longer interval stays");
    }
}
