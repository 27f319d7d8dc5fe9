//! What a task was, is and went through.

use super::webhooks::answered_with;
#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::{Created, IDEMPOTENCY_MS, LATE_BODY_MAX};
use crate::task::{DeliveryStatus, Entry};

pub async fn a_task_reads_back_as_it_was_created(store: &dyn Store) {
    let team = team(store, "a").await;
    let mut new = new(team, 1);
    new.request.retry_of = Some(id(9));
    new.request.delay_until = Some(T);
    new.request.body = None;
    assert_eq!(store.create(new.clone()).await.unwrap(), Created::New);
    let record = store.read(id(1)).await.unwrap();
    assert_eq!((&record.task, &record.request, record.key_number), (&new.task, &new.request, 3));
    assert_eq!((record.result, record.progress, record.delivery), (None, None, None));
    assert_eq!(store.state(id(1)).await.unwrap(), new.task);
    let plain =
        with_policy(team, 2, Policy { backoff: Backoff::Exponential, callback: false, ..policy(Then::Poll(POLLS)) });
    store.create(plain.clone()).await.unwrap();
    assert_eq!(store.state(id(2)).await.unwrap(), plain.task);
}

pub async fn an_id_is_taken_once(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    let again = NewTask { request: request(2), ..new(team, 1) };
    assert!(matches!(store.create(again).await, Err(StoreError::Taken)));
    assert_eq!(store.read(id(1)).await.unwrap().request, request(1));
    assert_eq!(counts(store).await.get(&Status::Pending), Some(&1));
    assert_eq!(claim(store, 5).await, [id(1)]);
}

pub async fn what_is_missing_is_not_found(store: &dyn Store) {
    assert!(is_missing(&store.state(id(1)).await));
    assert!(is_missing(&store.read(id(1)).await));
    assert!(is_missing(&store.events(id(1)).await));
    assert!(is_missing(&store.delete(id(1)).await));
    assert!(is_missing(&store.resend(id(1), T).await));
    assert!(is_missing(&store.transition(id(1), Event::Cancel, None, T).await));
    assert!(is_missing(&store.team(TeamId(99)).await));
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    let like = TaskId::from_key(id(1).sort_key(), id(1).low_bits() ^ 1);
    assert!(is_missing(&store.state(like).await), "an id is the whole id");
}

pub async fn a_transition_saves_state_result_history_and_webhook_together(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T.plus_millis(9)).await;
    let record = store.read(id).await.unwrap();
    assert_eq!(record.task.status(), Status::Completed);
    assert_eq!(record.result, told("result"));
    let delivery = record.delivery.unwrap();
    assert_eq!((delivery.status, delivery.next_attempt_at), (DeliveryStatus::Pending, Some(T.plus_millis(9))));
    let last = store.events(id).await.unwrap().pop().unwrap();
    assert_eq!(last.entry, Entry::Ended { status: Status::Completed, error: None });
    assert_eq!(store.claim_deliveries(9, T.plus_millis(9)).await.unwrap()[0].record, record);
}

pub async fn a_refused_transition_changes_nothing(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    let before = (store.read(id(1)).await.unwrap(), store.events(id(1)).await.unwrap(), counts(store).await);
    for event in [callback(CallbackVerdict::Done), accepted(1), Event::DeadlinePassed] {
        assert!(store.transition(id(1), event, told("lost"), T).await.is_err());
    }
    let after = (store.read(id(1)).await.unwrap(), store.events(id(1)).await.unwrap(), counts(store).await);
    assert_eq!(before, after);
}

pub async fn an_answer_is_kept_until_a_signal_makes_it_the_result(store: &dyn Store) {
    let team = team(store, "a").await;
    let first = waiting(store, team, 1).await;
    assert_eq!(store.read(first).await.unwrap().result, None);
    store.transition(first, Event::Signal { error: None, result: false }, None, T).await.unwrap();
    let result = store.read(first).await.unwrap().result.unwrap();
    assert_eq!((result.status_code, result.headers.len(), &result.body[..]), (202, 1, &b"started"[..]));
    let second = waiting(store, team, 2).await;
    store.transition(second, Event::Signal { error: None, result: true }, told("7"), T).await.unwrap();
    assert_eq!(store.read(second).await.unwrap().result, told("7"));
}

pub async fn the_latest_progress_is_kept(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = waiting(store, team, 1).await;
    for text in ["10 %", "50 %"] {
        store.transition(id, callback(CallbackVerdict::Interim), told(text), T).await.unwrap();
        assert_eq!(store.read(id).await.unwrap().progress, told(text));
    }
    store.transition(id, callback(CallbackVerdict::Done), told("all"), T).await.unwrap();
    let record = store.read(id).await.unwrap();
    assert_eq!((record.progress, record.result), (told("50 %"), told("all")));
}

