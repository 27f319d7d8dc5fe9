//! A store that is in use, read-only, from a newer version or another secret's is refused, and says which.

use base64::Engine;
use serde_json::json;

use crate::harness::mount::Mount;
use crate::harness::server::{Server, refused};
use crate::harness::site::Site;
use crate::harness::world::World;
use crate::ledger::Kind;

/// A site whose store has been served and stopped in order.
async fn used(label: &str) -> Site {
    let site = Site::new(label);
    Server::start(&site).await.stop().await;
    site
}

fn names_the_file(site: &Site, said: &str) {
    let path = site.database().display().to_string();
    assert!(
        said.contains(&path) || said.contains(&site.store.display().to_string()),
        "`{path}` is not named in: {said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_file_is_refused() {
    let mut world = World::new("t08-second").await;
    let server = world.start().await;
    let mut second = Site::new("t08-other-port");
    let first_address = std::mem::replace(&mut world.site.addr, second.addr);
    let said = refused(&world.site, "a second process").await;
    names_the_file(&world.site, &said);
    second.addr = first_address;
    world.create(0, Kind::Plain, &json!({})).await.1.expect("the first goes on");
    world.settle_and_check(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_refused() {
    for site in [Site::new("t08-empty"), used("t08-used").await] {
        let mount = Mount::read_only(&site.store);
        names_the_file(&site, &refused(&site, "a read-only folder").await);
        drop(mount);
        // Nothing is broken by the attempt.
        Server::start(&site).await.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_from_a_newer_version_is_refused_and_left_alone() {
    let site = used("t08-newer").await;
    let open = || rusqlite::Connection::open(site.database()).expect("a database");
    let version = |connection: &rusqlite::Connection| -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
    };
    let own = version(&open());
    open().pragma_update(None, "user_version", 9_999).expect("a changed version");
    let said = refused(&site, "a newer database").await;
    names_the_file(&site, &said);
    assert_eq!(version(&open()), 9_999, "a refused database was changed");
    open().pragma_update(None, "user_version", own).expect("the version again");
    Server::start(&site).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_key_of_another_store_is_refused() {
    let mut site = used("t08-secret").await;
    let secret = base64::engine::general_purpose::STANDARD.encode([0x5A; 32]);
    site.environment.push(("ASYNCQUEUE_SECRET_KEY".to_owned(), secret.clone()));
    let said = refused(&site, "another store's secret").await;
    assert!(!said.contains(&secret), "the message shows the secret: {said}");
    assert!(said.to_lowercase().contains("secret"), "the message does not say what is wrong: {said}");
    site.environment.clear();
    Server::start(&site).await.stop().await;
}
