//! Poll configurations: read from a user or a template, merged, stored, and asked what an answer means.

use std::borrow::Cow;

use super::envelope::Envelope;
use super::expand::{Author, NotExpanded, Sources, UrlTemplate};
use super::hosts::{TrustedHost, may_carry_credentials, origin_of_provider};
use super::inject::quoted;
use super::json::Json;
use super::path::{Path, Place, View};
use super::rule::{error_text, is_present, says_something};
use super::template::{Template, millis};
use super::wire::{self, Texts};
use super::wrong::{Fields, Wrong};

const INTERVAL_MS: std::ops::RangeInclusive<i64> = 1000..=3_600_000;
const MAX_DURATION_MS: std::ops::RangeInclusive<i64> = 1000..=30 * 24 * 3_600_000;
/// No status is longer, and one that is goes into the history with each poll.
const WORD_MAX: usize = 200;
/// More values than any provider has words.
const VALUES_MAX: usize = 100;

/// How a job is asked for its state. Only checked ones exist.
#[derive(Clone, Debug)]
pub struct PollConfig {
    wire: wire::StoredPoll,
    url: UrlTemplate,
    better_url: Option<UrlTemplate>,
    /// By the path of the submission.
    urls: Vec<(String, UrlTemplate)>,
    result_url: Option<UrlTemplate>,
    cancel_url: Option<UrlTemplate>,
    status: Place,
    done: Vec<String>,
    fail: Vec<String>,
    done_when_present: Vec<Path>,
    fail_when_present: Vec<Path>,
    unless_present: Vec<Path>,
    error: Vec<Place>,
    result: Path,
    id: Vec<Place>,
    envelope: Option<Envelope>,
    trusted: Vec<TrustedHost>,
}

/// A poll's answer. It may hold anything, so it cannot be shown.
#[derive(Clone, Copy)]
pub struct PollAnswer<'a> {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// What a poll's answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollVerdict {
    /// The job is done.
    Done,
    /// The job is done, but its result comes by callback only: where one is expected, poll once more, and take the
    /// second such answer for `Done`.
    DoneByCallback,
    /// The job failed, with the provider's own words.
    Fail {
        /// The provider's own words, or ours if it has none.
        error: String,
    },
    /// The job goes on.
    Pending,
    /// The provider would not say now (429, 5xx and the like): wait, as long as it wishes (`Retry-After`).
    Busy,
    /// The provider would not say to us (401, 403, 404, 410); three such answers in a row fail the task.
    Refused,
}

/// A request that the poller is to make.
#[derive(Clone, PartialEq, Eq)]
pub struct PollRequest {
    /// GET or POST for a poll; whatever the provider wants for a cancellation.
    pub method: String,
    /// Where; to be judged by the guard like every other URL.
    pub url: String,
    /// A JSON body, for the polls that are a POST.
    pub body: Option<String>,
}

impl PollConfig {
    /// Reads a user's `pollConfig`: alone, or over a template's. All that is wrong is told at once.
    pub fn parse(
        json: Json<'_>,
        template: Option<&Template>,
        params: &[(String, String)],
        target_url: &str,
    ) -> Result<Self, Vec<Wrong>> {
        let mut fields = Fields::new("pollConfig", json)?;
        let given = read(&mut fields);
        let base = template.and_then(Template::poll).map(|poll| poll.of_submission(target_url));
        check_values(&given, base.is_none(), &mut fields);
        fields.finish()?;
        let config = Self::checked(merge(given, template, base.as_ref()))?;
        config.check_params(params)?;
        Ok(config)
    }

    /// A template's own, for a task with these providerParams that is submitted to this URL.
    pub fn for_task(&self, params: &[(String, String)], target_url: &str) -> Result<Self, Vec<Wrong>> {
        let config = self.of_submission(target_url);
        config.check_params(params)?;
        Ok(config)
    }

    /// With the one URL where the provider is asked after a job that was submitted to this one.
    fn of_submission(&self, target_url: &str) -> Self {
        let submitted = url::Url::parse(target_url).ok();
        let path = submitted.as_ref().map(|url| url.path().trim_end_matches('/'));
        let mut config = self.clone();
        if let Some((_, url)) = self.urls.iter().find(|(known, _)| Some(known.as_str()) == path) {
            let usual = config.wire.poll_config.url_template.replace(url.text().to_owned());
            config.url = url.clone();
            if let Some(cancel) =
                config.wire.cancel.as_mut().filter(|cancel| Some(&cancel.url_template) == usual.as_ref())
            {
                url.text().clone_into(&mut cancel.url_template);
                config.cancel_url = Some(url.clone());
            }
        }
        config.urls.clear();
        config.wire.finer.url_templates.clear();
        config
    }

