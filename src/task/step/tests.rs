//! The contract's decisions, each with its name.

use super::table::{NOW, POLL, answer, new_task, policy, poll_event};
use super::*;
use crate::task::{Policy, PollPolicy};

const MINUTE: i64 = 60_000;

/// A task, and the steps that were taken with it.
struct Story {
    task: Task,
    last: Option<Step>,
}

impl Story {
    fn new(policy: Policy) -> Self {
        Self { task: new_task(policy), last: None }
    }

    fn called(policy: Policy) -> Self {
        Self::new(policy).then(&Event::Claimed { lease_until: NOW })
    }

    fn waiting() -> Self {
        Self::called(policy(Then::Wait)).answered("accepted")
    }

    #[track_caller]
    fn then(mut self, event: &Event) -> Self {
        let step = step(&self.task, event, NOW).unwrap_or_else(|refusal| panic!("{event:?}: {refusal:?}"));
        self.task = step.task.clone();
        self.last = Some(step);
        self
    }

    #[track_caller]
    fn answered(self, name: &str) -> Self {
        let event = Event::Answered { attempt: self.task.attempt, answer: answer(name), duration_ms: 5 };
        self.then(&event)
    }

    #[track_caller]
    fn interrupted(self) -> Self {
        let event = Event::Interrupted { attempt: self.task.attempt };
        self.then(&event)
    }

    fn refused(&self, event: &Event) -> Refusal {
        step(&self.task, event, NOW).expect_err("it should have been refused")
    }

    fn last(&self) -> &Step {
        self.last.as_ref().expect("no step yet")
    }

    fn status(&self) -> Status {
        self.task.status()
    }
}

fn callback(verdict: CallbackVerdict) -> Event {
    Event::Callback { verdict, early: EarlyCallbacks::Accept }
}

fn done() -> Event {
    callback(CallbackVerdict::Done)
}

fn interim() -> Event {
    callback(CallbackVerdict::Interim)
}

fn returned(attempt: u32) -> Event {
    Event::Returned { attempt, started_at: Some(NOW) }
}

fn with_retries(then: Then, max_retries: u32) -> Policy {
    Policy { max_retries, ..policy(then) }
}

#[test]
fn a_callback_may_overtake_the_answer_to_the_call() {
    let story = Story::called(policy(Then::Wait)).then(&done());
    assert_eq!((story.status(), story.last().keep), (Status::Completed, Keep::Result));
    assert!(story.last().notify);
}

#[test]
fn the_overtaken_answer_is_an_event_and_nothing_more() {
    let overtaken = Story::called(policy(Then::Wait)).then(&done());
    let before = overtaken.task.clone();
    let story = overtaken.answered("accepted");
    assert_eq!(story.task, before);
    assert_eq!((story.last().keep, story.last().notify, story.last().log.len()), (Keep::Nothing, false, 1));
}

#[test]
fn an_answer_that_ended_the_task_is_not_written_down_twice() {
    let story = Story::called(policy(Then::Finish)).answered("accepted");
    let again = Event::Answered { attempt: 1, answer: answer("accepted"), duration_ms: 5 };
    assert_eq!(story.refused(&again).why, Why::Stale);
}

#[test]
fn a_callback_between_attempts_ends_the_task_without_another_call() {
    let delayed = Story::called(policy(Then::Wait)).answered("retryable");
    assert_eq!((delayed.status(), delayed.then(&done()).status()), (Status::Delayed, Status::Completed));
    let due = Story::called(policy(Then::Wait)).interrupted();
    assert_eq!((due.status(), due.then(&done()).status()), (Status::Pending, Status::Completed));
}

#[test]
fn a_callback_before_the_first_attempt_meets_a_conflict() {
    assert_eq!(Story::new(policy(Then::Wait)).refused(&done()).why, Why::Conflict);
}

#[test]
fn lost_attempts_count_and_are_repeated_without_backoff() {
    let story = Story::called(with_retries(Then::Finish, 1)).interrupted();
    assert_eq!(story.task.state, State::Pending { since: NOW });
    assert_eq!((story.task.retry_count, story.task.attempt), (1, 1));
    let story = story.then(&Event::Claimed { lease_until: NOW }).interrupted();
    assert_eq!(story.status(), Status::Failed);
    assert_eq!(story.task.error.as_deref(), Some("Attempt interrupted; outcome unknown"));
}

