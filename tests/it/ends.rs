//! T09 and T10: whatever may end a task comes at once, and it ends once, by what was told that it had won.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Connection, Created, KEY, Reply, Service, Target, large, until};

/// What a task is when its wait has begun, and may be over.
const WAITED: [&str; 2] = ["waiting", "timeout"];
const FOLLOWED: [&str; 2] = ["polling", "completed"];

/// Tasks under way at once in the large form.
const TOGETHER: usize = 100;

/// A few milliseconds, evenly spread and repeatable: the `place`th of the `number`th task's.
fn jitter(number: usize, place: usize, within: u64) -> Duration {
    let mixed = (number as u64 * 3 + place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_micros(mixed % (within * 1000))
}

/// Mostly close to `usual`; of each five tasks one comes at once and one late, so that both ends come on any machine.
fn spread(number: usize, usual: Duration, late: Duration, within: u64) -> [Duration; 3] {
    let base = match number % 5 {
        0 => Duration::ZERO,
        1 => late,
        _ => usual,
    };
    [0, 1, 2].map(|place| base + jitter(number, place, within))
}

/// What became of everything that tried to end one task; a status code of 0 was not tried.
struct Race {
    callback: u16,
    signal: u16,
    cancel: u16,
}

impl Race {
    /// Callback, failing signal and cancellation, each after its own delay.
    async fn run(service: &Service, task: &Created, delays: [Duration; 3]) -> Self {
        let cancel_path = format!("/v1/tasks/{}/cancel", task.id);
        let (callback_path, signal_path) = (task.callback_path(), task.signal_path());
        let post = |delay, path: String, body: Option<&'static str>| async move {
            sleep(delay).await;
            service.send("POST", &path, &[("x-api-key", KEY)], body).await.status
        };
        let (callback, signal, cancel) = tokio::join!(
            post(delays[0], callback_path, Some("\"callback\"")),
            post(delays[1], signal_path, Some(r#"{"status":"failed","error":"signal"}"#)),
            post(delays[2], cancel_path, None),
        );
        Self { callback, signal, cancel }
    }

    /// Holds what each was told against how the task ended. `own_end` is one that none of them brought about.
    fn judge(&self, task: &Value, own_end: &str) {
        let Self { callback, signal, cancel } = *self;
        let told = (callback, signal, cancel);
        match task["status"].as_str().unwrap() {
            "completed" if callback == 200 => {
                assert_eq!((signal, cancel), (409, 409), "{told:?} {task}");
                assert_eq!(task["result"]["body"], "\"callback\"");
            }
            "failed" => assert_eq!((told, &task["error"]), ((409, 200, 409), &json!("signal")), "{task}"),
            "cancelled" => assert_eq!(told, (409, 409, 200), "{task}"),
            "completed" => assert_eq!((told, own_end), ((409, 409, 409), "polled"), "{task}"),
            "timeout" => assert_eq!((told, own_end), ((404, 404, 409), "timeout"), "{task}"),
            other => panic!("{other}: {told:?} {task}"),
        }
    }
}

/// The task's end, once it has one: exactly one, and one that its history tells, too.
async fn end_of(service: &Service, id: &str) -> Value {
    let ends = ["completed", "failed", "timeout", "cancelled"];
    let is_end = |status: &Value| ends.contains(&status.as_str().unwrap());
    let task = service.once(id, "ended", |task| is_end(&task["status"])).await;
    let events = service.event_types(id).await;
    let ended: Vec<_> = events.iter().filter(|kind| ends.contains(&kind.as_str())).collect();
    assert_eq!(ended, [task["status"].as_str().unwrap()], "{events:?}");
    task
}

/// Runs `race` for so many tasks, some at a time; gives how often each end came.
async fn all<F>(count: usize, race: impl Fn(usize) -> F) -> BTreeMap<String, usize>
where
    F: Future<Output = String> + Send + 'static,
{
    let mut ends = BTreeMap::new();
    let mut racing = JoinSet::new();
    for number in 0..count {
        if racing.len() >= TOGETHER {
            *ends.entry(racing.join_next().await.unwrap().unwrap()).or_default() += 1;
        }
        racing.spawn(race(number));
    }
    for end in racing.join_all().await {
        *ends.entry(end).or_default() += 1;
    }
    ends
}

/// One webhook for each end that is told, none for a cancellation, and no task's twice.
async fn told_once(receiver: &Target, ends: &BTreeMap<String, usize>) {
    let expected: usize = ends.iter().filter(|(end, _)| *end != "cancelled").map(|(_, count)| count).sum();
    until("a webhook for each end", || receiver.count() >= expected).await;
    let ids: HashSet<_> = receiver.seen().iter().map(|seen| seen.json()["task"]["id"].to_string()).collect();
    assert_eq!((receiver.count(), ids.len()), (expected, expected), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_a_callback_a_signal_and_a_cancellation_race_to_one_end() {
    let service = Arc::new(Service::start().await);
    let (target, receiver) = (Target::ok().await, Target::ok().await);
    let (url, hook) = (target.url("/"), receiver.url("/"));
    let ends = all(if large() { 5000 } else { 80 }, |number| {
        let (service, url, hook) = (service.clone(), url.clone(), hook.clone());
        async move {
            // One in five has so much time that what comes at once comes before it is over.
            let wait = if number % 5 == 0 { 600 } else { 1 };
            let body = json!({"targetUrl": url, "waitForSignal": true, "maxWaitTime": wait, "onCompleteUrl": hook});
            let task = service.create(&body).await;
            // The deadline is a second after the task began to wait; the others come shortly around it.
            service.once(&task.id, "waiting or over", |task| WAITED.contains(&task["status"].as_str().unwrap())).await;
            let delays = spread(number, Duration::from_millis(930), Duration::from_secs(4), 120);
            let race = Race::run(&service, &task, delays).await;
            let ended = end_of(&service, &task.id).await;
            race.judge(&ended, "timeout");
            ended["status"].as_str().unwrap().to_owned()
        }
    })
    .await;
    told_once(&receiver, &ends).await;
    assert!(ends.contains_key("timeout") && ends.len() > 1, "the race was never close: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_the_call_a_callback_a_signal_and_a_cancellation_race_to_one_end() {
    let service = Arc::new(Service::start().await);
    let late = Duration::from_millis(40);
    let target = Target::start(move |_, _| Reply::Later(late, Reply::bytes(200, &[], b"{}"))).await;
    let receiver = Target::ok().await;
    let (url, hook) = (target.url("/"), receiver.url("/"));
    let ends = all(if large() { 5000 } else { 80 }, |number| {
        let (service, url, hook) = (service.clone(), url.clone(), hook.clone());
        async move {
            let body = json!({"targetUrl": url, "waitForSignal": true, "maxWaitTime": 600, "onCompleteUrl": hook});
            let task = service.create(&body).await;
            service.once(&task.id, "called", |task| !task["startedAt"].is_null()).await;
            let delays = [0, 1, 2].map(|place| Duration::from_millis(30) + jitter(number, place, 20));
            let race = Race::run(&service, &task, delays).await;
            let ended = end_of(&service, &task.id).await;
            race.judge(&ended, "none");
            // The call is not aborted, and its answer is told however late it comes.
            let told = |events: Vec<String>| events.iter().any(|kind| kind == "attempt.finished");
            while !told(service.event_types(&task.id).await) {
                sleep(Duration::from_millis(10)).await;
            }
            ended["status"].as_str().unwrap().to_owned()
        }
    })
    .await;
    assert_eq!(target.count(), ends.values().sum::<usize>(), "one call for each task");
    told_once(&receiver, &ends).await;
    assert!(ends.contains_key("completed") && ends.len() > 1, "the race was never close: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polls_result_a_callback_a_signal_and_a_cancellation_race_to_one_end() {
    let service = Arc::new(Service::start().await);
    let target = Target::start(|_, _| Reply::status(200, r#"{"state":"ok","by":"poll"}"#)).await;
    let receiver = Target::ok().await;
    let (url, polled, hook) = (target.url("/"), target.url("/job"), receiver.url("/"));
    let ends = all(if large() { 5000 } else { 80 }, |number| {
        let (service, url, polled, hook) = (service.clone(), url.clone(), polled.clone(), hook.clone());
        async move {
            let poll = json!({
                "urlTemplate": polled, "statusPath": "state", "doneValues": ["ok"], "failValues": [],
                // One in five is not polled before what comes at once.
                "interval": if number % 5 == 0 { 3600 } else { 1 },
            });
            let body = json!({"targetUrl": url, "waitForSignal": true, "pollConfig": poll, "onCompleteUrl": hook});
            let task = service.create(&body).await;
            service
                .once(&task.id, "polling or over", |task| FOLLOWED.contains(&task["status"].as_str().unwrap()))
                .await;
            // The first poll comes after one interval and up to half of another; the others spread over more than that.
            let delays = spread(number, Duration::from_secs(1), Duration::from_secs(5), 1500);
            let race = Race::run(&service, &task, delays).await;
            let ended = end_of(&service, &task.id).await;
            race.judge(&ended, "polled");
            if race.callback == 409 && ended["status"] == "completed" {
                assert_eq!(ended["result"]["body"], r#"{"state":"ok","by":"poll"}"#);
                return "polled".to_owned();
            }
            ended["status"].as_str().unwrap().to_owned()
        }
    })
    .await;
    told_once(&receiver, &ends).await;
    assert!(ends.contains_key("polled") && ends.len() > 1, "the race was never close: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_and_a_callback_race_and_no_call_follows_the_end() {
    let service = Arc::new(Service::start().await);
    // Mostly close to the callback; some so late that it comes first on a slow machine too.
    let calls = AtomicU64::new(0);
    let late =
        move || Duration::from_millis(if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) { 3_000 } else { 40 });
    let target = Target::start(move |_, _| Reply::Later(late(), Reply::bytes(503, &[], b""))).await;
    let url = target.url("/");
    let ends = all(if large() { 2000 } else { 60 }, |number| {
        let (service, url) = (service.clone(), url.clone());
        async move {
            let task = service.create(&json!({"targetUrl": url, "waitForSignal": true, "maxRetries": 3})).await;
            service.once(&task.id, "called", |task| !task["startedAt"].is_null()).await;
            sleep(Duration::from_millis(25) + jitter(number, 0, 30)).await;
            service.post(&task.callback_path(), "\"callback\"").await.expect(200);
            let ended = end_of(&service, &task.id).await;
            assert_eq!((&ended["status"], &ended["result"]["body"]), (&json!("completed"), &json!("\"callback\"")));
            // Before the answer, or between two attempts.
            if ended["retryCount"] == 0 { "before".to_owned() } else { "between".to_owned() }
        }
    })
    .await;
    service.clock.advance(60);
    let after = service.create(&json!({"targetUrl": Target::ok().await.url("/")})).await;
    service.becomes(&after.id, "completed").await;
    assert_eq!(target.count(), ends.values().sum::<usize>(), "a call after the end: {ends:?}");
    assert_eq!(ends.len(), 2, "the race was never close: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callbacks_from_64_addresses_one_is_taken_while_the_limit_is_on() {
    let count = if large() { 1000 } else { 15 };
    let service = Arc::new(Service::with(&["--callback-rate-limit", "30/60"]).await);
    let target = Target::ok().await;
    for round in 0..count {
        let task = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
        service.becomes(&task.id, "waiting").await;
        let mut posts = JoinSet::new();
        for number in 0..64_u8 {
            let (service, path) = (service.clone(), task.callback_path());
            let [high, low] = u16::try_from(round + 256).unwrap().to_be_bytes();
            let source = IpAddr::from(Ipv4Addr::new(127, high, low, number + 1));
            posts.spawn(async move {
                let mut connection = Connection::open_from(source, service.address).await;
                let body = number.to_string();
                (number, connection.send("POST", &path, &[], Some(body.as_bytes())).await.status)
            });
        }
        let answers = posts.join_all().await;
        let winners: Vec<_> = answers.iter().filter(|(_, status)| *status == 200).map(|(number, _)| *number).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|(_, status)| *status == 404).count(), 63, "{answers:?}");
        assert_eq!(service.task(&task.id).await["result"]["body"], winners[0].to_string());
    }
}
