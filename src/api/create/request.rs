//! What a creation asks for, checked field by field.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::following;
use crate::api::Api;
use crate::api::fields::{Fields, Reader};
use crate::api::problem::{Detail, Problem};
use crate::follow;
use crate::guard::{MAX_URL_BYTES, Refused, Target, check_header};
use crate::store::HostId;
use crate::task::{Backoff, Follow, Method, Policy, Request, TeamId, Then, Timestamp, placeholder};
use crate::vault::{self, Denied};

const FIELDS: &[&str] = &[
    "targetUrl",
    "method",
    "headers",
    "body",
    "timeout",
    "maxRetries",
    "retryBackoff",
    "delayUntil",
    "priority",
    "waitForSignal",
    "maxWaitTime",
    "onCompleteUrl",
    "provider",
    "pollConfig",
    "useCallback",
    "callbackConfig",
    "callbackSecret",
    "providerParams",
    "retryOn",
    "onCompleteMaxRetries",
    "metadata",
];

const HEADERS_MAX: usize = 50;
const HEADER_BYTES_MAX: usize = 16 * 1024;
const METADATA_MAX: usize = 16;
const METADATA_BYTES_MAX: usize = 4 * 1024;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A checked creation.
pub struct Asked<'a> {
    pub request: Request,
    /// The call's body as the creation spelled it.
    pub body: Option<&'a RawValue>,
    pub policy: Policy,
    pub priority: u8,
    pub host: HostId,
}

/// Reads and checks the body of a creation.
pub fn parse<'a>(text: &'a [u8], api: &Api) -> Result<Asked<'a>, Problem> {
    let fields = Fields::parse(text, FIELDS)?;
    let mut reader = Reader::new(&fields);
    let mut request = read_request(&mut reader, api);
    let followed = following::read(&fields, &mut reader, &mut request, api);
    let waits = waits(&fields, &request, followed.poll.is_some(), &mut reader);
    let policy = Policy {
        max_retries: reader.integer("maxRetries", 3, 0..=10),
        backoff: backoff(&mut reader),
        then: match followed.poll {
            Some(poll) => Then::Poll(poll),
            None if waits => Then::Wait,
            None => Then::Finish,
        },
        max_wait_ms: reader.seconds("maxWaitTime", followed.max_wait_ms, 1000..=30 * DAY_MS),
        callback: waits,
        signal: request.wait_for_signal,
        completion: request.on_complete_url.is_some(),
    };
    let priority = u8::try_from(reader.integer("priority", 5, 1..=10)).unwrap_or(5);
    let host = check_target(&request.target_url, api, &mut reader);
    reader.finish()?;
    let host = host.ok_or_else(|| Problem::bad_request("targetUrl is required"))?;
    let body = fields.json("body").filter(|_| request.body.is_some());
    Ok(Asked { request, body, policy, priority, host })
}

/// Checks that every reference to a secret may be used as the request uses it.
pub async fn check_references(api: &Api, team: TeamId, request: &Request) -> Result<(), Problem> {
    let headers = request.headers.iter().map(|(_, value)| value.as_str());
    let references: Vec<_> = headers.filter(|value| value.starts_with(vault::PREFIX)).collect();
    if !references.is_empty() {
        let target = target(request, api)?;
        for reference in references {
            let checked = api.vault.for_sending(team, reference, &target).await;
            checked.map_err(|denied| refused_reference("headers", denied))?;
        }
    }
    if let Some(secret) = &request.follow.callback_secret {
        let checked = api.vault.live(team, secret).await;
        let token = checked.map_err(|denied| refused_reference("callbackSecret", denied))?;
        if follow::told_secret(&request.follow).is_some() && !token.verify_only {
            let checked = api.vault.for_sending(team, secret, &target(request, api)?).await;
            checked.map_err(|denied| refused_reference("callbackSecret", denied))?;
        }
    }
    Ok(())
}

fn refused_reference(field: &str, denied: Denied) -> Problem {
    match denied {
        Denied::Store(error) => error.into(),
        denied => Problem::invalid(vec![Detail { field: field.to_owned(), message: denied.to_string() }]),
    }
}

