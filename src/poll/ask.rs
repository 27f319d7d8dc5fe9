//! One poll: which URL, with which credentials, and what the answer means.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio_util::sync::CancellationToken;

use super::Poller;
use crate::follow;
use crate::guard::Target;
use crate::outbound::{self, Answer, CallError, retry_after, secret_header, status_text};
use crate::providers::{self, Json, PollAnswer, PollConfig, PollRequest, Sources, may_carry_credentials};
use crate::store::{ClaimedPoll, TaskRecord};
use crate::task::{Payload, PollVerdict, TaskId, Then, mark, placeholder};
use crate::vault::{Denied, Mask};

/// The time one poll may take, with its redirects.
const TIMEOUT: Duration = Duration::from_secs(30);

/// So much of an answer is told when it fails a task.
const SHOWN_MAX: usize = 500;

/// What a poll found out.
pub(super) struct Found {
    pub verdict: PollVerdict,
    pub status_code: Option<u16>,
    /// The provider's own word for the job's state.
    pub word: Option<String>,
    pub payload: Option<Payload>,
}

impl Found {
    fn nothing(verdict: PollVerdict) -> Self {
        Self { verdict, status_code: None, word: None, payload: None }
    }
}

/// Why a call brought no answer.
enum Unanswered {
    /// It was given up, and is to be made again.
    Stopped,
    /// This is what it means.
    Means(PollVerdict),
}

impl Poller {
    /// Makes a poll, and fetches the result if the job is done. None if it was given up.
    pub(super) async fn ask(&self, claim: &ClaimedPoll, give_up: &CancellationToken) -> Option<Found> {
        let Some(config) = follow::poll(&claim.record.request.follow) else {
            let error = "The stored poll configuration cannot be read".to_owned();
            return Some(Found::nothing(PollVerdict::Impossible { error }));
        };
        let sources = sources(claim);
        let request = match config.poll(&sources, &claim.record.request.target_url) {
            Ok(request) => request,
            Err(error) => return Some(Found::nothing(PollVerdict::Impossible { error: error.to_string() })),
        };
        let (answer, mask) = match self.call(&claim.record, &config, request, give_up).await {
            Ok(answered) => answered,
            Err(Unanswered::Stopped) => return None,
            Err(Unanswered::Means(verdict)) => return Some(Found::nothing(verdict)),
        };
        let found = self.judge(claim, &config, &answer, &mask);
        if found.verdict != PollVerdict::Done {
            let payload = found.verdict.error().map(|_| payload_of(&answer));
            return Some(Found { payload, ..found });
        }
        let poll = Json::parse(&answer.body);
        match config.result_request(&Sources { poll, ..sources }, &claim.record.request.target_url) {
            None => Some(Found { payload: Some(result_of(&config, &answer)), ..found }),
            Some(Ok(request)) => self.fetch(claim, &config, request, found, give_up).await,
            // Done, but the answer names no result: a batch of which nothing succeeded. What it says is the result.
            Some(Err(_)) => Some(Found { payload: Some(payload_of(&answer)), ..found }),
        }
    }

    /// Fetches the result of a job that is done. What goes wrong here may go right later.
    async fn fetch(
        &self,
        claim: &ClaimedPoll,
        config: &PollConfig,
        request: PollRequest,
        found: Found,
        give_up: &CancellationToken,
    ) -> Option<Found> {
        match self.call(&claim.record, config, request, give_up).await {
            Ok((answer, _)) if (200..300).contains(&answer.status) => {
                Some(Found { payload: Some(result_of(config, &answer)), ..found })
            }
            Ok((answer, mask)) => {
                let error = format!("The result could not be fetched: HTTP {}", status_text(answer.status));
                let (said, retry_after_ms) = (said(&answer, &mask), retry_after(&answer, self.clock.now()));
                Some(Found { verdict: PollVerdict::Later { error, said, retry_after_ms }, ..found })
            }
            Err(Unanswered::Stopped) => None,
            Err(Unanswered::Means(PollVerdict::Later { error, said, retry_after_ms })) => {
                let error = format!("The result could not be fetched: {error}");
                Some(Found { verdict: PollVerdict::Later { error, said, retry_after_ms }, ..found })
            }
            // The job is done and paid for: a redirect that leads nowhere today may lead to it tomorrow.
            Err(Unanswered::Means(PollVerdict::Refused { error })) => {
                let error = format!("The result could not be fetched: {error}");
                Some(Found { verdict: PollVerdict::Later { error, said: None, retry_after_ms: None }, ..found })
            }
            Err(Unanswered::Means(verdict)) => Some(Found { verdict, ..found }),
        }
    }

