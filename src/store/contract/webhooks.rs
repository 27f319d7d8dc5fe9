//! Completion webhooks.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::task::{Delivery, DeliveryOutcome, DeliveryStatus, Entry};

/// The receiver answered with this status code.
pub(super) fn answered_with(code: u16) -> DeliveryOutcome {
    let error = (code != 200).then(|| format!("HTTP {code}"));
    DeliveryOutcome { status_code: Some(code), error, hopeless: false }
}

/// Records the outcome of an attempt on the delivery as it is.
pub(super) async fn finish(
    store: &dyn Store,
    id: TaskId,
    outcome: DeliveryOutcome,
    now: Timestamp,
) -> Result<Delivery, StoreError> {
    let claimed = store.read(id).await?.delivery.ok_or(StoreError::NotFound)?;
    store.finish_delivery(id, claimed, outcome, now).await
}

async fn due(store: &dyn Store, limit: usize, now: Timestamp) -> Vec<TaskId> {
    store.claim_deliveries(limit, now).await.unwrap().into_iter().map(|claim| claim.record.task.id).collect()
}

pub async fn a_webhook_is_claimed_once(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 1..4 {
        completed(store, team, n, T.plus_millis(i64::from(10 - n))).await;
    }
    assert_eq!(due(store, 9, T).await, []);
    let now = T.plus_millis(50);
    assert_eq!(due(store, 2, now).await, [3, 2].map(id));
    assert_eq!(due(store, 2, now).await, [1].map(id));
    assert_eq!(due(store, 2, now).await, []);
}

pub async fn a_webhook_that_fails_is_planned_again_until_it_is_given_up(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    due(store, 9, T).await;
    let delivery = finish(store, id, answered_with(500), T).await.unwrap();
    let again = T.plus_millis(5000);
    assert_eq!((delivery.status, delivery.next_attempt_at), (DeliveryStatus::Pending, Some(again)));
    assert_eq!(due(store, 9, again.plus_millis(-1)).await, []);
    assert_eq!(due(store, 9, again).await, [id]);
    let delivery = finish(store, id, answered_with(404), again).await.unwrap();
    assert_eq!((delivery.status, delivery.attempts, delivery.last_status_code), (DeliveryStatus::Failed, 2, Some(404)));
    assert_eq!(store.read(id).await.unwrap().delivery, Some(delivery));
    assert_eq!(due(store, 9, T.plus_millis(60 * MINUTE)).await, []);
    let events = store.events(id).await.unwrap();
    let attempted = |attempt, code, next_attempt_at| Entry::WebhookAttempted {
        attempt,
        status_code: Some(code),
        error: Some(format!("HTTP {code}")),
        next_attempt_at,
    };
    let entries: Vec<_> = events.into_iter().rev().take(2).map(|event| event.entry).collect();
    assert_eq!(entries, [attempted(2, 404, None), attempted(1, 500, Some(again))]);
}

pub async fn a_webhook_that_fails_is_counted_once(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    let claimed = store.claim_deliveries(9, T).await.unwrap().remove(0).delivery;
    let once = store.finish_delivery(id, claimed, answered_with(500), T).await.unwrap();
    let events = store.events(id).await.unwrap();
    assert_eq!(store.finish_delivery(id, claimed, answered_with(500), T).await.unwrap(), once);
    assert_eq!(store.events(id).await.unwrap(), events);
    let receipt = store.finish_delivery(id, claimed, answered_with(200), T).await.unwrap();
    assert_eq!((receipt.status, receipt.attempts), (DeliveryStatus::Delivered, 2));
}

pub async fn a_delivered_webhook_stays_delivered(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    due(store, 9, T).await;
    let delivery = finish(store, id, answered_with(200), T).await.unwrap();
    assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Delivered, 1));
    let events = store.events(id).await.unwrap();
    assert_eq!(finish(store, id, answered_with(500), T).await.unwrap(), delivery);
    assert_eq!(store.events(id).await.unwrap(), events);
    assert_eq!(store.next_delivery().await.unwrap(), None);
}

pub async fn a_webhook_that_was_given_back_can_be_claimed_again(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    assert_eq!(due(store, 9, T).await, [id]);
    store.return_delivery(id).await.unwrap();
    let again = store.claim_deliveries(9, T).await.unwrap();
    assert_eq!((again.len(), again[0].delivery.attempts), (1, 0));
}

pub async fn a_webhook_can_be_sent_again_by_hand(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    due(store, 9, T).await;
    let under_way = store.resend(id, T.plus_millis(1)).await.unwrap();
    assert_eq!(under_way.next_attempt_at, Some(T), "one that is under way is left to its end");
    assert_eq!(due(store, 9, T.plus_millis(1)).await, []);
    finish(store, id, answered_with(200), T).await.unwrap();
    let later = T.plus_millis(9);
    let again = store.resend(id, later).await.unwrap();
    assert_eq!((again.status, again.attempts, again.next_attempt_at), (DeliveryStatus::Pending, 0, Some(later)));
    assert_eq!(due(store, 9, later).await, [id]);
    finish(store, id, answered_with(500), later).await.unwrap();
    let sooner = later.plus_millis(1);
    assert_eq!(store.resend(id, sooner).await.unwrap().next_attempt_at, Some(sooner));
    assert_eq!(due(store, 9, sooner).await, [id]);
}

pub async fn resending_needs_an_ended_task_that_wants_it(store: &dyn Store) {
    let team = team(store, "a").await;
    let waits = waiting(store, team, 1).await;
    assert_eq!(why(store.resend(waits, T).await), Why::Conflict);
    store.transition(waits, Event::Cancel, None, T).await.unwrap();
    assert!(is_missing(&store.resend(waits, T).await));
}

pub async fn the_next_webhook_is_the_earliest_that_is_free(store: &dyn Store) {
    let team = team(store, "a").await;
    assert_eq!(store.next_delivery().await.unwrap(), None);
    completed(store, team, 1, T.plus_millis(5)).await;
    completed(store, team, 2, T.plus_millis(8)).await;
    assert_eq!(store.next_delivery().await.unwrap(), Some(T.plus_millis(5)));
    assert_eq!(due(store, 1, T.plus_millis(9)).await, [id(1)]);
    assert_eq!(store.next_delivery().await.unwrap(), Some(T.plus_millis(8)));
    finish(store, id(1), answered_with(503), T).await.unwrap();
    assert_eq!(due(store, 1, T.plus_millis(9)).await, [id(2)]);
    assert_eq!(store.next_delivery().await.unwrap(), Some(T.plus_millis(5000)));
}
