//! T48: a store of every older layout, with tasks in all nine states, becomes a store of this one: whole, also where the process is
//! killed in the middle of it, and however often. There is no way back, and who tries is told.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::check::integrity;
use crate::harness::server::{Server, refused};
use crate::harness::site::{Site, files_below};
use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::harness::{PATIENCE, large, sized, until};
use crate::ledger::{Entry, Kind};

/// Calls that are made at once here, so that there are tasks that are called and others that wait for their turn.
const AT_ONCE: usize = 2;

const STATES: [&str; 9] =
    ["pending", "delayed", "processing", "waiting", "polling", "completed", "failed", "timeout", "cancelled"];

/// The layouts' scripts, the oldest first.
fn scripts() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let script = |number| std::fs::read_to_string(folder.join(format!("schema_{number}.sql"))).ok();
    (1..).map_while(script).collect()
}

fn open(path: &Path) -> Connection {
    Connection::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn version(path: &Path) -> usize {
    open(path).pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

/// The tables and indexes that there are, with what made them.
fn layout(path: &Path) -> BTreeSet<(String, Option<String>)> {
    let db = open(path);
    let mut all = db.prepare("SELECT name, sql FROM sqlite_schema").expect("a schema");
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a schema");
    rows.collect::<Result<_, _>>().expect("a schema")
}

/// Writes into their rows what is in the redo table, which an older layout has not.
fn put_in_place(path: &Path) {
    let mut db = open(path);
    let step = db.transaction().expect("a transaction");
    let changes: Vec<(i64, String)> = {
        let mut all = step.prepare("SELECT id, changed FROM redo ORDER BY id").expect("the table");
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("its rows");
        rows.collect::<Result<_, _>>().expect("its rows")
    };
    let put = "UPDATE task SET head = ?1, status = ?2 ->> '$[1][0]', at = ?2 ->> '$[1][1]', flags = ?2 ->> '$[1][2]', \
        attempt = ?2 ->> '$[2][0]', retries = ?2 ->> '$[2][1]', started_at = ?2 ->> '$[2][2]', error = ?2 ->> '$[3]', \
        answer = ?2 ->> '$[4][0]', result = ?2 ->> '$[4][1]', progress = ?2 ->> '$[4][2]', \
        hook_status = ?2 ->> '$[5][0]', hook_attempts = ?2 ->> '$[5][1]', hook_code = ?2 ->> '$[5][2]', \
        hook_next = ?2 ->> '$[5][3]' WHERE key = ?2 ->> '$[0]' AND head < ?1";
    assert!(!changes.is_empty(), "nothing was behind: the window was missed");
    for change in &changes {
        step.execute(put, rusqlite::params![change.0, change.1]).expect("a change");
    }
    step.execute("DELETE FROM redo", []).expect("an empty table");
    step.commit().expect("the changes");
}

/// Puts a store of an older layout in the place of one of this program's, with the same in all tables that it has.
fn make_older(path: &Path, scripts: &[String]) {
    // What was committed and is in the log only is in the database after this.
    open(path).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    let old = path.with_extension("old");
    let db = open(&old);
    for script in scripts {
        db.execute_batch(script).expect("a script");
    }
    db.pragma_update(None, "user_version", scripts.len()).expect("a version");
    db.execute("ATTACH ?1 AS now", [path.to_string_lossy()]).expect("both databases");
    db.execute_batch("PRAGMA foreign_keys = OFF").expect("a setting");
    let sql = "SELECT group_concat(name) FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: String = db.query_row(sql, [], |row| row.get(0)).expect("tables");
    for table in tables.split(',') {
        let columns = "SELECT group_concat(name) FROM pragma_table_info(?1, 'main')";
        let columns: String = db.query_row(columns, [table], |row| row.get(0)).expect("columns");
        let copy = format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}");
        db.execute_batch(&copy).unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    db.execute_batch("DETACH now").expect("one database");
    drop(db);
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    std::fs::rename(old, path).expect("the older one in its place");
}

/// Tasks in all states; gives what those show that nobody touches any more.
async fn fill(world: &World, each: usize) -> BTreeMap<String, Value> {
    let polled = json!({
        "urlTemplate": world.target.url("/poll"), "statusPath": "state", "doneValues": ["done"], "failValues": [], "interval": 3600,
    });
    let polled = json!({"targetUrl": world.target.url("/call"), "pollConfig": polled});
    for _ in 0..each {
        world.create(0, Kind::Victim, &json!({})).await.1.expect("a task");
        let (_, id) = world.create(0, Kind::Victim, &json!({})).await;
        world.cancel(0, &id.expect("a task")).await;
        world.create(0, Kind::Plain, &json!({"onCompleteUrl": world.target.url("/hook")})).await.1.expect("a task");
        world.create(0, Kind::Plain, &json!({"targetUrl": world.target.url("/call?fail=9"), "maxRetries": 0})).await;
        world.create(0, Kind::Short, &json!({"maxWaitTime": 1})).await.1.expect("a task");
        world.create(0, Kind::Signal, &json!({})).await.1.expect("a task");
        world.create(0, Kind::Callback, &json!({})).await.1.expect("a task");
        assert_eq!(world.api().post("/v1/tasks", polled.to_string()).await.status(), 201);
    }
    at_rest(world).await;
    let still = world.list(0, "").await;
    // From here on both places for calls are taken.
    let lasting = json!({"targetUrl": world.target.url("/call?delay=8000")});
    for _ in 0..AT_ONCE + 3 {
        world.create(0, Kind::Plain, &lasting).await.1.expect("a task");
    }
    until("calls that last", || world.target.in_flight() == AT_ONCE).await;
    still.into_iter().map(|task| (task["id"].as_str().expect("an id").to_owned(), task)).collect()
}

/// Waits until nothing happens any more by itself.
async fn at_rest(world: &World) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tasks = world.list(0, "").await;
        let busy = |task: &&Value| {
            let passes = ["pending", "processing"].contains(&task["status"].as_str().unwrap_or_default());
            let short = task["status"] == "waiting" && task["maxWaitTime"] == 1;
            passes || short || task["onComplete"]["status"] == "pending" && !task["completedAt"].is_null()
        };
        let Some(busy) = tasks.iter().find(busy) else { return };
        assert!(Instant::now() < deadline, "never at rest: {busy}");
        sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// How many tasks there are of each state, by the store's own counters and by its rows.
fn by_state(path: &Path) -> [BTreeMap<i64, i64>; 2] {
    let db = open(path);
    let count = |sql: &str| {
        let mut counted = db.prepare(sql).expect("a query");
        let rows = counted.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    };
    [
        count("SELECT status, sum(tasks) FROM counter GROUP BY status HAVING sum(tasks) > 0"),
        count("SELECT status, count(*) FROM task GROUP BY status"),
    ]
}

/// `strace` that kills the service at the `number`th call of this sort, in any thread.
fn killer(call: &str, number: usize) -> Vec<OsString> {
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let words = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e"];
    words.into_iter().map(OsString::from).chain([format!("trace={call}").into(), "-e".into(), inject.into()]).collect()
}

/// Kills starts on the old store at a later and later write, until one gets through with the change; gives how many did not. Layout
/// follows layout, and each comes about whole or not at all.
async fn killed_on_the_way(site: &mut Site, newest: usize) -> usize {
    let (path, mut kills) = (site.database(), 0);
    let states = by_state(&path);
    let mut before = (version(&path), layout(&path));
    // Every write in the large form, some in the small one.
    for number in (1..).step_by(if large() { 1 } else { 3 }) {
        site.wrapper = killer("pwrite64", number);
        let started = Server::try_start(site).await;
        site.wrapper.clear();
        let killed = started.is_err();
        if let Ok(server) = started {
            server.kill();
        }
        assert!(integrity(&path).is_empty(), "write {number}: {:?}", integrity(&path));
        assert_eq!(by_state(&path), states, "write {number}: the change lost tasks");
        if version(&path) == newest {
            break;
        }
        assert!(killed, "write {number}: it serves a store of an older layout");
        kills += 1;
        if version(&path) == before.0 {
            assert_eq!(layout(&path), before.1, "write {number}: half a change is there");
        }
        before = (version(&path), layout(&path));
    }
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_store_with_tasks_in_all_states_is_brought_up_to_date_whole() {
    let scripts = scripts();
    assert!(scripts.len() > 1, "there is no older layout");
    for older in 1..scripts.len() {
        upgrade(&scripts[..older], scripts.len()).await;
    }
}

async fn upgrade(older: &[String], newest: usize) {
    let mut site = Site::new("t48");
    site.arguments = ["--max-in-flight", &AT_ONCE.to_string()].map(str::to_owned).to_vec();
    let mut world = World::on(site).await;
    let server = world.start().await;
    let before = fill(&world, sized(3, 1_100)).await;
    world.note_down();
    server.kill();
    let path = world.site.database();
    put_in_place(&path);
    let (whole, states) = (layout(&path), by_state(&path));
    assert_eq!((states[1].len(), &states[0]), (STATES.len(), &states[1]), "not every state is there");
    make_older(&path, older);
    assert_ne!(layout(&path), whole);
    let kills = killed_on_the_way(&mut world.site, newest).await;
    println!("T48: from {} to {newest}: {kills} starts killed before the change was there", older.len());
    assert!(kills >= 3, "hardly a start was killed on the way: the window was missed");
    assert_eq!((version(&path), layout(&path)), (newest, whole), "the change came about in part");

    // Those that were called or due are called, all at once now.
    world.site.arguments.clear();
    let server = Server::start(&world.site).await;
    world.ledger.write(&Entry::Ready(wall_ms()));
    for (id, task) in &before {
        assert_eq!(&world.task(id).await, task, "{id} is not what it was");
    }
    world.settle_and_check(server).await;
    no_way_back(&world.site, newest).await;
}

/// A program that knows one layout less is refused, and touches nothing.
async fn no_way_back(site: &Site, newest: usize) {
    let path = site.database();
    open(&path).pragma_update(None, "user_version", newest + 1).expect("a version");
    let contents =
        || files_below(&site.store).iter().map(|file| std::fs::read(file).unwrap_or_default()).collect::<Vec<_>>();
    let before = contents();
    let said = refused(site, "a store of the next layout").await;
    let told = format!("newer version (layout {}; this program knows {newest})", newest + 1);
    assert!(said.contains(&told) && said.contains(&path.display().to_string()), "{said}");
    assert!(contents() == before, "a refused store was changed");
}
