//! What ended in one commit has one row for retention: nothing is removed too early, nothing is lost, and nothing is left.

use asyncqueue::store::transfer::{Enter, Leave};
use asyncqueue::store::{ListQuery, Store, Sweep};
use asyncqueue::task::{
    CallbackVerdict, DeliveryOutcome, EarlyCallbacks, Event, State, Status, TaskId, TeamId, Then, Timestamp,
};
use futures_util::future::join_all;

use super::{is_gone, number, pending, sql, team};
use crate::shared::Shared;

const START: Timestamp = Timestamp(1_700_000_000_000);

/// Makes tasks that wait for their callbacks; all of them have the same lane.
async fn waiting(store: &Shared, team: TeamId, tasks: usize, webhook: bool) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for _ in 0..tasks {
        let id = TaskId::from_parts(u64::try_from(START.0).unwrap(), 1, 2 * number());
        let mut new = pending(team, id, START, Then::Wait);
        (new.task.state, new.task.attempt) = (State::Waiting { deadline: START.plus_millis(3_600_000) }, 1);
        new.task.policy.completion = webhook;
        new.request.on_complete_url = webhook.then(|| "https://done.example/".to_owned());
        store.create(new).await.unwrap();
        ids.push(id);
    }
    ids
}

/// Has tasks completed in one commit, each a millisecond after the one before; answers when the last one was.
async fn complete(store: &Shared, ids: &[TaskId], first: Timestamp) -> Timestamp {
    let done = || Event::Callback { verdict: CallbackVerdict::Done, early: EarlyCallbacks::Accept };
    let at = |index: usize| first.plus_millis(i64::try_from(index).unwrap());
    // All of them are queued before the lane has a turn; the first is not the one that ended first.
    let all = ids.iter().enumerate().rev().map(|(index, id)| store.transition(*id, done(), None, at(index)));
    for outcome in join_all(all).await {
        assert_eq!(outcome.unwrap().status(), Status::Completed);
    }
    at(ids.len() - 1)
}

/// The rows: how many tasks each has.
fn rows(store: &Shared) -> Vec<usize> {
    let found = sql(store, "SELECT 1 + cardinality(others) FROM ended ORDER BY at, id");
    found.lines().map(|line| line.parse().unwrap()).collect()
}

async fn purge(store: &Shared, before: Timestamp, limit: usize) -> usize {
    store.purge(before, limit, before).await.unwrap()
}

async fn gone(store: &Shared, ids: &[TaskId]) -> Vec<bool> {
    join_all(ids.iter().map(|id| is_gone(store, *id))).await
}

#[tokio::test]
async fn a_commit_has_one_row_whose_tasks_go_when_the_last_of_them_is_old_enough() {
    let store = Shared::new().await;
    let ids = waiting(&store, team(&store, "a").await, 5, false).await;
    let last = complete(&store, &ids, START).await;
    assert_eq!(rows(&store), [5]);
    assert_eq!(sql(&store, "SELECT at FROM ended"), last.0.to_string());
    assert_eq!(sql(&store, "SELECT count(*) FROM ended_badly"), "0");

    assert_eq!(purge(&store, last, 9).await, 0);
    let before = last.plus_millis(1);
    assert_eq!(purge(&store, before, 2).await, 2);
    assert_eq!(gone(&store, &ids).await, [true, true, false, false, false], "the oldest first");
    assert_eq!(rows(&store), [3]);
    assert_eq!(purge(&store, before, 3).await, 3);
    assert_eq!(gone(&store, &ids).await, [true; 5]);
    assert!(rows(&store).is_empty());
}

#[tokio::test]
async fn a_task_whose_webhook_is_pending_stays_in_its_row_and_a_deleted_one_is_passed_over() {
    let store = Shared::new().await;
    let team = team(&store, "a").await;
    let plain = waiting(&store, team, 4, false).await;
    let told = waiting(&store, team, 1, true).await;
    let ids = [&plain[..2], &told, &plain[2..]].concat();
    let before = complete(&store, &ids, START).await.plus_millis(1);
    // A later commit is found behind what has to wait.
    let later = waiting(&store, team, 2, false).await;
    let after = complete(&store, &later, before).await.plus_millis(1);
    assert_eq!(rows(&store), [5, 2]);
    // The first to end is the one that the row is called by.
    store.delete(ids[0]).await.unwrap();
    store.delete(ids[3]).await.unwrap();
    assert_eq!(rows(&store), [5, 2]);

    assert_eq!(purge(&store, before, 9).await, 2);
    assert_eq!(gone(&store, &ids).await, [true, true, false, true, true]);
    assert_eq!(rows(&store), [1, 2]);
    assert_eq!(purge(&store, after, 9).await, 2);
    assert_eq!(gone(&store, &later).await, [true, true]);
    assert_eq!((purge(&store, after, 9).await, rows(&store)), (0, vec![1]));

    let claimed = store.claim_deliveries(9, after).await.unwrap().remove(0);
    assert_eq!(claimed.record.task.id, told[0]);
    let delivered = DeliveryOutcome { status_code: Some(200), error: None, hopeless: false };
    store.finish_delivery(told[0], claimed.delivery, delivered, after).await.unwrap();
    assert_eq!(purge(&store, after, 9).await, 1);
    assert_eq!(gone(&store, &told).await, [true]);
    assert!(rows(&store).is_empty());
}

