//! What operators do by command, while the service runs and while it does not.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::harness::site::{Site, refusal, word_with_prefix};
use crate::harness::{PATIENCE, large};

/// A site whose store exists, so that commands find the team `default` in it.
async fn used(label: &str) -> Site {
    let site = Site::new(label);
    Server::start(&site).await.stop().await;
    site
}

fn lines(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

async fn status(site: &Site, key: &str) -> u16 {
    Client::new(site.addr, Some(key)).without_keep_alive().get("/v1/tasks").await.status()
}

/// Everything there is to do about the team `name`; gives a key that works and one that was revoked.
fn manage(site: &Site, name: &str) -> [String; 2] {
    let made = lines(&site.command(&["team", "create", name, "--rate-limit", "600"]));
    assert_eq!((made.len(), &*made[0][1], &*made[0][3]), (1, name, "600/min"));
    let again = refusal(&site.attempt(&["team", "create", name]));
    assert!(again.contains(&format!("there is a team called {name} already")), "{again}");
    let limited = lines(&site.command(&["team", "limit", name]));
    assert_eq!(limited[0][3], "-");
    let all = lines(&site.command(&["team", "list"]));
    assert!(all.contains(&limited[0]) && all.iter().any(|team| team[1] == "default"), "{all:?}");

    let make = |purpose: &str| site.command(&["key", "create", "--team", name, "--name", purpose]).trim().to_owned();
    let keys = [make("stays"), make("goes")];
    for key in &keys {
        assert!(key.starts_with("async_") && key.len() >= 38 && !key.contains(char::is_whitespace), "not a key alone");
    }
    let listed = site.command(&["key", "list", "--team", name]);
    assert!(keys.iter().all(|key| !listed.contains(key.as_str())), "a list shows a key whole");
    let listed = lines(&listed);
    let purposes: Vec<_> = listed.iter().map(|key| (&*key[2], &*key[4])).collect();
    assert_eq!(purposes, [("stays", "works"), ("goes", "works")]);
    let revoked = lines(&site.command(&["key", "revoke", &listed[1][0]]));
    assert!(revoked[0][4].starts_with("revoked "), "{revoked:?}");
    let again = refusal(&site.attempt(&["key", "revoke", &listed[1][0]]));
    assert!(again.contains("there is no key"), "{again}");
    rotate(site, name);
    keys
}

fn rotate(site: &Site, name: &str) {
    let show = || site.command(&["team", "secret", "show", "--team", name]).trim().to_owned();
    let old = show();
    assert!(old.starts_with("whsec_") && old.len() == 50, "32 bytes in base64");
    let new = site.command(&["team", "secret", "rotate", "--team", name]).trim().to_owned();
    assert!(new.starts_with("whsec_") && new != old, "not another secret");
    assert_eq!(show(), new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn teams_keys_and_secrets_are_managed_alike_while_it_serves_and_while_not() {
    let site = used("op-commands").await;
    let [works_1, revoked_1] = manage(&site, "while-stopped");
    let server = Server::start(&site).await;
    let [works_2, revoked_2] = manage(&site, "while-serving");
    for (key, expected) in [(&works_1, 200), (&revoked_1, 401), (&works_2, 200), (&revoked_2, 401), (&site.key, 200)] {
        assert_eq!(status(&site, key).await, expected);
    }
    server.stop().await;
    let server = Server::start(&site).await;
    for (key, expected) in [(&works_1, 200), (&revoked_1, 401), (&works_2, 200), (&revoked_2, 401)] {
        assert_eq!(status(&site, key).await, expected, "after a restart");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_not_meant_is_refused_in_words() {
    let site = used("op-refusals").await;
    for serving in [false, true] {
        let server = if serving { Some(Server::start(&site).await) } else { None };
        let long = "x".repeat(101);
        for (words, said) in [
            (vec!["key", "create", "--team", "nobody"], "there is no team called nobody"),
            (vec!["key", "list", "--team", "nobody"], "there is no team called nobody"),
            (vec!["team", "limit", "nobody"], "there is no team called nobody"),
            (vec!["team", "secret", "show", "--team", "nobody"], "there is no team called nobody"),
            (vec!["team", "secret", "rotate", "--team", "nobody"], "there is no team called nobody"),
            (vec!["key", "revoke", "not-an-id"], "there is no key not-an-id"),
            (vec!["team", "create", ""], "a name is 1 to 100 characters"),
            (vec!["team", "create", &long], "a name is 1 to 100 characters"),
            (vec!["key", "create", "--name", "a\u{1b}[2Jb"], "none of them a control character"),
        ] {
            let refused = refusal(&site.attempt(&words));
            assert!(refused.contains(said), "{words:?}: {refused}");
        }
        if let Some(server) = server {
            server.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_within_a_second_however_busy_it_is() {
    let site = Site::new("op-revoke");
    let server = Server::start(&site).await;
    let key = word_with_prefix(&site.command(&["key", "create", "--name", "busy"]), "async_");
    let id = lines(&site.command(&["key", "list"])).into_iter().find(|key| key[2] == "busy").unwrap()[0].clone();
    let client = Client::new(site.addr, Some(&key));
    for _ in 0..20 {
        assert_eq!(client.get("/v1/tasks").await.status(), 200);
    }
    site.command(&["key", "revoke", &id]);
    let (revoked, limit) = (Instant::now(), if large() { Duration::from_secs(1) } else { PATIENCE });
    loop {
        let asked = revoked.elapsed();
        match client.get("/v1/tasks").await.status() {
            401 => break,
            other => assert!(other == 200 && asked < limit, "{other} at {asked:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        assert_eq!(client.get("/v1/tasks").await.status(), 401, "a revoked key works again");
    }
    assert_eq!(status(&site, &site.key).await, 200);
    server.stop().await;
}
