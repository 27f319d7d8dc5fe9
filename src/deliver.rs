//! Delivers completion webhooks from the outbox: each is tried until its receiver answers 2xx or the schedule is over.

mod desk;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use desk::Desk;

use crate::clock::Clock;
use crate::guard::Guard;
use crate::outbound::{self, CallError, Client, Signer};
use crate::stats::{Call, Statistics};
use crate::store::{ClaimedDelivery, Store, StoreError, TaskRecord};
use crate::task::{Delivery, DeliveryOutcome, DeliveryStatus, Status, TaskId};
use crate::teams::{Teams, Unsigned};
use crate::telemetry::metrics::{self, Metrics};
use crate::wire::{Headers, Iso, ResultView};

/// The time one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest sleep: also a wake-up that got lost, or a clock that was set, is noticed after this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long to wait before the store is asked again after it failed.
const PAUSE: Duration = Duration::from_millis(500);

/// More than most completion webhooks take beside the result's body.
const MESSAGE_BYTES: usize = 512;

/// What the deliverer works with.
pub struct Deliverer {
    /// Holds the outbox.
    pub store: Arc<dyn Store>,
    /// Makes the calls.
    pub client: Client,
    /// Judges each URL once more, before each call.
    pub guard: Arc<Guard>,
    /// Knows what a team signs with.
    pub teams: Arc<Teams>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Metrics,
    /// Counts for the dashboard, by team and receiver.
    pub stats: Arc<Statistics>,
    /// Is notified when a webhook may have become due.
    pub wake: Arc<Notify>,
    /// Webhooks under way at once.
    pub max_in_flight: usize,
}

