//! T21 and T22: lines of the catalogue that only a call can judge are really called; forbidden addresses hear nothing.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use asyncqueue::outbound::Resolver;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::ssrf::{Line, catalogue};
use crate::support::{Names, Reply, Service, Target, large, until};

const REFUSED: &str = "Target refused: target address is not allowed";
const UNRESOLVED: &str = "Network error: name could not be resolved";

/// A listener on both loopbacks that takes connections and only counts them.
struct Trap {
    port: u16,
    touched: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        Self::at(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], 0).await
    }

    async fn at(addresses: &[IpAddr], mut port: u16) -> Self {
        let touched = Arc::new(AtomicUsize::new(0));
        for address in addresses {
            let listener = TcpListener::bind(SocketAddr::new(*address, port)).await.unwrap();
            port = listener.local_addr().unwrap().port();
            let touched = touched.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    touched.fetch_add(1, Ordering::SeqCst);
                    drop(stream);
                }
            });
        }
        Self { port, touched }
    }

    fn count(&self) -> usize {
        self.touched.load(Ordering::SeqCst)
    }
}

/// Answers from the catalogue, and remembers what was asked.
#[derive(Clone, Default)]
struct Asked {
    names: Names,
    hosts: Arc<Mutex<HashSet<String>>>,
}

impl Asked {
    fn of(lines: &[Line]) -> Self {
        let answers = lines.iter().filter(|line| !line.answers.is_empty());
        let names = Names(answers.map(|line| (line.host.clone(), line.answers.clone())).collect());
        Self { names, hosts: Arc::default() }
    }

    fn was_asked(&self, host: &str) -> bool {
        self.hosts.lock().unwrap().contains(host)
    }
}

#[async_trait]
impl Resolver for Asked {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.hosts.lock().unwrap().insert(host.trim_end_matches('.').to_owned());
        self.names.resolve(host).await
    }
}

fn lines(verdict: &str) -> Vec<Line> {
    catalogue().into_iter().filter(|line| line.verdict == verdict).collect()
}

/// The line's URL with a port at which somebody would notice.
fn at_port(url: &str, port: u16) -> String {
    let host = url.trim_end_matches('/');
    let (start, rest) = host.split_at("http://".len());
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    format!("{start}{host}:{port}/{path}")
}

