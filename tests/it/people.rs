//! People: how they come in, what a session is good for, and what other sites cannot do with it.

pub mod commands;
mod forms;
mod invitations;
pub mod management;
mod oidc;
mod sessions;
mod several_teams;
mod things;

use super::support::{Answer, Service};

/// The password of everybody here.
pub const PASSWORD: &str = "purple otter bicycle";

/// The first account.
pub const ADA: &str = "ada@example.com";

/// A browser: what it holds, and what it says about itself.
#[derive(Clone, Default)]
pub struct Browser {
    pub cookie: String,
}

impl Browser {
    /// Shows a page.
    pub async fn get(&self, service: &Service, path: &str) -> Answer {
        service.send("GET", path, &[("cookie", &self.cookie)], None).await
    }

    /// Sends a form from a page of ours, and keeps what cookie it is given.
    pub async fn submit(&mut self, service: &Service, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.submit_from(service, &format!("http://{}", service.address), path, fields).await;
        if let Some(cookie) = answer.header("set-cookie") {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    /// Sends a form from a page of some site.
    pub async fn submit_from(&self, service: &Service, origin: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", origin),
            ("content-type", "application/x-www-form-urlencoded"),
            ("user-agent", "Test browser"),
        ];
        service.send("POST", path, &headers, Some(&encoded(fields))).await
    }

    /// The token that forms of this session carry, read from a page.
    pub async fn csrf(&self, service: &Service) -> String {
        let page = self.get(service, "/account").await.expect(200);
        let (_, rest) = page.text().split_once(r#"name="csrf" value=""#).expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

/// Fields as a form sends them.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(fields).finish()
}

/// The path of the link for the first account.
pub fn setup_path(service: &Service) -> String {
    let url = service.setup_url().expect("a setup link");
    let at = url.find("/setup/").expect("a path");
    url[at..].to_owned()
}

/// Makes the first account; answers the browser that is signed in to it.
pub async fn set_up(service: &Service) -> Browser {
    let mut browser = Browser::default();
    let fields = [("email", ADA), ("name", "Ada Lovelace"), ("password", PASSWORD)];
    browser.submit(service, &setup_path(service), &fields).await.expect(303);
    browser
}

/// Signs in; answers the browser.
pub async fn sign_in(service: &Service, email: &str, password: &str) -> Browser {
    let mut browser = Browser::default();
    browser.submit(service, "/login", &[("email", email), ("password", password)]).await.expect(303);
    browser
}
