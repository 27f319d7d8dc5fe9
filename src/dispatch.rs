//! Calls the targets of due tasks: takes on what is due as far as there is room, makes the calls side by side, and hands
//! what came of each to the store.

mod desk;
mod grip;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use desk::Desk;
pub use grip::Grip;

use crate::clock::Clock;
use crate::credentials::{Keyring, Kind};
use crate::follow;
use crate::guard::Guard;
use crate::outbound::{self, Attempt, CallError, Client, Signer, classify, secret_header};
use crate::stats::{Call, Statistics};
use crate::store::{Claimed, Store, StoreError};
use crate::task::{self, Event, Method, Payload, Request, Status, Task, Timestamp, placeholder};
use crate::teams::{Teams, Unsigned};
use crate::telemetry::metrics::{AttemptOutcome, Metrics};
use crate::vault::{Denied, Mask, Vault};

/// How long a claim holds; an embedded store's claims are void at its next start, whatever this says.
const LEASE: Duration = Duration::from_secs(15);

/// How often the store is asked even if nobody said that there is work.
const FALLBACK: Duration = Duration::from_secs(5);

/// How long to wait before the store is asked again after it failed.
const PAUSE: Duration = Duration::from_millis(500);

/// What becomes of a call that cannot be prepared because the store is away: it is given back, and counts for nothing.
const NOT_MADE: CallError = CallError::Stopped { sent: false };

const TASK_ID: HeaderName = HeaderName::from_static("x-asyncqueue-task-id");
const ATTEMPT: HeaderName = HeaderName::from_static("x-asyncqueue-attempt");
const DEPTH: HeaderName = HeaderName::from_static("x-asyncqueue-depth");

/// What the dispatcher works with.
pub struct Dispatcher {
    /// Where tasks come from and go back to.
    pub store: Arc<dyn Store>,
    /// Makes the calls.
    pub client: Client,
    /// Judges each target once more, before each call.
    pub guard: Arc<Guard>,
    /// Derives callback ids.
    pub keyring: Keyring,
    /// Knows what a team signs with.
    pub teams: Arc<Teams>,
    /// Opens references to secrets.
    pub vault: Arc<Vault>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Metrics,
    /// Counts for the dashboard, by team, host and provider.
    pub stats: Arc<Statistics>,
    /// Is notified when a task may have become due.
    pub wake: Arc<Notify>,
    /// Callback URLs are this and the id.
    pub callback_base: String,
    /// Calls in flight at once.
    pub max_in_flight: usize,
    /// Calls in flight to one host at once.
    pub max_per_host: usize,
    /// Holds the calls that this node may make.
    pub grip: Arc<Grip>,
}

