//! Rows whose change is on disk but not in its place.

use super::*;
use crate::store::contract;
use crate::task::{CallbackVerdict, EarlyCallbacks};

/// Rows that may be behind in these tests; a round is half of them.
const FEW: usize = 8;

/// Rows that the redo table may have then.
const ROWS_MAX: i64 = 4 * 8;

impl Folder {
    /// A store that sweeps soon.
    fn sweeping(&self) -> Sqlite {
        sweeping_at(self.file())
    }

    /// The files as they are now, as a kill would leave them, opened.
    fn killed(&self, name: &str) -> Sqlite {
        let copy = self.0.join(name);
        for end in ["", "-wal"] {
            std::fs::copy(beside(&self.file(), end), beside(&copy, end)).unwrap();
        }
        sweeping_at(copy)
    }
}

fn sweeping_at(path: PathBuf) -> Sqlite {
    let (observer, fatal) = (Arc::new(NoObserver), Arc::new(|why: &str| panic!("{why}")));
    Sqlite::open(Options { path, observer, fatal, behind_max: FEW }).unwrap()
}

async fn waiting(store: &Sqlite, n: u16) -> TaskId {
    contract::waiting(store, TEAM, n).await
}

fn called_back(verdict: CallbackVerdict) -> Event {
    Event::Callback { verdict, early: EarlyCallbacks::Accept }
}

/// Calls back with a body; gives the task's status afterwards.
async fn call_back(store: &Sqlite, id: TaskId, verdict: CallbackVerdict) -> Status {
    let body = Payload::told("1".into());
    store.transition(id, called_back(verdict), Some(body), NOW).await.unwrap().status()
}

async fn complete(store: &Sqlite, id: TaskId) {
    assert_eq!(call_back(store, id, CallbackVerdict::Done).await, Status::Completed);
}

/// Has its webhook answered.
async fn deliver(store: &Sqlite, id: TaskId) {
    let claimed = store.claim_deliveries(1, NOW).await.unwrap().remove(0);
    let outcome = DeliveryOutcome { status_code: Some(200), error: None, hopeless: false };
    store.finish_delivery(id, claimed.delivery, outcome, NOW).await.unwrap();
}

/// How many rows the redo table has, and how many of them are needed.
async fn redo(store: &Sqlite) -> (i64, usize) {
    let count = |writer: &mut writer::Writer| {
        writer.db.query_row("SELECT count(*) FROM redo", [], |row| row.get(0)).map_err(failed)
    };
    (store.writer.run(count).await.unwrap(), store.behind.len())
}

/// What the table itself says of a task's status.
async fn in_place(store: &Sqlite, id: TaskId) -> i64 {
    let status = move |writer: &mut writer::Writer| {
        let key = [id.sort_key()];
        writer.db.query_row("SELECT status FROM task WHERE key = ?1", key, |row| row.get(0)).map_err(failed)
    };
    store.writer.run(status).await.unwrap()
}

#[tokio::test]
async fn a_kill_finds_what_is_behind() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let (done, open) = (waiting(&store, 1).await, waiting(&store, 2).await);
    complete(&store, done).await;
    assert_eq!(in_place(&store, done).await, 3, "it was to be behind");
    let again = folder.killed("killed.db");
    assert_eq!(again.read(done).await.unwrap(), store.read(done).await.unwrap());
    assert_eq!(again.events(done).await.unwrap(), store.events(done).await.unwrap());
    assert_eq!(again.state(open).await.unwrap().status(), Status::Waiting);
    complete(&again, open).await;
    assert_eq!(again.counts().await.unwrap().get(&Status::Completed), Some(&2));
}

#[tokio::test]
async fn lists_show_what_is_behind() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let (done, open) = (waiting(&store, 1).await, waiting(&store, 2).await);
    complete(&store, done).await;
    let query = |status| ListQuery { team: TEAM, status, limit: 10, offset: 0, room: u64::MAX };
    for (status, ids) in
        [(None, vec![open, done]), (Some(Status::Waiting), vec![open]), (Some(Status::Completed), vec![done])]
    {
        let listed = store.list(query(status)).await.unwrap();
        let mut records = Vec::new();
        for id in &ids {
            records.push(store.read(*id).await.unwrap());
        }
        assert_eq!((listed.records, listed.total), (records, ids.len() as u64));
    }
    assert_eq!((in_place(&store, done).await, store.behind.len()), (3, 1), "it was to stay behind");
}