    fn judge(&self, claim: &ClaimedPoll, config: &PollConfig, answer: &Answer, mask: &Mask) -> Found {
        let heard = PollAnswer { status: answer.status, body: &answer.body };
        let word = config.status(&heard).map(|word| mask.text(word));
        let verdict = match config.judge(&heard) {
            providers::PollVerdict::Done => PollVerdict::Done,
            providers::PollVerdict::Fail { error } => PollVerdict::Failed { error: mask.text(error) },
            providers::PollVerdict::Pending => PollVerdict::Pending,
            providers::PollVerdict::Refused => {
                PollVerdict::Refused { error: format!("Poll refused: HTTP {}", told(answer, mask)) }
            }
            providers::PollVerdict::Busy => PollVerdict::Later {
                error: format!("Poll answered with HTTP {}", status_text(answer.status)),
                said: said(answer, mask),
                retry_after_ms: retry_after(answer, self.clock.now()),
            },
            providers::PollVerdict::DoneByCallback => {
                let task = &claim.record.task;
                let expected = matches!(task.policy.then, Then::Poll(policy) if policy.eases);
                let heard_before = task.polling.mark == mark(Some(answer.status), word.as_deref(), None);
                if expected && !heard_before { PollVerdict::Pending } else { PollVerdict::Done }
            }
        };
        Found { verdict, status_code: Some(answer.status), word, payload: None }
    }