/// The host that a request will call.
pub fn host_of(request: &Request, api: &Api) -> Result<HostId, Problem> {
    let host = api.targets.check(&api.guard, &filled(&request.target_url, api));
    host.map_err(|refused| Problem::bad_request(url_message("targetUrl", &refused)))
}

fn target(request: &Request, api: &Api) -> Result<Target, Problem> {
    let target = api.guard.check_url(&filled(&request.target_url, api));
    target.map_err(|refused| Problem::bad_request(url_message("targetUrl", &refused)))
}

fn read_request(reader: &mut Reader<'_, '_>, api: &Api) -> Request {
    Request {
        target_url: target_url(reader),
        method: method(reader),
        headers: headers(reader),
        body: reader.string("body"),
        timeout_ms: reader.seconds("timeout", 30_000, 100..=3_600_000),
        retry_on: retry_on(reader),
        delay_until: delay_until(reader, api.clock.now()),
        wait_for_signal: reader.read_or("waitForSignal", "true or false", false),
        on_complete_url: on_complete_url(reader, api),
        on_complete_max_retries: reader.integer("onCompleteMaxRetries", 5, 0..=10),
        metadata: metadata(reader),
        retry_of: None,
        depth: 0,
        follow: Follow::default(),
    }
}

fn target_url(reader: &mut Reader<'_, '_>) -> String {
    let url = reader.string("targetUrl").unwrap_or_default();
    if placeholder::out_of_place(&url) {
        reader.refuse("targetUrl", "targetUrl may hold the callback URL in its path or query only");
    }
    url
}

fn check_target(url: &str, api: &Api, reader: &mut Reader<'_, '_>) -> Option<HostId> {
    if url.is_empty() {
        reader.refuse("targetUrl", "targetUrl is required");
        return None;
    }
    if url.len() > MAX_URL_BYTES {
        reader.refuse("targetUrl", format!("targetUrl must be at most {MAX_URL_BYTES} bytes long"));
        return None;
    }
    match api.targets.check(&api.guard, &filled(url, api)) {
        Ok(host) => Some(host),
        Err(refused) => {
            reader.refuse("targetUrl", url_message("targetUrl", &refused));
            None
        }
    }
}

/// The URL as it will look with a callback URL in it.
pub(super) fn filled<'a>(url: &'a str, api: &Api) -> Cow<'a, str> {
    if !url.contains(placeholder::CALLBACK_URL) {
        return Cow::Borrowed(url);
    }
    Cow::Owned(placeholder::fill_url(url, &format!("{}{}", api.callback_base, "0".repeat(64))))
}

/// Why a URL is refused, for people.
pub(super) fn url_message(field: &str, refused: &Refused) -> String {
    match refused {
        Refused::Scheme | Refused::NoHost | Refused::Malformed(_) => {
            format!("{field} must be a valid http or https URL")
        }
        rule => format!("{field} is not allowed: {rule}"),
    }
}

fn on_complete_url(reader: &mut Reader<'_, '_>, api: &Api) -> Option<String> {
    let url = reader.string("onCompleteUrl")?;
    if let Err(refused) = api.targets.check(&api.guard, &url) {
        reader.refuse("onCompleteUrl", url_message("onCompleteUrl", &refused));
    }
    Some(url)
}

fn method(reader: &mut Reader<'_, '_>) -> Method {
    const WANTED: &str = "one of GET, POST, PUT, DELETE";
    let name = reader.read_or("method", WANTED, Cow::Borrowed("POST"));
    Method::from_name(&name).unwrap_or_else(|| {
        reader.refuse("method", format!("method must be {WANTED}"));
        Method::Post
    })
}

fn backoff(reader: &mut Reader<'_, '_>) -> Backoff {
    const WANTED: &str = "linear or exponential";
    match &*reader.read_or("retryBackoff", WANTED, Cow::Borrowed("exponential")) {
        "exponential" => Backoff::Exponential,
        "linear" => Backoff::Linear,
        _ => {
            reader.refuse("retryBackoff", format!("retryBackoff must be {WANTED}"));
            Backoff::Exponential
        }
    }
}

