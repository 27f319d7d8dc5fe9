//! URLs are filled in with strangers' values, and stay the URLs that were meant.

use proptest::prelude::*;

use crate::providers::{Author, Json, Place, Sources, UrlTemplate, embedded};

fn expand(template: &str, start: &str) -> Result<String, String> {
    let id = [Place::parse("id").unwrap()];
    let params = [("region".to_owned(), "eu-1".to_owned()), ("base".to_owned(), "https://b.example/v1/".to_owned())];
    let start = Json::parse(start.as_bytes());
    let sources = Sources { start, poll: Json::parse(br#"{"file":"f 1"}"#), id: &id, params: &params };
    let template = UrlTemplate::parse(template, Author::Project).unwrap();
    template.expand(&sources, false).map_err(|error| error.0)
}

#[test]
fn values_are_encoded_so_that_they_stay_in_their_place() {
    for (template, expected) in [
        ("https://a.example/x/{startResult.body.id}", "https://a.example/x/a%2Fb%3Fc%23d%20%C3%A9"),
        ("https://a.example/x?q={id}&z", "https://a.example/x?q=a%2Fb%3Fc%23d%20%C3%A9&z"),
        ("https://a.example/{startResult.body.n}/{pollResult.body.file}", "https://a.example/1.50/f%201"),
        ("https://a.{region}.example/{region}", "https://a.eu-1.example/eu-1"),
        ("{base}/status?id={startResult.body.n}", "https://b.example/v1/status?id=1.50"),
        ("{startResult.body.url}", "http://x.example/s?a=1"),
    ] {
        let start = r#"{"id":"a/b?c#d é","n":1.50,"url":"http://x.example/s?a=1"}"#;
        assert_eq!(expand(template, start).as_deref(), Ok(expected));
    }
}

#[test]
fn what_cannot_be_filled_in_is_said() {
    let url = "https://a.example/{startResult.body.job.id}";
    for start in ["{}", r#"{"job":{"id":null}}"#, r#"{"job":{"id":""}}"#, r#"{"job":{"id":{}}}"#, "[]", "no json"] {
        let error = "The URL cannot be filled in: the answer to the submission holds no job.id";
        assert_eq!(expand(url, start).unwrap_err(), error, "{start}");
    }
    for dots in [r#"{"job":{"id":".."}}"#, r#"{"job":{"id":"."}}"#] {
        assert!(expand(url, dots).unwrap_err().contains("would change its path"));
    }
    assert!(
        expand("https://a.example/{pollResult.body.x}", "{}").unwrap_err().contains("the poll's answer holds no x")
    );
    assert!(expand("https://a.example/{account}", "{}").unwrap_err().contains("providerParams has no account"));
    for no_url in ["javascript:alert(1)", "file:///etc/passwd", "/relative", "nonsense", "ftp://a.example"] {
        assert!(expand("{startResult.body.u}", &format!(r#"{{"u":"{no_url}"}}"#)).is_err(), "{no_url}");
    }
}

#[test]
fn slashes_stay_where_a_template_says_so() {
    let id = [Place::parse("name").unwrap()];
    let url = UrlTemplate::parse("https://a.example/v1/{id}", Author::Project).unwrap();
    let filled = |name: &str, slashes| {
        let start = format!(r#"{{"name":"{name}"}}"#);
        url.expand(&Sources { start: Json::parse(start.as_bytes()), id: &id, ..Sources::default() }, slashes).ok()
    };
    assert_eq!(
        filled("models/veo/operations/a b", true).as_deref(),
        Some("https://a.example/v1/models/veo/operations/a%20b")
    );
    assert_eq!(filled("arn:aws:x/y", false).as_deref(), Some("https://a.example/v1/arn%3Aaws%3Ax%2Fy"));
    for bad in ["../x", "a/../b", "a/.", "a//b", "/a", "a/"] {
        assert_eq!(filled(bad, true), None, "{bad}");
    }
}

#[test]
fn a_label_of_a_host_cannot_become_another_host() {
    let url = UrlTemplate::parse("https://{resource}.example.com/x", Author::Project).unwrap();
    for bad in ["evil.com/", "evil.com#", "a.b", "a@b", "-a", "a-", "", "a:1", "ä", &"a".repeat(64)] {
        let params = [("resource".to_owned(), bad.to_owned())];
        assert!(url.expand(&Sources { params: &params, ..Sources::default() }, false).is_err(), "{bad}");
    }
}

#[test]
fn templates_are_judged_when_they_are_given() {
    let user = |text: &str| UrlTemplate::parse(text, Author::User);
    for (bad, said) in [
        ("https://a.example/{id", "has a placeholder that is not closed"),
        ("https://a.example/id}", "has a closing brace without an opening one"),
        ("https://a.example/{a{b}}", "has a placeholder inside of another"),
        ("https://a.example/{startResult.body}", "has the placeholder {startResult.body}, which needs a path"),
        ("https://a.example/{startResult.body.a..b}", "whose path must be names parted by single dots"),
        ("https://a.example/{startResult.headers.x}", "has an unknown placeholder {startResult.headers.x}"),
        ("https://a.example/{}", "has an unknown placeholder {}"),
        ("https://{startResult.body.host}/x", "must name the host as it is"),
        ("https://{region}.example/x", "must name the host as it is"),
        ("https://a.example{startResult.body.rest}", "must name the host as it is"),
        ("https://a.example:{startResult.body.port}/", "must name the host as it is"),
        ("{startResult.body.base}/status", "must name the host as it is"),
        ("{startResult.body.scheme}://a.example/", "must name the host as it is"),
        ("{id}", "must not be {id} alone"),
        ("ftp://a.example/", "must be an absolute http or https URL"),
        ("/relative/{id}", "must name the host as it is"),
        ("nonsense", "must be an absolute http or https URL"),
        ("", "must be an absolute http or https URL"),
    ] {
        let error = user(bad).unwrap_err();
        assert!(error.contains(said), "{bad}: {error}");
    }
    for good in ["{startResult.body.urls.get}", "https://a.example/{id}?x={pollResult.body.y}", "http://127.0.0.1:1/"] {
        assert!(user(good).is_ok(), "{good}");
    }
}

#[test]
fn the_literal_origin_is_known() {
    for (text, origin) in [
        ("https://a.example:8443/x/{id}", Some("https://a.example:8443")),
        ("https://a.example?x={id}", Some("https://a.example")),
        ("https://a.example", Some("https://a.example")),
        ("{startResult.body.url}", None),
        ("https://{region}.a.example/", None),
    ] {
        let template = UrlTemplate::parse(text, Author::Project).unwrap();
        assert_eq!(template.literal_origin().as_deref(), origin, "{text}");
    }
}

proptest! {
    #[test]
    fn no_value_changes_host_or_shape(value in ".*", slashes in any::<bool>()) {
        let start = serde_json::json!({ "id": value }).to_string();
        let id = [Place::parse("id").unwrap()];
        let sources = Sources { start: Json::parse(start.as_bytes()), id: &id, ..Sources::default() };
        let template = UrlTemplate::parse("https://a.example/v1/{id}/status?q={id}", Author::User).unwrap();
        if let Ok(filled) = template.expand(&sources, slashes) {
            let url = url::Url::parse(&filled).unwrap();
            prop_assert_eq!(url.host_str(), Some("a.example"));
            prop_assert!(url.path().starts_with("/v1/") && url.path().ends_with("/status"));
            prop_assert_eq!(url.as_str(), &filled, "nothing is left to normalise");
            prop_assert_eq!(url.fragment(), None);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[{}a-z.:/?#@]{0,40}") {
        let _ = UrlTemplate::parse(&text, Author::User).map(|url| url.literal_origin());
    }
}

#[test]
fn templates_of_the_project_name_only_parameters_that_they_describe() {
    let value = |key: &str| if key == "base" { "https://b.example" } else { "x" }.to_owned();
    for template in embedded().unwrap() {
        let described: Vec<(String, String)> = template.params.keys().map(|key| (key.clone(), value(key))).collect();
        if let Some(poll) = template.poll() {
            assert!(poll.for_task(&described, "https://target.example/jobs").is_ok(), "{}", template.id);
        }
    }
}
