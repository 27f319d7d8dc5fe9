//! The description of the API, held to the API: it is what is committed, names every route, has an example for every body,
//! every example fits its schema, and what the service really answers fits too.

use serde_json::{Value, json};

use crate::people::management::ask as ask_as;
use crate::people::{ADA, PASSWORD, set_up};
use crate::support::{KEY, Service, Target};

const COMMITTED: &str = include_str!("../../docs/openapi.json");
const DOCS: &str = include_str!("../../docs/api.md");

fn described() -> Value {
    serde_json::from_str(COMMITTED).unwrap()
}

/// Method, path and description of each operation.
fn operations(described: &Value) -> Vec<(String, String, Value)> {
    let paths = described["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().unwrap();
        item.iter().map(|(method, one)| (method.to_uppercase(), path.clone(), one.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_committed_description_is_what_the_handlers_say() {
    let said = asyncqueue::api::openapi::text();
    assert!(said == COMMITTED, "docs/openapi.json is old; `asyncqueue openapi > docs/openapi.json` makes it anew");
}

#[tokio::test]
async fn everybody_gets_the_description_and_its_page() {
    let service = Service::start().await;
    let answer = service.send("GET", "/openapi.json", &[], None).await.expect(200);
    assert_eq!((answer.text(), answer.header("content-type")), (COMMITTED, Some("application/json")));
    assert_eq!(answer.json()["openapi"], "3.1.0");
    let page = service.send("GET", "/docs", &[], None).await.expect(200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';") && !policy.contains("unsafe"), "{policy}");
    for (_, path, one) in operations(&described()) {
        let id = one["operationId"].as_str().unwrap();
        assert!(page.text().contains(&format!("id=\"{id}\"")) && page.text().contains(&path), "{id}");
    }
    for forbidden in ["<script", "style=\"", " onclick", "src=\"http", "href=\"http"] {
        assert!(!page.text().contains(forbidden), "{forbidden}");
    }
    let style = service.send("GET", "/docs/style.css", &[], None).await.expect(200);
    assert!(style.text().contains("prefers-color-scheme: dark") && !style.text().contains("url("));
}

#[test]
fn every_documented_route_is_described_and_no_other() {
    let plain = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let cells = DOCS.lines().filter(|line| line.starts_with('|')).map(|line| line.split('|').nth(1).unwrap());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names = words.filter(|word| word.split_once(' ').is_some_and(|(_, path)| path.starts_with('/')));
    let mut documented: Vec<String> = names.map(plain).collect();
    let mut described: Vec<String> =
        operations(&described()).iter().map(|(method, path, _)| format!("{method} {}", plain(path))).collect();
    documented.sort();
    documented.dedup();
    described.sort();
    assert_eq!(described, documented);
}

#[test]
fn every_body_has_an_example_and_every_operation_its_errors() {
    for (method, path, one) in operations(&described()) {
        let name = format!("{method} {path}");
        let contents = std::iter::once(&one["requestBody"]).chain(one["responses"].as_object().unwrap().values());
        for media in contents.filter_map(|holder| holder["content"].as_object()).flat_map(|content| content.values()) {
            assert!(media["example"].is_null() != media["examples"].is_null(), "{name}: {media}");
        }
        let responses = one["responses"].as_object().unwrap();
        let mut wanted = vec!["400", "408", "414", "431", "500", "503"];
        if one["security"].is_null() {
            wanted.extend(["401", "429"]);
        } else if one["security"].to_string().contains("session") {
            wanted.push("401");
        }
        if one["requestBody"].is_object() {
            wanted.extend(["413", "415"]);
        }
        if path.contains('{') {
            wanted.push("404");
        }
        if path.starts_with("/teams/{") {
            wanted.push("403");
        }
        for status in wanted {
            assert!(responses.contains_key(status), "{name} lacks {status}");
        }
        assert!(one["summary"].is_string() && one["operationId"].is_string() && one["tags"][0].is_string(), "{name}");
    }
}

#[tokio::test]
async fn no_path_takes_a_method_that_is_not_described() {
    let service = Service::start().await;
    // Whether the address of an endpoint is one is told before anything else.
    let paths = described()["paths"].as_object().unwrap().clone();
    for (path, item) in paths.iter().filter(|(path, _)| *path != "/v1/callbacks/endpoints/{token}") {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if item[method.to_lowercase()].is_null() {
                let answer = service.send(method, path, &[("x-api-key", KEY)], None).await;
                answer.expect_error(405, "Method not allowed");
            }
        }
    }
}

/// Asks another's validator; answers what it finds wrong. Each case is a name, a schema's place, and a value.
fn wrong(cases: &Value) -> Vec<String> {
    crate::verifiers::python("tests/oracles/openapi.py", cases)
}

#[test]
fn the_description_is_valid_and_its_examples_fit_their_schemas() {
    assert_eq!(wrong(&json!([])), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_service_answers_fits_the_description() {
    let service = Service::start().await;
    let target = Target::ok().await;
    let rich = json!({
        "targetUrl": target.url("/"), "waitForSignal": true, "maxWaitTime": 0x400, "onCompleteUrl": target.url("/hook"),
        "delayUntil": "2020-01-01T00:00:00Z", "headers": {"a": "b"}, "metadata": {"c": "d"}, "retryOn": [429], "timeout": 0.5,
        "callbackConfig": {"statusPath": "s", "doneValues": ["ok"], "failValues": ["no"], "interimValues": ["go"]},
    });
    let created = service.create(&rich).await;
    service.becomes(&created.id, "waiting").await;
    let news = service.post(&created.callback_path(), r#"{"s":"go","deep":[[1]]}"#).await.expect(200);
    let waiting = service.ask("GET", &format!("/v1/tasks/{}", created.id)).await.expect(200);
    let failed = service.post(&created.callback_path(), r#"{"s":"no"}"#).await.expect(200);
    service.once(&created.id, "delivered", |task| task["onComplete"]["status"] == "delivered").await;
    let polled = service.create(&crate::support::provider::polled(&target, json!({"maxDuration": 60}))).await;
    service.becomes(&polled.id, "polling").await;
    let ask = async |path: &str| service.ask("GET", path).await.expect(200).json();
    let token = json!({"name": "n", "value": "v", "allowedHosts": ["a.example"], "use": "verify"}).to_string();
    let token = service.send("POST", "/v1/tokens", &[("x-api-key", KEY)], Some(&token)).await.expect(201).json();
    let secret = token["token"]["id"].as_str().unwrap();
    let endpoint = json!({"provider": "openai", "secret": secret}).to_string();
    let endpoint =
        service.send("POST", "/v1/endpoints", &[("x-api-key", KEY)], Some(&endpoint)).await.expect(201).json();
    let invalid = service.try_create(r#"{"targetUrl":"http://10.0.0.1","priority":0}"#).await.expect(400).json();
    let cases = json!([
        ["createTask", "201", created.json],
        ["getTask", "200", waiting.json()],
        ["getTask", "200", ask(&format!("/v1/tasks/{}", created.id)).await],
        ["getTask", "200", ask(&format!("/v1/tasks/{}", polled.id)).await],
        ["listTasks", "200", ask("/v1/tasks").await],
        ["listTaskEvents", "200", ask(&format!("/v1/tasks/{}/events", created.id)).await],
        ["receiveCallback", "200", news.json()],
        ["receiveCallback", "200", failed.json()],
        ["listProviders", "200", ask("/v1/providers").await],
        ["createToken", "201", token],
        ["listTokens", "200", ask("/v1/tokens").await],
        ["createEndpoint", "201", endpoint],
        ["listEndpoints", "200", ask("/v1/endpoints").await],
        ["createTask", "400", invalid],
        ["getHealth", "200", ask("/healthz").await],
        ["getReadiness", "200", ask("/readyz").await],
        ["createTask", "request", rich],
    ]);
    assert_eq!(wrong(&cases), Vec::<String>::new());
    let untrue = json!([["createTask", "request", {"targetUrl": "https://x.example", "surprise": 1}], ["getTask", "200", {"task": {}}]]);
    assert_eq!(wrong(&untrue).len(), 2, "the validator finds what is wrong");
}

#[tokio::test]
async fn what_the_management_api_answers_fits_the_description() {
    let service = Service::start().await;
    set_up(&service).await;
    let sign_in = json!({"email": ADA, "password": PASSWORD});
    let signed = service.post("/signin", &sign_in.to_string()).await.expect(200).json();
    let owner = signed["token"].as_str().unwrap().to_owned();
    let mut cases = vec![json!(["signIn", "request", sign_in]), json!(["signIn", "200", signed])];
    let mut step = async |name: &str, method: &str, path: &str, body: Option<Value>| {
        let answer = ask_as(&service, &owner, method, path, body.as_ref()).await;
        assert!(answer.status < 300, "{name}: {}", answer.text());
        cases.push(json!([name, answer.status.to_string(), answer.json()]));
        cases.extend(body.map(|body| json!([name, "request", body])));
        answer.json()
    };
    let made = step("createTeam", "POST", "/teams", Some(json!({"name": "Pictures"}))).await;
    let team = format!("/teams/{}", made["team"]["id"].as_str().unwrap());
    let key = step("createApiKey", "POST", &format!("{team}/apikeys"), Some(json!({"name": "ci"}))).await;
    let invitation = json!({"role": "reader", "email": "eve@example.com"});
    let invitation = step("createInvitation", "POST", &format!("{team}/invitations"), Some(invitation)).await;
    for (name, path) in [
        ("getMe", "/me".to_owned()),
        ("listSessions", "/sessions".to_owned()),
        ("listTeams", "/teams".to_owned()),
        ("getTeam", team.clone()),
        ("listApiKeys", format!("{team}/apikeys")),
        ("getWebhookSecret", format!("{team}/secret")),
        ("listInvitations", format!("{team}/invitations")),
        ("listMembers", format!("{team}/members")),
        ("listAuditEntries", format!("{team}/audit?limit=1")),
        ("listAuditEntries", format!("{team}/audit")),
    ] {
        step(name, "GET", &path, None).await;
    }
    let id = |answer: &Value, name: &str| answer[name]["id"].as_str().unwrap().to_owned();
    step("rotateWebhookSecret", "POST", &format!("{team}/secret/rotate"), None).await;
    step("getWebhookSecret", "GET", &format!("{team}/secret"), None).await;
    step("revokeApiKey", "POST", &format!("/apikeys/{}/revoke", id(&key, "apiKey")), None).await;
    step("revokeInvitation", "POST", &format!("/invitations/{}/revoke", id(&invitation, "invitation")), None).await;
    step("renewToken", "POST", "/signin/renew", None).await;
    let wrong_name = ask_as(&service, &owner, "POST", "/teams", Some(&json!({"name": ""}))).await.expect(400).json();
    cases.push(json!(["createTeam", "400", wrong_name]));
    assert_eq!(wrong(&json!(cases)), Vec::<String>::new());
    // A path that is no text names nothing, and is answered as one that names nothing.
    for path in ["/teams/%FF", "/teams/%FF/members"] {
        ask_as(&service, &owner, "GET", path, None).await.expect_error(404, "Team not found");
    }
}