impl Dispatcher {
    /// Works until `stop`; then takes on no more and waits for the calls under way. Where the grip on them is lost, calls
    /// that were not sent yet are given back uncounted.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (desk, mut handed) = Desk::new(self.max_in_flight, self.max_per_host, self.grip.clone());
        let calls = TaskTracker::new();
        let start = |(claims, grip): (Vec<Claimed>, CancellationToken)| {
            for claim in claims {
                self.start(claim, &desk, &calls, grip.clone());
            }
        };
        while !stop.is_cancelled() {
            let mut woken = pin!(self.wake.notified());
            let mut look = pin!(self.look(&desk));
            // What other commits hand in meanwhile does not wait for a store that takes its time.
            let pause = loop {
                tokio::select! {
                    Some(claims) = handed.recv() => start(claims),
                    pause = &mut look => break pause,
                }
            };
            let mut rest = pin!(tokio::time::sleep(pause));
            loop {
                tokio::select! {
                    Some(claims) = handed.recv() => start(claims),
                    () = &mut woken => break,
                    () = &mut rest => break,
                    () = stop.cancelled() => break,
                }
            }
        }
        desk.close();
        // Behind this no commit can have anything more for us.
        while let Err(StoreError::Overloaded) = self.store.hand_out(desk.clone(), LEASE, self.clock.now()).await {
            tokio::time::sleep(PAUSE).await;
        }
        while let Ok(claims) = handed.try_recv() {
            start(claims);
        }
        calls.close();
        calls.wait().await;
    }

    /// Has the store hand out what is due; answers how long to rest if nobody says that there is more.
    async fn look(&self, desk: &Arc<Desk>) -> Duration {
        match self.store.hand_out(desk.clone(), LEASE, self.clock.now()).await {
            Ok(()) => FALLBACK,
            Err(error) => {
                warn!(%error, "Due tasks could not be claimed; trying again");
                PAUSE
            }
        }
    }

    fn start(self: &Arc<Self>, claim: Claimed, desk: &Arc<Desk>, calls: &TaskTracker, give_up: CancellationToken) {
        let (dispatcher, desk) = (self.clone(), desk.clone());
        // Boxed: a call's state is some kilobytes, which spawning would move from place to place.
        calls.spawn(Box::pin(async move {
            dispatcher.perform(&claim, &give_up).await;
            if desk.leave(claim.task.team, claim.host) {
                dispatcher.wake.notify_one();
            }
        }));
    }

    async fn perform(&self, claim: &Claimed, give_up: &CancellationToken) {
        let _open = self.metrics.call_started();
        let started = tokio::time::Instant::now();
        let callback = self.callback(claim);
        let mut mask = Mask::default();
        let outcome = match self.prepare(claim, callback.as_deref(), &mut mask).await {
            Ok(request) => self.client.call_until(claim.task.team.0, request, give_up).await,
            Err(error) => {
                if let CallError::Stopped { .. } = error {
                    // What cannot be read now is no better at once.
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error)
            }
        };
        let took = started.elapsed();
        let now = self.clock.now();
        let attempt = Attempt { retry_on: &claim.request.retry_on, timeout_ms: claim.request.timeout_ms, now };
        let number = claim.task.attempt;
        // A call that a stop cut off says as little of the target as one that a kill cut off.
        let cut_off = matches!(outcome, Err(CallError::Stopped { sent: true }));
        let (event, payload) = match classify(outcome, attempt) {
            _ if cut_off => (Event::Interrupted { attempt: number }, None),
            None => (Event::Returned { attempt: number, started_at: claim.task.started_at }, None),
            Some((answer, payload)) => {
                let payload = payload.map(|payload| hidden(mask.payload(payload), callback.as_deref()));
                let answer = match &payload {
                    Some(payload) => masked(follow::understood(&claim.request.follow, answer, payload), &mask),
                    None => answer,
                };
                let duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
                (Event::Answered { attempt: number, answer, duration_ms }, payload)
            }
        };
        self.tell_statistics(claim, &event, took);
        self.record(claim, event, payload, took, now).await;
    }

    fn tell_statistics(&self, claim: &Claimed, event: &Event, took: Duration) {
        let Event::Answered { answer, .. } = event else { return };
        self.stats.called(Call {
            team: claim.task.team,
            url: &claim.request.target_url,
            provider: claim.request.follow.provider.as_deref(),
            failed: !matches!(answer, task::Answer::Accepted { .. }),
            took,
        });
    }

    /// Hands the outcome to the store, and does not give up while the store is away: the call was made.
    async fn record(&self, claim: &Claimed, event: Event, payload: Option<Payload>, took: Duration, now: Timestamp) {
        loop {
            match self.store.transition(claim.task.id, event.clone(), payload.clone(), now).await {
                Ok(task) => {
                    self.metrics.attempt_ended(outcome_of(&event, &task), took);
                    return debug!(task.id = %task.id, attempt = claim.task.attempt, status = task.status().name(), "A call ended");
                }
                Err(StoreError::Refused(_) | StoreError::NotFound) => {
                    self.metrics.attempt_ended(AttemptOutcome::Overtaken, took);
                    return debug!(task.id = %claim.task.id, "A call's answer came too late to matter");
                }
                Err(error) => {
                    self.metrics.store_failed();
                    warn!(task.id = %claim.task.id, %error, "A call's answer could not be stored; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The task's callback URL, if one was given out.
    fn callback(&self, claim: &Claimed) -> Option<String> {
        if !claim.task.policy.callback {
            return None;
        }
        let class = follow::class(&claim.request.follow);
        let id = self.keyring.derive_classed(Kind::Callback, claim.task.id, class, claim.key_number)?;
        Some([self.callback_base.as_str(), &id].concat())
    }

    /// Where to call and what to send, with the callback URL wherever it belongs.
    async fn address(
        &self,
        claim: &Claimed,
        callback: Option<&str>,
        mask: &mut Mask,
    ) -> Result<(String, Option<String>), CallError> {
        let request = &claim.request;
        let Some(callback) = callback else {
            return Ok((request.target_url.clone(), body(request).map(str::to_owned)));
        };
        let url = placeholder::fill_url(&request.target_url, callback);
        let body = body(request).map(|body| placeholder::fill(body, callback));
        let template = follow::template(&request.follow).filter(|_| request.follow.use_callback);
        let Some(template) = template else { return Ok((url, body)) };
        let secret = match follow::told_secret(&request.follow) {
            Some(id) => {
                let target = self.guard.check_url(&url).map_err(CallError::Refused)?;
                self.vault.tell(claim.task.team, id, &target, mask).await.map_err(denied)?
            }
            None => None,
        };
        let outgoing = follow::outgoing(request, &url, body.as_deref());
        let secret = secret.as_ref().map(|secret| secret.as_str());
        let passed =
            template.pass(outgoing, callback, secret).map_err(|error| CallError::Forbidden(error.to_string()))?;
        Ok((passed.url, passed.body))
    }

    async fn prepare(
        &self,
        claim: &Claimed,
        callback: Option<&str>,
        mask: &mut Mask,
    ) -> Result<outbound::Request, CallError> {
        let request = &claim.request;
        let (url, body) = self.address(claim, callback, mask).await?;
        let target = self.guard.check_url(&url).map_err(CallError::Refused)?;
        let now = self.clock.now();
        let secrets = self.teams.secrets(claim.task.team, now).await;
        let secrets = secrets.map_err(unsigned)?;
        let opened = self.vault.fill(claim.task.team, &request.headers, &target).await.map_err(denied)?;
        mask.extend(opened.mask);
        let headers = opened.headers.into_iter().map(|(name, value)| match callback {
            Some(url) if value.contains(placeholder::CALLBACK_URL) => {
                secret_header(&name, Zeroizing::new(placeholder::fill(&value, url)))
            }
            _ => secret_header(&name, value),
        });
        Ok(outbound::Request {
            method: method(request.method),
            target,
            headers: headers.collect::<Result<_, _>>()?,
            body: body.map(Bytes::from),
            timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default()),
            own: own_headers(&claim.task, request.depth),
            signer: Some(Signer { secrets, at: now, standard_webhooks_id: None }),
        })
    }
}

/// An answer that echoes the callback URL is kept with the placeholder: the database alone gives no callback id away.
fn hidden(payload: Payload, callback: Option<&str>) -> Payload {
    match callback {
        Some(url) => placeholder::hide(payload, url),
        None => payload,
    }
}

/// A provider's own words, without what they repeat of a secret.
fn masked(answer: task::Answer, mask: &Mask) -> task::Answer {
    match answer {
        task::Answer::Rejected { status, error } => task::Answer::Rejected { status, error: mask.text(error) },
        task::Answer::Retryable { status, error, retry_after_ms } => {
            task::Answer::Retryable { status, error: mask.text(error), retry_after_ms }
        }
        other => other,
    }
}

fn own_headers(task: &Task, depth: u32) -> Vec<(HeaderName, HeaderValue)> {
    let id = HeaderValue::try_from(task.id.to_string()).expect("an id is visible ASCII");
    vec![
        (TASK_ID, id),
        (ATTEMPT, HeaderValue::from(task.attempt)),
        // What this call creates, if its target is a service such as this one, lies one deeper.
        (DEPTH, HeaderValue::from(depth + 1)),
    ]
}

fn unsigned(error: Unsigned) -> CallError {
    warn!(%error, "The webhook secret of a team could not be read");
    match error {
        Unsigned::Store(_) => NOT_MADE,
        Unsigned::Sealed => CallError::NotSent("the request could not be signed".to_owned()),
    }
}

fn denied(denied: Denied) -> CallError {
    match denied {
        Denied::Store(error) => {
            warn!(%error, "The vault could not be read");
            NOT_MADE
        }
        denied => CallError::Forbidden(denied.to_string()),
    }
}

fn body(request: &Request) -> Option<&str> {
    request.body.as_deref().filter(|_| request.method != Method::Get)
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
    }
}

fn outcome_of(event: &Event, task: &Task) -> AttemptOutcome {
    use crate::task::Answer;
    let Event::Answered { answer, .. } = event else {
        return AttemptOutcome::Returned;
    };
    match (answer, task.status()) {
        (Answer::Accepted { .. }, Status::Waiting | Status::Polling) => AttemptOutcome::Accepted,
        (Answer::Forbidden { .. }, _) => AttemptOutcome::Refused,
        (_, Status::Delayed | Status::Pending) => AttemptOutcome::Retried,
        (_, Status::Completed) => AttemptOutcome::Completed,
        (Answer::Rejected { .. }, _) => AttemptOutcome::Rejected,
        (Answer::Unknown { .. } | Answer::NotSent { .. }, _) if is_timeout(answer) => AttemptOutcome::Timeout,
        _ => AttemptOutcome::Failed,
    }
}

fn is_timeout(answer: &crate::task::Answer) -> bool {
    answer.error().is_some_and(|error| error.starts_with("Timeout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_the_store_keeps_from_being_made_is_no_attempt() {
        let attempt = Attempt { retry_on: &[], timeout_ms: 1000, now: Timestamp(0) };
        let away = || StoreError::Unavailable("away".to_owned());
        assert_eq!(classify(Err(denied(Denied::Store(away()))), attempt), None);
        assert_eq!(classify(Err(unsigned(Unsigned::Store(away()))), attempt), None);
        assert!(classify(Err(unsigned(Unsigned::Sealed)), attempt).is_some(), "nor would it be made later");
        assert!(classify(Err(denied(Denied::NotFound("tok_x".to_owned()))), attempt).is_some());
    }
}
