//! The management API: who may do what, what is answered, and what is written down.

use serde_json::{Value, json};

use super::{ADA, PASSWORD, set_up, sign_in};
use crate::support::{Answer, Service};

/// A service with an account of each role in the team `default`, one of another team, and one without a team.
pub struct Cast {
    pub service: Service,
    pub team: String,
    pub owner: String,
    pub member: String,
    pub reader: String,
    /// Owns the other team alone.
    pub foreign: String,
}

/// A request with a token.
pub async fn ask(service: &Service, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    service.send(method, path, &headers, body.map(Value::to_string).as_deref()).await
}

/// A token of this account.
pub async fn token(service: &Service, email: &str) -> String {
    let body = json!({"email": email, "password": PASSWORD}).to_string();
    let answer = service.post("/signin", &body).await.expect(200);
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// Invites somebody, who makes an account; answers their token.
pub async fn invited(service: &Service, owner: &str, team: &str, email: &str, role: &str) -> String {
    let path = format!("/teams/{team}/invitations");
    let made = ask(service, owner, "POST", &path, Some(&json!({"role": role}))).await.expect(201).json();
    let body = json!({"token": made["invitation"]["token"], "email": email, "name": email, "password": PASSWORD});
    let joined = service.post("/invitations/accept", &body.to_string()).await.expect(201);
    joined.json()["token"].as_str().unwrap().to_owned()
}

impl Cast {
    pub async fn assemble() -> Self {
        let service = Service::start().await;
        set_up(&service).await;
        let owner = token(&service, ADA).await;
        let mine = ask(&service, &owner, "GET", "/teams", None).await.expect(200).json();
        let team = mine["teams"][0]["id"].as_str().unwrap().to_owned();
        let made = ask(&service, &owner, "POST", "/teams", Some(&json!({"name": "other"}))).await.expect(201).json();
        let other = made["team"]["id"].as_str().unwrap().to_owned();
        let member = invited(&service, &owner, &team, "member@example.com", "member").await;
        let reader = invited(&service, &owner, &team, "reader@example.com", "reader").await;
        let foreign = invited(&service, &owner, &other, "foreign@example.com", "owner").await;
        // The one who made it leaves it to the other.
        let leave = format!("/teams/{other}/members/{}/remove", account_id(&service, &owner).await);
        ask(&service, &owner, "POST", &leave, None).await.expect(200);
        Self { service, team, owner, member, reader, foreign }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        ask(&self.service, token, method, path, body.as_ref()).await
    }

    /// The audit log of the team, newest first: what was done, by whom, to what.
    async fn audit(&self) -> Vec<Value> {
        let path = format!("/teams/{}/audit?limit=100", self.team);
        self.ask(&self.owner, "GET", &path, None).await.expect(200).json()["entries"].as_array().unwrap().clone()
    }
}

async fn account_id(service: &Service, token: &str) -> String {
    let me = ask(service, token, "GET", "/me", None).await.expect(200).json();
    me["account"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_made_works_is_listed_and_stops() {
    let cast = Cast::assemble().await;
    let path = format!("/teams/{}/apikeys", cast.team);
    let made = cast.ask(&cast.owner, "POST", &path, Some(json!({"name": "ci"}))).await.expect(201).json();
    let (key, id) = (made["apiKey"]["key"].as_str().unwrap(), made["apiKey"]["id"].as_str().unwrap());
    assert!(key.starts_with("async_") && key.len() >= 38, "{key}");
    cast.service.send("GET", "/v1/tasks", &[("x-api-key", key)], None).await.expect(200);
    let listed = cast.ask(&cast.reader, "GET", &path, None).await.expect(200);
    assert!(!listed.text().contains(key), "a key is shown once");
    let last = listed.json()["apiKeys"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["id"].as_str(), last["name"].as_str()), (Some(id), Some("ci")));
    assert_eq!(last["prefix"].as_str(), Some(&key[..10]));
    let revoke = format!("/apikeys/{id}/revoke");
    let revoked = cast.ask(&cast.owner, "POST", &revoke, None).await.expect(200).json();
    assert!(revoked["apiKey"]["revokedAt"].is_string());
    let refused = cast.service.send("GET", "/v1/tasks", &[("x-api-key", key)], None).await;
    refused.expect_error(401, "Invalid or revoked API key");
    cast.ask(&cast.owner, "POST", &revoke, None).await.expect_error(409, "The API key is revoked already");
    let lines = cast.audit().await;
    for (line, action) in lines.iter().zip(["key.revoked", "key.created"]) {
        let what = (line["action"].as_str(), line["subject"].as_str(), line["subjectName"].as_str());
        assert_eq!(what, (Some(action), Some(id), Some("ci")));
    }
}

#[tokio::test]
async fn who_is_not_signed_in_or_with_the_wrong_thing_is_refused() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let required = "Sign-in required";
    let invalid = "Invalid or expired token";
    service.send("GET", "/teams", &[], None).await.expect_error(401, required);
    service.send("GET", "/teams", &[("authorization", "Basic YTpi")], None).await.expect_error(401, required);
    // Neither a cookie nor an API key signs in here.
    service.send("GET", "/teams", &[("cookie", &ada.cookie)], None).await.expect_error(401, required);
    service.send("GET", "/teams", &[("x-api-key", crate::support::KEY)], None).await.expect_error(401, required);
    for odd in [crate::support::KEY, "x", "a.b.c"] {
        ask(&service, odd, "GET", "/teams", None).await.expect_error(401, invalid);
    }
    // Nor does a token elsewhere.
    let token = token(&service, ADA).await;
    ask(&service, &token, "GET", "/v1/tasks", None).await.expect_error(401, "Invalid or revoked API key");
    let cookie = format!("asyncqueue={}", &token[..43]);
    service.send("GET", "/account", &[("cookie", &cookie)], None).await.expect(303);
}

#[tokio::test]
async fn a_token_lasts_minutes_is_renewed_and_dies_with_its_session() {
    let service = Service::start().await;
    set_up(&service).await;
    let first = token(&service, ADA).await;
    service.clock.advance(10 * 60);
    let renewed = ask(&service, &first, "POST", "/signin/renew", None).await.expect(200).json();
    let second = renewed["token"].as_str().unwrap();
    service.clock.advance(6 * 60);
    ask(&service, &first, "GET", "/me", None).await.expect_error(401, "Invalid or expired token");
    ask(&service, second, "GET", "/me", None).await.expect(200);
    let third = token(&service, ADA).await;
    ask(&service, second, "POST", "/signout", None).await.expect(200);
    ask(&service, second, "GET", "/me", None).await.expect_error(401, "Invalid or expired token");
    ask(&service, &third, "GET", "/me", None).await.expect(200);
}

#[tokio::test]
async fn ones_own_sessions_are_listed_and_ended() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let mine = token(&service, ADA).await;
    let listed = ask(&service, &mine, "GET", "/sessions", None).await.expect(200).json();
    let sessions = listed["sessions"].as_array().unwrap();
    let shown: Vec<_> = sessions.iter().map(|one| (one["kind"].as_str().unwrap(), one["current"] == true)).collect();
    assert_eq!(shown, [("api", true), ("browser", false)]);
    assert_eq!(sessions[1]["agent"], "Test browser");
    assert_eq!(sessions[1]["address"], "127.0.0.1");
    let end = format!("/sessions/{}/revoke", sessions[1]["id"].as_str().unwrap());
    ask(&service, &mine, "POST", &end, None).await.expect(200);
    ada.get(&service, "/account").await.expect(303);
    ask(&service, &mine, "POST", &end, None).await.expect_error(404, "Session not found");
    ask(&service, &mine, "POST", "/sessions/x/revoke", None).await.expect_error(404, "Session not found");
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_other_sessions() {
    let service = Service::start().await;
    let ada = set_up(&service).await;
    let mine = token(&service, ADA).await;
    let change = |current: &str, new: &str| json!({"current": current, "password": new});
    let new = "seven quiet lighthouses";
    for (body, error) in [
        (change("wrong otter bicycle", new), "The current password is wrong"),
        (change(PASSWORD, "short"), "The password must have at least 12 characters"),
        (json!({"password": new}), "current is required"),
    ] {
        let answer = ask(&service, &mine, "POST", "/me/password", Some(&body)).await.expect(400);
        assert_eq!(answer.error(), error);
    }
    ask(&service, &mine, "POST", "/me/password", Some(&change(PASSWORD, new))).await.expect(200);
    ask(&service, &mine, "GET", "/me", None).await.expect(200);
    ada.get(&service, "/account").await.expect(303);
    service.post("/signin", &json!({"email": ADA, "password": PASSWORD}).to_string()).await.expect(401);
    sign_in(&service, ADA, new).await;
}

/// Every route of the management API that belongs to a team: what it answers to an owner, a member, a reader, and to
/// somebody of another team.
#[tokio::test]
async fn each_role_may_do_what_it_may_on_every_route() {
    let cast = Cast::assemble().await;
    let team = &cast.team;
    let member = account_id(&cast.service, &cast.member).await;
    let spare = invited(&cast.service, &cast.owner, team, "spare@example.com", "reader").await;
    let spare = account_id(&cast.service, &spare).await;
    let table = [
        ("GET", format!("/teams/{team}"), None, [200, 200, 200, 403]),
        ("GET", format!("/teams/{team}/apikeys"), None, [200, 200, 200, 403]),
        ("POST", format!("/teams/{team}/apikeys"), Some(json!({"name": "k"})), [201, 403, 403, 403]),
        ("GET", format!("/teams/{team}/secret"), None, [200, 403, 403, 403]),
        ("POST", format!("/teams/{team}/secret/rotate"), None, [200, 403, 403, 403]),
        ("GET", format!("/teams/{team}/audit"), None, [200, 403, 403, 403]),
        ("GET", format!("/teams/{team}/members"), None, [200, 200, 200, 403]),
        (
            "POST",
            format!("/teams/{team}/members"),
            Some(json!({"email": "foreign@example.com", "role": "reader"})),
            [201, 403, 403, 403],
        ),
        ("POST", format!("/teams/{team}/members/{member}/role"), Some(json!({"role": "member"})), [200, 403, 403, 403]),
        ("GET", format!("/teams/{team}/invitations"), None, [200, 403, 403, 403]),
        ("POST", format!("/teams/{team}/invitations"), Some(json!({"role": "owner"})), [201, 403, 403, 403]),
        ("POST", format!("/teams/{team}/members/{spare}/remove"), None, [200, 403, 403, 403]),
    ];
    // The least first: what an owner does changes what the others find.
    for (method, path, body, wanted) in &table {
        let tokens = [&cast.owner, &cast.member, &cast.reader, &cast.foreign];
        for (token, wanted) in tokens.into_iter().zip(wanted).rev() {
            let answer = cast.ask(token, method, path, body.clone()).await;
            assert_eq!(answer.status, *wanted, "{method} {path}: {}", answer.text());
        }
        if path.ends_with("/members") && *method == "POST" {
            let foreign = account_id(&cast.service, &cast.foreign).await;
            cast.ask(&cast.owner, "POST", &format!("{path}/{foreign}/remove"), None).await.expect(200);
        }
        let nobody = cast.service.send(method, path, &[], None).await;
        nobody.expect_error(401, "Sign-in required");
        let none = path.replace(team.as_str(), "01890000-0000-7000-8000-000000000000");
        cast.ask(&cast.owner, method, &none, body.clone()).await.expect_error(404, "Team not found");
        let odd = path.replace(team.as_str(), "no-id");
        cast.ask(&cast.owner, method, &odd, body.clone()).await.expect_error(404, "Team not found");
    }
}

/// Keys and invitations are named by their own ids; whose they are decides.
#[tokio::test]
async fn each_role_may_revoke_what_it_may() {
    let cast = Cast::assemble().await;
    let key = cast.ask(&cast.owner, "POST", &format!("/teams/{}/apikeys", cast.team), Some(json!({"name": "k"}))).await;
    let key = format!("/apikeys/{}/revoke", key.json()["apiKey"]["id"].as_str().unwrap());
    let invitation = cast
        .ask(&cast.owner, "POST", &format!("/teams/{}/invitations", cast.team), Some(json!({"role": "reader"})))
        .await;
    let invitation = format!("/invitations/{}/revoke", invitation.json()["invitation"]["id"].as_str().unwrap());
    for path in [&key, &invitation] {
        cast.ask(&cast.foreign, "POST", path, None).await.expect_error(403, "Access denied");
        for token in [&cast.reader, &cast.member] {
            cast.ask(token, "POST", path, None).await.expect_error(403, "This needs the role owner");
        }
        cast.ask(&cast.owner, "POST", path, None).await.expect(200);
    }
    let none = "01890000-0000-7000-8000-000000000000";
    cast.ask(&cast.owner, "POST", &format!("/apikeys/{none}/revoke"), None)
        .await
        .expect_error(404, "API key not found");
    let gone = cast.ask(&cast.owner, "POST", &invitation, None).await;
    gone.expect_error(404, "Invitation not found");
}

#[tokio::test]
async fn a_reader_who_is_made_a_reader_of_nothing_finds_nothing() {
    let cast = Cast::assemble().await;
    let reader = account_id(&cast.service, &cast.reader).await;
    // Anybody may leave.
    cast.ask(&cast.reader, "POST", &format!("/teams/{}/members/{reader}/remove", cast.team), None).await.expect(200);
    cast.ask(&cast.reader, "GET", &format!("/teams/{}", cast.team), None).await.expect_error(403, "Access denied");
    let mine = cast.ask(&cast.reader, "GET", "/teams", None).await.expect(200).json();
    assert_eq!(mine["teams"], json!([]));
    let refused = cast.ask(&cast.reader, "POST", "/teams", Some(json!({"name": "mine"}))).await;
    refused.expect_error(403, "This needs the role owner");
    let owner = account_id(&cast.service, &cast.owner).await;
    for (path, body) in [("remove", None), ("role", Some(json!({"role": "member"})))] {
        let path = format!("/teams/{}/members/{owner}/{path}", cast.team);
        cast.ask(&cast.owner, "POST", &path, body).await.expect_error(409, "A team needs an owner");
    }
}

#[tokio::test]
async fn an_invitation_is_for_whom_it_is_for_and_works_once() {
    let cast = Cast::assemble().await;
    let path = format!("/teams/{}/invitations", cast.team);
    let made = cast.ask(&cast.owner, "POST", &path, Some(json!({"role": "member", "email": "Eve@Example.com"}))).await;
    let made = made.expect(201).json()["invitation"].clone();
    assert_eq!(made["email"], "eve@example.com");
    assert!(made["url"].as_str().unwrap().ends_with(&format!("/invite/{}", made["token"].as_str().unwrap())));
    let listed = cast.ask(&cast.owner, "GET", &path, None).await.expect(200);
    assert!(!listed.text().contains(made["token"].as_str().unwrap()), "the link is shown once");
    let with = |email: &str| json!({"token": made["token"], "email": email, "password": PASSWORD}).to_string();
    let accept = "/invitations/accept";
    let other = cast.service.post(accept, &with("mallory@example.com")).await.expect(400);
    assert_eq!(other.error(), "This invitation is for another address");
    cast.ask(&cast.foreign, "POST", accept, Some(json!({"token": made["token"]}))).await.expect(400);
    cast.service.post(accept, &with("eve@example.com")).await.expect(201);
    let dead = "This link does not work, or not any more";
    cast.service.post(accept, &with("eve@example.com")).await.expect_error(404, dead);
    // Somebody who has an account joins with it.
    let open = cast.ask(&cast.owner, "POST", &path, Some(json!({"role": "reader"}))).await.expect(201).json();
    let token = json!({"token": open["invitation"]["token"]});
    let taken = cast.ask(&cast.member, "POST", accept, Some(token.clone())).await;
    taken.expect_error(409, "You are in this team already");
    let joined = cast.ask(&cast.foreign, "POST", accept, Some(token.clone())).await.expect(200).json();
    assert_eq!((joined["team"]["id"].as_str(), &joined["team"]["role"]), (Some(cast.team.as_str()), &json!("reader")));
    cast.ask(&cast.foreign, "POST", accept, Some(token)).await.expect_error(404, dead);
    let late = cast.ask(&cast.owner, "POST", &path, Some(json!({"role": "reader"}))).await.expect(201).json();
    cast.service.clock.advance(7 * 24 * 3600);
    let late = json!({"token": late["invitation"]["token"], "email": "late@example.com", "password": PASSWORD});
    cast.service.post(accept, &late.to_string()).await.expect_error(404, dead);
}

#[tokio::test]
async fn what_a_key_does_to_vault_and_endpoints_is_a_line_each() {
    let cast = Cast::assemble().await;
    let before = cast.audit().await.len();
    let key = crate::support::KEY;
    let send = async |method: &str, path: &str, body: Option<Value>| {
        let body = body.map(|body| body.to_string());
        let answer = cast.service.send(method, path, &[("x-api-key", key)], body.as_deref()).await;
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer.json()
    };
    let value = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    let made = send("POST", "/v1/tokens", Some(json!({"name": "n", "value": value}))).await;
    let token = made["token"]["id"].as_str().unwrap().to_owned();
    let made = send("POST", "/v1/endpoints", Some(json!({"provider": "openai", "secret": token}))).await;
    let endpoint = made["endpoint"]["id"].as_str().unwrap().to_owned();
    send("POST", &format!("/v1/endpoints/{endpoint}/rotate"), None).await;
    send("PATCH", &format!("/v1/endpoints/{endpoint}"), Some(json!({"secret": token}))).await;
    send("DELETE", &format!("/v1/endpoints/{endpoint}"), None).await;
    send("DELETE", &format!("/v1/tokens/{token}"), None).await;
    let lines = cast.audit().await;
    let told: Vec<_> = lines[..lines.len() - before].iter().rev().collect();
    let expected = [
        ("token.created", &token, "n"),
        ("endpoint.created", &endpoint, "openai"),
        ("endpoint.rotated", &endpoint, "openai"),
        ("endpoint.secret_changed", &endpoint, "openai"),
        ("endpoint.deleted", &endpoint, "openai"),
        ("token.revoked", &token, "n"),
    ];
    assert_eq!(told.len(), expected.len());
    for (line, (action, subject, name)) in told.into_iter().zip(expected) {
        let what = (&line["action"], &line["subject"], &line["subjectName"]);
        assert_eq!(what, (&json!(action), &json!(subject), &json!(name)));
        assert_eq!((&line["actor"]["kind"], &line["actor"]["name"]), (&json!("key"), &json!(&key[..10])));
        assert_eq!(line["address"], "127.0.0.1");
    }
    assert!(!Value::from(lines).to_string().contains(value));
}

#[tokio::test]
async fn each_action_leaves_exactly_one_line_without_a_secret() {
    let cast = Cast::assemble().await;
    let (team, member) = (&cast.team, account_id(&cast.service, &cast.member).await);
    let mut secrets = vec![PASSWORD.to_owned(), cast.owner.clone()];
    let mut known = cast.audit().await.len();
    let key = cast.ask(&cast.owner, "POST", &format!("/teams/{team}/apikeys"), Some(json!({"name": "k"}))).await.json();
    secrets.push(key["apiKey"]["key"].as_str().unwrap().to_owned());
    let key = key["apiKey"]["id"].as_str().unwrap().to_owned();
    let check = async |known: &mut usize, action: &str| {
        let lines = cast.audit().await;
        *known += 1;
        assert_eq!((lines.len(), lines[0]["action"].as_str()), (*known, Some(action)), "{:?}", lines[0]);
        assert_eq!(lines[0]["actor"]["name"], ADA);
        assert_eq!(lines[0]["address"], "127.0.0.1");
    };
    check(&mut known, "key.created").await;
    let steps = [
        ("POST", format!("/apikeys/{key}/revoke"), None, "key.revoked"),
        ("GET", format!("/teams/{team}/secret"), None, "secret.shown"),
        ("POST", format!("/teams/{team}/secret/rotate"), None, "secret.rotated"),
        (
            "POST",
            format!("/teams/{team}/members"),
            Some(json!({"email": "foreign@example.com", "role": "reader"})),
            "member.added",
        ),
        (
            "POST",
            format!("/teams/{team}/members/{member}/role"),
            Some(json!({"role": "reader"})),
            "member.role_changed",
        ),
        ("POST", format!("/teams/{team}/members/{member}/remove"), None, "member.removed"),
        ("POST", format!("/teams/{team}/invitations"), Some(json!({"role": "reader"})), "invitation.created"),
        ("POST", "/me/name".to_owned(), Some(json!({"name": "Countess"})), "account.renamed"),
    ];
    for (method, path, body, action) in steps {
        let answer = cast.ask(&cast.owner, method, &path, body).await;
        assert!(answer.status < 300, "{path}: {}", answer.text());
        secrets.extend(["secret"].iter().filter_map(|name| answer.json()[*name].as_str().map(str::to_owned)));
        secrets.extend(answer.json()["invitation"]["token"].as_str().map(str::to_owned));
        if action == "member.removed" {
            known = cast.audit().await.len() - 1;
        }
        check(&mut known, action).await;
    }
    // What only looks, and what is refused, leaves none.
    for path in [format!("/teams/{team}"), format!("/teams/{team}/members"), "/me".to_owned(), "/sessions".to_owned()] {
        cast.ask(&cast.owner, "GET", &path, None).await.expect(200);
        cast.ask(&cast.reader, "POST", &format!("/teams/{team}/apikeys"), Some(json!({"name": "k"}))).await.expect(403);
    }
    assert_eq!(cast.audit().await.len(), known);
    let told = Value::from(cast.audit().await).to_string();
    for secret in secrets {
        assert!(!told.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn coming_and_going_is_written_down_once_each() {
    let service = Service::start().await;
    set_up(&service).await;
    let mine = token(&service, ADA).await;
    service.post("/signin", &json!({"email": ADA, "password": "wrong otter bicycle"}).to_string()).await.expect(401);
    service
        .post("/signin", &json!({"email": "nobody@example.com", "password": PASSWORD}).to_string())
        .await
        .expect(401);
    let second = token(&service, ADA).await;
    ask(&service, &second, "POST", "/signout", None).await.expect(200);
    let teams = ask(&service, &mine, "GET", "/teams", None).await.expect(200).json();
    let path = format!("/teams/{}/audit", teams["teams"][0]["id"].as_str().unwrap());
    // A refused sign-in is written down beside its answer.
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    let told = loop {
        let lines = ask(&service, &mine, "GET", &path, None).await.expect(200).json();
        let mut told: Vec<String> = Vec::new();
        for line in lines["entries"].as_array().unwrap().iter().filter(|line| line["subject"] == ADA) {
            told.push(line["action"].as_str().unwrap().to_owned());
        }
        told.sort();
        if told.iter().any(|action| action == "account.sign_in_refused") || tokio::time::Instant::now() > deadline {
            break told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(
        told,
        ["account.set_up", "account.sign_in_refused", "account.signed_in", "account.signed_in", "account.signed_out",]
    );
}

#[tokio::test]
async fn bad_bodies_are_told_what_is_wrong_with_them() {
    let cast = Cast::assemble().await;
    let (keys, members) = (format!("/teams/{}/apikeys", cast.team), format!("/teams/{}/members", cast.team));
    for (path, body, error) in [
        (&keys, json!({}), "name is required"),
        (&keys, json!({"name": ""}), "name must be 1 to 100 visible characters"),
        (&keys, json!({"name": "x".repeat(101)}), "name must be 1 to 100 visible characters"),
        (&keys, json!({"name": "a\u{7}"}), "name must be 1 to 100 visible characters"),
        (&keys, json!({"name": 7}), "name must be a string"),
        (&keys, json!({"name": "a", "nam": "b"}), "Unknown field: nam"),
        (&keys, json!([]), "Request body must be a JSON object"),
        (&members, json!({"email": "x", "role": "reader"}), "This is no e-mail address"),
        (&members, json!({"email": ADA, "role": "king"}), "role must be one of owner, member, reader"),
    ] {
        let answer = cast.ask(&cast.owner, "POST", path, Some(body)).await.expect(400);
        assert_eq!(answer.error(), error);
    }
    let unknown = json!({"email": "nobody@example.com", "role": "reader"});
    cast.ask(&cast.owner, "POST", &members, Some(unknown)).await.expect_error(404, "Account not found");
    let again = json!({"email": "member@example.com", "role": "reader"});
    cast.ask(&cast.owner, "POST", &members, Some(again)).await.expect_error(409, "They are in the team already");
    let taken = cast.ask(&cast.owner, "POST", "/teams", Some(json!({"name": "default"}))).await;
    taken.expect_error(409, "There is a team of this name");
    let audit = format!("/teams/{}/audit", cast.team);
    for query in ["limit=0", "limit=101", "limit=x", "before=x", "limit=1&limit=2"] {
        cast.ask(&cast.owner, "GET", &format!("{audit}?{query}"), None).await.expect(400);
    }
    let first = cast.ask(&cast.owner, "GET", &format!("{audit}?limit=2"), None).await.expect(200).json();
    let next = format!("{audit}?limit=2&before={}", first["next"]);
    let second = cast.ask(&cast.owner, "GET", &next, None).await.expect(200).json();
    assert!(second["entries"][0]["number"].as_i64() < first["entries"][1]["number"].as_i64());
}

#[tokio::test]
async fn guessing_is_slowed_down_for_an_account_and_for_a_source() {
    let service = Service::start().await;
    set_up(&service).await;
    let guess = async |email: &str| {
        let body = json!({"email": email, "password": "wrong otter bicycle"}).to_string();
        service.post("/signin", &body).await
    };
    // Whether or not there is such an account.
    for email in [ADA, "nobody@example.com"] {
        for _ in 0..20 {
            guess(email).await.expect(401);
        }
        let refused = guess(email).await.expect(429);
        assert_eq!(refused.error(), "Rate limit exceeded");
        assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() <= 900);
    }
    // The right password does not help either, so nobody can tell.
    service.post("/signin", &json!({"email": ADA, "password": PASSWORD}).to_string()).await.expect(429);
    // 43 attempts and the setup were counted for this source.
    let mut answered = Vec::new();
    for n in 0..20 {
        answered.push(guess(&format!("other{n}@example.com")).await.status);
    }
    assert_eq!(answered.iter().filter(|status| **status == 401).count(), 16, "{answered:?}");
    assert!(answered[16..].iter().all(|status| *status == 429), "{answered:?}");
}
