//! The catalogue of hostile URLs, in each place of a creation that takes a URL.

use std::net::IpAddr;

use asyncqueue::clock::Clock;
use serde_json::json;

use crate::support::{Names, Service};

/// One line of the catalogue.
pub struct Line {
    pub verdict: String,
    pub url: String,
    /// The canonical host.
    pub host: String,
    /// What the name resolves to.
    pub answers: Vec<IpAddr>,
}

/// The catalogue's lines.
pub fn catalogue() -> Vec<Line> {
    let text = include_str!("../data/ssrf_urls.tsv");
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(read).collect()
}

fn read(line: &str) -> Line {
    let columns: Vec<&str> = line.split('\t').collect();
    let [verdict, url, host, dns] = columns[..] else { panic!("four columns: {line}") };
    let answers = dns.strip_prefix("dns=").unwrap_or_default().split(',').filter(|answer| !answer.is_empty());
    Line {
        verdict: verdict.to_owned(),
        url: unescape(url),
        host: host.to_owned(),
        answers: answers.map(|answer| answer.parse().unwrap()).collect(),
    }
}

/// `\u{HEX}` stands for that character.
fn unescape(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap();
        plain.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        plain.push_str(rest);
    }
    plain
}

#[tokio::test]
async fn every_line_has_its_verdict_as_target_completion_url_and_url_to_poll() {
    let service = Service::among(&[], Names::default()).await;
    let mut refused = 0;
    let mut taken = 0;
    for Line { verdict, url, .. } in catalogue() {
        for field in ["targetUrl", "onCompleteUrl", "pollConfig.urlTemplate", "pollConfig.resultUrlTemplate"] {
            if field.starts_with("pollConfig.") && url.starts_with("{startResult.") {
                // A template that is filled in later, and judged then.
                continue;
            }
            // Far in the future, so that nothing is ever called.
            let later = asyncqueue::wire::iso(service.clock.now().plus_millis(3_600_000));
            let mut body = json!({"targetUrl": "https://example.com/", "delayUntil": later});
            match field.strip_prefix("pollConfig.") {
                None => body[field] = json!(url),
                Some(field) => {
                    body["pollConfig"] = json!({
                        "urlTemplate": "https://example.com/", "statusPath": "a", "doneValues": ["b"], "failValues": ["c"],
                    });
                    body["pollConfig"][field] = json!(url);
                }
            }
            let answer = service.try_create(&body.to_string()).await;
            let expected = if verdict == "REJECT" { 400 } else { 201 };
            assert_eq!(answer.status, expected, "{field} {url:?}: {}", answer.text());
            if verdict == "REJECT" {
                assert_eq!(answer.json()["details"][0]["field"], field, "{url:?}");
                refused += 1;
            } else {
                taken += 1;
            }
        }
    }
    assert!(refused > 700 && taken > 100, "{refused} refused, {taken} taken");
}