    /// A template's own.
    pub(super) fn of_template(stored: wire::StoredPoll) -> Result<Self, Vec<Wrong>> {
        Self::checked(stored)
    }

    /// What was stored with a task.
    pub fn restore(text: &str) -> Result<Self, String> {
        let stored = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::checked(stored).map_err(|wrong| wrong[0].to_string())
    }

    /// What to store with a task: all that polling needs, whatever later versions' templates say.
    pub fn stored(&self) -> String {
        serde_json::to_string(&self.wire).expect("it came from JSON")
    }

    /// What the API shows: the contract's fields, in their order.
    pub fn shown(&self) -> String {
        serde_json::to_string(&self.wire.poll_config).expect("it came from JSON")
    }

    /// The time between polls, milliseconds.
    pub fn interval_ms(&self) -> i64 {
        millis(self.wire.poll_config.interval.unwrap_or(5.0))
    }

    /// How long polling may last, milliseconds.
    pub fn max_duration_ms(&self) -> i64 {
        millis(self.wire.poll_config.max_duration.unwrap_or(600.0))
    }

    /// Whether the task's credentials go along, to trusted hosts.
    pub fn forward_auth(&self) -> bool {
        self.wire.poll_config.forward_auth.unwrap_or(true)
    }

    /// The hosts that may get credentials beside the target's own origin.
    pub fn trusted(&self) -> &[TrustedHost] {
        &self.trusted
    }

    /// Where the job's id is in the answer to the submission.
    pub fn id_places(&self) -> &[Place] {
        &self.id
    }

    /// The next poll. The job's id is looked up in `sources.start`.
    pub fn poll(&self, sources: &Sources<'_>, target_url: &str) -> Result<PollRequest, NotExpanded> {
        let sources = Sources { id: &self.id, ..*sources };
        let slashes = self.wire.finer.keep_slashes;
        let better = self.better_url.as_ref().and_then(|url| url.expand(&sources, slashes).ok());
        // The provider's own URL knows its region; but only where credentials may follow is it better.
        let better = better.filter(|url| may_carry_credentials(url, target_url, &self.trusted));
        let usual =
            || Ok(self.at_target(self.url.expand(&sources, slashes)?, &self.url, self.wire.user_url, target_url));
        let url = better.map_or_else(usual, Ok)?;
        let body = self.wire.finer.body.as_ref().map(|body| {
            let id = quoted(&sources.job_id().unwrap_or_default());
            body.get().replace("{id}", &id[1..id.len() - 1])
        });
        let method = self.wire.finer.method.clone().unwrap_or_else(|| "GET".to_owned());
        Ok(PollRequest { method, url, body })
    }

    /// A URL that `template` made. A template's names one host of the provider's; a job that was submitted to another, a
    /// region's or a sister company's, is known there alone.
    fn at_target(&self, url: String, template: &UrlTemplate, by_user: bool, target_url: &str) -> String {
        let ours = template.literal_origin().filter(|_| !by_user);
        let path = ours.and_then(|ours| url.strip_prefix(ours.as_str()));
        match (path, origin_of_provider(target_url, &self.trusted)) {
            (Some(path), Some(origin)) => format!("{origin}{path}"),
            _ => url,
        }
    }

    /// The request for the result, where it is not in the poll's answer.
    pub fn result_request(&self, sources: &Sources<'_>, target_url: &str) -> Option<Result<PollRequest, NotExpanded>> {
        let sources = Sources { id: &self.id, ..*sources };
        let template = self.result_url.as_ref()?;
        let url = template.expand(&sources, self.wire.finer.keep_slashes);
        let url = url.map(|url| self.at_target(url, template, self.wire.user_result_url, target_url));
        Some(url.map(|url| PollRequest { method: "GET".to_owned(), url, body: None }))
    }

    /// The request that calls the job off, where the provider has one and the answers say enough.
    pub fn cancel(&self, sources: &Sources<'_>, target_url: &str) -> Option<PollRequest> {
        let sources = Sources { id: &self.id, ..*sources };
        let template = self.cancel_url.as_ref()?;
        let url = template.expand(&sources, self.wire.finer.keep_slashes).ok()?;
        let url = self.at_target(url, template, self.wire.user_url, target_url);
        Some(PollRequest { method: self.wire.cancel.as_ref()?.method.clone(), url, body: None })
    }

