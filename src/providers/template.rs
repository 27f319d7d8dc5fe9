//! A provider's template: everything that is known about it, checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::hosts::TrustedHost;
use super::inject::{Existing, NotPassed, quoted};
use super::passing::{Outgoing, Part, Passed, Passing, Setting, URL};
use super::path::{Path, Place};
use super::pollconfig::PollConfig;
use super::rule::CallbackRule;
use super::signature::Scheme;
use super::wire;

/// How sure the facts of a template are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Confidence {
    /// The provider's documentation says so.
    Documented,
    /// Put together from SDKs, examples or sibling APIs.
    Inferred,
}

/// How a job is submitted; for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submit {
    /// The HTTP method.
    pub method: String,
    /// The URL, with words in braces for what differs.
    pub url: String,
    /// The headers that sign in.
    pub auth: String,
    /// Other URLs that work the same way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<String>,
    /// What the body needs to make the job asynchronous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hint: Option<String>,
}

/// How a provider sends a webhook again that was not accepted, as far as its documentation tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// The pauses before each further try, seconds.
    #[serde(default)]
    pub after: Vec<f64>,
    /// What it takes for a yes.
    #[serde(default)]
    pub accepts: Accepts,
    /// How long it waits for the answer, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// Whether a 4xx ends it.
    #[serde(default)]
    pub not4xx: bool,
    /// The only statuses after which it tries again, if it is choosy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<u16>>,
}

/// The statuses that a provider takes for a yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepts {
    /// 200 alone.
    #[serde(rename = "200")]
    Ok,
    /// 200 to 299.
    #[default]
    #[serde(rename = "2xx")]
    Success,
    /// 200 to 399.
    #[serde(rename = "3xx")]
    Redirects,
}

/// Everything that is known about one provider.
#[derive(Clone, Debug)]
pub struct Template {
    /// The name in `provider`.
    pub id: String,
    /// What stands for this template inside of callback ids, 2 to 63, where it has such a number.
    pub callback_class: Option<u8>,
    /// The provider's own name.
    pub name: String,
    /// One line.
    pub description: String,
    /// The provider's documentation.
    pub docs: String,
    /// How sure the facts are.
    pub confidence: Confidence,
    /// What was decided where sources disagree, and what to know.
    pub notes: Vec<String>,
    /// How a job is submitted; for people.
    pub submit: Option<Submit>,
    /// Where the job's id is in the answer to the submission; the first that is there.
    pub id_path: Vec<Place>,
    /// Where its answers say that they are refusals, if they say so with 200.
    pub envelope: Option<Envelope>,
    /// What the URLs need that no answer holds: key of `providerParams` → what it is.
    pub params: BTreeMap<String, String>,
    /// Statuses to retry beside 5xx.
    pub retry_on: Vec<u16>,
    /// Hosts that may get the task's credentials.
    pub credential_hosts: Vec<TrustedHost>,
    /// The place among the templates that are listed first.
    pub place: Option<u16>,
    pub(super) poll: Option<PollConfig>,
    pub(super) callback: Option<Callback>,
    pub(super) max_duration_ms: i64,
}

/// What is known about a provider's callbacks.
#[derive(Clone, Debug)]
pub struct Callback {
    /// How it is told the URL.
    pub passing: Passing,
    /// The account whose events come to one URL, if they do; templates may share one.
    pub account: Option<String>,
    /// Where to register a URL that is told per account; for people.
    pub register: Option<String>,
    /// What its events mean.
    pub rule: CallbackRule,
    /// The methods that it may call with.
    pub methods: Vec<String>,
    /// How large its events may be, where the usual limit is too small.
    pub max_bytes: Option<usize>,
    /// How it signs.
    pub signature: Option<Scheme>,
    /// How it sends an event again.
    pub retries: Option<Retries>,
    /// Paths in its events whose values are secrets.
    pub redact: Vec<Path>,
}

impl Template {
    /// How its jobs are polled, where they can be.
    pub fn poll(&self) -> Option<&PollConfig> {
        self.poll.as_ref()
    }

    /// What its callbacks mean, where it has any.
    pub fn callback(&self) -> Option<&Callback> {
        self.callback.as_ref()
    }

