//! What [`Store`] promises, as tests: one function per promise. [`store_contract!`](crate::store_contract) holds a
//! backend to all of them.
//!
//! Time is made up, and every promise gets a store of its own.

mod browse;
mod claims;
mod endpoints;
mod lists;
mod people;
mod polls;
mod tasks;
mod teams;
mod timers;
mod vault;
mod webhooks;

use std::sync::Arc;

use bytes::Bytes;

pub use self::browse::*;
pub use self::claims::*;
pub use self::endpoints::*;
pub use self::lists::*;
pub use self::people::*;
pub use self::polls::*;
pub use self::tasks::*;
pub use self::teams::*;
pub use self::timers::*;
pub use self::vault::*;
pub use self::webhooks::*;
use super::{Capacity, Claimed, Counts, HostId, Idempotency, NewTask, NewTeam, Store, StoreError, Sweep, Team};
use crate::task::{
    Answer, Backoff, CallbackVerdict, EarlyCallbacks, Event, Follow, Job, Method, Payload, Policy, PollPolicy, Request,
    Status, Task, TaskId, TeamId, Then, Timestamp, Why,
};

/// Holds a backend to the contract: `store_contract!(name, future)`, where the future makes an empty store (anything
/// that dereferences to one).
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $make:expr) => {
        $crate::store_contract!($name, $make, [
            a_claim_is_exclusive,
            a_claim_holds_the_task_and_what_to_call,
            what_is_due_is_handed_to_who_has_room,
            priority_counts_inside_a_team_then_due_time_then_age,
            a_better_task_goes_before_the_one_that_was_next,
            teams_take_turns,
            a_team_with_many_due_tasks_does_not_hold_up_another,
            a_full_host_does_not_hold_up_other_hosts,
            calls_in_flight_count_towards_a_hosts_bound,
            the_last_slots_are_not_for_a_team_with_many_calls,
            a_team_that_is_alone_may_have_every_slot,
            two_busy_teams_leave_room_for_a_third,
            what_is_reserved_is_not_handed_to_a_team_with_many_calls,
            a_team_that_is_alone_is_handed_every_slot,
            a_cancelled_task_is_not_claimed,
            a_task_that_was_given_back_can_be_claimed_again,
            void_claims_interrupts_what_was_called,
            a_task_can_be_claimed_after_its_claim_was_voided,
            a_task_reads_back_as_it_was_created,
            an_id_is_taken_once,
            what_is_missing_is_not_found,
            a_transition_saves_state_result_history_and_webhook_together,
            a_refused_transition_changes_nothing,
            an_answer_is_kept_until_a_signal_makes_it_the_result,
            the_latest_progress_is_kept,
            a_late_callback_is_kept_once,
            late_news_are_kept_until_the_end_comes,
            a_late_callback_over_a_mebibyte_is_not_kept,
            events_are_told_in_order,
            a_repeated_creation_answers_the_first,
            an_idempotency_key_stands_for_one_request,
            an_idempotency_key_belongs_to_one_team,
            an_idempotency_key_expires_after_a_day,
            an_idempotency_key_is_free_again_when_its_task_is_gone,
            deletion_removes_everything,
            only_a_final_task_can_be_deleted,
            retention_removes_the_oldest_in_small_steps,
            retention_waits_for_a_webhook,
            a_list_is_newest_first_in_pages_with_a_total,
            what_a_page_has_no_room_for_is_named,
            a_list_can_be_narrowed_to_any_status,
            a_list_shows_one_teams_tasks_only,
            the_counts_kept_are_the_tasks_counted,
            a_delay_ends_when_its_time_comes,
            a_wait_times_out_at_its_deadline,
            timers_are_fired_earliest_first_and_no_more_than_asked,
            a_timer_whose_task_moved_on_is_dropped,
            a_missed_deadline_is_put_off,
            the_next_timer_is_the_earliest,
            a_webhook_is_claimed_once,
            a_webhook_that_fails_is_planned_again_until_it_is_given_up,
            a_webhook_that_fails_is_counted_once,
            a_delivered_webhook_stays_delivered,
            a_webhook_that_was_given_back_can_be_claimed_again,
            a_webhook_can_be_sent_again_by_hand,
            resending_needs_an_ended_task_that_wants_it,
            the_next_webhook_is_the_earliest_that_is_free,
            a_teams_name_is_taken_once,
            a_secret_is_sealed_for_its_team_and_rotated,
            a_rate_limit_is_set_and_lifted,
            a_key_is_found_until_it_is_revoked,
            keys_are_listed_oldest_first_by_team,
            a_poll_is_claimed_when_it_is_due_and_once,
            a_poll_brings_the_target_answer_along,
            a_poll_that_was_given_back_can_be_claimed_again,
            a_poll_of_a_task_that_ended_is_not_claimed,
            a_poll_whose_host_has_no_room_is_put_off,
            the_next_poll_is_the_earliest_that_is_free,
            a_token_is_its_teams_until_it_is_revoked,
            a_revoked_token_has_no_value_left,
            seals_are_replaced_only_as_they_were_read,
            a_teams_seals_are_replaced_only_as_they_were_read,
            an_endpoint_is_found_by_its_latest_address,
            an_endpoint_is_its_teams_own,
            a_job_finds_the_task_whose_answer_named_it,
            an_early_event_meets_its_task_once_the_answer_names_it,
            early_events_are_bounded_and_forgotten,
            a_search_walks_a_teams_tasks_newest_first,
            a_search_ends_with_its_steps_and_goes_on_from_there,
            a_search_can_be_narrowed,
            a_search_can_be_narrowed_by_time_and_webhook,
            a_search_over_teams_is_one_list,
            what_is_stuck_is_found,
            depths_are_counted_by_team,
            the_first_account_uses_the_setup_link_up,
            an_account_is_found_by_id_and_address,
            an_identity_signs_one_account_in,
            a_session_is_found_until_it_ends,
            a_new_password_ends_all_other_sessions,
            a_member_is_added_once_and_can_change_and_leave,
            a_team_keeps_an_owner,
            an_invitation_is_used_once,
            an_invitation_expires_or_is_taken_back,
            a_change_and_its_line_are_one_act,
            teams_keys_and_secrets_are_changed_with_a_line,
            the_audit_log_is_told_newest_first_in_pages,
            the_audit_log_shows_a_team_its_members_coming_and_going,
            what_is_over_is_forgotten,
            small_values_are_kept,
            a_ping_is_answered,
        ]);
    };
    ($name:ident, $make:expr, [$($promise:ident,)*]) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $promise() {
                    let store = $make.await;
                    $crate::store::contract::$promise(&*store).await;
                }
            )*
        }
    };
}