#[tokio::test]
async fn rows_whose_tasks_were_all_deleted_go_and_keep_no_other_back() {
    let store = Shared::new().await;
    let team = team(&store, "a").await;
    let deleted = waiting(&store, team, 320, false).await;
    for some in deleted.chunks(8) {
        complete(&store, some, START).await;
    }
    let alone = waiting(&store, team, 1, false).await;
    complete(&store, &alone, START).await;
    let kept = waiting(&store, team, 1, false).await;
    let before = complete(&store, &kept, START.plus_millis(50)).await.plus_millis(1);
    assert_eq!(rows(&store).len(), 42);
    for id in deleted.iter().chain(&alone) {
        store.delete(*id).await.unwrap();
    }
    assert_eq!(rows(&store).len(), 41, "who was alone in a row needs no retention");
    // More of them than are looked at in one transaction.
    assert_eq!(purge(&store, before, 1).await, 1);
    assert_eq!(gone(&store, &kept).await, [true]);
    assert_eq!((purge(&store, before, 1).await, rows(&store)), (0, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_remove_at_the_same_time_lose_no_task_and_leave_no_row() {
    const TASKS: usize = 300;
    let one = Shared::new().await;
    let two = one.another().await;
    let ids = waiting(&one, team(&one, "a").await, TASKS, false).await;
    // One commit for as many timers as fit, which is more than a row takes.
    let late = START.plus_millis(7_200_000);
    let sweep = Sweep { limit: 250, missed_before: Timestamp(0), not_before: Timestamp(0) };
    assert_eq!(one.fire_timers(sweep, late).await.unwrap(), 250);
    assert_eq!(one.fire_timers(sweep, late).await.unwrap(), 50);
    let mut sizes = rows(&one);
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 50, 100, 100]);
    let (before, mut removed) = (late.plus_millis(1), 0);
    for id in ids.iter().step_by(7) {
        one.delete(*id).await.unwrap();
    }
    while !rows(&one).is_empty() {
        let (some, others) = tokio::join!(purge(&one, before, 30), purge(&two, before, 30));
        removed += some + others;
    }
    assert_eq!(removed, TASKS - TASKS.div_ceil(7));
    assert_eq!(sql(&one, "SELECT count(*) FROM task"), "0");
    assert_eq!(sql(&one, "SELECT count(*) FROM ended_badly"), "0");
}

#[tokio::test]
async fn a_list_of_few_completed_tasks_shows_all_of_a_row_that_are_there() {
    let store = Shared::new().await;
    let (one, two) = (team(&store, "a").await, team(&store, "b").await);
    waiting(&store, one, 80, false).await;
    let mut mine = waiting(&store, one, 4, false).await;
    let others = waiting(&store, two, 2, false).await;
    complete(&store, &[&mine[..], &others].concat(), START).await;
    assert_eq!(rows(&store), [6]);
    mine.reverse();
    let query = ListQuery { team: one, status: Some(Status::Completed), limit: 9, offset: 0, room: u64::MAX };
    let list = async || {
        let page = store.list(query).await.unwrap();
        (page.records.iter().map(|record| record.task.id).collect::<Vec<_>>(), page.total)
    };
    assert_eq!(list().await, (mine.clone(), 4));
    store.delete(mine.remove(2)).await.unwrap();
    store.delete(mine.remove(0)).await.unwrap();
    assert_eq!(list().await, (mine.clone(), 2));
    // Where too many have ended to look at all of them.
    sql(&store, "INSERT INTO ended (at, id) SELECT n, gen_random_uuid() FROM generate_series(1, 20500) n");
    assert_eq!(list().await, (mine, 2));
}

#[tokio::test]
async fn what_a_move_brings_is_found_however_far_apart_it_ended_and_though_it_was_there_before() {
    let (from, to) = (Shared::new().await, Shared::new().await);
    let (team, _) = (team(&from, "a").await, team(&to, "a").await);
    let ids = waiting(&from, team, 5, false).await;
    let hour = START.plus_millis(3_600_000);
    let (early, late) = (complete(&from, &ids[..3], START).await, complete(&from, &ids[3..], hour).await);
    let moved = from.tasks_after(None, 9).await.unwrap();
    to.take_tasks(moved.clone(), late).await.unwrap();
    assert_eq!(rows(&to), [3, 2]);
    for id in &ids[..2] {
        to.delete(*id).await.unwrap();
    }
    to.take_tasks(moved, late).await.unwrap();
    assert_eq!(gone(&to, &ids).await, [false; 5]);
    assert_eq!(purge(&to, early.plus_millis(1), 9).await, 3);
    assert_eq!(gone(&to, &ids).await, [true, true, true, false, false]);
    assert_eq!(purge(&to, late.plus_millis(1), 9).await, 2);
    assert!(rows(&to).is_empty());
}