/// How often the service has begun to call a task's target.
async fn attempts(service: &Service, id: &str) -> usize {
    service.event_types(id).await.iter().filter(|kind| *kind == "attempt.started").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_forbidden_address_fails_the_task_at_once_and_is_not_touched() {
    let trap = Trap::set().await;
    let blocked = lines("BLOCK");
    let resolver = Asked::of(&blocked);
    let service = Service::among(&[], resolver.clone()).await;
    for line in &blocked {
        let url = at_port(&line.url, trap.port);
        let task = service.create(&json!({"targetUrl": url, "maxRetries": 3, "waitForSignal": true})).await;
        let failed = service.becomes(&task.id, "failed").await;
        assert_eq!((&failed["error"], &failed["retryCount"]), (&json!(REFUSED), &json!(0)), "{url}");
        assert_eq!(attempts(&service, &task.id).await, 1, "{url}");
        assert!(resolver.was_asked(&line.host), "{url}: refused without a look-up");
    }
    assert_eq!(trap.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_completion_url_it_is_tried_once_and_is_not_touched() {
    let trap = Trap::set().await;
    let blocked = lines("BLOCK");
    let target = Target::ok().await;
    let open = format!("127.0.0.1:{}", target.address.port());
    let service = Service::among(&["--allow-target", &open], Asked::of(&blocked)).await;
    for line in &blocked {
        let url = at_port(&line.url, trap.port);
        let task = service.create(&json!({"targetUrl": target.url("/"), "onCompleteUrl": url})).await;
        let told = service.once(&task.id, "given up", |task| task["onComplete"]["status"] == "failed").await;
        let expected = json!({"status": "failed", "attempts": 1, "lastStatusCode": null, "nextAttemptAt": null});
        assert_eq!((&told["onComplete"], &told["status"]), (&expected, &json!("completed")), "{url}");
    }
    assert_eq!(trap.count(), 0);
}

/// T24: the target's own answer names the URL to poll, and credentials would go along.
#[tokio::test(flavor = "multi_thread")]
async fn named_by_a_targets_answer_no_forbidden_line_is_polled() {
    let forbidden: Vec<Line> =
        catalogue().into_iter().filter(|line| line.verdict != "ALLOW" && line.verdict != "DNSERR").collect();
    let urls: Vec<String> = forbidden.iter().map(|line| line.url.clone()).collect();
    let target = Target::start(move |seen, _| {
        let number: usize = seen.path.trim_start_matches('/').parse().unwrap();
        Reply::status(200, &json!({"status_url": urls[number]}).to_string())
    })
    .await;
    let open = format!("127.0.0.1:{}", target.address.port());
    let service = Service::among(&["--allow-target", &open], Asked::of(&forbidden)).await;
    let mut tasks = Vec::new();
    for number in 0..forbidden.len() {
        let poll = json!({
            "urlTemplate": "{startResult.body.status_url}", "statusPath": "s", "doneValues": ["d"], "failValues": [], "interval": 1,
        });
        let headers = json!({"Authorization": "Bearer canary"});
        let url = target.url(&format!("/{number}"));
        tasks.push(service.create(&json!({"targetUrl": url, "headers": headers, "pollConfig": poll})).await);
    }
    for (line, task) in forbidden.iter().zip(&tasks) {
        let ended = service.becomes(&task.id, "failed").await;
        let error = ended["error"].as_str().unwrap();
        let known =
            ["The URL to poll was refused: ", "The URL cannot be "].iter().any(|start| error.starts_with(start));
        assert!(known && !error.contains("127."), "{}: {error}", line.url);
    }
    assert!(tasks.len() > 350 && target.count() == tasks.len(), "{} of {}", target.count(), tasks.len());
}

#[tokio::test]
async fn the_trap_would_have_been_touched() {
    let trap = Trap::set().await;
    let blocked = lines("BLOCK");
    let service = Service::among(&["--allow-target", "127.0.0.0/8"], Asked::of(&blocked)).await;
    let line = blocked.iter().find(|line| line.host == "lvh.me").unwrap();
    let url = at_port(&line.url, trap.port);
    service.create(&json!({"targetUrl": url, "maxRetries": 0})).await;
    until("the trap is touched", || trap.count() == 1).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_network_error_and_is_retried() {
    let service = Service::among(&[], Names::default()).await;
    for line in lines("DNSERR") {
        let task = service.create(&json!({"targetUrl": line.url, "maxRetries": 1})).await;
        let delayed = service.once(&task.id, "delayed", |task| task["status"] == "delayed").await;
        assert_eq!(delayed["retryCount"], 1, "{}", line.url);
        service.clock.advance(2);
        let failed = service.becomes(&task.id, "failed").await;
        assert_eq!(failed["error"], UNRESOLVED, "{}", line.url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_name_is_asked_for_in_its_canonical_form_and_nothing_else_is() {
    let resolver = Asked::default();
    let service = Service::among(&[], resolver.clone()).await;
    let mut expected = HashSet::new();
    let literal = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    // What is an address already would be called for real.
    for line in lines("ALLOW").into_iter().filter(|line| !literal(&line.host)) {
        let task = service.create(&json!({"targetUrl": line.url, "maxRetries": 0})).await;
        let failed = service.becomes(&task.id, "failed").await;
        assert_eq!(failed["error"], UNRESOLVED, "{}", line.url);
        assert!(resolver.was_asked(line.host.trim_end_matches('.')), "{}: {}", line.url, line.host);
        expected.insert(line.host.trim_end_matches('.').to_owned());
    }
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(*resolver.hosts.lock().unwrap(), expected);
}

/// Whether a `Location` can carry the line unchanged, and what it says depends on no first URL.
fn can_be_a_location(line: &Line) -> bool {
    let plain = !line.url.chars().any(|c| c.is_ascii_control()) && line.url.trim() == line.url;
    // A scheme and no host is repaired like any relative reference before it is judged.
    plain && line.url.contains("://") && !line.url.contains(":///")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_any_line_of_the_catalogue_ends_the_task_without_a_retry() {
    let refused = |line: &Line| ["REJECT", "BLOCK"].contains(&&*line.verdict) && can_be_a_location(line);
    let locations: Arc<Vec<Line>> = Arc::new(catalogue().into_iter().filter(refused).collect());
    assert!(locations.len() > 300, "{}", locations.len());
    let answers = locations.clone();
    let target = Target::start(move |seen, _| {
        let number: usize = seen.path[1..].parse().unwrap();
        // A 307 to another origin is not followed, wherever it leads; so it says nothing about a name.
        let statuses: &[u16] =
            if answers[number].verdict == "BLOCK" { &[301, 302, 303] } else { &[301, 302, 303, 307, 308] };
        Reply::with(statuses[number % statuses.len()], &[("Location", &answers[number].url)], "")
    })
    .await;
    // By name and port: what the redirects lead to must not be open by the same line.
    let open = format!("start.example.org:{}", target.address.port());
    let mut resolver = Asked::of(&locations);
    resolver.names.0.insert("start.example.org".to_owned(), vec![Ipv4Addr::LOCALHOST.into()]);
    let service = Service::among(&["--allow-target", &open], resolver).await;
    let mut tasks = Vec::new();
    for number in 0..locations.len() {
        let url = format!("http://start.example.org:{}/{number}", target.address.port());
        tasks.push(service.create(&json!({"targetUrl": url, "method": "GET", "maxRetries": 3})).await);
    }
    for (task, Line { url, .. }) in tasks.iter().zip(&*locations) {
        let failed = service.becomes(&task.id, "failed").await;
        let error = failed["error"].as_str().unwrap();
        assert!(error.starts_with("Target refused: "), "{url:?}: {error}");
        assert_eq!(failed["retryCount"], 0, "{url:?}");
    }
    assert_eq!(target.count(), locations.len(), "each was called once");
}

/// A name that belongs to an open address at every other look-up, and to a forbidden one at the others.
struct Rebinding(AtomicUsize);

const GOOD: Ipv4Addr = Ipv4Addr::LOCALHOST;
const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[async_trait]
impl Resolver for Rebinding {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        Ok(vec![if number.is_multiple_of(2) { GOOD.into() } else { BAD.into() }])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebinding_name_never_reaches_the_forbidden_address() {
    let count = if large() { 1000 } else { 60 };
    // A new connection, and so a new look-up, for every attempt.
    let target = Target::start(|_, _| Reply::with(500, &[("connection", "close")], "")).await;
    let trap = Trap::at(&[BAD.into()], target.address.port()).await;
    let open = GOOD.to_string();
    let service = Service::among(&["--allow-target", &open], Rebinding(AtomicUsize::new(0))).await;
    let url = format!("http://rebind.example.org:{}/", target.address.port());
    let mut tasks = Vec::new();
    for _ in 0..count {
        let body = json!({"targetUrl": url, "maxRetries": 2, "retryBackoff": "linear"});
        tasks.push(service.create(&body).await.id);
    }
    let (mut refused, mut called_out) = (0, 0);
    for id in &tasks {
        let ended = loop {
            let settled = |task: &Value| ["failed", "delayed"].contains(&task["status"].as_str().unwrap());
            let task = service.once(id, "attempted", settled).await;
            if task["status"] == "failed" {
                break task;
            }
            service.clock.advance(3);
        };
        match ended["error"].as_str().unwrap() {
            REFUSED => refused += 1,
            "Server error: HTTP 500 - Internal Server Error" => called_out += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(trap.count(), 0, "the forbidden address was connected to");
    assert!(refused > 0 && target.count() > 0, "{refused} refused, {called_out} called out, {} calls", target.count());
}
