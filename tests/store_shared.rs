//! What only a store that nodes share has to show: many writers at once, on several nodes, no bloat, and what is in the
//! modules beside.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/shared.rs"]
mod shared;
mod shared_store;

use std::sync::Arc;
use std::time::Duration;

use asyncqueue::clock::{Clock, SystemClock};
use asyncqueue::store::{NewTask, Store, StoreError, Sweep};
use asyncqueue::task::{
    CallbackVerdict, EarlyCallbacks, Entry, Event, Payload, State, Status, TaskId, TeamId, Then, Timestamp,
};
use shared::Shared;
use shared_store::{pending, team};
use tokio::task::JoinSet;

/// A task that waits for its callback.
fn waiting(team: TeamId, now: Timestamp, number: u16) -> NewTask {
    let id = TaskId::from_parts(u64::try_from(now.0).unwrap(), number, 5);
    let mut new = pending(team, id, now, Then::Wait);
    (new.task.state, new.task.attempt) = (State::Waiting { deadline: now.plus(Duration::from_secs(3600)) }, 1);
    new
}

fn callback(verdict: CallbackVerdict) -> Event {
    Event::Callback { verdict, early: EarlyCallbacks::Accept }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_on_two_nodes_lose_no_update_and_no_task_ends_twice() {
    const TASKS: u16 = 8;
    const WRITERS: usize = 64;
    const NEWS: usize = 4;
    let one = Arc::new(Shared::new().await);
    let two = Arc::new(one.another().await);
    let (team, now) = (team(&one, "a").await, SystemClock.now());
    let mut ids = Vec::new();
    for number in 0..TASKS {
        let new = waiting(team, now, number);
        ids.push(new.task.id);
        one.create(new).await.unwrap();
    }
    let ids = Arc::new(ids);
    // All of them have told their news before any of them ends a task.
    let told_all = Arc::new(tokio::sync::Barrier::new(WRITERS));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (ids, told_all) = (ids.clone(), told_all.clone());
        let store = if writer % 2 == 0 { one.clone() } else { two.clone() };
        writers.spawn(async move {
            let mut ended = 0;
            for round in 0..NEWS {
                // Each in another order, so that transactions lock the same tasks crosswise.
                for step in 0..ids.len() {
                    let id = ids[(step * (1 + writer % 7) + writer + round) % ids.len()];
                    let payload = Some(Payload::told(format!("{{\"w\":{writer}}}").into()));
                    store.transition(id, callback(CallbackVerdict::Interim), payload, now).await.unwrap();
                }
            }
            told_all.wait().await;
            for id in ids.iter() {
                let told = store.transition(*id, Event::Cancel, None, now).await;
                assert!(matches!(told, Ok(_) | Err(StoreError::Refused(_))), "{told:?}");
                ended += usize::from(told.is_ok());
            }
            ended
        });
    }
    let mut ended = 0;
    while let Some(outcome) = writers.join_next().await {
        ended += outcome.unwrap();
    }
    assert_eq!(ended, usize::from(TASKS), "each task ends once");
    for id in ids.iter() {
        let events = one.events(*id).await.unwrap();
        let news = events.iter().filter(|event| event.entry == Entry::Progress).count();
        assert_eq!(news, WRITERS * NEWS, "every update is there");
        assert_eq!(two.state(*id).await.unwrap().status(), Status::Cancelled);
    }
    let counts = one.counts().await.unwrap();
    assert_eq!(counts.get(&Status::Cancelled), Some(&u64::from(TASKS)));
    assert_eq!(counts.get(&Status::Waiting).copied().unwrap_or_default(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_puts_off_no_other_one_fires() {
    const ROUNDS: u16 = 40;
    const TASKS: u16 = 20;
    let one = Arc::new(Shared::new().await);
    let two = Arc::new(one.another().await);
    let (team, now) = (team(&one, "a").await, SystemClock.now());
    for round in 0..ROUNDS {
        let mut ids = Vec::new();
        for number in 0..TASKS {
            let mut new = waiting(team, now, round * TASKS + number);
            new.task.state = State::Waiting { deadline: now.plus_millis(-1_000) };
            ids.push(new.task.id);
            one.create(new).await.unwrap();
        }
        // Each node puts off what was missed while the database was away, and then goes on as always.
        let mut nodes = JoinSet::new();
        for store in [one.clone(), two.clone()] {
            nodes.spawn(async move {
                let missed = Sweep { limit: 256, missed_before: now, not_before: now.plus(Duration::from_secs(60)) };
                let never = Timestamp(i64::MIN);
                for sweep in [missed, Sweep { limit: 256, missed_before: never, not_before: never }] {
                    store.fire_timers(sweep, now).await.unwrap();
                }
            });
        }
        nodes.join_all().await;
        for id in ids {
            assert_eq!(one.state(id).await.unwrap().status(), Status::Waiting, "round {round}");
        }
    }
}

/// What the tables and their indexes take, bytes.
fn size(store: &Shared) -> u64 {
    let sql = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'public' AND c.relkind = 'r'";
    let database = store.url().rsplit('/').next().unwrap();
    postgres::shared().sql(database, sql).parse().unwrap()
}

/// `ASYNCQUEUE_TEST_LARGE=1` churns five million tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_leaves_no_bloat() {
    let large = std::env::var("ASYNCQUEUE_TEST_LARGE").is_ok_and(|value| value == "1");
    let (rounds, tasks) = if large { (250, 20_000) } else { (6, 1_500) };
    let store = Arc::new(Shared::new().await);
    let (team, start) = (team(&store, "a").await, SystemClock.now());
    let (mut first, mut last) = (0, 0);
    for round in 0..rounds {
        let now = start.plus_millis(round);
        let mut lives = JoinSet::new();
        for number in 0..tasks {
            let store = store.clone();
            // The counter in an id has 15 bits.
            let new =
                waiting(team, now.plus_millis(i64::from(number) / 30_000), u16::try_from(number % 30_000).unwrap());
            lives.spawn(async move {
                let id = new.task.id;
                store.create(new).await.unwrap();
                let payload = Some(Payload::told(vec![b'x'; 1000].into()));
                store.transition(id, callback(CallbackVerdict::Done), payload, now).await.unwrap();
            });
            if lives.len() >= 256 {
                lives.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(life) = lives.join_next().await {
            life.unwrap();
        }
        let full = size(&store);
        // A timer is left behind until its time has come.
        let later = now.plus(Duration::from_secs(7200));
        let sweep = asyncqueue::store::Sweep { limit: 1000, missed_before: Timestamp(0), not_before: Timestamp(0) };
        while store.fire_timers(sweep, later).await.unwrap() > 0 {}
        while store.purge(now.plus_millis(1), 500, now).await.unwrap() > 0 {}
        // As autovacuum does, which nobody can wait for in a test.
        let database = store.url().rsplit('/').next().unwrap();
        postgres::shared().sql(database, "VACUUM");
        first = if round == 0 { full } else { first };
        last = full;
    }
    println!("{rounds} rounds of {tasks} tasks: {first} bytes when the first was full, {last} when the last was");
    assert!(last < 2 * first, "{first} bytes became {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_did_not_wait_for_its_standby_is_unknown_and_not_repeated() {
    let server = postgres::Server::start();
    let store = Arc::new(Shared::at(server.database()).await);
    let database = store.url().rsplit('/').next().unwrap().to_owned();
    let team = team(&store, "a").await;
    server.configure("synchronous_standby_names = 'nobody'");
    server.reload();
    let mut creating = tokio::spawn({
        let store = store.clone();
        async move {
            // Those that come before the server has read its configuration have nobody to wait for.
            for number in 1.. {
                if let Err(error) = store.create(waiting(team, SystemClock.now(), number)).await {
                    return (number, error);
                }
            }
            unreachable!("one of them waits")
        }
    });
    let sql = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while server.sql(&database, sql) == "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // If it were tried again, it would wait again, and nobody cancels that.
    let ended = tokio::time::timeout(Duration::from_secs(60), &mut creating).await;
    let (number, error) = ended.expect("the commit is not tried again").unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(server.sql(&database, "SELECT count(*) FROM task"), number.to_string());
}

#[tokio::test]
async fn a_task_that_is_cancelled_and_removed_in_one_transaction_leaves_nothing_behind() {
    let store = Shared::new().await;
    let (team, now) = (team(&store, "a").await, SystemClock.now());
    let id = TaskId::from_parts(u64::try_from(now.0).unwrap(), 1, 5);
    store.create(pending(team, id, now, Then::Wait)).await.unwrap();
    // Both are queued before the lane has a turn.
    let (cancelled, removed) = tokio::join!(store.transition(id, Event::Cancel, None, now), store.delete(id));
    cancelled.unwrap();
    removed.unwrap();
    let database = store.url().rsplit('/').next().unwrap();
    for table in ["task", "call", "journal", "poll", "ended", "ended_badly"] {
        assert_eq!(postgres::shared().sql(database, &format!("SELECT count(*) FROM {table}")), "0", "{table}");
    }
    let counts = store.counts().await.unwrap();
    assert!(counts.values().all(|tasks| *tasks == 0), "{counts:?}");
}