#[tokio::test]
async fn the_table_and_the_memory_are_bounded() {
    let folder = Folder::new();
    let store = folder.sweeping();
    for n in 0..100 {
        let id = waiting(&store, n).await;
        complete(&store, id).await;
        let (rows, needed) = redo(&store).await;
        assert!(needed <= FEW + FEW / 2 && rows <= ROWS_MAX, "{needed} needed of {rows} after {n}");
    }
    drop(store);
    let store = folder.sweeping();
    assert_eq!(redo(&store).await, (0, 0), "a clean stop leaves nothing behind");
    assert_eq!(store.counts().await.unwrap().get(&Status::Completed), Some(&100));
}

#[tokio::test]
async fn one_task_that_changes_for_ever_takes_no_room_for_ever() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let id = waiting(&store, 1).await;
    for _ in 0..100 {
        assert_eq!(call_back(&store, id, CallbackVerdict::Interim).await, Status::Waiting);
    }
    let (rows, needed) = redo(&store).await;
    assert!(rows <= ROWS_MAX, "{needed} needed of {rows}");
}

#[tokio::test]
async fn what_is_taken_back_was_never_behind() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let (one, other) = (waiting(&store, 1).await, waiting(&store, 2).await);
    let broken = store.writer.run(move |writer| {
        assert!(writer.transition(one, &called_back(CallbackVerdict::Done), None, NOW)?.is_ok());
        Err::<(), _>(StoreError::Unavailable("halfway".to_owned()))
    });
    let (broken, ()) = tokio::join!(broken, complete(&store, other));
    assert!(broken.is_err());
    assert_eq!(store.state(one).await.unwrap().status(), Status::Waiting);
    assert_eq!(store.state(other).await.unwrap().status(), Status::Completed);
    complete(&store, one).await;
    let again = folder.killed("killed.db");
    for id in [one, other] {
        assert_eq!(again.read(id).await.unwrap(), store.read(id).await.unwrap());
    }
}

/// The newest journal rows are removed with their task. Whatever comes next, in the same commit too, is told by new ones.
#[tokio::test]
async fn a_commit_that_removes_the_newest_rows_keeps_what_it_adds() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let (kept, gone) = (waiting(&store, 1).await, waiting(&store, 2).await);
    assert_eq!(call_back(&store, gone, CallbackVerdict::Interim).await, Status::Waiting);
    complete(&store, gone).await;
    let both = store.writer.run(move |writer| {
        writer.delete(gone)?;
        writer.transition(kept, &called_back(CallbackVerdict::Done), None, NOW)
    });
    both.await.unwrap().unwrap();
    assert_eq!(store.behind.len(), 1, "it was to be behind");
    let again = folder.killed("killed.db");
    assert_eq!(again.read(kept).await.unwrap(), store.read(kept).await.unwrap());
    assert!(matches!(again.state(gone).await, Err(StoreError::NotFound)));
}

/// The same where nothing is behind when the commit begins, and the table has what nobody needs.
#[tokio::test]
async fn what_comes_while_the_table_is_cleaned_stays() {
    let folder = Folder::new();
    let store = folder.sweeping();
    for n in 0..20 {
        let (one, other) = (waiting(&store, 3 * n).await, waiting(&store, 3 * n + 1).await);
        let kept = waiting(&store, 3 * n + 2).await;
        for id in [one, other] {
            let both = store.writer.run(move |writer| {
                assert!(writer.transition(id, &called_back(CallbackVerdict::Done), None, NOW)?.is_ok());
                writer.delete(id)
            });
            both.await.unwrap();
        }
        complete(&store, kept).await;
        let again = folder.killed(&format!("killed-{n}.db"));
        assert_eq!(again.state(kept).await.unwrap().status(), Status::Completed, "after {n}");
        store.delete(kept).await.unwrap();
    }
}

/// Where tasks are removed as soon as they end, nothing is ever behind for long, and no round has anything to sweep.
#[tokio::test]
async fn the_table_is_bounded_where_tasks_are_removed_at_once() {
    let folder = Folder::new();
    let store = folder.sweeping();
    for n in 0..100 {
        let id = waiting(&store, n).await;
        complete(&store, id).await;
        store.delete(id).await.unwrap();
    }
    let (rows, needed) = redo(&store).await;
    assert!(needed == 0 && rows <= ROWS_MAX, "{needed} needed of {rows}");
}