    /// Whether `useCallback` can be honoured: it takes a URL with each request.
    pub fn takes_callback_url(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| callback.passing.per_request())
    }

    /// Whether its events come to one URL per account, and find their task by the job's id.
    pub fn is_account_level(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| !callback.passing.per_request())
    }

    /// The account that the events of this provider are sent for, if they come to one URL.
    pub fn account(&self) -> Option<&str> {
        self.callback.as_ref()?.account.as_deref()
    }

    /// The usual longest time of a job, milliseconds; what `maxWaitTime` is by default.
    pub fn max_duration_ms(&self) -> i64 {
        self.max_duration_ms
    }

    /// The request with the callback URL where this provider wants it.
    pub fn pass(&self, request: Outgoing<'_>, callback_url: &str, secret: Option<&str>) -> Result<Passed, NotPassed> {
        match &self.callback {
            Some(callback) if callback.passing.per_request() => callback.passing.apply(request, callback_url, secret),
            Some(_) => Err(NotPassed(format!(
                "{} takes one callback URL per account, not per request; make one with POST /v1/endpoints and leave \
                 useCallback out",
                self.name
            ))),
            None => Err(NotPassed(format!("{} has no callbacks; leave useCallback out, and it is polled", self.name))),
        }
    }

    /// What the list of providers shows: the contract's fields, and ours under `callback`.
    pub fn shown(&self) -> String {
        let poll = self.poll.as_ref().map_or_else(|| "null".to_owned(), PollConfig::shown);
        let callback = self.callback.as_ref().map_or_else(|| "null".to_owned(), Callback::shown);
        format!(
            "{{\"id\":{},\"name\":{},\"description\":{},\"pollConfig\":{poll},\"callback\":{callback}}}",
            quoted(&self.id),
            quoted(&self.name),
            quoted(&self.description)
        )
    }

    pub(super) fn trusted_texts(&self) -> Vec<String> {
        self.credential_hosts.iter().map(ToString::to_string).collect()
    }

    /// Checks what a file holds.
    pub(super) fn of_wire(wire: wire::Template) -> Result<Self, String> {
        let callback = wire.callback.map(|callback| Callback::of_wire(callback, &wire.id)).transpose()?;
        let credential_hosts: Result<Vec<_>, _> =
            wire.credential_hosts.iter().map(|host| TrustedHost::parse(host)).collect();
        let id_path: Result<Vec<_>, _> = wire.id_path.all().iter().map(|path| Place::parse(path)).collect();
        let stored = wire.poll_config.map(|poll_config| wire::StoredPoll {
            poll_config,
            finer: wire.poll,
            id_path: wire.id_path,
            trusted: wire.credential_hosts,
            user_url: false,
            user_result_url: false,
            cancel: wire.cancel,
            envelope: wire.envelope.clone(),
        });
        let poll = stored.map(PollConfig::of_template).transpose().map_err(|wrong| wrong[0].to_string())?;
        let longest = wire.max_duration.map(millis).or(poll.as_ref().map(PollConfig::max_duration_ms));
        Ok(Self {
            id: wire.id,
            callback_class: wire.callback_class,
            name: wire.name,
            description: wire.description,
            docs: wire.docs,
            confidence: wire.confidence,
            notes: wire.notes,
            submit: wire.submit,
            id_path: id_path?,
            envelope: wire.envelope.as_ref().map(Envelope::of_wire).transpose()?,
            params: wire.params,
            retry_on: wire.retry_on,
            credential_hosts: credential_hosts?,
            place: wire.place,
            poll,
            callback,
            max_duration_ms: longest.unwrap_or(3_600_000),
        })
    }
}

impl Callback {
    fn of_wire(wire: wire::Callback, id: &str) -> Result<Self, String> {
        let account = (wire.url.place == wire::Part::Account).then(|| wire.url.account.clone());
        let redact: Result<Vec<_>, _> = wire.redact.iter().map(|path| Path::parse(path)).collect();
        Ok(Self {
            account: account.map(|name| name.unwrap_or_else(|| id.to_owned())),
            register: wire.url.register.clone(),
            passing: passing(wire.url)?,
            rule: CallbackRule::of_wire(wire.rule)?,
            methods: wire.methods,
            max_bytes: wire.max_bytes,
            signature: wire.signature,
            retries: wire.retries,
            redact: redact?,
        })
    }

    fn shown(&self) -> String {
        let place = match self.passing.place {
            Part::Query => "query",
            Part::Body => "body",
            Part::Account => "account",
        };
        let at = self.passing.settings.first().filter(|_| self.passing.per_request());
        let at = at.map_or_else(|| "null".to_owned(), |setting| quoted(&setting.at.to_string()));
        let signature = self.signature.as_ref().map_or_else(|| "null".to_owned(), |scheme| quoted(scheme.name()));
        format!(
            "{{\"url\":{{\"in\":\"{place}\",\"at\":{at}}},\"rule\":{},\"signature\":{signature}}}",
            self.rule.shown()
        )
    }
}

fn passing(wire: wire::Passing) -> Result<Passing, String> {
    let part = |part: wire::Part| match part {
        wire::Part::Query => Part::Query,
        wire::Part::Body => Part::Body,
        wire::Part::Account => Part::Account,
    };
    let place = part(wire.place);
    let at = match (&wire.at, place) {
        (Some(at), Part::Query | Part::Body) => Some(Path::parse(at)?),
        (None, Part::Account) => None,
        _ => return Err("the callback URL needs a place (`at`), or is told per account".to_owned()),
    };
    let value = wire.value.map_or_else(|| quoted(URL), |value| value.get().to_owned());
    let base64 = wire.encoding == wire::Encoding::Base64Json;
    let existing = if base64 { Existing::Join } else { Existing::Replace };
    let url = at.map(|at| Setting { part: place, at, value, base64, existing, with_secret: false });
    let beside = wire.beside.into_iter().map(|setting| {
        Ok(Setting {
            part: setting.place.map_or(if place == Part::Account { Part::Body } else { place }, part),
            at: Path::parse(&setting.at)?,
            value: setting.value.get().to_owned(),
            base64: false,
            existing: setting.existing,
            with_secret: setting.with_secret,
        })
    });
    let beside: Result<Vec<Setting>, String> = beside.collect();
    Ok(Passing { place, settings: url.into_iter().chain(beside?).collect() })
}

/// Seconds as milliseconds.
pub(super) fn millis(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 30 days, as was checked")]
    let millis = (seconds * 1000.0).round() as i64;
    millis
}