#[test]
fn a_paid_job_without_retries_is_never_sent_twice() {
    let story = Story::called(with_retries(Then::Wait, 0)).interrupted();
    assert_eq!(story.task.state, State::Waiting { deadline: NOW.plus_millis(MINUTE) });
    assert_eq!(story.refused(&Event::Claimed { lease_until: NOW }).why, Why::Conflict);
}

#[test]
fn a_call_that_was_never_written_is_given_back_uncounted() {
    let story = Story::called(with_retries(Then::Wait, 0)).then(&returned(1));
    assert_eq!((story.status(), story.task.attempt, story.task.retry_count), (Status::Pending, 0, 0));
    assert_eq!(story.then(&Event::Claimed { lease_until: NOW }).task.attempt, 1);
}

#[test]
fn a_call_that_is_given_back_a_second_time_does_not_give_back_the_next_one() {
    let given_back = Story::called(with_retries(Then::Wait, 0)).then(&returned(1));
    let later = NOW.plus_millis(1);
    let again = step(&given_back.task, &Event::Claimed { lease_until: later }, later).unwrap().task;
    assert_eq!(again.attempt, 1, "the number is used again");
    assert_eq!(step(&again, &returned(1), later).unwrap_err().why, Why::Stale);
}

#[test]
fn an_unknown_outcome_of_the_last_attempt_waits_rather_than_fails() {
    for name in ["unknown", "too large"] {
        let story = Story::called(with_retries(Then::Wait, 0)).answered(name);
        assert_eq!((story.status(), story.last().keep), (Status::Waiting, Keep::Nothing), "{name}");
        let story = story.then(&Event::Signal { error: None, result: false });
        assert_eq!((story.status(), story.last().keep), (Status::Completed, Keep::AnswerAsResult));
    }
    assert_eq!(Story::called(with_retries(Then::Finish, 0)).answered("unknown").status(), Status::Failed);
}

#[test]
fn polling_needs_a_start_answer() {
    let polls = with_retries(POLL, 0);
    assert_eq!(Story::called(polls).answered("accepted").status(), Status::Polling);
    assert_eq!(Story::called(polls).answered("unknown").status(), Status::Waiting);
    assert_eq!(Story::called(polls).then(&interim()).answered("accepted").status(), Status::Polling);
    assert_eq!(Story::called(polls).then(&interim()).answered("retryable").status(), Status::Waiting);
}

#[test]
fn an_interim_callback_proves_acceptance_so_the_task_waits_instead_of_retrying() {
    for name in ["rejected", "retryable", "not sent", "unknown", "too large", "forbidden"] {
        let story = Story::called(with_retries(Then::Wait, 5)).then(&interim());
        assert_eq!((story.status(), story.last().keep), (Status::Processing, Keep::Progress));
        assert_eq!(story.answered(name).status(), Status::Waiting, "{name}");
    }
    assert_eq!(Story::called(with_retries(Then::Wait, 5)).then(&interim()).interrupted().status(), Status::Waiting);
}

#[test]
fn a_proven_task_that_is_given_back_waits_instead_of_calling_again() {
    let retried = Story::called(with_retries(Then::Wait, 5)).interrupted().then(&Event::Claimed { lease_until: NOW });
    let story = retried.then(&interim()).then(&returned(2));
    assert_eq!((story.status(), story.task.attempt), (Status::Waiting, 1));
}

#[test]
fn an_interim_callback_between_attempts_stops_the_retries() {
    let story = Story::called(with_retries(POLL, 5)).answered("retryable").then(&interim());
    assert_eq!(story.status(), Status::Waiting, "there is no start answer to poll with");
}

