//! What is few is found among very many, and what is broken keeps nobody else waiting.

use asyncqueue::store::browse::{Browse, Search};
use asyncqueue::store::{Capacity, Store};
use asyncqueue::task::{Status, TaskId, Timestamp};

use super::{create, sql, team};
use crate::shared::Shared;

/// More than a small table has.
const MANY: usize = 20_500;

/// Follows a search to its end.
async fn walk(store: &Shared, search: Search) -> Vec<TaskId> {
    let (mut seen, mut before) = (Vec::new(), None);
    for _ in 0..MANY {
        let found = store.search(Search { before, ..search.clone() }).await.unwrap();
        assert!(found.looked_at <= search.steps, "{found:?}");
        seen.extend(found.tasks.into_iter().map(|one| one.task.id));
        match found.next {
            Some(next) => before = Some(next),
            None => return seen,
        }
    }
    panic!("the walk has no end");
}

#[tokio::test]
async fn a_few_pending_tasks_are_found_among_very_many() {
    let store = Shared::new().await;
    let (few, many) = (team(&store, "few").await, team(&store, "many").await);
    let at = |ms: i64| Timestamp(1_700_000_000_000 + ms);
    let oldest = create(&store, few, at(0)).await;
    let model = create(&store, many, at(1)).await;
    // The same rows with other ids, which are later.
    let id = format!("overlay('{}'::text PLACING to_hex(1000000 + n) FROM 31)", model.0);
    for table in ["task", "call"] {
        let copies = format!(
            "INSERT INTO {table} SELECT r.* FROM {table} t, generate_series(1, {MANY}) n, \
             jsonb_populate_record(t, jsonb_build_object('id', {id})) r WHERE t.id = '{}'",
            model.0
        );
        sql(&store, &copies);
    }
    let newest = create(&store, few, at(2)).await;
    for steps in [1_000, 100_000] {
        let search = Search { status: Some(Status::Pending), ..Search::all(few, 50, steps) };
        assert_eq!(walk(&store, search).await, [newest, oldest], "{steps} steps");
    }
    let none = Search { status: Some(Status::Processing), ..Search::all(few, 50, 5_000) };
    assert_eq!(walk(&store, none).await, []);
    let due = store.stuck(few, 100).await.unwrap().due;
    assert_eq!(due.map(|one| one.task.id), Some(oldest));
}

#[tokio::test]
async fn a_task_whose_request_cannot_be_read_keeps_no_other_waiting() {
    let store = Shared::new().await;
    let team = team(&store, "any").await;
    let at = Timestamp(1_700_000_000_000);
    let broken = create(&store, team, at).await;
    let sound = create(&store, team, at).await;
    sql(&store, &format!("UPDATE journal SET head = 'no request' WHERE id = '{}'", broken.0));
    let capacity = Capacity { slots: 10, per_host: 10, ..Capacity::default() };
    let claimed = store.claim(capacity, at.plus_millis(60_000), at.plus_millis(1)).await.unwrap();
    assert_eq!(claimed.iter().map(|claim| claim.task.id).collect::<Vec<_>>(), [sound]);
}