/// The moment at which most promises begin.
pub(super) const T: Timestamp = Timestamp(1_700_000_000_000);
const MINUTE: i64 = 60_000;
const POLLS: PollPolicy = PollPolicy { every_ms: 5_000, for_ms: 10 * MINUTE, eases: false };
const HOST: HostId = HostId(7);

/// The id of the `n`-th task.
fn id(n: u16) -> TaskId {
    TaskId::from_parts(1_700_000_000_000, n, u64::from(n) * 31)
}

async fn team(store: &dyn Store, name: &str) -> TeamId {
    let uid = uuid::Uuid::from_u128(name.bytes().fold(7, |sum, byte| sum * 256 + u128::from(byte)));
    let new = NewTeam { uid, name: name.to_owned(), rate_limit: None };
    let made: Team = store.create_team(new, Arc::new(|id| vec![id.0.to_le_bytes()[0]]), T).await.unwrap();
    made.id
}

fn policy(then: Then) -> Policy {
    Policy {
        max_retries: 2,
        backoff: Backoff::Linear,
        then,
        max_wait_ms: MINUTE,
        callback: then != Then::Finish,
        signal: then != Then::Finish,
        completion: true,
    }
}

fn request(n: u16) -> Request {
    Request {
        target_url: format!("https://target.example/{n}"),
        method: Method::Put,
        headers: vec![("X-One".to_owned(), "1".to_owned()), ("X-Two".to_owned(), "zwei ü".to_owned())],
        body: Some(format!("body of {n}")),
        timeout_ms: 1500,
        retry_on: vec![429, 409],
        delay_until: None,
        wait_for_signal: true,
        on_complete_url: Some("https://hook.example/".to_owned()),
        on_complete_max_retries: 1,
        metadata: vec![("order".to_owned(), n.to_string())],
        retry_of: None,
        depth: u32::from(n % 3),
        follow: Follow::default(),
    }
}

/// A task that waits for a callback or signal after its call, due at once.
/// A pending task that will wait for its callback.
pub(crate) fn new(team: TeamId, n: u16) -> NewTask {
    with_policy(team, n, policy(Then::Wait))
}