/// Callbacks that are committed between a list's look at what is behind and its snapshot are in its total and on its page.
#[tokio::test]
async fn a_lists_total_and_page_are_of_one_moment() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(waiting(&store, n).await);
    }
    let known = || store.behind.known();
    let (for_waiting, for_completed) = (known(), known());
    for id in &ids[2..] {
        complete(&store, *id).await;
    }
    for (status, known, there) in [(Status::Waiting, for_waiting, 2), (Status::Completed, for_completed, 3)] {
        let query = ListQuery { team: TEAM, status: Some(status), limit: 10, offset: 0, room: u64::MAX };
        let page = store.readers.run(move |db| queries::list(db, query, known)).await.unwrap();
        assert_eq!((page.total, page.records.len()), (there, usize::try_from(there).unwrap()));
        assert!(page.records.iter().all(|record| record.task.status() == status));
    }
}

/// The same for a task that was behind already, and whose end is in its place and gone from the redo table by then.
#[tokio::test]
async fn a_list_shows_what_was_put_in_its_place_between_its_looks() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let one = waiting(&store, 0).await;
    assert_eq!(call_back(&store, one, CallbackVerdict::Interim).await, Status::Waiting);
    let known = store.behind.known();
    complete(&store, one).await;
    for n in 1..40 {
        let other = waiting(&store, n).await;
        complete(&store, other).await;
    }
    assert_eq!(in_place(&store, one).await, 5, "it was to be in its place");
    let query = ListQuery { team: TEAM, status: Some(Status::Completed), limit: 50, offset: 0, room: u64::MAX };
    let page = store.readers.run(move |db| queries::list(db, query, known)).await.unwrap();
    assert_eq!((page.total, page.records.len()), (40, 40));
    assert_eq!(page.records[39].task.id, one);
}

/// Retention goes by a list of its own, whether or not a task's row is in its place, and leaves alone what has a webhook to come.
#[tokio::test]
async fn what_is_behind_is_removed_in_its_time() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let later = NOW.plus_millis(1);
    for again in [false, true] {
        let id = waiting(&store, u16::from(again)).await;
        complete(&store, id).await;
        assert_eq!(store.purge(later, 10, NOW).await.unwrap(), 0, "its webhook is due");
        deliver(&store, id).await;
        assert_eq!(in_place(&store, id).await, 3, "it was to be behind");
        if again {
            store.resend(id, NOW).await.unwrap();
            assert_eq!(store.purge(later, 10, NOW).await.unwrap(), 0, "its webhook is due once more");
            deliver(&store, id).await;
        }
        assert_eq!(store.purge(later, 10, NOW).await.unwrap(), 1);
        assert!(matches!(store.state(id).await, Err(StoreError::NotFound)));
    }
    let left = |writer: &mut writer::Writer| {
        writer.db.query_row("SELECT count(*) FROM ended", [], |row| row.get::<_, i64>(0)).map_err(failed)
    };
    assert_eq!(store.writer.run(left).await.unwrap(), 0);
}

/// A failure may be told in megabytes.
#[tokio::test]
async fn a_row_with_a_long_error_is_never_behind() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let (short, long) = (waiting(&store, 1).await, waiting(&store, 2).await);
    for (id, length, behind) in [(short, 10, 1), (long, 2000, 1)] {
        let event = Event::Signal { error: Some("x".repeat(length)), result: false };
        store.transition(id, event, None, NOW).await.unwrap();
        let claimed = store.claim_deliveries(1, NOW).await.unwrap().remove(0);
        let outcome = DeliveryOutcome { status_code: Some(500), error: None, hopeless: false };
        store.finish_delivery(id, claimed.delivery, outcome, NOW).await.unwrap();
        assert_eq!(store.behind.len(), behind, "after an error of {length}");
    }
}

/// What a commit carries along beside its own must not be why it is refused, as where the disk is nearly full.
#[tokio::test]
async fn nobody_is_refused_because_of_a_sweep() {
    let folder = Folder::new();
    let store = folder.sweeping();
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(waiting(&store, n).await);
    }
    let no_room = |writer: &mut writer::Writer| {
        let sql = "CREATE TEMP TRIGGER no_room BEFORE UPDATE ON task BEGIN SELECT RAISE(FAIL, 'no room'); END";
        writer.db.execute_batch(sql).map_err(failed)
    };
    store.writer.run(no_room).await.unwrap();
    for id in &ids {
        complete(&store, *id).await;
    }
    assert_eq!(store.behind.len(), ids.len(), "some were swept");
    let again = folder.killed("killed.db");
    assert_eq!(again.counts().await.unwrap().get(&Status::Completed), Some(&ids.len().try_into().unwrap()));
    store.writer.run(|writer| writer.db.execute_batch("DROP TRIGGER no_room").map_err(failed)).await.unwrap();
}