#[test]
fn interim_callbacks_do_not_extend_the_deadline() {
    let waiting = Story::waiting();
    let before = waiting.task.state;
    let later = NOW.plus_millis(MINUTE / 2);
    let step = step(&waiting.task, &interim(), later).unwrap();
    assert_eq!((step.task.state, step.keep), (before, Keep::Progress));
    assert_eq!(step.log, [Entry::CallbackReceived { error: None }, Entry::Progress]);
}

#[test]
fn the_clock_starts_when_the_wait_is_committed() {
    assert_eq!(Story::waiting().task.state, State::Waiting { deadline: NOW.plus_millis(MINUTE) });
}

#[test]
fn while_the_row_says_waiting_a_callback_wins_however_late() {
    let waiting = Story::waiting();
    let long_after = NOW.plus_millis(100 * MINUTE);
    assert_eq!(step(&waiting.task, &done(), long_after).unwrap().task.status(), Status::Completed);
}

#[test]
fn a_callback_after_the_timeout_finds_its_id_expired() {
    let waiting = Story::waiting();
    let ended = step(&waiting.task, &Event::DeadlinePassed, NOW.plus_millis(MINUTE)).unwrap();
    assert_eq!((ended.task.status(), ended.keep, ended.notify), (Status::Timeout, Keep::Nothing, true));
    let refusal = step(&ended.task, &done(), NOW).unwrap_err();
    assert_eq!((refusal.why, refusal.keep_late), (Why::Gone, Late::End));
}

#[test]
fn one_late_body_is_kept_and_news_make_room_for_the_end() {
    let mut story = Story::waiting().then(&Event::Cancel);
    let failed = callback(CallbackVerdict::Failed("no credit".to_owned()));
    for (there, news, end) in
        [(Late::None, Late::News, Late::End), (Late::News, Late::None, Late::End), (Late::End, Late::None, Late::None)]
    {
        story.task.late = there;
        assert_eq!(story.refused(&interim()).keep_late, news, "{there:?}");
        assert_eq!(story.refused(&done()).keep_late, end, "{there:?}");
        assert_eq!(story.refused(&failed).keep_late, end, "{there:?}");
    }
}

#[test]
fn failures_without_retry_end_the_task_at_once() {
    for name in ["rejected", "forbidden"] {
        let story = Story::called(with_retries(Then::Wait, 5)).answered(name);
        assert_eq!((story.status(), story.last().keep), (Status::Failed, Keep::Result), "{name}");
        assert_eq!(story.task.error.as_deref(), Some("it went wrong"));
    }
}

#[test]
fn the_delays_between_attempts_are_the_contracts() {
    let mut story = Story::new(with_retries(Then::Finish, 5));
    let mut delays = Vec::new();
    for _ in 0..5 {
        story = story.then(&Event::Claimed { lease_until: NOW }).answered("retryable");
        let State::Delayed { due_at } = story.task.state else { panic!("{:?}", story.task.state) };
        delays.push(due_at.millis_since(NOW) / 1000);
        story.task.state = State::Pending { since: NOW };
    }
    assert_eq!(delays, [1, 2, 4, 8, 16]);
    assert_eq!(story.then(&Event::Claimed { lease_until: NOW }).answered("retryable").status(), Status::Failed);
}

#[test]
fn retry_after_is_obeyed_up_to_an_hour_and_never_shortens_the_backoff() {
    for (wish, delay) in [(None, 1_000), (Some(10), 1_000), (Some(90_000), 90_000), (Some(i64::MAX), 3_600_000)] {
        let answer = Answer::Retryable { status: 429, error: "slow down".to_owned(), retry_after_ms: wish };
        let story = Story::called(with_retries(Then::Wait, 5));
        let story = story.then(&Event::Answered { attempt: 1, answer, duration_ms: 5 });
        let due_at = NOW.plus_millis(delay);
        assert_eq!(story.task.state, State::Delayed { due_at }, "{wish:?}");
        let planned =
            matches!(story.last().log[..], [Entry::AttemptFinished { next_attempt_at: Some(at), .. }] if at == due_at);
        assert!(planned, "{:?}", story.last().log);
    }
}

