//! T38: how long it takes to refuse a credential does not tell how near it is to one that is good, and neither does the answer.
//! The small form compares the answers; the large one the times too, by Welch's t over samples taken in random order.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{Answer, Connection, KEY, Service, Target, large};

/// Above this the means of two samples are taken to differ, as usual for tests of leaks by timing.
const LEAK: f64 = 4.5;

/// A request, by its path and key.
type Ask = (String, String);

/// What makes requests of one sort, each another.
type Sort<'a> = &'a dyn Fn(u64) -> Ask;

/// The text with its last character changed: as near as can be.
fn near(text: &str, number: u64) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    let others: Vec<char> = "0123456789abcdef".chars().filter(|other| !last.contains(*other)).collect();
    let other = others[usize::try_from(number % others.len() as u64).unwrap()];
    format!("{rest}{other}")
}

/// Numbers without an order, the same in each run (`SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// 64 hex characters that mean nothing.
fn nonsense(number: u64) -> String {
    let parts: Vec<String> = (0..4).map(|part| format!("{:016x}", mixed(number * 4 + part))).collect();
    parts.concat()
}

/// What of an answer may not differ.
fn shown(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).cloned();
    (answer.status, answer.text().to_owned(), headers.collect())
}

/// Sends `count` requests of each of two sorts in a random order; gives the times of each in nanoseconds.
async fn sample(service: &Service, count: usize, sorts: [Sort<'_>; 2]) -> [Vec<f64>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    let mut connection = Connection::open(service.address).await;
    let mut first = None;
    for number in 0_u64.. {
        let sort = usize::try_from(mixed(number) >> 63).unwrap();
        if times.iter().all(|times| times.len() >= count) {
            break;
        }
        let (path, key) = sorts[sort](number);
        let began = Instant::now();
        let answer = connection.send("POST", &path, &[("x-api-key", &key)], Some(b"{}")).await;
        times[sort].push(nanoseconds(began.elapsed()));
        let answer = shown(&answer);
        assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer, "{path}");
    }
    times
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Welch's t of two samples, without the slowest tenth of both together: there the machine speaks, not the service.
fn welch(samples: &[Vec<f64>; 2]) -> f64 {
    let mut all = samples.concat();
    all.sort_unstable_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let [one, two] = [0, 1].map(|sort| {
        let kept: Vec<f64> = samples[sort].iter().copied().filter(|time| *time <= limit).collect();
        let size = f64::from(u32::try_from(kept.len()).unwrap());
        let mean = kept.iter().sum::<f64>() / size;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (size - 1.0);
        (mean, variance / size)
    });
    (one.0 - two.0) / (one.1 + two.1).sqrt()
}

#[tokio::test]
async fn a_wrong_credential_is_refused_alike_however_near_it_is() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let task =
        service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true, "maxWaitTime": 86_400})).await;
    service.becomes(&task.id, "waiting").await;
    let (callback, signal) = (task.callback.clone().unwrap(), task.signal.clone().unwrap());
    let none = String::new;
    let callbacks = |id: String| (format!("/v1/callbacks/{id}"), none());
    let signals = |token: String| (format!("/v1/signals/{token}"), none());
    let keys = |key: String| ("/v1/tasks".to_owned(), key);
    let same_start = |text: &str, number: u64| format!("{}{}", &text[..32], &nonsense(number)[32..]);
    let count = if large() { 20_000 } else { 150 };
    let cases: [(&str, [Sort<'_>; 2]); 4] = [
        ("callback ids", [&|n| callbacks(nonsense(n)), &|n| callbacks(near(&callback, n))]),
        ("callback ids of one task", [&|n| callbacks(nonsense(n)), &|n| callbacks(same_start(&callback, n))]),
        ("signal tokens", [&|n| signals(nonsense(n)), &|n| signals(near(&signal, n))]),
        ("keys", [&|n| keys(format!("async_{}", nonsense(n))), &|n| keys(format!("{}{n}", &KEY[..KEY.len() - 1]))]),
    ];
    for (what, sorts) in cases {
        let t = welch(&sample(&service, count, sorts).await);
        println!("T38: {count} and more of each sort of {what}: t = {t:.2}");
        assert!(!large() || t.abs() < LEAK, "{what}: t = {t:.2}");
    }
    // And none of it touched what is good.
    assert_eq!(service.task(&task.id).await["status"], "waiting");
    service.post(&task.callback_path(), "{}").await.expect(200);
}

#[test]
fn welchs_t_tells_samples_apart_that_differ() {
    let around = |mean: f64| -> Vec<f64> { (0..1000).map(|n| mean + f64::from(n % 7)).collect() };
    assert!(welch(&[around(100.0), around(100.0)]).abs() < 0.01);
    assert!(welch(&[around(100.0), around(101.0)]) < -LEAK);
}
