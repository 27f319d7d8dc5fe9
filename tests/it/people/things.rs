//! Endpoints and the vault by hand: who may, what is shown and what never is, and what is written down.

use serde_json::json;

use super::management::{ask, token};
use super::{ADA, Browser, PASSWORD, set_up, sign_in};
use crate::support::Service;

const VALUE: &str = "Key canary-5f2c9e7a";

/// Somebody new in Ada's team.
async fn joined(service: &Service, role: &str) -> Browser {
    let owner = token(service, ADA).await;
    let teams = ask(service, &owner, "GET", "/teams", None).await.json();
    let path = format!("/teams/{}/invitations", teams["teams"][0]["id"].as_str().unwrap());
    let made = ask(service, &owner, "POST", &path, Some(&json!({"role": role}))).await.expect(201).json();
    let email = format!("{role}@example.com");
    let link = format!("/invite/{}", made["invitation"]["token"].as_str().unwrap());
    let mut browser = Browser::default();
    browser.submit(service, &link, &[("email", &email), ("password", PASSWORD)]).await.expect(303);
    browser
}

/// What stands between two texts on a page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("{before} in {page}"));
    rest.split_once(after).unwrap().0
}

#[tokio::test]
async fn a_member_puts_a_secret_in_and_out_of_the_vault_and_nobody_sees_its_value() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let mut member = joined(&service, "member").await;
    let csrf = member.csrf(&service).await;
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "<img src=x onerror=alert(1)>"),
        ("value", VALUE),
        ("use", "send"),
        ("hosts", "API.example.com, *.fal.run\r\nqueue.example"),
    ];
    let made = member.submit(&service, "/vault/new", &fields).await.expect(200);
    let id = between(made.text(), "<code>tok_", "</code>").to_owned();
    assert_eq!(id.len(), 32, "{id}");
    let page = ada.get(&service, "/vault").await.expect(200);
    for shown in [made.text(), page.text()] {
        assert!(shown.contains("&lt;img src=x"), "{shown}");
        assert!(!shown.contains("<img") && !shown.contains(VALUE), "{shown}");
        assert!(shown.contains("api.example.com, *.fal.run, queue.example"), "{shown}");
    }
    let token = format!("tok_{id}");
    member.submit(&service, "/vault/revoke", &[("csrf", &csrf), ("token", &token)]).await.expect(200);
    assert!(!member.get(&service, "/vault").await.text().contains(&token));
    member.submit(&service, "/vault/revoke", &[("csrf", &csrf), ("token", "tok_x")]).await.expect(404);
    let audit = ada.get(&service, "/audit").await.expect(200);
    for action in ["token.created", "token.revoked"] {
        let line = between(audit.text(), action, "</tr>");
        assert!(line.contains(&token) && line.contains("&lt;img src=x"), "by its name too: {line}");
    }
    assert!(audit.text().contains("member@example.com") && !audit.text().contains(VALUE));
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_said_and_its_value_is_not_kept() {
    let service = Service::start().await;
    let mut ada = set_up(&service).await;
    let csrf = ada.csrf(&service).await;
    for (name, value, hosts, purpose, why) in [
        ("", VALUE, "", "send", "name must be 1 to 100 visible characters"),
        ("key", "", "", "send", "value must be 1 to 8192 bytes"),
        ("key", VALUE, "https://x", "send", "allowedHosts must be at most 20 hosts"),
        ("key", VALUE, "", "other", "use must be send or verify"),
    ] {
        let fields = [("csrf", csrf.as_str()), ("name", name), ("value", value), ("hosts", hosts), ("use", purpose)];
        let refused = ada.submit(&service, "/vault/new", &fields).await.expect(400);
        assert!(refused.text().contains(why), "{}", refused.text());
        assert!(refused.text().contains(&format!("value=\"{name}\"")), "what was typed stays");
        assert!(!refused.text().contains(VALUE), "{}", refused.text());
    }
    assert!(ada.get(&service, "/vault").await.text().contains("The vault is empty"));
}