    /// The provider's own word for the job's state, or the beginning of what stands there instead.
    pub fn status(&self, answer: &PollAnswer<'_>) -> Option<String> {
        let view = View { body: Json::parse(answer.body), status: Some(answer.status), query: None };
        Some(view.scalar(&self.status)?.chars().take(WORD_MAX).collect())
    }

    /// What an answer says. A fail value is believed whatever the status code is, a done value with 2xx only, unless
    /// the status code is itself what the configuration looks at.
    pub fn judge(&self, answer: &PollAnswer<'_>) -> PollVerdict {
        let view = View { body: Json::parse(answer.body), status: Some(answer.status), query: None };
        let status = view.scalar(&self.status);
        let is = |values: &[String]| status.as_ref().is_some_and(|status| values.contains(status));
        let failed = || PollVerdict::Fail { error: error_text(&view, &self.error, status.as_deref()) };
        let by_code = self.status == Place::HttpStatus;
        // Such an answer may come from before the provider's own application, whatever its body says.
        let trouble = !by_code && (answer.status == 429 || answer.status >= 500);
        if is(&self.fail) && !trouble {
            return failed();
        }
        if self.wire.finer.pending_statuses.contains(&answer.status) && !is(&self.done) {
            return PollVerdict::Pending;
        }
        if !((200..300).contains(&answer.status) || by_code && is(&self.done)) {
            let refused = matches!(answer.status, 401 | 403 | 404 | 410);
            return if refused { PollVerdict::Refused } else { PollVerdict::Busy };
        }
        if !is(&self.done) && !is_present(&view, &self.done_when_present) {
            return self.not_yet(answer.body);
        }
        // Done is not success: fal says COMPLETED and Gemini done:true of a job that failed.
        if says_something(&view, &self.fail_when_present) && !says_something(&view, &self.unless_present) {
            failed()
        } else if self.wire.finer.result_by_callback {
            PollVerdict::DoneByCallback
        } else {
            PollVerdict::Done
        }
    }

    /// The job goes on; or the poll was refused, and answered 200 all the same.
    fn not_yet(&self, body: &[u8]) -> PollVerdict {
        match self.envelope.as_ref().and_then(|envelope| envelope.refusal(body)) {
            None => PollVerdict::Pending,
            Some(refused) if refused.again => PollVerdict::Busy,
            Some(_) => PollVerdict::Refused,
        }
    }

