//! A task's statuses as server-sent events: each one told, in order, once, and to nobody who may not know.

use std::net::SocketAddr;
use std::time::Duration;

use asyncqueue::admin::Act;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::service::team_key;
use crate::support::{Created, KEY, PATIENCE, Reply, Service, Target, gate, open};

/// A client of a stream, which reads when it is asked to.
struct Stream {
    reader: BufReader<TcpStream>,
    status: u16,
    head: String,
    text: String,
}

/// One event, as its client reads it.
#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    data: Value,
}

impl Stream {
    async fn open(address: SocketAddr, id: &str, key: &str, last: Option<&str>) -> Self {
        let last = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
        let request =
            format!("GET /v1/tasks/{id}/stream HTTP/1.1\r\nhost: queue.test\r\nx-api-key: {key}\r\n{last}\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).await.unwrap(), 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { reader, status, head, text: String::new() }
    }

    async fn of(service: &Service, id: &str) -> Self {
        let stream = Self::open(service.address, id, KEY, None).await;
        assert_eq!(stream.status, 200);
        stream
    }

    async fn from(service: &Service, id: &str, last: &str) -> Self {
        Self::open(service.address, id, KEY, Some(last)).await
    }

    /// Reads one chunk; says whether there was one.
    async fn chunk(&mut self) -> bool {
        let mut line = String::new();
        timeout(PATIENCE, self.reader.read_line(&mut line)).await.expect("a chunk in time").unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        let mut bytes = vec![0; length + 2];
        if length > 0 {
            self.reader.read_exact(&mut bytes).await.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        length > 0
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let event = field("id: ")
                    .map(|id| Event { id, data: serde_json::from_str(&field("data: ").expect("data")).expect("JSON") });
                let rest = rest.to_owned();
                self.text = rest;
                if event.is_some() {
                    return event;
                }
            }
            if !self.chunk().await {
                return None;
            }
        }
    }

    /// The next event's status.
    async fn status(&mut self) -> Option<String> {
        self.next().await.map(|event| event.data["status"].as_str().unwrap().to_owned())
    }

    /// The ids of all events up to the end.
    async fn rest(&mut self) -> Vec<String> {
        let mut ids = Vec::new();
        while let Some(event) = self.next().await {
            ids.push(event.id);
        }
        ids
    }
}

/// A task that waits for its callback.
async fn waiting(service: &Service, target: &Target) -> Created {
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true, "maxWaitTime": 600})).await;
    service.becomes(&task.id, "waiting").await;
    task
}

async fn streams_open(service: &Service) -> bool {
    let metrics = service.send("GET", "/metrics", &[], None).await;
    !metrics.text().contains("asyncqueue_streams_open 0")
}

