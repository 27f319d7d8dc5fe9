//! T23: where a redirect leads decides what goes along: everything within the origin, nothing beyond it.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::calls::check_signature;
use crate::support::{Names, Reply, Seen, Service, Target};

const BODY: &str = "{\"prompt\":\"canary-body\"}";

/// What the user gave, and nobody but the first origin may see.
fn canaries() -> Value {
    json!({"Authorization": "Bearer canary-auth", "Cookie": "canary=cookie", "xi-api-key": "canary-key"})
}

/// `a.example.org` and `b.example.org`, both of them loopback.
async fn service() -> Service {
    let loopback: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    let names = ["a.example.org", "b.example.org"].map(|name| (name.to_owned(), loopback.clone()));
    Service::among(&["--allow-target", "127.0.0.0/8"], Names(names.into())).await
}

/// Redirects from `/CODE` to the given place; answers 200 at any other path.
async fn redirecting_to(place: impl Fn(u16) -> String + Send + Sync + 'static) -> Target {
    Target::start(move |seen, _| match seen.path[1..].parse() {
        Ok(code) => {
            let location = place(seen.header("host").unwrap().rsplit(':').next().unwrap().parse().unwrap());
            Reply::with(code, &[("Location", &location)], "")
        }
        Err(_) => Reply::status(200, "there"),
    })
    .await
}

fn task(target: &Target, code: u16, method: &str) -> Value {
    let url = format!("http://a.example.org:{}/{code}", target.address.port());
    json!({"targetUrl": url, "method": method, "body": BODY, "headers": canaries(), "maxRetries": 3})
}

/// The latest request that a redirect led elsewhere.
fn latest(targets: &[&Target]) -> Seen {
    let arrived = targets.iter().flat_map(|target| target.seen()).filter(|seen| seen.path == "/elsewhere");
    arrived.max_by_key(|seen| seen.at).expect("the redirect was followed")
}