pub async fn a_late_callback_is_kept_once(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = waiting(store, team, 1).await;
    store.transition(id, Event::Cancel, None, T).await.unwrap();
    for text in ["paid work", "again"] {
        let late = store.transition(id, callback(CallbackVerdict::Done), told(text), T.plus_millis(3)).await;
        assert_eq!(why(late), Why::Conflict);
    }
    let events = store.events(id).await.unwrap();
    let late: Vec<_> = events.iter().filter(|event| event.entry == Entry::CallbackLate).collect();
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].at, late[0].body.as_deref()), (T.plus_millis(3), Some(&b"paid work"[..])));
    let record = store.read(id).await.unwrap();
    assert_eq!((record.task.status(), record.result), (Status::Cancelled, None));
}

pub async fn late_news_are_kept_until_the_end_comes(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = waiting(store, team, 1).await;
    store.transition(id, Event::Cancel, None, T).await.unwrap();
    let said = [
        (CallbackVerdict::Interim, "50 %", "50 %"),
        (CallbackVerdict::Interim, "60 %", "50 %"),
        (CallbackVerdict::Failed("no credit".to_owned()), "the end", "the end"),
        (CallbackVerdict::Done, "another", "the end"),
        (CallbackVerdict::Interim, "70 %", "the end"),
    ];
    for (seconds, (verdict, text, kept)) in (1..).zip(said) {
        let late = store.transition(id, callback(verdict), told(text), T.plus_millis(seconds * 1000)).await;
        assert_eq!(why(late), Why::Conflict);
        let events = store.events(id).await.unwrap();
        let late: Vec<_> = events.iter().filter(|event| event.entry == Entry::CallbackLate).collect();
        assert_eq!(late.iter().map(|event| event.body.as_deref()).collect::<Vec<_>>(), [Some(kept.as_bytes())]);
        // What was there before, and the one late line after it.
        assert_eq!(events.last(), late.last().copied());
        assert!(events.iter().any(|event| event.entry.name() == "cancelled"), "{events:?}");
    }
    store.delete(id).await.unwrap();
}

pub async fn a_late_callback_over_a_mebibyte_is_not_kept(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    let before = store.events(id).await.unwrap().len();
    for (size, kept) in [(LATE_BODY_MAX + 1, 0), (LATE_BODY_MAX, 1)] {
        let body = Payload::told(vec![b'1'; size].into());
        assert_eq!(why(store.transition(id, callback(CallbackVerdict::Done), Some(body), T).await), Why::Gone);
        assert_eq!(store.events(id).await.unwrap().len(), before + kept, "{size}");
    }
}

pub async fn events_are_told_in_order(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    claim(store, 1).await;
    let error = "HTTP 500, \"callback.late\"".to_owned();
    let answer = Answer::Retryable { status: 500, error: error.clone(), retry_after_ms: None };
    let answered = Event::Answered { attempt: 1, answer, duration_ms: 12 };
    store.transition(id(1), answered, None, T).await.unwrap();
    let due = T.plus_millis(1000);
    store.fire_timers(sweep(9), due).await.unwrap();
    store.claim(room(1), due, due).await.unwrap();
    store.transition(id(1), accepted(2), told("yes"), due).await.unwrap();
    store.transition(id(1), callback(CallbackVerdict::Interim), told("10"), due).await.unwrap();
    store
        .transition(id(1), Event::Signal { error: Some("enough".to_owned()), result: false }, None, due)
        .await
        .unwrap();
    let events = store.events(id(1)).await.unwrap();
    let finished = |attempt, status_code, error, next_attempt_at| Entry::AttemptFinished {
        attempt,
        status_code: Some(status_code),
        error,
        duration_ms: Some(12),
        next_attempt_at,
    };
    let expected = [
        (T, Entry::Created),
        (T, Entry::AttemptStarted { attempt: 1 }),
        (T, finished(1, 500, Some(error), Some(due))),
        (due, Entry::AttemptStarted { attempt: 2 }),
        (due, finished(2, 202, None, None)),
        (due, Entry::Waiting { deadline: due.plus_millis(MINUTE) }),
        (due, Entry::CallbackReceived { error: None }),
        (due, Entry::Progress),
        (due, Entry::SignalReceived),
        (due, Entry::Ended { status: Status::Failed, error: Some("enough".to_owned()) }),
    ];
    let told: Vec<_> = events.into_iter().map(|event| (event.at, event.entry)).collect();
    assert_eq!(told, expected);
}

pub async fn a_repeated_creation_answers_the_first(store: &dyn Store) {
    let team = team(store, "a").await;
    assert_eq!(store.create(asked_with(new(team, 1), 1, 1)).await.unwrap(), Created::New);
    assert_eq!(store.create(asked_with(new(team, 2), 1, 1)).await.unwrap(), Created::Before(id(1)));
    assert_eq!(store.created_before(team, known(1, 1), T).await.unwrap(), Some(id(1)));
    assert_eq!(store.created_before(team, known(2, 1), T).await.unwrap(), None);
    assert!(is_missing(&store.state(id(2)).await));
    assert_eq!(store.create(asked_with(new(team, 3), 2, 1)).await.unwrap(), Created::New);
}