fn headers(reader: &mut Reader<'_, '_>) -> Vec<(String, String)> {
    let Strings(headers) = reader.read_or("headers", "an object of strings", Strings::default());
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        let text = format!("headers must be at most {HEADERS_MAX} and {HEADER_BYTES_MAX} bytes together");
        reader.refuse("headers", text);
    }
    for (index, (name, value)) in headers.iter().enumerate().take(HEADERS_MAX) {
        if let Err(refused) = check_header(name, value) {
            reader.refuse("headers", refused.to_string());
        } else if headers[..index].iter().any(|(before, _)| before.eq_ignore_ascii_case(name)) {
            reader.refuse("headers", format!("Duplicate header: {name}"));
        }
    }
    headers
}

fn metadata(reader: &mut Reader<'_, '_>) -> Vec<(String, String)> {
    let Strings(metadata) = reader.read_or("metadata", "an object of strings", Strings::default());
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata.len() > METADATA_MAX || bytes > METADATA_BYTES_MAX {
        let text = format!("metadata must be at most {METADATA_MAX} entries and {METADATA_BYTES_MAX} bytes together");
        reader.refuse("metadata", text);
    }
    for (index, (name, _)) in metadata.iter().enumerate().take(METADATA_MAX) {
        if metadata[..index].iter().any(|(before, _)| before == name) {
            reader.refuse("metadata", format!("Duplicate entry: {name}"));
        }
    }
    metadata
}

fn retry_on(reader: &mut Reader<'_, '_>) -> Vec<u16> {
    const WANTED: &str = "an array of status codes from 400 to 599";
    let codes: Vec<u16> = reader.read_or("retryOn", WANTED, Vec::new());
    if codes.len() > 50 || codes.iter().any(|code| !(400..=599).contains(code)) {
        reader.refuse("retryOn", format!("retryOn must be {WANTED}"));
    }
    codes
}

fn delay_until(reader: &mut Reader<'_, '_>, now: Timestamp) -> Option<Timestamp> {
    const WANTED: &str = "an ISO 8601 time with a zone, such as 2026-01-31T12:00:00Z";
    let text = reader.string("delayUntil")?;
    let Some(at) = parse_time(&text) else {
        reader.refuse("delayUntil", format!("delayUntil must be {WANTED}"));
        return None;
    };
    if at > now.plus_millis(366 * DAY_MS) {
        reader.refuse("delayUntil", "delayUntil must be at most a year ahead");
    }
    Some(at)
}

/// Reads an ISO 8601 time with a zone. Leap seconds and zone names are not taken: no clock of ours has them.
fn parse_time(text: &str) -> Option<Timestamp> {
    let offset = text.get(19..).and_then(|rest| rest.split_once(['+', '-']));
    let odd = text.len() > 40
        || text.contains(['[', ' '])
        || text.contains(":60")
        || offset.is_some_and(|(_, zone)| zone.get(..2).is_some_and(|hours| hours > "23"));
    if odd {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_millisecond()))
}

/// Whether the task waits after an accepted call.
fn waits(fields: &Fields<'_>, request: &Request, polls: bool, reader: &mut Reader<'_, '_>) -> bool {
    let mentioned = placeholder::mentioned(request);
    if mentioned && !polls && fields.raw("waitForSignal") == Some("false") {
        let text =
            "waitForSignal is false, but the task mentions {asyncqueue_callback_url} and so waits for a callback";
        reader.refuse("waitForSignal", text);
    }
    let follow = &request.follow;
    let follows = polls || follow.provider.is_some() || follow.callback_config.is_some() || follow.use_callback;
    mentioned || request.wait_for_signal || follows
}

/// An object whose values are strings, in its order, repeated names included.
#[derive(Default)]
pub(super) struct Strings(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_zone_and_must_exist() {
        for good in ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456+02:00", "2024-02-29T00:00:00-11:30"] {
            assert!(parse_time(good).is_some(), "{good}");
        }
        for odd in [
            "2026-01-31T12:00:00",
            "2026-02-30T12:00:00Z",
            "2026-06-30T23:59:60Z",
            "2026-01-31",
            "1700000000",
            "tomorrow",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00.5-24:00",
            "2026-01-31T12:00:00+01:00[Europe/Berlin]",
            "",
        ] {
            assert!(parse_time(odd).is_none(), "{odd}");
        }
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Some(Timestamp(0)));
    }
}