    /// The raw JSON text of the result in the last answer; `null` where there is nothing. None if the body is not JSON.
    pub fn result<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let found = Json::parse(body)?.find(&self.result);
        Some(Cow::Borrowed(found.map_or("null", Json::text)))
    }

    /// What is written out of the URLs, at least the host, each with the name of its field.
    pub fn literal_urls(&self) -> impl Iterator<Item = (&'static str, String)> {
        let urls =
            [("pollConfig.urlTemplate", Some(&self.url)), ("pollConfig.resultUrlTemplate", self.result_url.as_ref())];
        urls.into_iter().filter_map(|(field, url)| Some((field, url?.literal_url()?)))
    }

    /// Whether the whole body is the result, so that one that is not JSON is fine too (a film, a transcript).
    pub fn result_is_whole_body(&self) -> bool {
        self.result.segments().is_empty()
    }

    fn checked(wire: wire::StoredPoll) -> Result<Self, Vec<Wrong>> {
        let config =
            Self::compiled(wire).map_err(|(field, text)| vec![Wrong::of(&format!("pollConfig.{field}"), &text)])?;
        Ok(config.with_finer_values())
    }

    /// The error is the field's name, and a text that completes “`<field>` …”.
    fn compiled(wire: wire::StoredPoll) -> Result<Self, (&'static str, String)> {
        let (poll, finer) = (&wire.poll_config, &wire.finer);
        let url = |name, text: &String, by_user: bool| {
            let author = if by_user { Author::User } else { Author::Project };
            UrlTemplate::parse(text, author).map_err(|error| (name, error))
        };
        let missing = |name| (name, "is required".to_owned());
        let status = poll.status_path.as_deref().ok_or_else(|| missing("statusPath"))?;
        let result = poll.result_path.as_deref().unwrap_or_default();
        let url_text = poll.url_template.as_ref().ok_or_else(|| missing("urlTemplate"))?;
        let result_url = poll.result_url_template.as_ref();
        let result_url = result_url.map(|text| url("resultUrlTemplate", text, wire.user_result_url));
        let better_url = finer.status_url_template.as_ref().map(|text| url("urlTemplate", text, false));
        let by_path = finer.url_templates.iter();
        let by_path = by_path.map(|(path, text)| Ok((path.clone(), url("urlTemplates", text, false)?)));
        let envelope = wire.envelope.as_ref();
        let envelope = envelope.map(|envelope| Envelope::of_wire(envelope).map_err(|error| ("envelope", error)));
        let cancel_url = wire.cancel.as_ref().map(|cancel| url("cancel", &cancel.url_template, false));
        Ok(Self {
            url: url("urlTemplate", url_text, wire.user_url)?,
            better_url: better_url.transpose()?,
            urls: by_path.collect::<Result<_, _>>()?,
            result_url: result_url.transpose()?,
            cancel_url: cancel_url.transpose()?,
            status: Place::parse(status).map_err(|error| ("statusPath", error))?,
            done: poll.done_values.clone().ok_or_else(|| missing("doneValues"))?,
            fail: poll.fail_values.clone().ok_or_else(|| missing("failValues"))?,
            done_when_present: each("doneWhenPresent", finer.done_when_present.all(), Path::parse)?,
            fail_when_present: each("failWhenPresent", finer.fail_when_present.all(), Path::parse)?,
            unless_present: each("unlessPresent", finer.unless_present.all(), Path::parse)?,
            error: each("errorPath", errors(&wire).all(), Place::parse)?,
            result: Path::parse(result).map_err(|error| ("resultPath", error))?,
            id: each("idPath", wire.id_path.all(), Place::parse)?,
            envelope: envelope.transpose()?,
            trusted: each("hosts", &wire.trusted, TrustedHost::parse)?,
            wire,
        })
    }

    /// The template's finer fail values, but none that the configuration calls done.
    fn with_finer_values(mut self) -> Self {
        let finer = self.wire.finer.fail_values.iter().filter(|value| !self.done.contains(value));
        self.fail.extend(finer.cloned());
        self
    }

    fn check_params(&self, params: &[(String, String)]) -> Result<(), Vec<Wrong>> {
        // Calling off is done as well as can be, and asks for nothing.
        let templates = [Some(&self.url), self.result_url.as_ref()];
        let needed = templates.into_iter().flatten().flat_map(UrlTemplate::params);
        let mut missing: Vec<&str> =
            needed.filter(|key| !params.iter().any(|(name, value)| name == key && !value.is_empty())).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() && (!self.url.needs_id() || !self.id.is_empty()) {
            let slashes = self.wire.finer.keep_slashes;
            let mut urls = [Some(&self.url), self.result_url.as_ref()].into_iter().flatten();
            let bad = urls.find_map(|url| url.bad_param(params, slashes));
            let tell = |(key, message)| vec![Wrong { field: format!("providerParams.{key}"), message }];
            return bad.map_or(Ok(()), |bad| Err(tell(bad)));
        }
        if missing.is_empty() {
            let message = "has the placeholder {id}, which only a provider's template can fill in; write \
                           {startResult.body.<path>} instead";
            return Err(vec![Wrong::of("pollConfig.urlTemplate", message)]);
        }
        let tell = |key: &&str| Wrong {
            field: format!("providerParams.{key}"),
            message: format!("providerParams.{key} is required: the URL to poll has the placeholder {{{key}}}"),
        };
        Err(missing.iter().map(tell).collect())
    }
}

/// Every text, checked.
fn each<T>(
    name: &'static str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, (&'static str, String)> {
    texts.iter().map(|text| parse(text).map_err(|error| (name, error))).collect()
}

/// Where the error is: the public path first.
fn errors(wire: &wire::StoredPoll) -> Texts {
    let public = wire.poll_config.error_path.iter();
    Texts::Several(public.chain(wire.finer.error_path.all()).cloned().collect())
}

fn read(fields: &mut Fields<'_>) -> wire::Poll {
    wire::Poll {
        url_template: fields.string("urlTemplate"),
        interval: fields.seconds("interval", INTERVAL_MS),
        status_path: fields.checked("statusPath", |text| match Place::parse(text)? {
            Place::Query(_) => Err("must be a path into the answer, or @http.status".to_owned()),
            _ => Ok(()),
        }),
        done_values: fields.strings("doneValues", VALUES_MAX),
        fail_values: fields.strings("failValues", VALUES_MAX),
        result_path: fields.checked("resultPath", |text| Path::parse(text).map(drop)),
        result_url_template: fields.string("resultUrlTemplate"),
        error_path: fields.checked("errorPath", |text| Path::parse(text).map(drop)),
        forward_auth: fields.boolean("forwardAuth"),
        max_duration: fields.seconds("maxDuration", MAX_DURATION_MS),
    }
}

