//! Pages of tasks with large results: whole, in order, and sent task by task.

use serde_json::json;

use crate::support::{Connection, KEY, Service, Target};

#[tokio::test]
async fn a_page_of_large_tasks_is_the_page_that_small_ones_make() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let mut ids = Vec::new();
    for number in 0..9 {
        let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
        service.becomes(&task.id, "waiting").await;
        // Some are small, and the first and the last of the page are of either kind.
        let size = [10, 300_000, 100_000][number % 3];
        service.post(&task.callback_path(), &format!("\"{}\"", "x".repeat(size))).await.expect(200);
        ids.push(task.id);
    }
    ids.reverse();
    let mut connection = Connection::open(service.address).await;
    for (limit, offset) in [(9, 0), (4, 0), (4, 4), (1, 1), (1, 0), (100, 8), (20, 9)] {
        let path = format!("/v1/tasks?limit={limit}&offset={offset}");
        let answer = connection.send("GET", &path, &[("x-api-key", KEY)], None).await.expect(200);
        let page = answer.json();
        let shown: Vec<&str> =
            page["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
        let expected: Vec<&str> = ids.iter().map(String::as_str).skip(offset).take(limit).collect();
        assert_eq!(shown, expected, "{path}");
        let more = !shown.is_empty() && offset + shown.len() < ids.len();
        let pagination = json!({"total": 9, "limit": limit, "offset": offset, "hasMore": more});
        assert_eq!(page["pagination"], pagination, "{path}");
        for task in page["tasks"].as_array().unwrap() {
            assert_eq!(*task, service.task(task["id"].as_str().unwrap()).await);
        }
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let head = connection.send("HEAD", "/v1/tasks", &[("x-api-key", KEY)], None).await.expect(200);
    assert_eq!(head.body, b"");
    connection.send("GET", "/v1/tasks?limit=1", &[("x-api-key", KEY)], None).await.expect(200);
}
