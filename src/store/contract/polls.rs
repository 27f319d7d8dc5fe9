//! Polls: when they are due, and who has one in hand.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::task::PollVerdict;

/// Creates a task and brings it to `polling`; answers it as it is then.
async fn polling(store: &dyn Store, team: TeamId, n: u16) -> Task {
    store.create(with_policy(team, n, policy(Then::Poll(POLLS)))).await.unwrap();
    assert_eq!(claim(store, 1).await, [id(n)]);
    store.transition(id(n), accepted(1), told("the answer"), T).await.unwrap()
}

async fn due(store: &dyn Store, now: Timestamp) -> Vec<TaskId> {
    let claimed = store.claim_polls(room(9), now).await.unwrap();
    claimed.into_iter().map(|claim| claim.record.task.id).collect()
}

fn pending(poll: u32) -> Event {
    Event::Polled { poll, verdict: PollVerdict::Pending, status_code: Some(200), word: None, duration_ms: 1 }
}

pub async fn a_poll_is_claimed_when_it_is_due_and_once(store: &dyn Store) {
    let team = team(store, "a").await;
    let task = polling(store, team, 1).await;
    let at = task.polling.next_at.unwrap();
    assert_eq!(due(store, at.plus_millis(-1)).await, []);
    assert_eq!(due(store, at).await, [id(1)]);
    assert_eq!(due(store, at.plus_millis(MINUTE)).await, []);
    let after = store.transition(id(1), pending(1), None, at).await.unwrap();
    let next = after.polling.next_at.unwrap();
    assert!(next > at && after.polling.polls == 1);
    assert_eq!(store.state(id(1)).await.unwrap(), after);
    assert_eq!(due(store, next.plus_millis(-1)).await, []);
    assert_eq!(due(store, next).await, [id(1)]);
}

pub async fn a_poll_brings_the_target_answer_along(store: &dyn Store) {
    let team = team(store, "a").await;
    let task = polling(store, team, 1).await;
    assert_eq!(store.answer(id(1)).await.unwrap(), told("the answer"));
    let claimed = store.claim_polls(room(9), task.polling.next_at.unwrap()).await.unwrap();
    assert_eq!((&claimed[0].record.task, &claimed[0].answer, claimed[0].host), (&task, &told("the answer"), HOST));
    assert_eq!(claimed[0].record.request, request(1));
}

pub async fn a_poll_that_was_given_back_can_be_claimed_again(store: &dyn Store) {
    let team = team(store, "a").await;
    let at = polling(store, team, 1).await.polling.next_at.unwrap();
    assert_eq!(due(store, at).await, [id(1)]);
    store.return_poll(id(1)).await.unwrap();
    assert_eq!(due(store, at).await, [id(1)]);
}

pub async fn a_poll_of_a_task_that_ended_is_not_claimed(store: &dyn Store) {
    let team = team(store, "a").await;
    let at = polling(store, team, 1).await.polling.next_at.unwrap();
    polling(store, team, 2).await;
    store.transition(id(1), Event::Cancel, None, T).await.unwrap();
    assert!(!due(store, at.plus_millis(MINUTE)).await.contains(&id(1)));
    let late = store.transition(id(1), pending(1), None, at).await;
    assert!(matches!(late, Err(StoreError::Refused(refusal)) if refusal.why == Why::Stale));
}

pub async fn a_poll_whose_host_has_no_room_is_put_off(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 1..4 {
        polling(store, team, n).await;
    }
    let now = T.plus_millis(MINUTE);
    let narrow = Capacity { slots: 9, per_host: 1, ..Capacity::default() };
    assert_eq!(store.claim_polls(narrow.clone(), now).await.unwrap().len(), 1);
    assert_eq!(store.next_poll().await.unwrap(), Some(now.plus_millis(1000)));
    assert_eq!(store.claim_polls(narrow, now).await.unwrap(), []);
    assert_eq!(due(store, now.plus_millis(1000)).await.len(), 2);
}

pub async fn the_next_poll_is_the_earliest_that_is_free(store: &dyn Store) {
    let team = team(store, "a").await;
    assert_eq!(store.next_poll().await.unwrap(), None);
    let mut times = [polling(store, team, 1).await, polling(store, team, 2).await].map(|task| task.polling.next_at);
    times.sort();
    assert_eq!(store.next_poll().await.unwrap(), times[0]);
    assert_eq!(due(store, times[0].unwrap()).await.len(), 1);
    assert_eq!(store.next_poll().await.unwrap(), times[1]);
}
