//! What a request to a provider is about: a job that it has, or a new one. Told by the URLs of its template.

use http::Method;

use super::facts::Facts;
use super::values::{is_whole, texts};

/// What is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Poll,
    Fetch,
    CallOff,
}

/// The path of a URL that an answer names, from the place where it stands in the answer.
pub(super) fn link(job: &str, place: &str) -> String {
    format!("/jobs/{job}/{}", place.rsplit('.').next().unwrap_or_default())
}

/// What a request asks of a job that it names. The URL that fits best decides; one that fits none is a poll.
pub(super) fn act(facts: &Facts, method: &Method, path: &str) -> Act {
    let poll = &facts["pollConfig"];
    let polls = facts["poll"]["method"].as_str().unwrap_or("GET");
    let calls_off = facts["cancel"]["method"].as_str().unwrap_or("-");
    let known = [
        (Act::Poll, polls, texts(&poll["urlTemplate"])),
        (Act::Poll, polls, texts(&facts["poll"]["statusUrlTemplate"])),
        (Act::Fetch, "GET", texts(&poll["resultUrlTemplate"])),
        (Act::CallOff, calls_off, texts(&facts["cancel"]["urlTemplate"])),
    ];
    let by_method = known.into_iter().filter(|(_, known, _)| *known == method.as_str());
    let fitting = by_method.filter_map(|(act, _, url)| Some((act, fit(url.first()?, path)?)));
    // Of equals the first.
    let best = fitting.rev().max_by_key(|(_, fit)| *fit);
    best.map_or(Act::Poll, |(act, _)| act)
}

/// How many bytes of a URL template stand in the path, in their order and the last ones at its end.
fn fit(template: &str, path: &str) -> Option<usize> {
    let template = if is_whole(template) {
        format!("{{job}}/{}", template.trim_matches(['{', '}']).rsplit('.').next()?)
    } else {
        template.to_owned()
    };
    let path = decoded(path);
    let mut rest = path.as_str();
    let mut literals = literals(&template);
    let last = literals.pop()?;
    let mut bytes = last.len();
    for literal in literals {
        rest = rest.split_once(&*literal)?.1;
        bytes += literal.len();
    }
    rest.ends_with(&*last).then_some(bytes)
}

/// What stands between the placeholders, without scheme and host.
fn literals(template: &str) -> Vec<String> {
    let start = template.find("://").and_then(|at| template[at + 3..].find('/').map(|slash| at + 3 + slash));
    let mut parts = template[start.unwrap_or(0)..].split('}');
    let between = |part: &str| part.split('{').next().unwrap_or_default().to_owned();
    parts.by_ref().map(between).collect()
}

/// A path without percent-encoding.
pub(super) fn decoded(path: &str) -> String {
    let plain = path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(plain.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(id: &str, cases: &[(&str, &str, Act)]) {
        let facts = Facts::named(id).unwrap();
        for (method, path, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(act(&facts, &method, path), *expected, "{id} {method} {path}");
        }
    }

    #[test]
    fn a_request_is_known_by_the_urls_of_the_template() {
        acts(
            "fal",
            &[
                ("GET", "/jobs/7/status_url", Act::Poll),
                ("GET", "/jobs/7/response_url", Act::Fetch),
                ("PUT", "/jobs/7/cancel_url", Act::CallOff),
            ],
        );
        acts("runwayml", &[("GET", "/v1/tasks/7", Act::Poll), ("DELETE", "/v1/tasks/7", Act::CallOff)]);
        acts("openai-videos", &[("GET", "/v1/videos/7", Act::Poll), ("GET", "/v1/videos/7/content", Act::Fetch)]);
        acts(
            "minimax",
            &[
                ("GET", "/v1/query/video_generation?task_id=7", Act::Poll),
                ("GET", "/v1/files/retrieve?file_id=file%20of%207", Act::Fetch),
            ],
        );
        acts("segmind", &[("GET", "/v2/requests/7/status", Act::Poll), ("GET", "/v2/requests/7", Act::Fetch)]);
        acts("bentoml", &[("GET", "/my/status?task_id=7", Act::Poll), ("GET", "/my/get?task_id=7", Act::Fetch)]);
        acts("cloudflare-batch", &[("POST", "/client/v4/accounts/a/ai/run/m?queueRequest=true", Act::Poll)]);
        acts("kling", &[("GET", "/somewhere/else/7", Act::Poll)]);
    }
}
