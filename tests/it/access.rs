//! Who may call what: every route that docs/api.md lists with a key, without one, with bad ones, and with another team's.

use serde_json::json;

use crate::support::provider::token;
use crate::support::service::team_key;
use crate::support::{KEY, Service, Target};
use asyncqueue::admin::Act;

const DOCS: &str = include_str!("../../docs/api.md");

/// Method and path of each route with this kind of access, as the documentation's table lists them.
fn routes(access: &str) -> Vec<(String, String)> {
    let rows = DOCS.lines().filter(|line| line.starts_with("| [`")).map(|line| line.split('|').collect::<Vec<_>>());
    let rows = rows.filter(|cells| cells.get(2).is_some_and(|cell| cell.trim() == access));
    let names = rows.flat_map(|cells| cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    names.map(|name| name.split_once(' ').map(|(method, path)| (method.to_owned(), path.to_owned())).unwrap()).collect()
}

fn body(method: &str) -> Option<&'static str> {
    (method == "POST").then_some("{}")
}

#[tokio::test]
async fn no_private_route_answers_without_a_good_key() {
    let service = Service::start().await;
    let (revoked, id) = team_key(&service, "default").await;
    service.act(Act::RevokeKey { id }).await;
    let private = routes("API key");
    assert!(private.len() >= 15, "{private:?}");
    let long = format!("async_{}", "a".repeat(300));
    for (method, path) in private {
        let path = path.replace("{id}", "01a20bc0-85ad-75c1-b83e-a6dd10e8eeac");
        let ask = async |headers: &[(&str, &str)]| service.send(&method, &path, headers, body(&method)).await;
        ask(&[]).await.expect_error(401, "API key required");
        for bad in ["async_0123456789abcdef0123456789abcdef", "nonsense", &revoked, &long] {
            ask(&[("x-api-key", bad)]).await.expect_error(401, "Invalid or revoked API key");
            let bearer = format!("Bearer {bad}");
            ask(&[("authorization", &bearer)]).await.expect_error(401, "Invalid or revoked API key");
        }
        assert_eq!(ask(&[("x-api-key", KEY), ("authorization", "Bearer async_other")]).await.status, 401, "{path}");
        let good = ask(&[("authorization", &format!("bearer {KEY}"))]).await.status;
        assert!(![401, 403, 405].contains(&good) && good < 500, "{method} {path}: {good}");
    }
}

#[tokio::test]
async fn public_routes_ask_for_no_key() {
    let service = Service::start().await;
    let public = [routes("everybody"), routes("nobody asks")].concat();
    assert!(public.len() >= 4, "{public:?}");
    for (method, path) in public {
        service.send(&method, &path, &[], None).await.expect(200);
    }
}

#[tokio::test]
async fn another_teams_things_are_out_of_reach_on_every_route() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let created = service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true})).await;
    let secret = token(&service, "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=", json!({})).await;
    let made = json!({"provider": "openai", "secret": secret}).to_string();
    let made = service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(&made)).await.expect(201).json();
    let endpoint = made["endpoint"]["id"].as_str().unwrap();
    let stranger = service.another_team("strangers").await;
    for (method, path) in routes("API key").iter().filter(|(_, path)| path.contains("{id}")) {
        let (id, refusal) = match path.split('/').nth(2).unwrap() {
            "tasks" => (created.id.as_str(), (403, "Access denied")),
            "tokens" => (secret.as_str(), (404, "Token not found")),
            "endpoints" => (endpoint, (404, "Endpoint not found")),
            other => panic!("an object of a new kind: {other}"),
        };
        let path = path.replace("{id}", id);
        let answer = service.send(method, &path, &[("x-api-key", &stranger)], body(method)).await;
        assert_eq!((answer.status, answer.error().as_str()), refusal, "{method} {path}");
    }
    for list in ["tasks", "tokens", "endpoints"] {
        let answer = service.send("GET", &format!("/v1/{list}"), &[("x-api-key", &stranger)], None).await.expect(200);
        assert_eq!(answer.json()[list], json!([]), "{list}");
    }
    assert_ne!(service.task(&created.id).await["status"], "cancelled");
}
