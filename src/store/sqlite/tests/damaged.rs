//! What cannot be read of one task concerns that task alone.

use super::*;
use crate::task::{DeliveryStatus, PollPolicy};

/// Spoils what the journal has of a task: of its first row, the request, or of its latest one.
async fn spoil(store: &Sqlite, id: TaskId, column: &'static str) {
    let spoil = move |writer: &mut writer::Writer| {
        let sql = format!("UPDATE journal SET head = x'ff7b' WHERE id = (SELECT {column} FROM task WHERE key = ?1)");
        writer.db.execute(&sql, [id.sort_key()]).map_err(failed)
    };
    assert_eq!(store.writer.run(spoil).await.unwrap(), 1);
}

/// Claims what is due, and has each call answered.
async fn call_all(store: &Sqlite) {
    for claim in store.claim(room(9), NOW, NOW).await.unwrap() {
        let answer = Answer::Accepted { status: 200, job: None };
        let event = Event::Answered { attempt: 1, answer, duration_ms: 1 };
        store.transition(claim.task.id, event, Some(Payload::told("1".into())), NOW).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_whose_request_cannot_be_read_fails_and_keeps_no_other_waiting() {
    let folder = Folder::new();
    let store = folder.open();
    for n in 1..=3 {
        store.create(new(n, 10)).await.unwrap();
    }
    let damaged = new(1, 0).task.id;
    spoil(&store, damaged, "request").await;
    let claimed = store.claim(room(9), NOW, NOW).await.unwrap();
    assert_eq!(claimed.iter().map(|claim| claim.task.id).collect::<Vec<_>>(), [2, 3].map(|n| new(n, 0).task.id));
    let task = store.state(damaged).await.unwrap();
    assert_eq!((task.status(), task.attempt), (Status::Failed, 1));
    assert!(task.error.unwrap().contains("cannot be read"));
    // Nor can its webhook be made: it names no URL.
    assert!(store.claim_deliveries(9, NOW).await.unwrap().is_empty());
    assert_eq!(store.next_delivery().await.unwrap(), None);
    assert!(matches!(store.read(damaged).await, Err(StoreError::Unreadable(_))));
    store.delete(damaged).await.unwrap();
}

#[tokio::test]
async fn a_result_that_cannot_be_read_keeps_no_other_webhook_back() {
    let folder = Folder::new();
    let store = folder.open();
    let ids = [1, 2].map(|n| new(n, 0).task.id);
    for n in 1..=2 {
        store.create(new(n, 10)).await.unwrap();
    }
    call_all(&store).await;
    spoil(&store, ids[0], "result").await;
    let claimed = store.claim_deliveries(9, NOW).await.unwrap();
    assert_eq!(claimed.iter().map(|claim| claim.record.task.id).collect::<Vec<_>>(), ids[1..]);
    // The first is given up for good; what can be read of its history says so.
    assert_eq!(store.state(ids[0]).await.unwrap().status(), Status::Completed);
    let row = store.writer.run(move |writer| writer.row(ids[0])).await.unwrap();
    assert_eq!(row.delivery.unwrap().status, DeliveryStatus::Failed);
}

#[tokio::test]
async fn a_poll_that_cannot_be_made_keeps_no_other_back() {
    let folder = Folder::new();
    let store = folder.open();
    let ids = [1, 2].map(|n| new(n, 0).task.id);
    for n in 1..=2 {
        let mut task = new(n, 10);
        task.task.policy.then = Then::Poll(PollPolicy { every_ms: 5_000, for_ms: 600_000, eases: false });
        store.create(task).await.unwrap();
    }
    call_all(&store).await;
    spoil(&store, ids[0], "request").await;
    let later = NOW.plus_millis(3_600_000);
    let claimed = store.claim_polls(room(9), later).await.unwrap();
    assert_eq!(claimed.iter().map(|claim| claim.record.task.id).collect::<Vec<_>>(), ids[1..]);
    assert_eq!(store.next_poll().await.unwrap(), None);
    assert_eq!(store.state(ids[0]).await.unwrap().status(), Status::Polling, "its deadline ends it");
}