/// The request that the redirect led to saw nothing that was the user's or ours.
fn is_bare(seen: &Seen, method: &str) {
    assert_eq!((seen.method.as_str(), seen.body.len()), (method, 0));
    for (name, value) in &seen.headers {
        let name = name.to_lowercase();
        assert!(!value.contains("canary") && !name.starts_with("x-asyncqueue"), "{seen:?}");
        assert!(["host", "user-agent", "accept", "content-length"].contains(&&*name), "{name} of {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_origin_headers_and_signature_go_along_and_the_body_where_the_method_stays() {
    let service = service().await;
    let secret = service.secret().await;
    let same_origin: [fn(u16) -> String; 3] = [
        |_| "/there?x=1".to_owned(),
        |port| format!("http://A.EXAMPLE.org:{port}/there?x=1"),
        |port| format!("//a.example.org:{port}/there?x=1"),
    ];
    for place in same_origin {
        let target = redirecting_to(place).await;
        let mut requests = 0;
        for (code, method, becomes) in [
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
            (301, "PUT", "PUT"),
            (302, "DELETE", "DELETE"),
            (303, "PUT", "GET"),
            (307, "GET", "GET"),
        ] {
            let created = service.create(&task(&target, code, method)).await;
            let ended = service.becomes(&created.id, "completed").await;
            assert_eq!(ended["result"]["body"], "there");
            requests += 2;
            let seen = target.request(requests).await;
            let body = if becomes == "GET" { "" } else { BODY };
            assert_eq!((&*seen.method, seen.text(), &*seen.path), (becomes, body, "/there?x=1"), "{code} {method}");
            for (name, value) in canaries().as_object().unwrap() {
                assert_eq!(seen.header(name), value.as_str(), "{code} {method}");
            }
            assert_eq!(seen.header("x-asyncqueue-task-id"), Some(&*created.id));
            assert_eq!(seen.header("content-type").is_some(), !body.is_empty(), "{code} {method}");
            check_signature(seen.header("x-asyncqueue-signature").unwrap(), &[&secret], body.as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_host_or_port_only_a_bare_request_goes() {
    let service = service().await;
    let other = Target::ok().await;
    let other_port = other.address.port();
    let places: [Box<dyn Fn(u16) -> String + Send + Sync>; 3] = [
        Box::new(|port| format!("http://b.example.org:{port}/elsewhere")),
        Box::new(move |_| format!("http://a.example.org:{other_port}/elsewhere")),
        // The same machine and port under its address is another origin, too.
        Box::new(|port| format!("//127.0.0.1:{port}/elsewhere")),
    ];
    for place in places {
        let target = redirecting_to(place).await;
        for code in [301, 302, 303] {
            let created = service.create(&task(&target, code, "POST")).await;
            service.becomes(&created.id, "completed").await;
            is_bare(&latest(&[&target, &other]), "GET");
        }
        let arrived = |target: &Target| target.seen().iter().filter(|seen| seen.path == "/elsewhere").count();
        let before = arrived(&target) + arrived(&other);
        for (code, method) in [(307, "POST"), (308, "POST"), (307, "GET"), (308, "PUT"), (302, "PUT"), (301, "DELETE")]
        {
            let created = service.create(&task(&target, code, method)).await;
            let failed = service.becomes(&created.id, "failed").await;
            let expected = format!("Forbidden redirect: HTTP {code} to another origin");
            assert_eq!((&failed["error"], &failed["retryCount"]), (&json!(expected), &json!(0)), "{code} {method}");
        }
        assert_eq!(arrived(&target) + arrived(&other), before, "a forbidden redirect was followed");
        // Without a body there is nothing that could be left behind.
        for (code, method) in [(301, "DELETE"), (302, "PUT"), (302, "DELETE")] {
            let mut asked = task(&target, code, method);
            asked.as_object_mut().unwrap().remove("body");
            let created = service.create(&asked).await;
            service.becomes(&created.id, "completed").await;
            is_bare(&latest(&[&target, &other]), method);
        }
    }
}

#[tokio::test]
async fn what_was_left_behind_does_not_come_back_with_the_first_origin() {
    let service = service().await;
    let target = Target::start(|seen, _| {
        let port = seen.header("host").unwrap().rsplit(':').next().unwrap().to_owned();
        match seen.path.as_str() {
            "/302" => Reply::with(302, &[("Location", &format!("http://b.example.org:{port}/back"))], ""),
            "/back" => Reply::with(302, &[("Location", &format!("http://a.example.org:{port}/home"))], ""),
            _ => Reply::status(200, "home"),
        }
    })
    .await;
    let created = service.create(&task(&target, 302, "POST")).await;
    service.becomes(&created.id, "completed").await;
    let seen = target.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].header("host").unwrap().split(':').next(), Some("a.example.org"));
    seen[1..].iter().for_each(|seen| is_bare(seen, "GET"));
}

#[tokio::test]
async fn loops_long_locations_and_doubtful_ones_fail_the_task_without_a_retry() {
    let service = service().await;
    let target = Target::start(|seen, _| match seen.path.as_str() {
        "/long" => Reply::with(302, &[("Location", &format!("/{}", "a".repeat(10_000)))], ""),
        "/two" => Reply::with(302, &[("Location", "/x"), ("Location", "/y")], ""),
        "/file" => Reply::with(302, &[("Location", "file:///etc/passwd")], ""),
        "/none" => Reply::with(302, &[], "the answer"),
        "/loop" => Reply::with(307, &[("Location", "/loop")], ""),
        _ => Reply::status(200, ""),
    })
    .await;
    for (path, error, calls) in [
        ("/long", "Target refused: URLs longer than 8192 bytes are not allowed", 1),
        ("/two", "Forbidden redirect: two Location headers", 1),
        ("/file", "Target refused: only absolute http:// and https:// URLs are allowed", 1),
        ("/loop", "Forbidden redirect: more than 5 redirects", 6),
    ] {
        let before = target.count();
        let created = service.create(&json!({"targetUrl": target.url(path), "maxRetries": 3})).await;
        let failed = service.becomes(&created.id, "failed").await;
        assert_eq!((&failed["error"], &failed["retryCount"]), (&json!(error), &json!(0)), "{path}");
        assert_eq!(target.count() - before, calls, "{path}");
    }
    let created = service.create(&json!({"targetUrl": target.url("/none")})).await;
    let ended = service.becomes(&created.id, "completed").await;
    assert_eq!((&ended["result"]["statusCode"], &ended["result"]["body"]), (&json!(302), &json!("the answer")));
}