#[test]
fn a_signal_with_a_result_brings_it_and_one_without_leaves_the_answer() {
    for (result, keep) in [(true, Keep::Result), (false, Keep::AnswerAsResult)] {
        let story = Story::waiting().then(&Event::Signal { error: None, result });
        assert_eq!((story.status(), story.last().keep), (Status::Completed, keep));
    }
    let story = Story::waiting().then(&Event::Signal { error: Some("no".to_owned()), result: false });
    assert_eq!((story.status(), story.task.error.as_deref()), (Status::Failed, Some("no")));
}

#[test]
fn a_cancellation_tells_nobody() {
    assert!(!Story::waiting().then(&Event::Cancel).last().notify);
}

fn polling(eases: bool) -> Story {
    let Then::Poll(poll) = POLL else { panic!("{POLL:?}") };
    Story::called(policy(Then::Poll(PollPolicy { eases, ..poll }))).answered("accepted")
}

#[test]
fn polling_has_a_clock_of_its_own_and_a_first_poll() {
    let story = polling(false);
    assert_eq!(story.task.state, State::Polling { deadline: NOW.plus_millis(90_000) });
    let first = story.task.polling.next_at.unwrap().millis_since(NOW);
    assert!((5_000..7_500).contains(&first), "{first}");
}

#[test]
fn three_refusals_in_a_row_fail_the_task_and_another_answer_between_forgives() {
    let twice = polling(false).then(&poll_event("poll refused", 1)).then(&poll_event("poll refused", 2));
    let forgiven = twice.then(&poll_event("poll later", 3)).then(&poll_event("poll refused", 4));
    let again = forgiven.then(&poll_event("poll refused", 5));
    assert_eq!(again.status(), Status::Polling);
    let failed = again.then(&poll_event("poll refused", 6));
    assert_eq!((failed.status(), failed.last().keep), (Status::Failed, Keep::Result));
    assert_eq!(failed.task.error.as_deref(), Some("the provider said no"));
}

#[test]
fn a_poll_that_says_the_same_again_is_not_written_down() {
    let once = polling(false).then(&poll_event("poll pending", 1));
    assert!(matches!(once.last().log[..], [Entry::PollFinished { poll: 1, .. }]), "{:?}", once.last().log);
    let twice = once.then(&poll_event("poll pending", 2));
    assert_eq!(twice.last().log, []);
    let news = twice.then(&poll_event("poll later", 3));
    assert!(matches!(news.last().log[..], [Entry::PollFinished { poll: 3, error: Some(_), .. }]));
}

#[test]
fn a_poll_that_cannot_be_made_ends_the_task_only_if_no_webhook_is_expected() {
    let alone = polling(false).then(&poll_event("poll impossible", 1));
    assert_eq!(alone.status(), Status::Failed);
    let expected = polling(true).then(&poll_event("poll impossible", 1));
    assert_eq!((expected.status(), expected.task.polling.next_at), (Status::Polling, None));
    assert_eq!(expected.then(&done()).status(), Status::Completed);
}

#[test]
fn three_refusals_in_a_row_end_only_the_polling_where_a_webhook_is_expected() {
    let refused = (1..=3).fold(polling(true), |story, poll| story.then(&poll_event("poll refused", poll)));
    assert_eq!((refused.status(), refused.task.polling.next_at), (Status::Polling, None));
    assert_eq!(refused.then(&done()).status(), Status::Completed);
}

#[test]
fn a_providers_wish_puts_the_next_poll_off() {
    let verdict = PollVerdict::Later { error: "slow down".to_owned(), said: None, retry_after_ms: Some(120_000) };
    let event = Event::Polled { poll: 1, verdict, status_code: Some(429), word: None, duration_ms: 1 };
    let next = polling(false).then(&event).task.polling.next_at.unwrap();
    assert_eq!(next.millis_since(NOW), 120_000);
}

#[test]
fn a_callback_that_is_too_large_is_written_down_and_asked_for() {
    let story = polling(true).then(&Event::CallbackLeft(Left::TooLarge { limit: 9 }));
    assert_eq!((story.status(), story.task.polling.next_at), (Status::Polling, Some(NOW)));
    assert!(matches!(story.last().log[..], [Entry::CallbackReceived { error: Some(_) }]));
}
