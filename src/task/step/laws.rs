//! What holds however events interleave; proptest looks for the exception.

use proptest::prelude::*;

use super::table::{POLL, answer, new_task, poll_event};
use super::*;
use crate::task::{Backoff, Policy};

const POLLS: [&str; 6] = ["poll done", "poll failed", "poll pending", "poll refused", "poll later", "poll impossible"];

const ANSWERS: [&str; 7] = ["accepted", "rejected", "retryable", "not sent", "unknown", "too large", "forbidden"];

/// An event whose attempt number is given as the distance from the current one.
#[derive(Clone, Debug)]
enum Happening {
    Answered { name: &'static str, behind: u32 },
    Returned { behind: u32 },
    Interrupted { behind: u32 },
    Polled { name: &'static str, ahead: u32 },
    Other(Event),
}

impl Happening {
    fn event(self, task: &Task) -> Event {
        let attempt = |behind| task.attempt.saturating_sub(behind);
        match self {
            Self::Answered { name, behind } => {
                Event::Answered { attempt: attempt(behind), answer: answer(name), duration_ms: 1 }
            }
            Self::Returned { behind } => Event::Returned { attempt: attempt(behind), started_at: task.started_at },
            Self::Interrupted { behind } => Event::Interrupted { attempt: attempt(behind) },
            Self::Polled { name, ahead } => poll_event(name, task.polling.polls + ahead),
            Self::Other(event) => event,
        }
    }
}

fn behind() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0_u32), 1 => 1..3_u32]
}

fn callbacks() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![
        1 => Just(CallbackVerdict::Done),
        1 => Just(CallbackVerdict::Failed("provider".to_owned())),
        4 => Just(CallbackVerdict::Interim),
    ];
    let early = prop_oneof![3 => Just(EarlyCallbacks::Accept), 1 => Just(EarlyCallbacks::Reject)];
    (verdict, early).prop_map(|(verdict, early)| Event::Callback { verdict, early })
}

fn happenings() -> impl Strategy<Value = Happening> {
    let others = prop_oneof![
        2 => Just(Event::Due),
        6 => Just(Event::Claimed { lease_until: Timestamp(0) }),
        2 => callbacks(),
        1 => (any::<bool>(), any::<bool>())
            .prop_map(|(failed, result)| Event::Signal { error: failed.then(|| "app".to_owned()), result }),
        1 => Just(Event::Cancel),
        1 => Just(Event::CallbackLeft(Left::TooLarge { limit: 9 })),
        1 => Just(Event::DeadlinePassed),
    ];
    prop_oneof![
        6 => (prop::sample::select(&ANSWERS[..]), behind()).prop_map(|(name, behind)| Happening::Answered { name, behind }),
        2 => behind().prop_map(|behind| Happening::Returned { behind }),
        2 => behind().prop_map(|behind| Happening::Interrupted { behind }),
        3 => (prop::sample::select(&POLLS[..]), prop_oneof![4 => Just(1_u32), 1 => 0..3_u32])
            .prop_map(|(name, ahead)| Happening::Polled { name, ahead }),
        9 => others.prop_map(Happening::Other),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let then = prop_oneof![Just(Then::Finish), Just(Then::Wait), Just(POLL)];
    (0..=10_u32, then, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(max_retries, then, callback, signal, completion)| Policy {
            max_retries,
            backoff: Backoff::Linear,
            then,
            max_wait_ms: 5_000,
            callback,
            signal,
            completion,
        },
    )
}

type Script = Vec<(Happening, i64)>;

fn scripts() -> impl Strategy<Value = Script> {
    prop::collection::vec((happenings(), 0..8_000_i64), 0..60)
}

/// Plays a script, and shows `look` every step that was taken, with the task before it.
fn play(policy: Policy, script: Script, mut look: impl FnMut(&Task, &Event, &Step)) -> Task {
    let mut task = new_task(policy);
    let mut now = task.created_at;
    for (happening, wait) in script {
        now = now.plus_millis(wait);
        let event = happening.event(&task);
        if let Ok(step) = step(&task, &event, now) {
            look(&task, &event, &step);
            task = step.task;
        }
    }
    task
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_final_state_never_changes(policy in policies(), script in scripts()) {
        play(policy, script, |before, event, step| {
            if before.status().is_final() {
                assert_eq!(&step.task, before, "{event:?}");
                assert_eq!(step.keep, Keep::Nothing);
            }
        });
    }

    #[test]
    fn a_task_completes_once_and_tells_once(policy in policies(), script in scripts()) {
        let (mut endings, mut told) = (0, 0);
        let task = play(policy, script, |_, _, step| {
            endings += step.log.iter().filter(|entry| matches!(entry, Entry::Ended { .. })).count();
            told += usize::from(step.notify);
        });
        prop_assert_eq!(endings, usize::from(task.status().is_final()));
        let tell = policy.completion && task.status().is_final() && task.status() != Status::Cancelled;
        prop_assert_eq!(told, usize::from(tell));
    }

    #[test]
    fn attempts_never_exceed_retries_by_more_than_one(policy in policies(), script in scripts()) {
        play(policy, script, |_, _, step| {
            assert!(step.task.attempt <= policy.max_retries + 1);
            assert!(step.task.retry_count <= policy.max_retries);
        });
    }

    #[test]
    fn a_callback_is_consumed_once(policy in policies(), script in scripts()) {
        let mut consumed = 0;
        play(policy, script, |_, event, step| {
            let ends = matches!(event, Event::Callback { verdict, .. } if *verdict != CallbackVerdict::Interim);
            consumed += usize::from(ends);
            assert!(!ends || step.task.status().is_final());
        });
        prop_assert!(consumed <= 1);
        prop_assert!(policy.callback || consumed == 0);
    }

    #[test]
    fn a_proven_task_never_calls_again(policy in policies(), script in scripts()) {
        play(policy, script, |before, event, step| {
            assert!(!before.accepted || !matches!(event, Event::Claimed { .. }));
            assert!(!step.task.accepted || !matches!(step.task.state, State::Pending { .. } | State::Delayed { .. }));
        });
    }

    #[test]
    fn only_the_holder_of_the_current_attempt_moves_a_call_on(policy in policies(), script in scripts()) {
        play(policy, script, |before, event, step| {
            let about = match event {
                Event::Answered { attempt, .. } | Event::Returned { attempt, .. } | Event::Interrupted { attempt } => *attempt,
                _ => return,
            };
            assert_eq!(about, before.attempt);
            assert!(before.status() == Status::Processing || step.task == *before);
        });
    }

    #[test]
    fn a_poll_is_planned_only_while_a_task_polls(policy in policies(), script in scripts()) {
        play(policy, script, |_, event, step| {
            let polling = matches!(step.task.state, State::Polling { .. });
            assert!(polling || step.task.polling.next_at.is_none(), "{event:?}");
            assert!(step.task.polling.refusals < REFUSALS_MAX || step.task.status().is_final());
        });
    }

    #[test]
    fn each_poll_counts_once(policy in policies(), script in scripts()) {
        play(policy, script, |before, event, step| {
            let polled = u32::from(matches!(event, Event::Polled { .. }));
            assert_eq!(step.task.polling.polls, before.polling.polls + polled);
        });
    }
}