fn check_values(given: &wire::Poll, alone: bool, fields: &mut Fields<'_>) {
    if given.done_values.as_ref().is_some_and(Vec::is_empty) {
        fields.refuse("doneValues", "must hold at least one value");
    }
    let fail = given.fail_values.as_deref().unwrap_or_default();
    let both = given.done_values.iter().flatten().find(|value| fail.contains(value));
    if let Some(both) = both {
        fields.refuse("failValues", &format!("must not share values with doneValues: {both}"));
    }
    for (url, name) in [(&given.url_template, "urlTemplate"), (&given.result_url_template, "resultUrlTemplate")] {
        if let Some(Err(error)) = url.as_ref().map(|url| UrlTemplate::parse(url, Author::User)) {
            fields.refuse(name, &error);
        }
    }
    let needed = [
        (given.url_template.is_some(), "urlTemplate"),
        (given.status_path.is_some(), "statusPath"),
        (given.done_values.is_some(), "doneValues"),
        (given.fail_values.is_some(), "failValues"),
    ];
    for (there, name) in needed {
        if alone && !there && !fields.is_wrong(name) {
            fields.refuse(name, "is required");
        }
    }
}

fn merge(given: wire::Poll, template: Option<&Template>, base: Option<&PollConfig>) -> wire::StoredPoll {
    let mut trusted: Vec<String> = template.map(Template::trusted_texts).unwrap_or_default();
    for url in [&given.url_template, &given.result_url_template].into_iter().flatten() {
        let origin = UrlTemplate::parse(url, Author::User).ok().and_then(|url| url.literal_origin());
        trusted.extend(origin.filter(|origin| TrustedHost::parse(origin).is_ok()));
    }
    let given_url = given.url_template.clone();
    let own_rule = given.status_path.is_some() || given.done_values.is_some() || given.fail_values.is_some();
    let mut finer = base.map(|base| base.wire.finer.clone()).unwrap_or_default();
    if own_rule {
        // The user's words replace ours whole, not half.
        finer = wire::Finer { fail_values: Vec::new(), done_when_present: Texts::default(), ..finer };
    }
    if given.url_template.is_some() {
        finer.status_url_template = None;
    }
    let under = base.map(|base| base.wire.poll_config.clone()).unwrap_or_default();
    wire::StoredPoll {
        user_url: given.url_template.is_some(),
        user_result_url: given.result_url_template.is_some(),
        poll_config: over(given, under),
        finer,
        id_path: template.map(|template| Texts::of(&template.id_path)).unwrap_or_default(),
        trusted,
        cancel: base.and_then(|base| base.cancel_where(given_url.as_deref())),
        envelope: base.and_then(|base| base.wire.envelope.clone()),
    }
}

impl PollConfig {
    /// How a job is called off that is polled at the user's own URL: at the user's host, where the template's would have
    /// been the template's (another region, a proxy).
    fn cancel_where(&self, given_url: Option<&str>) -> Option<wire::Cancel> {
        let cancel = self.wire.cancel.clone()?;
        let given = given_url.and_then(|url| UrlTemplate::parse(url, Author::User).ok()?.literal_origin());
        let ours = [Some(&self.url), self.cancel_url.as_ref()].map(|url| url.and_then(UrlTemplate::literal_origin));
        match (given, ours) {
            (Some(given), [Some(polled), Some(called_off)]) if polled == called_off => {
                let path = &cancel.url_template[called_off.len()..];
                Some(wire::Cancel { url_template: format!("{given}{path}"), method: cancel.method })
            }
            _ => Some(cancel),
        }
    }
}

/// The given fields, else the template's, else the defaults.
fn over(given: wire::Poll, under: wire::Poll) -> wire::Poll {
    wire::Poll {
        url_template: given.url_template.or(under.url_template),
        interval: given.interval.or(under.interval).or(Some(5.0)),
        status_path: given.status_path.or(under.status_path),
        done_values: given.done_values.or(under.done_values),
        fail_values: given.fail_values.or(under.fail_values),
        result_path: given.result_path.or(under.result_path).or(Some(String::new())),
        result_url_template: given.result_url_template.or(under.result_url_template),
        error_path: given.error_path.or(under.error_path),
        forward_auth: given.forward_auth.or(under.forward_auth).or(Some(true)),
        max_duration: given.max_duration.or(under.max_duration).or(Some(600.0)),
    }
}
