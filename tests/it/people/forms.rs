//! Forms: the first account, signing in and out, and what other sites cannot make a browser do.

use super::{ADA, Browser, PASSWORD, set_up, setup_path, sign_in};
use crate::support::Service;

#[tokio::test]
async fn the_first_account_is_made_by_a_link_that_works_once() {
    let service = Service::start().await;
    let path = setup_path(&service);
    let nobody = Browser::default();
    assert!(nobody.get(&service, "/login").await.expect(200).text().contains("There is no account yet"));
    let page = nobody.get(&service, &path).await.expect(200);
    assert!(page.text().contains("Create the account"));
    let mut ada = set_up(&service).await;
    assert!(ada.get(&service, "/account").await.expect(200).text().contains(ADA));
    nobody.get(&service, &path).await.expect(404);
    let again = [("email", "eve@example.com"), ("password", PASSWORD)];
    ada.submit(&service, &path, &again).await.expect(404);
    ada.submit(&service, &format!("/setup/{}", "x".repeat(43)), &again).await.expect(404);
    let restarted = service.restart(&[]).await;
    assert_eq!(restarted.setup_url(), None, "there is an account");
}

#[tokio::test]
async fn what_was_wrong_with_a_form_is_said_and_what_was_typed_is_kept() {
    let service = Service::start().await;
    let path = setup_path(&service);
    let mut browser = Browser::default();
    for (email, password, why) in [
        (ADA, "too short", "at least 12 characters"),
        (ADA, "password12345", "easy to guess"),
        (ADA, "ada ada example ada", "easy to guess"),
        ("no address", PASSWORD, "no e-mail address"),
        ("<script>alert(1)</script>@x", PASSWORD, "no e-mail address"),
    ] {
        let answer = browser.submit(&service, &path, &[("email", email), ("password", password)]).await.expect(400);
        assert!(answer.text().contains(why), "{}", answer.text());
        assert!(!answer.text().contains("<script>alert"), "{}", answer.text());
        assert!(!answer.text().contains(password), "a password is never shown again");
    }
    browser.submit(&service, &path, &[("email", " ADA@Example.com "), ("password", PASSWORD)]).await.expect(303);
    sign_in(&service, "ada@EXAMPLE.com", PASSWORD).await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_told_the_same() {
    let service = Service::start().await;
    set_up(&service).await;
    let mut browser = Browser::default();
    let mut texts = Vec::new();
    for (email, password) in
        [(ADA, "wrong otter bicycle"), ("nobody@example.com", PASSWORD), (ADA, ""), ("\0", PASSWORD)]
    {
        let answer = browser.submit(&service, "/login", &[("email", email), ("password", password)]).await.expect(401);
        assert_eq!(answer.header("set-cookie"), None);
        texts.push(answer.text().replace(email, "…"));
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0], texts[2]);
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let own = format!("http://{}", service.address);
    let csrf = ada.csrf(&service).await;
    let login = [("email", ADA), ("password", PASSWORD)];
    for origin in ["https://evil.example", "null", &format!("{own}.evil.example"), "http://127.0.0.1:1", ""] {
        ada.submit_from(&service, origin, "/login", &login).await.expect(403);
        ada.submit_from(&service, origin, "/logout", &[("csrf", &csrf)]).await.expect(403);
    }
    let cross = [("cookie", ada.cookie.as_str()), ("origin", &own), ("sec-fetch-site", "cross-site")];
    service.send("POST", "/logout", &cross, Some("")).await.expect(403);
    // From here, but not from a page of this session.
    let other = sign_in(&service, ADA, PASSWORD).await.csrf(&service).await;
    for wrong in ["", "x", other.as_str()] {
        ada.submit_from(&service, &own, "/logout", &[("csrf", wrong)]).await.expect(403);
    }
    ada.get(&service, "/account").await.expect(200);
    ada.submit_from(&service, &own, "/logout", &[("csrf", &csrf)]).await.expect(303);
    ada.get(&service, "/account").await.expect(303);
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let service = Service::start().await;
    let own = format!("http://{}", service.address);
    for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
        let headers = [("origin", own.as_str()), ("content-type", kind)];
        service.send("POST", "/login", &headers, Some("email=a&password=b")).await.expect(415);
    }
    let headers = [("origin", own.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let long = format!("email={}", "x".repeat(70_000));
    service.send("POST", "/login", &headers, Some(&long)).await.expect(413);
    service.send("POST", "/login", &headers, Some("%ff=%00&email=%f0&&=&password")).await.expect(401);
}

#[tokio::test]
async fn after_signing_in_one_is_where_one_wanted_to_be_and_never_elsewhere() {
    let service = Service::start().await;
    set_up(&service).await;
    let nobody = Browser::default();
    let sent = nobody.get(&service, "/account?tab=1").await.expect(303);
    assert_eq!(sent.header("location"), Some("/login?next=%2Faccount%3Ftab%3D1"));
    for (next, place) in [
        ("/account?tab=1", "/account?tab=1"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("", "/"),
    ] {
        let fields = [("email", ADA), ("password", PASSWORD), ("next", next)];
        let answer = Browser::default().submit(&service, "/login", &fields).await.expect(303);
        assert_eq!(answer.header("location"), Some(place), "{next:?}");
    }
}

#[tokio::test]
async fn the_overview_names_the_nodes() {
    let service = crate::support::Service::start().await;
    let ada = super::set_up(&service).await;
    let page = ada.get(&service, "/").await.expect(200).text().to_owned();
    let nodes = &page[page.find("id=\"nodes\"").expect("the panel")..];
    // A node of a shared store tells what it does; where it is asked for the address it listens on, it tells the one it was given.
    let shown = if crate::support::service::is_shared() {
        "api, callbacks, dispatch, deliver, poll".to_owned()
    } else {
        service.address.to_string()
    };
    assert!(nodes.contains(&shown), "{nodes}");
}
