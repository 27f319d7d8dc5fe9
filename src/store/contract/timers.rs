//! What time alone does.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;

pub async fn a_delay_ends_when_its_time_comes(store: &dyn Store) {
    let team = team(store, "a").await;
    let due = T.plus_millis(50);
    store.create(delayed(team, 1, due)).await.unwrap();
    assert_eq!(store.fire_timers(sweep(9), T.plus_millis(49)).await.unwrap(), 0);
    assert_eq!(claim(store, 9).await, []);
    assert_eq!(store.fire_timers(sweep(9), due).await.unwrap(), 1);
    assert_eq!(claim(store, 9).await, [id(1)]);
}

pub async fn a_wait_times_out_at_its_deadline(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = waiting(store, team, 1).await;
    store.fire_timers(sweep(9), T.plus_millis(MINUTE - 1)).await.unwrap();
    assert_eq!(status(store, id).await, Status::Waiting);
    store.fire_timers(sweep(9), T.plus_millis(MINUTE)).await.unwrap();
    let record = store.read(id).await.unwrap();
    assert_eq!((record.task.status(), record.result), (Status::Timeout, None));
    assert!(record.delivery.is_some());
}

pub async fn timers_are_fired_earliest_first_and_no_more_than_asked(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..5 {
        store.create(delayed(team, n, T.plus_millis(i64::from(9 - n)))).await.unwrap();
    }
    let late = T.plus_millis(100);
    assert_eq!(store.fire_timers(sweep(2), late).await.unwrap(), 2);
    assert_eq!(claim(store, 9).await, [4, 3].map(id));
    assert_eq!(store.fire_timers(sweep(9), late).await.unwrap(), 3);
    assert_eq!(store.fire_timers(sweep(9), late).await.unwrap(), 0);
}

pub async fn a_timer_whose_task_moved_on_is_dropped(store: &dyn Store) {
    let team = team(store, "a").await;
    let done = completed(store, team, 1, T).await;
    store.create(delayed(team, 2, T.plus_millis(5))).await.unwrap();
    store.transition(id(2), Event::Cancel, None, T).await.unwrap();
    let before = (store.read(done).await.unwrap(), store.read(id(2)).await.unwrap());
    store.fire_timers(sweep(9), T.plus_millis(2 * MINUTE)).await.unwrap();
    assert_eq!((store.read(done).await.unwrap(), store.read(id(2)).await.unwrap()), before);
    assert_eq!(store.next_timer().await.unwrap(), None);
}

pub async fn a_missed_deadline_is_put_off(store: &dyn Store) {
    let team = team(store, "a").await;
    let missed = waiting(store, team, 1).await;
    store.create(delayed(team, 2, T.plus_millis(5))).await.unwrap();
    // The service was down for an hour.
    let ready = T.plus_millis(60 * MINUTE);
    let grace = ready.plus_millis(MINUTE);
    let sweep = Sweep { limit: 9, missed_before: ready, not_before: grace };
    store.fire_timers(sweep, ready).await.unwrap();
    assert_eq!(status(store, missed).await, Status::Waiting);
    assert_eq!(status(store, id(2)).await, Status::Pending, "a delay is not put off");
    assert_eq!(store.next_timer().await.unwrap(), Some(grace));
    store.fire_timers(sweep, grace.plus_millis(-1)).await.unwrap();
    let redelivered = store.transition(missed, callback(CallbackVerdict::Interim), told("1"), grace).await.unwrap();
    assert_eq!(redelivered.status(), Status::Waiting, "while the row says waiting, callbacks are taken");
    store.fire_timers(sweep, grace).await.unwrap();
    assert_eq!(status(store, missed).await, Status::Timeout);
}

pub async fn the_next_timer_is_the_earliest(store: &dyn Store) {
    let team = team(store, "a").await;
    assert_eq!(store.next_timer().await.unwrap(), None);
    for (n, due) in [(1, 50), (2, 20), (3, 90)] {
        store.create(delayed(team, n, T.plus_millis(due))).await.unwrap();
    }
    assert_eq!(store.next_timer().await.unwrap(), Some(T.plus_millis(20)));
    store.fire_timers(sweep(9), T.plus_millis(20)).await.unwrap();
    assert_eq!(store.next_timer().await.unwrap(), Some(T.plus_millis(50)));
}