#[tokio::test]
async fn a_member_makes_rotates_changes_and_deletes_an_endpoint_and_its_url_is_shown_once() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let mut member = joined(&service, "member").await;
    let csrf = member.csrf(&service).await;
    let secret =
        ["a", "b"].map(|name| [("csrf", csrf.as_str()), ("name", name), ("value", "whsec_x"), ("use", "verify")]);
    let mut tokens = Vec::new();
    for fields in &secret {
        let made = member.submit(&service, "/vault/new", fields).await.expect(200);
        tokens.push(format!("tok_{}", between(made.text(), "<code>tok_", "</code>")));
    }
    let unsigned =
        member.submit(&service, "/endpoints/new", &[("csrf", &csrf), ("provider", "openai")]).await.expect(400);
    assert!(unsigned.text().contains("secret must be the vault reference"), "{}", unsigned.text());
    let fields = [("csrf", csrf.as_str()), ("provider", "openai"), ("secret", &tokens[0])];
    let made = member.submit(&service, "/endpoints/new", &fields).await.expect(200);
    let path = |page: &str| format!("/v1/callbacks/endpoints/{}", between(page, "/v1/callbacks/endpoints/", "<"));
    let first = path(made.text());
    service.send("OPTIONS", &first, &[], None).await.expect(200);
    let page = member.get(&service, "/endpoints").await.expect(200);
    assert!(!page.text().contains(&first), "it was shown once");
    let uid = between(page.text(), "name=\"endpoint\" value=\"", "\"").to_owned();
    let one = [("csrf", csrf.as_str()), ("endpoint", uid.as_str())];

    let rotated = member.submit(&service, "/endpoints/rotate", &one).await.expect(200);
    let second = path(rotated.text());
    service.send("OPTIONS", &first, &[], None).await.expect(404);
    service.send("OPTIONS", &second, &[], None).await.expect(200);

    let fields = [one[0], one[1], ("secret", &tokens[1])];
    member.submit(&service, "/endpoints/secret", &fields).await.expect(200);
    let listed = service.ask("GET", "/v1/endpoints").await.expect(200).json();
    assert_eq!(listed["endpoints"][0]["secret"], tokens[1]);

    member.submit(&service, "/endpoints/delete", &one).await.expect(200);
    service.send("OPTIONS", &second, &[], None).await.expect(404);
    member.submit(&service, "/endpoints/delete", &one).await.expect(404);
    let audit = ada.get(&service, "/audit").await.expect(200);
    for action in ["endpoint.created", "endpoint.rotated", "endpoint.deleted"] {
        let line = between(audit.text(), action, "</tr>");
        assert!(line.contains(&uid) && line.contains(">openai "), "by its provider too: {line}");
    }
    assert!(!audit.text().contains(&second));
}

#[tokio::test]
async fn a_reader_sees_no_form_and_forms_of_elsewhere_do_nothing() {
    let service = Service::start().await;
    let mut ada = set_up(&service).await;
    let mut reader = joined(&service, "reader").await;
    let [own, theirs] = [ada.csrf(&service).await, reader.csrf(&service).await];
    let token = [("name", "key"), ("value", VALUE), ("use", "send")];
    let fields = |csrf: &'static str| [token[0], token[1], token[2], ("provider", "meshy"), ("csrf", csrf)];
    for path in ["/vault", "/endpoints"] {
        let page = reader.get(&service, path).await.expect(200);
        assert!(!page.text().contains(&format!("action=\"{path}/")), "{}", page.text());
        assert!(ada.get(&service, path).await.text().contains(&format!("action=\"{path}/new\"")));
        let new = format!("{path}/new");
        let mut sent = fields("");
        ada.submit(&service, &new, &sent).await.expect(403);
        sent[4].1 = theirs.clone().leak();
        ada.submit(&service, &new, &sent).await.expect(403);
        reader.submit(&service, &new, &sent).await.expect(403);
        sent[4].1 = own.clone().leak();
        ada.submit_from(&service, "https://evil.example", &new, &sent).await.expect(403);
        Browser::default().submit(&service, &new, &sent).await.expect(303);
        ada.submit(&service, &format!("{path}/other"), &sent).await.expect(404);
    }
    for list in ["/v1/tokens", "/v1/endpoints"] {
        let text = service.ask("GET", list).await.expect(200).text().to_owned();
        assert!(text.contains("[]"), "{text}");
    }
}

