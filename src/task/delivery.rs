//! The completion webhook's own small state: it is delivered, not attempted.

use std::time::Duration;

use super::Timestamp;

/// Where a completion webhook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Not yet answered with 2xx; another attempt is planned.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Every attempt failed.
    Failed,
}

/// The completion webhook of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// The status code of the latest answer; none if nothing answered.
    pub last_status_code: Option<u16>,
    /// When the next attempt is due; none once it is settled.
    pub next_attempt_at: Option<Timestamp>,
}

/// What came of one attempt to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOutcome {
    /// The receiver's status code, if it answered.
    pub status_code: Option<u16>,
    /// What went wrong, in words for people; none when it was delivered.
    pub error: Option<String>,
    /// Whether another attempt would be pointless (the address is refused by policy).
    pub hopeless: bool,
}

impl DeliveryOutcome {
    /// Whether the receiver has it.
    fn is_receipt(&self) -> bool {
        self.status_code.is_some_and(|code| (200..300).contains(&code))
    }
}

impl Delivery {
    /// Delays before each retry, seconds; the last one repeats.
    const SCHEDULE: [u64; 5] = [5, 15, 60, 180, 340];

    /// A delivery whose first attempt is due at once.
    pub fn due(now: Timestamp) -> Self {
        Self { status: DeliveryStatus::Pending, attempts: 0, last_status_code: None, next_attempt_at: Some(now) }
    }

    /// Whether the outcome of an attempt on what was `claimed` still says something. A receipt does as long as nothing is
    /// settled; a failure counts once, also where a commit that nobody answered has counted it.
    pub fn takes(self, claimed: Self, outcome: &DeliveryOutcome) -> bool {
        self.status == DeliveryStatus::Pending && (self == claimed || outcome.is_receipt())
    }

    /// Where the delivery stands after an attempt; `max_retries` counts attempts beyond the first.
    #[must_use]
    pub fn after(self, outcome: &DeliveryOutcome, max_retries: u32, now: Timestamp) -> Self {
        let attempts = self.attempts + 1;
        let (status, next_attempt_at) = if outcome.is_receipt() {
            (DeliveryStatus::Delivered, None)
        } else if attempts > max_retries || outcome.hopeless {
            (DeliveryStatus::Failed, None)
        } else {
            (DeliveryStatus::Pending, Some(now.plus(Self::delay(attempts))))
        };
        Self { status, attempts, last_status_code: outcome.status_code, next_attempt_at }
    }

    /// The delivery made due again by hand, whatever came of it before.
    #[must_use]
    pub fn again(self, now: Timestamp) -> Self {
        Self { attempts: 0, ..Self::due(now) }
    }

    fn delay(attempts: u32) -> Duration {
        let index = attempts.saturating_sub(1) as usize;
        Duration::from_secs(Self::SCHEDULE[index.min(Self::SCHEDULE.len() - 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> DeliveryOutcome {
        DeliveryOutcome { status_code: Some(code), error: None, hopeless: false }
    }

    #[test]
    fn it_is_retried_on_the_contracts_schedule_and_then_given_up() {
        let mut delivery = Delivery::due(Timestamp(0));
        let mut waits = Vec::new();
        for _ in 0..5 {
            delivery = delivery.after(&answered(500), 5, Timestamp(0));
            waits.push(delivery.next_attempt_at.unwrap().0 / 1000);
        }
        assert_eq!(waits, [5, 15, 60, 180, 340]);
        delivery = delivery.after(&answered(500), 5, Timestamp(0));
        assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Failed, 6));
    }

    #[test]
    fn only_2xx_is_delivered() {
        for (code, delivered) in [(200, true), (204, true), (299, true), (300, false), (301, false), (404, false)] {
            let after = Delivery::due(Timestamp(0)).after(&answered(code), 5, Timestamp(0));
            assert_eq!(after.status == DeliveryStatus::Delivered, delivered, "{code}");
        }
    }

    #[test]
    fn a_failure_counts_once_and_a_receipt_whenever_it_comes() {
        let claimed = Delivery::due(Timestamp(0));
        assert!(claimed.takes(claimed, &answered(500)));
        let after = claimed.after(&answered(500), 5, Timestamp(0));
        assert!(!after.takes(claimed, &answered(500)) && after.takes(claimed, &answered(200)));
        let settled = after.after(&answered(200), 5, Timestamp(0));
        assert!(!settled.takes(settled, &answered(500)) && !settled.takes(after, &answered(200)));
    }

    #[test]
    fn no_retries_means_one_attempt() {
        let after = Delivery::due(Timestamp(0)).after(&answered(503), 0, Timestamp(0));
        assert_eq!(after.status, DeliveryStatus::Failed);
    }
}