fn with_policy(team: TeamId, n: u16, policy: Policy) -> NewTask {
    let task = Task::new(id(n), team, 5, policy, None, T);
    NewTask { task, request: request(n), host: HOST, key_number: 3, idempotency: None }
}

fn delayed(team: TeamId, n: u16, due_at: Timestamp) -> NewTask {
    let task = Task::new(id(n), team, 5, policy(Then::Wait), Some(due_at), T);
    NewTask { task, ..new(team, n) }
}

fn known(key: u8, body: u8) -> Idempotency {
    Idempotency { key: [key; 32], body: [body; 32] }
}

fn asked_with(new: NewTask, key: u8, body: u8) -> NewTask {
    NewTask { idempotency: Some(known(key, body)), ..new }
}

fn room(slots: usize) -> Capacity {
    Capacity { slots, per_host: 1000, ..Capacity::default() }
}

/// Claims up to `slots` tasks; answers their ids in turn.
async fn claim(store: &dyn Store, slots: usize) -> Vec<TaskId> {
    ids(&store.claim(room(slots), T.plus_millis(MINUTE), T).await.unwrap())
}

fn ids(claimed: &[Claimed]) -> Vec<TaskId> {
    claimed.iter().map(|claim| claim.task.id).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "events take a payload or none")]
fn told(text: &'static str) -> Option<Payload> {
    Some(Payload::told(Bytes::from_static(text.as_bytes())))
}

fn accepted(attempt: u32) -> Event {
    Event::Answered { attempt, answer: Answer::Accepted { status: 202, job: None }, duration_ms: 12 }
}

fn callback(verdict: CallbackVerdict) -> Event {
    Event::Callback { verdict, early: EarlyCallbacks::Accept }
}

/// Creates a task and brings it to `waiting`.
pub(crate) async fn waiting(store: &dyn Store, team: TeamId, n: u16) -> TaskId {
    store.create(new(team, n)).await.unwrap();
    assert_eq!(claim(store, 1).await, [id(n)]);
    let answer = Payload { status_code: 202, headers: vec![("a".into(), "b".into())], ..told("started").unwrap() };
    store.transition(id(n), accepted(1), Some(answer), T).await.unwrap();
    id(n)
}

/// Creates a task and completes it by a callback.
async fn completed(store: &dyn Store, team: TeamId, n: u16, at: Timestamp) -> TaskId {
    let id = waiting(store, team, n).await;
    store.transition(id, callback(CallbackVerdict::Done), told("result"), at).await.unwrap();
    id
}

/// Creates tasks in all statuses but `polling`; the task's number is that of its status.
async fn one_of_each(store: &dyn Store, team: TeamId) {
    waiting(store, team, 3).await;
    completed(store, team, 5, T).await;
    let failed = waiting(store, team, 6).await;
    store.transition(failed, callback(CallbackVerdict::Failed("no".to_owned())), told("{}"), T).await.unwrap();
    let late = waiting(store, team, 7).await;
    store.transition(late, Event::DeadlinePassed, None, T.plus_millis(MINUTE)).await.unwrap();
    let cancelled = waiting(store, team, 8).await;
    store.transition(cancelled, Event::Cancel, None, T).await.unwrap();
    store.create(new(team, 2)).await.unwrap();
    assert_eq!(claim(store, 1).await, [id(2)]);
    store.create(delayed(team, 1, T.plus_millis(1))).await.unwrap();
    store.create(new(team, 0)).await.unwrap();
}

fn sweep(limit: usize) -> Sweep {
    Sweep { limit, missed_before: Timestamp(0), not_before: Timestamp(0) }
}

/// The counts without the statuses that nothing is in.
async fn counts(store: &dyn Store) -> Counts {
    store.counts().await.unwrap().into_iter().filter(|(_, tasks)| *tasks > 0).collect()
}

fn why<T>(outcome: Result<T, StoreError>) -> Why {
    match outcome {
        Err(StoreError::Refused(refusal)) => refusal.why,
        Err(error) => panic!("{error:?} is no refusal"),
        Ok(_) => panic!("it should have been refused"),
    }
}

fn is_missing<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::NotFound))
}

async fn status(store: &dyn Store, id: TaskId) -> Status {
    store.state(id).await.unwrap().status()
}
