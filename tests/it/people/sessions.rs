//! Sessions: what a browser holds, how long it is good for, and how it ends.

use super::{ADA, Browser, PASSWORD, set_up, sign_in};
use crate::support::Service;

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_and_other_sites() {
    let service = Service::start().await;
    set_up(&service).await;
    let fields = [("email", ADA), ("password", PASSWORD)];
    let answer = Browser::default().submit(&service, "/login", &fields).await.expect(303);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("asyncqueue="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax"), "{cookie}");

    let secure = service.restart(&["--public-url", "https://queue.example"]).await;
    let origin = "https://queue.example";
    let answer = Browser::default().submit_from(&secure, origin, "/login", &fields).await.expect(303);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-asyncqueue="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
}

#[tokio::test]
async fn signing_in_makes_a_session_of_its_own_whatever_the_browser_held() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    // Somebody else put their own session, or one that they made up, into the browser.
    let planted = format!("asyncqueue={}", "A".repeat(43));
    for before in [planted, ada.cookie.clone()] {
        let mut browser = Browser { cookie: before.clone() };
        browser.submit(&service, "/login", &[("email", ADA), ("password", PASSWORD)]).await.expect(303);
        assert_ne!(browser.cookie, before);
        browser.get(&service, "/account").await.expect(200);
    }
    Browser { cookie: format!("asyncqueue={}", "A".repeat(43)) }.get(&service, "/account").await.expect(303);
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_in_any_case() {
    let service = Service::with(&["--session-idle", "1h", "--session-lifetime", "3h"]).await;
    let ada = set_up(&service).await;
    let idle = sign_in(&service, ADA, PASSWORD).await;
    for _ in 0..3 {
        service.clock.advance(50 * 60);
        ada.get(&service, "/account").await.expect(200);
        // That it was used is written down beside the answer, and believed for a second.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    idle.get(&service, "/account").await.expect(303);
    service.clock.advance(31 * 60);
    ada.get(&service, "/account").await.expect(303);
}

#[tokio::test]
async fn signing_out_ends_this_session_and_no_other() {
    let service = Service::start().await;
    let mut ada = set_up(&service).await;
    let other = sign_in(&service, ADA, PASSWORD).await;
    let before = ada.clone();
    let csrf = ada.csrf(&service).await;
    let out = ada.submit(&service, "/logout", &[("csrf", &csrf)]).await.expect(303);
    assert_eq!(out.header("set-cookie"), Some("asyncqueue=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"));
    before.get(&service, "/account").await.expect(303);
    other.get(&service, "/account").await.expect(200);
}

#[tokio::test]
async fn without_a_dashboard_there_are_no_pages() {
    let service = Service::with(&["--no-dashboard"]).await;
    assert_eq!(service.setup_url(), None);
    for path in ["/login", "/account", "/setup/x"] {
        Browser::default().get(&service, path).await.expect_error(404, "Not found");
    }
}
