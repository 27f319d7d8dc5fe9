//! The journal's days: made before they come, dropped when retention has emptied them.

use asyncqueue::store::Store;
use asyncqueue::task::{TaskId, Timestamp};

use super::{create, ended, is_gone, sql, team};
use crate::shared::Shared;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn at(day: i64, ms: i64) -> Timestamp {
    Timestamp(day * DAY + ms)
}

/// Removes what ended before, where tasks are kept for so many days.
async fn purge(store: &Shared, before: Timestamp, days: i64) -> usize {
    store.purge(before, 100, before.plus_millis(days * DAY)).await.unwrap()
}

fn days(store: &Shared) -> Vec<i64> {
    let found = sql(store, "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'journal'::regclass");
    let mut days: Vec<i64> = found.lines().filter_map(|name| name.strip_prefix("journal_")?.parse().ok()).collect();
    days.sort_unstable();
    days
}

/// The second of the days that were made ahead, so that no clock decides which it is.
fn tomorrow(store: &Shared) -> i64 {
    let days = days(store);
    assert_eq!(days, [days[0], days[0] + 1, days[0] + 2]);
    days[1]
}

/// How many lines a task has, and in which table they are.
fn lines(store: &Shared, id: TaskId) -> (usize, String) {
    let found = sql(store, &format!("SELECT tableoid::regclass FROM journal WHERE id = '{}'", id.0));
    (found.lines().count(), found.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_day_that_retention_has_emptied_is_dropped_whole() {
    let store = Shared::new().await;
    let (team, day) = (team(&store, "a").await, tomorrow(&store));
    let (old, new) = (ended(&store, team, at(day, HOUR)).await, ended(&store, team, at(day + 1, HOUR)).await);
    assert_eq!(lines(&store, old), (2, format!("journal_{day}")));

    // The day is not over: the task is gone, and its lines are left to the drop.
    assert_eq!(purge(&store, at(day, 2 * HOUR), 30).await, 1);
    assert!(is_gone(&store, old).await);
    assert_eq!(lines(&store, old).0, 2);

    assert_eq!(purge(&store, at(day + 1, HOUR), 30).await, 0);
    assert_eq!(lines(&store, old).0, 0);
    let left = days(&store);
    assert!(!left.contains(&day) && left.contains(&(day + 1)), "{left:?}");
    assert_eq!(store.read(new).await.unwrap().task.id, new);
    assert_eq!(store.events(new).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_somebody_deletes_is_gone_at_once_and_so_is_all_where_little_is_kept() {
    let store = Shared::new().await;
    let (team, day) = (team(&store, "a").await, tomorrow(&store));
    let (deleted, kept) = (ended(&store, team, at(day, 1)).await, ended(&store, team, at(day, 2)).await);
    store.delete(deleted).await.unwrap();
    assert_eq!((lines(&store, deleted).0, lines(&store, kept).0), (0, 2));
    // The end of the day is farther than a twentieth of what tasks are kept for.
    assert_eq!(purge(&store, at(day, HOUR), 7).await, 1);
    assert_eq!(lines(&store, kept).0, 0);
}

#[tokio::test]
async fn a_task_that_does_not_end_holds_its_day_up_and_not_what_others_said() {
    let store = Shared::new().await;
    let (team, day) = (team(&store, "a").await, tomorrow(&store));
    let (old, open) = (ended(&store, team, at(day, 1)).await, create(&store, team, at(day, 2)).await);
    assert_eq!(purge(&store, at(day + 1, HOUR), 30).await, 1);
    assert_eq!((lines(&store, old).0, lines(&store, open).0), (2, 1), "the day may still be dropped soon");
    // A node looks at a day that was put off once an hour; one that has just come, at once.
    let other = store.another().await;
    assert_eq!(purge(&other, at(day + 3, 0), 30).await, 0);
    assert_eq!((lines(&store, old).0, lines(&store, open).0), (0, 1));
    assert_eq!(store.read(open).await.unwrap().request.body.as_deref(), Some("a body"));
    assert!(days(&store).contains(&day));
    // Nothing is left to a drop of which nobody knows when it comes.
    let late = ended(&store, team, at(day, 3)).await;
    assert_eq!(purge(&other, at(day + 3, 0), 30).await, 1);
    assert_eq!(lines(&store, late).0, 0);
}

#[tokio::test]
async fn a_day_whose_lines_lie_in_the_default_partition_goes_without_and_stops_nobody() {
    let mut store = Shared::new().await;
    let (team, day) = (team(&store, "a").await, tomorrow(&store));
    sql(&store, &format!("DROP TABLE journal_{day}"));
    let id = ended(&store, team, at(day, 1)).await;
    assert_eq!(lines(&store, id), (2, "journal_rest".to_owned()));
    store.reopen().await;
    assert!(!days(&store).contains(&day), "{:?}", days(&store));
    assert_eq!(store.read(id).await.unwrap().task.id, id);
    assert_eq!(purge(&store, at(day, HOUR), 30).await, 1);
    assert_eq!(lines(&store, id).0, 0);
}

#[tokio::test]
async fn what_comes_from_another_store_brings_its_days_along() {
    use asyncqueue::store::transfer::{Enter, Leave};
    let (from, to) = (Shared::new().await, Shared::new().await);
    let (one, two) = (team(&from, "a").await, team(&to, "a").await);
    assert_eq!(one, two);
    let day = 19_000;
    let id = ended(&from, one, at(day, 1)).await;
    let moved = from.tasks_after(None, 9).await.unwrap();
    to.take_tasks(moved.clone(), at(day, 2)).await.unwrap();
    assert_eq!(lines(&to, id), (2, format!("journal_{day}")));
    assert_eq!(to.tasks_after(None, 9).await.unwrap(), moved);
}

#[tokio::test]
async fn somebody_who_reads_for_long_puts_a_drop_off_and_holds_up_no_writer() {
    let store = Shared::new().await;
    let (team, day) = (team(&store, "a").await, tomorrow(&store));
    let old = ended(&store, team, at(day, 1)).await;
    let (client, connection) = tokio_postgres::connect(store.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; SELECT count(*) FROM journal").await.unwrap();
    assert_eq!(purge(&store, at(day + 1, HOUR), 30).await, 1);
    assert!(days(&store).contains(&day), "it is read");
    create(&store, team, at(day + 1, 1)).await;
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(purge(&store.another().await, at(day + 1, HOUR), 30).await, 0);
    assert!(!days(&store).contains(&day));
    assert!(is_gone(&store, old).await && lines(&store, old).0 == 0);
}
