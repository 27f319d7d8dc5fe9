//! T33 and T35 over the wire: how often one source may call back, and who a source is. The limiter itself is held to an exact
//! model in `src/net/limit/sliding_log/tests.rs` (10,000 patterns), and whom `X-Forwarded-For` leads to in
//! `src/net/address/tests.rs` (42 shapes, each with no, one and two trusted proxies).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::callbacks::{GONE, waiting};
use crate::support::{Connection, Service, Target};

#[tokio::test]
async fn thirty_in_a_minute_from_one_address_and_not_one_more() {
    let service = Service::with(&["--callback-rate-limit", "30/60"]).await;
    let mut connection = Connection::open(service.address).await;
    for number in 1..=40 {
        let answer = connection.send("POST", &format!("/v1/callbacks/{number:064}"), &[], Some(b"{}")).await;
        assert_eq!(answer.status, if number <= 30 { 404 } else { 429 }, "request {number}");
    }
    let mut other = Connection::open_from("127.0.0.2".parse().unwrap(), service.address).await;
    other.send("POST", "/v1/callbacks/x", &[], Some(b"{}")).await.expect_error(404, GONE);
    // Signals are counted apart.
    service.post("/v1/signals/x", "{}").await.expect(404);
}

/// Asks in bursts and steadily for a few windows, and holds every stretch of a window to the number.
#[tokio::test]
async fn in_no_stretch_of_a_window_are_more_admitted_and_who_waits_as_told_gets_in() {
    const MOST: usize = 5;
    const WINDOW: Duration = Duration::from_secs(2);
    let service = Service::with(&["--callback-rate-limit", "5/2"]).await;
    let mut connection = Connection::open(service.address).await;
    // For each one that was admitted, when it was asked for at the earliest and the latest.
    let mut admitted: Vec<(Instant, Instant)> = Vec::new();
    let (began, mut refused) = (Instant::now(), 0);
    while began.elapsed() < 3 * WINDOW || admitted.len() <= MOST {
        let asked = Instant::now();
        let answer = connection.send("POST", "/v1/callbacks/x", &[], Some(b"{}")).await;
        match answer.status {
            404 => admitted.push((asked, Instant::now())),
            429 => {
                refused += 1;
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=2).contains(&seconds), "{seconds}");
            }
            other => panic!("{other}"),
        }
        sleep(Duration::from_millis(if refused % 3 == 0 { 1 } else { 90 })).await;
    }
    assert!(refused > 0 && admitted.len() > MOST, "{refused} refused, {} admitted", admitted.len());
    for stretch in admitted.windows(MOST + 1) {
        // Even if the first was judged as early, and the last as late, as can be.
        assert!(stretch[MOST].1 - stretch[0].0 >= WINDOW, "{MOST} and one in {:?}", stretch[MOST].1 - stretch[0].0);
    }
    loop {
        let answer = connection.send("POST", "/v1/callbacks/x", &[], Some(b"{}")).await;
        let Some(seconds) = answer.header("retry-after") else { break };
        sleep(Duration::from_secs(seconds.parse().unwrap())).await;
        connection.send("POST", "/v1/callbacks/x", &[], Some(b"{}")).await.expect_error(404, GONE);
    }
}

#[tokio::test]
async fn the_limit_may_exempt_addresses_or_count_only_the_refused() {
    let exempting = ["--callback-rate-limit", "1/60", "--callback-rate-limit-exempt", "127.0.0.1"];
    let service = Service::with(&exempting).await;
    for _ in 0..5 {
        service.post("/v1/callbacks/x", "{}").await.expect(404);
    }
    let counting = ["--callback-rate-limit", "2/60", "--callback-rate-limit-counts", "refused"];
    let (service, target) = (Service::with(&counting).await, Target::ok().await);
    for _ in 0..4 {
        let task = waiting(&service, &target).await;
        service.post(&task.callback_path(), "{}").await.expect(200);
    }
    let task = waiting(&service, &target).await;
    service.post("/v1/callbacks/x", "{}").await.expect(404);
    service.post(&task.callback_path(), "{").await.expect(400);
    service.post(&task.callback_path(), "{}").await.expect(429);
}

#[tokio::test]
async fn an_exempt_ipv6_address_is_exempt() {
    let exempt = "2001:db8:1:2::5";
    let flags =
        ["--callback-rate-limit", "1/60", "--callback-rate-limit-exempt", exempt, "--trusted-proxy", "127.0.0.1"];
    let service = Service::with(&flags).await;
    for _ in 0..3 {
        service.send("POST", "/v1/callbacks/x", &[("x-forwarded-for", exempt)], Some("{}")).await.expect(404);
    }
    let neighbour = [("x-forwarded-for", "2001:db8:1:2::6")];
    service.send("POST", "/v1/callbacks/x", &neighbour, Some("{}")).await.expect(404);
    service.send("POST", "/v1/callbacks/x", &neighbour, Some("{}")).await.expect(429);
}

/// The peer is 127.0.0.1 throughout; `S` changes with every request, as a spoofed address would.
#[tokio::test]
async fn a_spoofed_address_is_never_the_source() {
    let near = ["--trusted-proxy", "127.0.0.1"];
    let both = ["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "192.0.2.0/24"];
    let shapes: [(&[&str], &[&[&str]]); 3] = [
        // Nobody is believed, so all of it is spoofed.
        (&[], &[&["S"], &["S, S"], &["S", "S"], &["S, 192.0.2.1"], &["unknown, S"]]),
        (
            &near,
            &[&["S, 198.51.100.7"], &["S", "198.51.100.7"], &["S, S", "S,198.51.100.7"], &["S, ::ffff:198.51.100.7"]],
        ),
        (
            &both,
            &[&["S, 198.51.100.7, 192.0.2.1"], &["S", "198.51.100.7", "192.0.2.1"], &["S, 198.51.100.7:80, 192.0.2.9"]],
        ),
    ];
    for (proxies, shapes) in shapes {
        for lines in shapes {
            let service = Service::with(&[&["--callback-rate-limit", "1/60"], proxies].concat()).await;
            for number in 0..4 {
                let spoofed = IpAddr::from([203, 0, 113, number]).to_string();
                let lines: Vec<String> = lines.iter().map(|line| line.replace('S', &spoofed)).collect();
                let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line.as_str())).collect();
                let answer = service.send("POST", "/v1/callbacks/x", &headers, Some("{}")).await;
                assert_eq!(answer.status, if number == 0 { 404 } else { 429 }, "{proxies:?} {lines:?}");
            }
        }
    }
}
