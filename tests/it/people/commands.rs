//! What an operator does about people by command.

use asyncqueue::admin::{Act, Outcome};

use super::{ADA, Browser, PASSWORD, encoded, set_up, sign_in};
use crate::support::Service;
use crate::support::service::is_shared;

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_fresh_setup_link_replaces_the_one_before_until_there_is_an_account() {
    let service = Service::start().await;
    let first = super::setup_path(&service);
    let Outcome::Setup(url) = service.act(Act::SetupLink).await else { panic!("no link") };
    // A command that no running service answers knows only what is configured.
    let base = if is_shared() { "http://127.0.0.1:0".to_owned() } else { format!("http://{}", service.address) };
    assert!(url.starts_with(&format!("{base}/setup/")), "{url}");
    let nobody = Browser::default();
    nobody.get(&service, &first).await.expect(404);
    let path = &url[url.find("/setup/").unwrap()..];
    nobody.get(&service, path).await.expect(200);
    service.clock.advance(24 * 3600);
    nobody.get(&service, path).await.expect(404);
    let Outcome::Setup(url) = service.act(Act::SetupLink).await else { panic!("no link") };
    let fields = [("email", ADA), ("password", PASSWORD)];
    Browser::default().submit(&service, &url[url.find("/setup/").unwrap()..], &fields).await.expect(303);
    assert!(refused(service.act(Act::SetupLink).await).contains("there is an account already"));
}

#[tokio::test]
async fn who_is_locked_out_gets_a_new_password_and_all_sessions_end() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let Outcome::Password(password) = service.act(Act::ResetPassword { email: "ADA@example.com".to_owned() }).await
    else {
        panic!("no password")
    };
    ada.get(&service, "/account").await.expect(303);
    let old = [("email", ADA), ("password", PASSWORD)];
    Browser::default().submit(&service, "/login", &old).await.expect(401);
    let page = sign_in(&service, ADA, &password).await.get(&service, "/account").await.expect(200);
    assert!(page.text().contains("account.password_changed"));
    let none = service.act(Act::ResetPassword { email: "nobody@example.com".to_owned() }).await;
    assert_eq!(refused(none), "Account not found");
}

#[tokio::test]
async fn an_account_is_put_into_a_team_that_nobody_owns() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    service.another_team("later").await;
    let grant = |role: &str| Act::Grant { email: ADA.to_owned(), team: "later".to_owned(), role: role.to_owned() };
    assert_eq!(service.act(grant("owner")).await, Outcome::Done);
    assert!(refused(service.act(grant("reader")).await).contains("A team needs an owner"));
    assert!(refused(service.act(grant("king")).await).contains("owner, member or reader"));
    let token = super::management::token(&service, ADA).await;
    let teams = super::management::ask(&service, &token, "GET", "/teams", None).await.expect(200).json();
    let later = teams["teams"].as_array().unwrap().iter().find(|team| team["name"] == "later").unwrap().clone();
    assert_eq!(later["role"], "owner");
    let id = later["id"].as_str().unwrap();
    let lines = super::management::ask(&service, &token, "GET", &format!("/teams/{id}/audit"), None).await.json();
    let told: Vec<_> = lines["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["actor"]["kind"] == "operator")
        .map(|line| line["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["member.added", "key.created", "team.created"]);
    // Its things are shown after a switch.
    let fields = [("csrf", ada.csrf(&service).await), ("team", id.to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(encoded(&fields).contains("team="));
    ada.submit_from(&service, &format!("http://{}", service.address), "/team/switch", &fields).await.expect(303);
}