    /// Makes one call for a task, with its credentials where they may go. The mask is for what is read out of the answer:
    /// JSON may spell a secret in ways that only reading it brings to light.
    async fn call(
        &self,
        record: &TaskRecord,
        config: &PollConfig,
        request: PollRequest,
        give_up: &CancellationToken,
    ) -> Result<(Answer, Mask), Unanswered> {
        let impossible = |error: String| Unanswered::Means(PollVerdict::Impossible { error });
        let target = self.guard.check_url(&request.url);
        let target = target.map_err(|refused| impossible(format!("The URL to poll was refused: {refused}")))?;
        let (mut headers, mask) = self.credentials(record, config, &target).await.map_err(Unanswered::Means)?;
        if request.body.is_some() {
            headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        let method = Method::from_bytes(request.method.as_bytes());
        let call = outbound::Request {
            method: method.map_err(|_| impossible(format!("{} is no method", request.method)))?,
            target,
            headers,
            body: request.body.map(Bytes::from),
            timeout: TIMEOUT,
            own: Vec::new(),
            signer: None,
        };
        match self.client.fetch_until(record.task.team.0, call, give_up).await {
            Ok(answer) => Ok((masked(answer, &mask), mask)),
            Err(CallError::Stopped { .. }) => Err(Unanswered::Stopped),
            Err(error @ (CallError::Refused(_) | CallError::Forbidden(_))) => {
                Err(impossible(format!("The URL to poll was refused: {error}")))
            }
            // The provider sends us round or away; that may pass, but not for ever.
            Err(error @ CallError::ForbiddenRedirect(_)) => {
                Err(Unanswered::Means(PollVerdict::Refused { error: format!("Poll refused: {error}") }))
            }
            Err(error) => {
                let error = format!("Poll failed: {error}");
                Err(Unanswered::Means(PollVerdict::Later { error, said: None, retry_after_ms: None }))
            }
        }
    }

    /// The task's own headers, for hosts that the user or the template named; nothing for hosts that only an answer named.
    async fn credentials(
        &self,
        record: &TaskRecord,
        config: &PollConfig,
        target: &Target,
    ) -> Result<(Vec<(HeaderName, HeaderValue)>, Mask), PollVerdict> {
        let request = &record.request;
        let trusted = may_carry_credentials(target.url().as_str(), &request.target_url, config.trusted());
        if !config.forward_auth() || !trusted {
            return Ok((Vec::new(), Mask::default()));
        }
        let goes = |(name, value): &&(String, String)| {
            let describes_body = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"));
            !describes_body && !value.contains(placeholder::CALLBACK_URL)
        };
        let headers: Vec<_> = request.headers.iter().filter(goes).cloned().collect();
        let filled = self.vault.fill(record.task.team, &headers, target).await.map_err(|denied| match denied {
            Denied::Store(_) => {
                PollVerdict::Later { error: "The vault could not be read".to_owned(), said: None, retry_after_ms: None }
            }
            denied => PollVerdict::Impossible { error: denied.to_string() },
        })?;
        let headers = filled.headers.into_iter().map(|(name, value)| secret_header(&name, value));
        let headers = headers.collect::<Result<_, _>>();
        Ok((headers.map_err(|error| PollVerdict::Impossible { error: error.to_string() })?, filled.mask))
    }

    /// Calls the provider's cancel endpoint, if it has one; answers its status code.
    pub(super) async fn ask_to_cancel(&self, id: TaskId, give_up: &CancellationToken) -> Result<Option<u16>, String> {
        let record = self.store.read(id).await.map_err(|error| error.to_string())?;
        let answer = self.store.answer(id).await.map_err(|error| error.to_string())?;
        let Some(config) = follow::poll(&record.request.follow) else { return Ok(None) };
        let start = answer.as_ref().and_then(|answer| Json::parse(&answer.body));
        let sources = Sources { start, params: &record.request.follow.provider_params, ..Sources::default() };
        let Some(request) = config.cancel(&sources, &record.request.target_url) else { return Ok(None) };
        match self.call(&record, &config, request, give_up).await {
            Ok((answer, _)) => Ok(Some(answer.status)),
            Err(Unanswered::Stopped) => Ok(None),
            Err(Unanswered::Means(verdict)) => Err(verdict.error().unwrap_or_default().to_owned()),
        }
    }
}

/// The answer without what it repeats of secrets, so that no part of one is left where its text is cut.
fn masked(answer: Answer, mask: &Mask) -> Answer {
    let Payload { headers, body, .. } = mask.payload(payload_of(&answer));
    Answer { headers, body, ..answer }
}

fn sources(claim: &ClaimedPoll) -> Sources<'_> {
    Sources {
        start: claim.answer.as_ref().and_then(|answer| Json::parse(&answer.body)),
        params: &claim.record.request.follow.provider_params,
        ..Sources::default()
    }
}

fn payload_of(answer: &Answer) -> Payload {
    Payload {
        status_code: answer.status,
        headers: answer.headers.clone(),
        body: answer.body.clone(),
        duration_ms: i64::try_from(answer.elapsed.as_millis()).unwrap_or(i64::MAX),
    }
}

/// The answer with the value at the result's path as its body.
fn result_of(config: &PollConfig, answer: &Answer) -> Payload {
    let body = match config.result(&answer.body) {
        Some(raw) => Bytes::copy_from_slice(raw.as_bytes()),
        // A film or a transcript is its own result.
        None if config.result_is_whole_body() => answer.body.clone(),
        None => Bytes::from_static(b"null"),
    };
    Payload { body, ..payload_of(answer) }
}

/// The status with the beginning of what was said, and no secret in it.
fn told(answer: &Answer, mask: &Mask) -> String {
    let status = status_text(answer.status);
    said(answer, mask).map_or_else(|| status.clone(), |text| format!("{status}: {text}"))
}

/// The beginning of what was said, and no secret in it.
fn said(answer: &Answer, mask: &Mask) -> Option<String> {
    let text = mask.text(String::from_utf8_lossy(&answer.body).into_owned());
    let text: String = text.chars().take(SHOWN_MAX).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