async fn until_none_is_open(service: &Service) {
    while streams_open(service).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_status_is_told_when_it_comes_and_the_last_one_ends_the_stream() {
    let service = Service::start().await;
    let gate = gate();
    let answer = Reply::behind(&gate);
    let target = Target::start(move |_, _| answer.clone()).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    let mut stream = Stream::of(&service, &task.id).await;
    let head = stream.head.to_lowercase();
    assert!(
        head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store\r\n"),
        "{head}"
    );
    assert_eq!(stream.status().await.as_deref(), Some("pending"));
    assert_eq!(stream.status().await.as_deref(), Some("processing"));
    open(&gate);
    let event = stream.next().await.unwrap();
    assert_eq!(
        (event.id.as_str(), &event.data["status"], &event.data["seq"]),
        ("4.waiting", &json!("waiting"), &json!(4))
    );
    assert_eq!((&event.data["id"], &event.data["type"]), (&json!(task.id), &json!("waiting")));
    assert!(event.data["deadline"].is_string() && event.data["at"].is_string(), "{event:?}");
    service.post(&task.callback_path(), "1").await.expect(200);
    assert_eq!(stream.rest().await, ["6.completed"]);
    // Nobody who watches leaves anything behind.
    until_none_is_open(&service).await;
}

#[tokio::test]
async fn a_failed_attempt_tells_of_the_delay_and_why() {
    let service = Service::start().await;
    let target = Target::start(|_, number| Reply::status(if number == 1 { 503 } else { 200 }, "{}")).await;
    let task = service.create(&json!({"targetUrl": target.url("/"), "retryBackoff": "linear"})).await;
    let mut stream = Stream::of(&service, &task.id).await;
    let mut told = Vec::new();
    while let Some(event) = stream.next().await {
        if event.data["status"] == "delayed" {
            assert_eq!(event.data["statusCode"], 503);
            assert!(event.data["nextAttemptAt"].is_string() && event.data["error"].is_string(), "{event:?}");
        }
        // The end of the delay may pass too quickly to be seen.
        if event.data["type"] != "due" {
            told.push(event.id);
        }
    }
    assert_eq!(told, ["1.pending", "2.processing", "3.delayed", "4.processing", "6.completed"]);
}

#[tokio::test]
async fn who_comes_back_is_told_what_was_missed_and_no_more() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let mut first = Stream::of(&service, &task.id).await;
    assert_eq!(first.next().await.unwrap().id, "1.pending");
    drop(first);
    service.post(&task.callback_path(), "1").await.expect(200);
    let all = ["1.pending", "2.processing", "4.waiting", "6.completed"];
    for (place, last) in all.iter().enumerate().take(3) {
        let mut stream = Stream::from(&service, &task.id, last).await;
        assert_eq!(
            (stream.status, stream.rest().await),
            (200, all[place + 1..].iter().map(|id| (*id).to_owned()).collect())
        );
    }
    assert_eq!(Stream::from(&service, &task.id, "6.completed").await.status, 204);
    for nonsense in ["0", "", "completed", "6.failed", "99", "-1.pending", "18446744073709551616.pending"] {
        assert_eq!(Stream::from(&service, &task.id, nonsense).await.rest().await, all, "{nonsense:?}");
    }
    assert_eq!(Stream::from(&service, &task.id, "999.pending").await.rest().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stream_is_its_owners_alone_and_ends_with_the_key() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let stranger = service.another_team("strangers").await;
    assert_eq!(Stream::open(service.address, &task.id, &stranger, None).await.status, 403);
    assert_eq!(Stream::open(service.address, &task.id, "async_no", None).await.status, 401);
    let nobodys = "01999999-9999-7999-8999-999999999999";
    assert_eq!(Stream::open(service.address, nobodys, KEY, None).await.status, 404);

    let (key, id) = team_key(&service, "default").await;
    let mut stream = Stream::open(service.address, &task.id, &key, None).await;
    for status in ["pending", "processing", "waiting"] {
        assert_eq!(stream.status().await.as_deref(), Some(status));
    }
    service.act(Act::RevokeKey { id }).await;
    service.post(&task.callback_path(), "1").await.expect(200);
    assert_eq!(stream.status().await, None, "a revoked key is told nothing more");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up_and_one_that_goes_frees_its_place() {
    let (service, target) = (Service::with(&["--max-streams", "4"]).await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let mut slow = Stream::of(&service, &task.id).await;
    let mut quick = Stream::of(&service, &task.id).await;
    // The team has half of four places.
    let refused = service.ask("GET", &format!("/v1/tasks/{}/stream", task.id)).await;
    refused.expect_error(503, "Too many streams are open");
    assert_eq!(refused.header("retry-after"), Some("1"));
    service.post(&task.callback_path(), "1").await.expect(200);
    assert_eq!(quick.rest().await.last().map(String::as_str), Some("6.completed"));
    assert_eq!(slow.rest().await, ["1.pending", "2.processing", "4.waiting", "6.completed"]);

    let another = waiting(&service, &target).await;
    let gone = Stream::of(&service, &another.id).await;
    assert!(streams_open(&service).await);
    drop(gone);
    until_none_is_open(&service).await;
}

#[tokio::test]
async fn hundreds_of_streams_are_told_of_the_same_end() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let mut streams = Vec::new();
    for _ in 0..300 {
        streams.push(Stream::of(&service, &task.id).await);
    }
    service.post(&task.callback_path(), "1").await.expect(200);
    for stream in &mut streams {
        assert_eq!(stream.rest().await.last().map(String::as_str), Some("6.completed"));
    }
}

#[tokio::test]
async fn a_stop_ends_streams_at_once_and_they_go_on_after_it() {
    let (service, target) = (Service::with(&["--shutdown-grace", "30s"]).await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let mut stream = Stream::of(&service, &task.id).await;
    let mut last = String::new();
    while !last.ends_with("waiting") {
        last = stream.next().await.expect("no end yet").id;
    }
    let started = tokio::time::Instant::now();
    let service = service.restart(&[]).await;
    assert!(started.elapsed() < Duration::from_secs(20), "the stop waited for the stream");
    assert_eq!(stream.next().await, None, "it ends without a final status, in good order");
    let mut stream = Stream::from(&service, &task.id, &last).await;
    service.post(&task.callback_path(), "1").await.expect(200);
    assert_eq!(stream.rest().await, ["6.completed"]);
}

#[tokio::test]
async fn a_stream_at_rest_says_so_now_and_then() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task = waiting(&service, &target).await;
    let mut stream = Stream::from(&service, &task.id, "4.waiting").await;
    assert!(stream.chunk().await);
    assert_eq!(stream.text, ":\n\n");
    service.post(&task.callback_path(), "1").await.expect(200);
    assert_eq!(stream.rest().await, ["6.completed"]);
}