#[tokio::test]
async fn another_teams_secrets_and_endpoints_are_out_of_reach() {
    let service = Service::start().await;
    set_up(&service).await;
    let made = service.send(
        "POST",
        "/v1/endpoints",
        &[("x-api-key", crate::support::KEY), ("content-type", "application/json")],
        Some(r#"{"provider":"meshy"}"#),
    );
    let uid = made.await.expect(201).json()["endpoint"]["id"].as_str().unwrap().to_owned();
    let owner = token(&service, ADA).await;
    let mut ada = sign_in(&service, ADA, PASSWORD).await;
    let csrf = ada.csrf(&service).await;
    let fields = [("csrf", csrf.as_str()), ("name", "elsewhere")];
    let made = ada.submit(&service, "/team/new-team", &fields).await.expect(200);
    assert!(made.text().contains("The team elsewhere is made"), "{}", made.text());
    ada.submit(&service, "/team/new-team", &fields).await.expect(409);
    let teams = ask(&service, &owner, "GET", "/teams", None).await.json();
    let other = teams["teams"].as_array().unwrap().iter().find(|team| team["name"] == "elsewhere").unwrap();
    let fields = [("csrf", csrf.as_str()), ("team", other["id"].as_str().unwrap())];
    ada.submit(&service, "/team/switch", &fields).await.expect(303);
    assert!(ada.get(&service, "/endpoints").await.text().contains("No endpoint yet"));
    for act in ["rotate", "delete", "secret"] {
        let fields = [("csrf", csrf.as_str()), ("endpoint", uid.as_str())];
        ada.submit(&service, &format!("/endpoints/{act}"), &fields).await.expect(404);
    }
    assert_eq!(service.ask("GET", "/v1/endpoints").await.json()["endpoints"][0]["id"], uid);
}

#[tokio::test]
async fn a_page_that_a_form_led_to_can_be_asked_for_and_shows_the_form_again() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    for (path, place) in [
        ("/vault/new", "/vault"),
        ("/endpoints/rotate", "/endpoints"),
        ("/team/new-key", "/team"),
        ("/tasks/many", "/tasks"),
    ] {
        assert_eq!(ada.get(&service, path).await.expect(303).header("location"), Some(place));
    }
}

#[tokio::test]
async fn the_overview_says_why_tasks_failed() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    assert!(ada.get(&service, "/").await.text().contains("No task that was created in the last hour failed"));
    let target = crate::support::Target::start(|_, _| crate::support::Reply::with(503, &[], "busy")).await;
    for _ in 0..2 {
        let task = service.create(&json!({"targetUrl": target.url("/"), "maxRetries": 0})).await;
        service.becomes(&task.id, "failed").await;
    }
    let page = ada.get(&service, "/").await.expect(200);
    let panel = between(page.text(), "id=\"reasons\"", "</section>");
    assert!(panel.contains("Server error: HTTP 503") && panel.contains(">2<"), "{panel}");
}

#[tokio::test]
async fn a_restart_does_not_empty_the_charts() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let target = crate::support::Target::start(|_, _| crate::support::Reply::with(200, &[], "{}")).await;
    for _ in 0..3 {
        let task = service.create(&json!({"targetUrl": target.url("/")})).await;
        service.becomes(&task.id, "completed").await;
    }
    let service = service.restart(&[]).await;
    // It is read behind the start.
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let page = ada.get(&service, "/").await.expect(200);
        let tile = between(page.text(), "Created</span>", "</a>");
        if tile.contains(">3<") {
            assert!(between(page.text(), "Completed</span>", "</a>").contains(">3<"));
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "{tile}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_task_of_another_of_ones_teams_is_found_by_its_id_and_nobody_elses_is() {
    let service = Service::start().await;
    let mut ada = set_up(&service).await;
    let target = crate::support::Target::start(|_, _| crate::support::Reply::with(200, &[], "{}")).await;
    let task = service.create(&json!({"targetUrl": target.url("/")})).await;
    let [page, found] = [format!("/tasks/{}", task.id), format!("/tasks?text={}", task.id)];
    let reader = joined(&service, "reader").await;
    let csrf = ada.csrf(&service).await;
    ada.submit(&service, "/team/new-team", &[("csrf", &csrf), ("name", "<b>other</b>")]).await.expect(200);
    let owner = token(&service, ADA).await;
    let teams = ask(&service, &owner, "GET", "/teams", None).await.json();
    let id = |name: &str| {
        let found = teams["teams"].as_array().unwrap().iter().find(|team| team["name"] == name).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let other = id("<b>other</b>");
    assert!(!ada.get(&service, &page).await.expect(200).text().contains("Team default"));
    ada.submit(&service, "/team/switch", &[("csrf", &csrf), ("team", &other)]).await.expect(303);
    assert_eq!(ada.get(&service, &found).await.expect(303).header("location"), Some(page.as_str()));
    assert!(
        ada.get(&service, &page).await.expect(200).text().contains("Team default"),
        "another than the one looked at"
    );
    // Who is not in the team learns nothing.
    let made = ask(&service, &owner, "POST", &format!("/teams/{other}/apikeys"), Some(&json!({"name": "key"}))).await;
    let key = made.expect(201).json()["apiKey"]["key"].as_str().unwrap().to_owned();
    let body = json!({"targetUrl": target.url("/")}).to_string();
    let task = service.send("POST", "/v1/tasks", &[("x-api-key", &key)], Some(&body)).await.expect(201).json();
    let page = format!("/tasks/{}", task["task"]["id"].as_str().unwrap());
    ada.get(&service, &page).await.expect(200);
    let told = reader.get(&service, &page).await.expect(404);
    assert!(told.text().contains("no such task") && !told.text().contains("other"), "{}", told.text());
}