impl Deliverer {
    /// Works until `stop`; then takes on no more and waits for the attempts under way. `give_up` ends the wait.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, give_up: CancellationToken) {
        let (desk, mut handed) = Desk::new(self.max_in_flight);
        let calls = TaskTracker::new();
        let start = |claims: Vec<ClaimedDelivery>| {
            for claim in claims {
                self.start(claim, &desk, &calls, &give_up);
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
        // What is handed in from here on stays in the outbox; the next start delivers it.
        desk.close();
        calls.close();
        calls.wait().await;
    }

    /// Has the store hand out what is due; answers how long to rest if nobody says that there is more.
    async fn look(&self, desk: &Arc<Desk>) -> Duration {
        let now = self.clock.now();
        let next = match self.store.hand_out_deliveries(desk.clone(), now).await {
            Ok(()) => self.store.next_delivery().await,
            Err(error) => Err(error),
        };
        match next {
            // One that is due already waits for room, and is looked for when a place is free.
            Ok(Some(at)) if at > now => at.after(now).min(LONGEST_SLEEP),
            Ok(_) => LONGEST_SLEEP,
            Err(error) => {
                warn!(%error, "Completion webhooks could not be claimed; trying again");
                PAUSE
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        claim: ClaimedDelivery,
        desk: &Arc<Desk>,
        calls: &TaskTracker,
        give_up: &CancellationToken,
    ) {
        let (deliverer, desk, give_up) = (self.clone(), desk.clone(), give_up.clone());
        // Boxed: a call's state is some kilobytes, which spawning would move from place to place.
        calls.spawn(Box::pin(async move {
            deliverer.perform(&claim, &give_up).await;
            if desk.leave() {
                deliverer.wake.notify_one();
            }
        }));
    }

    async fn perform(&self, claim: &ClaimedDelivery, give_up: &CancellationToken) {
        let task = &claim.record.task;
        let started = tokio::time::Instant::now();
        let outcome = match self.prepare(claim).await {
            Ok(request) => self.client.tell(task.team.0, request, give_up).await,
            Err(CallError::Stopped { .. }) => return self.give_back(task.id).await,
            Err(error) => Err(error),
        };
        if let Err(CallError::Stopped { .. }) = outcome {
            // It stays in the outbox; the next start delivers it.
            return;
        }
        let outcome = judge(outcome);
        self.stats.told(Call {
            team: task.team,
            url: claim.record.request.on_complete_url.as_deref().unwrap_or_default(),
            provider: None,
            failed: outcome.error.is_some(),
            took: started.elapsed(),
        });
        loop {
            match self.store.finish_delivery(task.id, claim.delivery, outcome.clone(), self.clock.now()).await {
                Ok(delivery) => {
                    self.metrics.webhook_attempted(label(&delivery, &outcome));
                    return debug!(task.id = %task.id, attempt = delivery.attempts, "A completion webhook was tried");
                }
                Err(StoreError::NotFound) => return,
                Err(error) => {
                    self.metrics.store_failed();
                    warn!(task.id = %task.id, %error, "A webhook's outcome could not be stored; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Gives a webhook back that could not be signed because the store is away: that was no attempt.
    async fn give_back(&self, id: TaskId) {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.store.return_delivery(id).await {
                Ok(()) | Err(StoreError::NotFound) => return,
                Err(error) => {
                    self.metrics.store_failed();
                    warn!(task.id = %id, %error, "A webhook could not be given back; trying again");
                }
            }
        }
    }

    async fn prepare(&self, claim: &ClaimedDelivery) -> Result<outbound::Request, CallError> {
        let record = &claim.record;
        let url = record.request.on_complete_url.as_deref().unwrap_or_default();
        let target = self.guard.check_url(url).map_err(CallError::Refused)?;
        let now = self.clock.now();
        let secrets = self.teams.secrets(record.task.team, now).await.map_err(unsigned)?;
        let content_type = HeaderValue::from_static("application/json");
        Ok(outbound::Request {
            method: Method::POST,
            target,
            headers: Vec::new(),
            body: Some(Bytes::from(message(record))),
            timeout: TIMEOUT,
            own: vec![(CONTENT_TYPE, content_type)],
            // The same id on every attempt, so that a receiver can tell a repetition.
            signer: Some(Signer { secrets, at: now, standard_webhooks_id: Some(format!("msg_{}", record.task.id)) }),
        })
    }
}

/// The completion webhook's body.
#[derive(Serialize)]
struct Message<'a> {
    event: &'static str,
    task: MessageTask<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageTask<'a> {
    id: String,
    status: &'static str,
    result: Option<ResultView<'a>>,
    error: Option<&'a str>,
    retry_count: u32,
    created_at: Iso,
    completed_at: Option<Iso>,
    metadata: Headers<'a>,
}

fn message(record: &TaskRecord) -> Vec<u8> {
    let task = &record.task;
    let message = Message {
        event: match task.status() {
            Status::Completed => "task.completed",
            Status::Timeout => "task.timeout",
            _ => "task.failed",
        },
        task: MessageTask {
            id: task.id.to_string(),
            status: task.status().name(),
            result: record.result.as_ref().map(ResultView),
            error: task.error.as_deref(),
            retry_count: task.retry_count,
            created_at: Iso(task.created_at),
            completed_at: task.completed_at().map(Iso),
            metadata: Headers(&record.request.metadata),
        },
    };
    let mut body = Vec::with_capacity(MESSAGE_BYTES + record.result.as_ref().map_or(0, |result| result.body.len()));
    serde_json::to_writer(&mut body, &message).expect("plain data is always JSON");
    body
}

fn unsigned(error: Unsigned) -> CallError {
    warn!(%error, "The webhook secret of a team could not be read");
    match error {
        Unsigned::Store(_) => CallError::Stopped { sent: false },
        Unsigned::Sealed => CallError::NotSent("the webhook could not be signed".to_owned()),
    }
}

fn judge(outcome: Result<outbound::Answer, CallError>) -> DeliveryOutcome {
    match outcome {
        Ok(answer) => {
            let error = (!(200..300).contains(&answer.status)).then(|| format!("HTTP {}", answer.status));
            DeliveryOutcome { status_code: Some(answer.status), error, hopeless: false }
        }
        // A receiver that says too much has received all the same.
        Err(CallError::TooLarge { status, .. }) => {
            DeliveryOutcome { status_code: Some(status), error: None, hopeless: false }
        }
        Err(error) => {
            let hopeless = matches!(error, CallError::Refused(_));
            DeliveryOutcome { status_code: None, error: Some(error.to_string()), hopeless }
        }
    }
}

fn label(delivery: &Delivery, outcome: &DeliveryOutcome) -> metrics::DeliveryOutcome {
    match delivery.status {
        DeliveryStatus::Delivered => metrics::DeliveryOutcome::Delivered,
        DeliveryStatus::Pending => metrics::DeliveryOutcome::Retried,
        DeliveryStatus::Failed if outcome.hopeless => metrics::DeliveryOutcome::Refused,
        DeliveryStatus::Failed => metrics::DeliveryOutcome::Failed,
    }
}
