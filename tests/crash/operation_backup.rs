//! A backup that is taken under load is whole, and serves with its key and with no other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use serde_json::json;
use tokio::time::sleep;

use crate::check::assert_none;
use crate::harness::load::Load;
use crate::harness::random::Random;
use crate::harness::server::{Server, refused};
use crate::harness::site::{Site, refusal, succeeded};
use crate::harness::until;
use crate::harness::world::World;
use crate::ledger::{Entry, Kind, Verdict};

/// What the `sqlite3` program says of a file.
fn judged_by_sqlite(path: &Path) -> String {
    let output = Command::new("sqlite3").arg(path).arg("PRAGMA integrity_check").output();
    succeeded("sqlite3", &output.expect("this test needs the sqlite3 program"))
}

/// A site whose database is `copy`.
fn restored(label: &str, copy: &Path, of: &Site) -> Site {
    let mut site = Site::new(label);
    fs::copy(copy, site.database()).expect("a copy of the copy");
    site.key.clone_from(&of.key);
    site
}

fn key_file(site: &Site) -> std::path::PathBuf {
    site.database().with_extension("db.key")
}

/// The tasks that the service has acknowledged so far.
fn acknowledged(world: &World) -> Vec<(usize, String)> {
    let entries = world.ledger.read().into_iter();
    let created = entries.filter_map(|entry| match entry {
        Entry::Create(create) if create.verdict == Verdict::Acknowledged => Some((create.team, create.id?)),
        _ => None,
    });
    created.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_under_load_is_whole_and_serves_with_its_key_alone() {
    let mut world = World::new("op-backup").await;
    let server = world.start().await;
    let (_, waiting) = world.create(0, Kind::Callback, &json!({})).await;
    let (task, callback) = loop {
        match world.target.take_callback(|_| 0) {
            Some(found) => break found,
            None => sleep(Duration::from_millis(10)).await,
        }
    };
    assert_eq!(Some(&task), waiting.as_ref());
    let mut world = Arc::new(world);
    let load = Load::start(&world, Random::new("backup"));
    until("some load", || acknowledged(&world).len() > 50).await;
    let copy = world.site.dir.join("copy.db");
    let before = acknowledged(&world);
    let said = world.site.command(&["backup", copy.to_str().unwrap()]);
    assert_eq!(said.trim(), copy.display().to_string());
    let after = acknowledged(&world);
    load.stop().await;
    assert!(after.len() > before.len() && before.len() > 20, "no load: {} and {}", before.len(), after.len());
    assert_eq!(judged_by_sqlite(&copy).trim(), "ok");
    assert_eq!(world.callback(&task, &callback).await.status(), 200);
    let world = Arc::get_mut(&mut world).expect("no load is running");
    assert_none(&world.settle(server).await);

    // Only now, because it goes on with what was due when the copy was taken, and calls the same target.
    let site = restored("op-restored", &copy, &world.site);
    fs::copy(key_file(&world.site), key_file(&site)).unwrap();
    let server = Server::start(&site).await;
    for (team, id) in &before {
        let read = world.teams[*team].at(site.addr).get(&format!("/v1/tasks/{id}")).await;
        assert_eq!(read.status(), 200, "acknowledged before the backup, and not in it: {id}");
    }
    let used = world.api().at(site.addr).post(&format!("/v1/callbacks/{callback}"), "{}").await;
    assert_eq!((used.status(), &used.json()["task"]["id"]), (200, &json!(task)), "an id from before the backup");
    server.stop().await;
    refuses_without_its_key(&copy, &world.site).await;
}

async fn refuses_without_its_key(copy: &Path, of: &Site) {
    let site = restored("op-keyless", copy, of);
    let said = refused(&site, "a copy without its key").await;
    assert!(said.contains("secret key file is missing") && said.contains("ASYNCQUEUE_SECRET_KEY"), "{said}");
    assert!(!key_file(&site).exists(), "another secret was made for a store that has one");

    let mut site = restored("op-otherkey", copy, of);
    let other = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    site.environment.push(("ASYNCQUEUE_SECRET_KEY".to_owned(), other.clone()));
    let said = refused(&site, "a copy with another secret").await;
    assert!(said.contains("secret") && !said.contains(&other), "{said}");
    // The key may come by the variable, too.
    fs::read_to_string(key_file(of)).unwrap().trim().clone_into(&mut site.environment[0].1);
    Server::start(&site).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_overwrites_nothing_and_works_while_nothing_serves() {
    let site = Site::new("op-backup-idle");
    Server::start(&site).await.stop().await;
    let there = site.dir.join("there.txt");
    fs::write(&there, "somebody's file").unwrap();
    let nowhere = site.dir.join("no-such-folder").join("copy.db");
    let own = site.database();
    for serving in [false, true] {
        let server = if serving { Some(Server::start(&site).await) } else { None };
        for path in [&there, &nowhere, &own] {
            let said = refusal(&site.attempt(&["backup", path.to_str().unwrap()]));
            assert!(!said.trim().is_empty() && said.len() < 500, "{said}");
        }
        assert_eq!(fs::read_to_string(&there).unwrap(), "somebody's file");
        let copy = site.dir.join(format!("copy-{serving}.db"));
        site.command(&["backup", copy.to_str().unwrap()]);
        assert_eq!(judged_by_sqlite(&copy).trim(), "ok");
        if let Some(server) = server {
            server.stop().await;
        }
    }
    Server::start(&site).await.stop().await;
}
