//! Invitations as pages, one's own account, and what a hostile name does in either: nothing.

use serde_json::json;

use super::management::{ask, token};
use super::{ADA, Browser, PASSWORD, set_up, sign_in};
use crate::support::Service;

/// Script payloads as they are stored in names.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'onfocus=alert(1) autofocus='",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)//",
    "{{7*7}}${7*7}<%= 7*7 %>",
];

async fn invite(service: &Service, role: &str) -> String {
    let owner = token(service, ADA).await;
    let teams = ask(service, &owner, "GET", "/teams", None).await.json();
    let path = format!("/teams/{}/invitations", teams["teams"][0]["id"].as_str().unwrap());
    let made = ask(service, &owner, "POST", &path, Some(&json!({"role": role}))).await.expect(201).json();
    format!("/invite/{}", made["invitation"]["token"].as_str().unwrap())
}

#[tokio::test]
async fn somebody_new_makes_an_account_and_is_in() {
    let service = Service::start().await;
    set_up(&service).await;
    let path = invite(&service, "reader").await;
    let mut eve = Browser::default();
    let page = eve.get(&service, &path).await.expect(200);
    assert!(page.text().contains("default") && page.text().contains("reader"));
    let again = eve.submit(&service, &path, &[("email", ADA), ("password", PASSWORD)]).await.expect(400);
    assert!(again.text().contains("sign in first"));
    eve.submit(&service, &path, &[("email", "eve@example.com"), ("password", PASSWORD)]).await.expect(303);
    eve.get(&service, "/account").await.expect(200);
    eve.get(&service, &path).await.expect(404);
    eve.get(&service, "/invite/nonsense").await.expect(404);
}

#[tokio::test]
async fn somebody_who_is_signed_in_joins_with_a_form_of_their_session() {
    let service = Service::start().await;
    set_up(&service).await;
    let first = invite(&service, "reader").await;
    let mut eve = Browser::default();
    eve.submit(&service, &first, &[("email", "eve@example.com"), ("password", PASSWORD)]).await.expect(303);
    let csrf = eve.csrf(&service).await;
    eve.submit(&service, "/account/name", &[("csrf", &csrf), ("name", "Eve")]).await.expect(303);
    let path = invite(&service, "owner").await;
    assert!(eve.get(&service, &path).await.expect(200).text().contains("You are signed in as eve@example.com"));
    eve.submit(&service, &path, &[]).await.expect(403);
    let taken = eve.submit(&service, &path, &[("csrf", &csrf)]).await.expect(409);
    assert!(taken.text().contains("You are in this team already"));
}

#[tokio::test]
async fn ones_account_can_be_changed_by_its_own_forms_only() {
    let service = Service::start().await;
    let mut ada = set_up(&service).await;
    let mut other = sign_in(&service, ADA, PASSWORD).await;
    let csrf = ada.csrf(&service).await;
    for path in ["/account/name", "/account/password", "/account/sessions/others/end", "/logout"] {
        ada.submit(&service, path, &[("name", "x")]).await.expect(403);
        ada.submit_from(&service, "https://evil.example", path, &[("csrf", &csrf)]).await.expect(403);
        Browser::default().submit(&service, path, &[("csrf", &csrf)]).await.expect(303);
    }
    let wrong = [("csrf", csrf.as_str()), ("current", "wrong"), ("password", "seven quiet lighthouses")];
    assert!(ada.submit(&service, "/account/password", &wrong).await.expect(400).text().contains("is wrong"));
    let right = [("csrf", csrf.as_str()), ("current", PASSWORD), ("password", "seven quiet lighthouses")];
    ada.submit(&service, "/account/password", &right).await.expect(303);
    other.get(&service, "/account").await.expect(303);
    other.submit(&service, "/login", &[("email", ADA), ("password", "seven quiet lighthouses")]).await.expect(303);
    ada.submit(&service, "/account/sessions/others/end", &[("csrf", &csrf)]).await.expect(303);
    other.get(&service, "/account").await.expect(303);
    ada.get(&service, "/account").await.expect(200);
}

#[tokio::test]
async fn hostile_names_are_text_on_every_page() {
    let service = Service::start().await;
    let mut ada = set_up(&service).await;
    let csrf = ada.csrf(&service).await;
    let owner = token(&service, ADA).await;
    for name in HOSTILE {
        ada.submit(&service, "/account/name", &[("csrf", &csrf), ("name", name)]).await.expect(303);
        let made = ask(&service, &owner, "POST", "/teams", Some(&json!({"name": name}))).await.expect(201).json();
        let path = format!("/teams/{}/invitations", made["team"]["id"].as_str().unwrap());
        let made = ask(&service, &owner, "POST", &path, Some(&json!({"role": "reader"}))).await.expect(201).json();
        let invitation = format!("/invite/{}", made["invitation"]["token"].as_str().unwrap());
        let headers = [
            ("user-agent", name),
            ("origin", &*format!("http://{}", service.address)),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let fields = super::encoded(&[("email", ADA), ("password", PASSWORD)]);
        service.send("POST", "/login", &headers, Some(&fields)).await.expect(303);
        for path in ["/account", &invitation] {
            let page = ada.get(&service, path).await.expect(200);
            let text = page.text();
            assert!(
                !text.contains("<script>alert") && !text.contains("<img src=x") && !text.contains("<svg onload"),
                "{text}"
            );
            assert!(!text.contains("'onfocus=alert(1) autofocus='>"), "{text}");
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
            assert_eq!(page.header("referrer-policy"), Some("same-origin"));
            assert_eq!(page.header("cache-control"), Some("no-store"));
        }
    }
}
