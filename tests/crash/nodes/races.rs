//! T09 on two nodes: many post to one callback id at once, and exactly one of them is heard.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::cluster::Cluster;
use crate::harness::http::Client;
use crate::harness::{PATIENCE, sized};
use crate::ledger::Kind;
use crate::postgres;

const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_callbacks_on_two_nodes_exactly_one_is_heard() {
    let (cluster, world) = Cluster::start("t09", &postgres::shared().database(), 2).await;
    let world = Arc::new(world);
    let ids = sized(60, 1_000);
    for _ in 0..ids {
        world.create(0, Kind::Callback, &serde_json::json!({})).await;
    }
    let clients: Vec<Arc<Client>> =
        (0..2).map(|node| Arc::new(Client::new(cluster.addr(node), Some(&world.site.key)))).collect();
    let mut heard = 0;
    for _ in 0..ids {
        let (task, id) = next_callback(&world).await;
        while world.task(&task).await["status"] != "waiting" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let path = format!("/v1/callbacks/{id}");
        let mut posts = JoinSet::new();
        for number in 0..AT_ONCE {
            let (client, path) = (clients[number % 2].clone(), path.clone());
            posts.spawn(async move { (number, client.post(&path, format!("{{\"n\":{number}}}")).await.status()) });
        }
        let answers = posts.join_all().await;
        let winners: Vec<usize> =
            answers.iter().filter(|(_, status)| *status == 200).map(|(number, _)| *number).collect();
        assert_eq!(winners.len(), 1, "{task}: {answers:?}");
        assert!(answers.iter().all(|(_, status)| [200, 404, 409].contains(status)), "{task}: {answers:?}");
        let body = world.task(&task).await["result"]["body"].as_str().unwrap_or_default().to_owned();
        assert_eq!(body, format!("{{\"n\":{}}}", winners[0]), "{task}");
        heard += 1;
    }
    println!("T09: {heard} ids, {} posts", heard * AT_ONCE);
    assert_eq!(heard, ids);
    cluster.stop().await;
}

async fn next_callback(world: &crate::harness::world::World) -> (String, String) {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(found) = world.target.take_callback(|_| 0) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "a call never came");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