pub async fn an_idempotency_key_stands_for_one_request(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(asked_with(new(team, 1), 1, 1)).await.unwrap();
    assert!(matches!(store.create(asked_with(new(team, 2), 1, 2)).await, Err(StoreError::KeyReused)));
    assert!(matches!(store.created_before(team, known(1, 2), T).await, Err(StoreError::KeyReused)));
    let a_day_later = T.plus_millis(24 * 60 * MINUTE);
    assert_eq!(store.created_before(team, known(1, 2), a_day_later).await.unwrap(), None);
    assert!(is_missing(&store.state(id(2)).await));
}

pub async fn an_idempotency_key_belongs_to_one_team(store: &dyn Store) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    store.create(asked_with(new(one, 1), 1, 1)).await.unwrap();
    assert_eq!(store.create(asked_with(new(two, 2), 1, 2)).await.unwrap(), Created::New);
}

pub async fn an_idempotency_key_expires_after_a_day(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(asked_with(new(team, 1), 1, 1)).await.unwrap();
    let at = |n, millis| {
        let mut new = asked_with(new(team, n), 1, 2);
        new.task.created_at = T.plus_millis(millis);
        new
    };
    assert!(matches!(store.create(at(2, IDEMPOTENCY_MS - 1)).await, Err(StoreError::KeyReused)));
    assert_eq!(store.create(at(3, IDEMPOTENCY_MS)).await.unwrap(), Created::New);
    assert_eq!(store.create(at(4, IDEMPOTENCY_MS)).await.unwrap(), Created::Before(id(3)));
}

pub async fn an_idempotency_key_is_free_again_when_its_task_is_gone(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(asked_with(new(team, 1), 1, 1)).await.unwrap();
    store.transition(id(1), Event::Cancel, None, T).await.unwrap();
    assert_eq!(store.create(asked_with(new(team, 2), 1, 1)).await.unwrap(), Created::Before(id(1)));
    store.delete(id(1)).await.unwrap();
    assert_eq!(store.create(asked_with(new(team, 3), 1, 2)).await.unwrap(), Created::New);
}

pub async fn deletion_removes_everything(store: &dyn Store) {
    let team = team(store, "a").await;
    let gone = completed(store, team, 1, T).await;
    let stays = completed(store, team, 2, T).await;
    store.delete(gone).await.unwrap();
    assert!(is_missing(&store.state(gone).await));
    assert!(is_missing(&store.events(gone).await));
    assert!(is_missing(&store.delete(gone).await));
    assert!(is_missing(&store.transition(gone, callback(CallbackVerdict::Done), told("x"), T).await));
    let webhooks = store.claim_deliveries(9, T).await.unwrap();
    assert_eq!(webhooks.iter().map(|claim| claim.record.task.id).collect::<Vec<_>>(), [stays]);
    assert_eq!(counts(store).await, Counts::from([(Status::Completed, 1)]));
    assert_eq!(store.fire_timers(sweep(9), T.plus_millis(2 * MINUTE)).await.unwrap(), 2);
}

pub async fn only_a_final_task_can_be_deleted(store: &dyn Store) {
    let team = team(store, "a").await;
    one_of_each(store, team).await;
    for n in [0, 1, 2, 3] {
        assert_eq!(why(store.delete(id(n)).await), Why::Conflict, "{n}");
        assert!(store.state(id(n)).await.is_ok());
    }
    for n in [5, 6, 7, 8] {
        store.delete(id(n)).await.unwrap();
    }
}

pub async fn retention_removes_the_oldest_in_small_steps(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..5 {
        let id = waiting(store, team, n).await;
        let ended = T.plus_millis(i64::from(10 - n));
        store.transition(id, Event::Cancel, None, ended).await.unwrap();
    }
    waiting(store, team, 7).await;
    let before = T.plus_millis(9);
    assert_eq!(store.purge(before, 2, before).await.unwrap(), 2);
    assert!(is_missing(&store.state(id(4)).await) && is_missing(&store.state(id(3)).await));
    assert_eq!(store.purge(before, 2, before).await.unwrap(), 1);
    assert_eq!(store.purge(before, 2, before).await.unwrap(), 0);
    assert_eq!(counts(store).await, Counts::from([(Status::Cancelled, 2), (Status::Waiting, 1)]));
}

pub async fn retention_waits_for_a_webhook(store: &dyn Store) {
    let team = team(store, "a").await;
    let id = completed(store, team, 1, T).await;
    let later = T.plus_millis(MINUTE);
    assert_eq!(store.purge(later, 9, later).await.unwrap(), 0);
    store.claim_deliveries(9, T).await.unwrap();
    finish(store, id, answered_with(200), T).await.unwrap();
    assert_eq!(store.purge(later, 9, later).await.unwrap(), 1);
}
