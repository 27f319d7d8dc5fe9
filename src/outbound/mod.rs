//! Calls user-given URLs without being turned against the operator's network, the other teams, or our own memory.
//!
//! One [`Client`] serves all teams. Each call is judged by the [`guard`](crate::guard) before it connects and again
//! on every redirect, ends by one deadline, and says afterwards whether the target can have seen it.

mod answer;
mod classify;
mod connect;
mod detour;
mod error;
mod message;
mod pool;
mod redirect;
mod resolve;
mod room;
mod secret;
mod signing;
mod socket;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use answer::Answer;
pub use classify::{Attempt, classify, retry_after, status_text};
pub use detour::Detours;
pub use error::CallError;
pub use resolve::{Resolver, SystemResolver};
pub use secret::secret_header;
pub use signing::{Signer, sign_standard_webhooks, sign_v1};

use crate::guard::{Guard, Target};
use connect::Opener;
use pool::{Key, Pool};
use redirect::{Hop, MAX_REDIRECTS, Redirects};
use room::Rooms;

/// The largest answer taken, unless configured otherwise.
pub const DEFAULT_MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// What a [`Client`] is made of.
pub struct ClientConfig {
    /// Judges every URL and every address.
    pub guard: Arc<Guard>,
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// A longer answer is [`CallError::TooLarge`].
    pub max_answer_bytes: usize,
    /// Sent where the user set no User-Agent.
    pub user_agent: HeaderValue,
    /// Which certificates to trust; `None` is the public web's. Its ALPN list must be empty.
    pub tls: Option<rustls::ClientConfig>,
    /// Hosts that something else stands in for.
    pub detours: Detours,
}

impl ClientConfig {
    /// The ordinary client: the system's resolver, 16 MiB, `AsyncQueue/<version>`, public certificates.
    pub fn new(guard: Arc<Guard>) -> Self {
        Self {
            guard,
            resolver: Arc::new(SystemResolver),
            max_answer_bytes: DEFAULT_MAX_ANSWER_BYTES,
            user_agent: HeaderValue::from_static(concat!("AsyncQueue/", env!("CARGO_PKG_VERSION"))),
            tls: None,
            detours: Detours::default(),
        }
    }
}

/// One call to make.
#[derive(Clone)]
pub struct Request {
    /// Kept on same-origin redirects, as far as HTTP keeps it.
    pub method: Method,
    /// Where to.
    pub target: Target,
    /// The user's headers, vault references already replaced. Never sent to another origin.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent as it is, with its length; not sent with GET or HEAD. Where the user gave no Content-Type, a body that
    /// begins like a JSON object or array is labelled `application/json`, and any other is left unlabelled.
    pub body: Option<Bytes>,
    /// For everything together: look-up, connection, TLS, redirects, headers and the whole body.
    pub timeout: Duration,
    /// Our own headers, such as the task's id. Never sent to another origin either.
    pub own: Vec<(HeaderName, HeaderValue)>,
    /// Signs each request that goes to the first origin, over the body it really carries.
    pub signer: Option<Signer>,
}

/// The guarded HTTP client. Cheap to clone; clones share their connections.
///
/// Connections belong to one team and one origin and are never lent to another.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    guard: Arc<Guard>,
    opener: Opener,
    pool: Arc<Pool>,
    max_answer_bytes: usize,
    rooms: Arc<Rooms>,
    user_agent: HeaderValue,
}

impl Client {
    /// A client without any connection yet.
    pub fn new(config: ClientConfig) -> Self {
        let opener = Opener::new(Arc::clone(&config.guard), config.resolver, config.tls, config.detours);
        let shared = Shared {
            guard: config.guard,
            opener,
            pool: Pool::new(),
            max_answer_bytes: config.max_answer_bytes,
            rooms: room::ROOMS.clone(),
            user_agent: config.user_agent,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes one call for `team`, follows its redirects, and reads the whole answer.
    pub async fn call(&self, team: i64, request: Request) -> Result<Answer, CallError> {
        self.make(team, request, Redirects::Usual, &CancellationToken::new()).await
    }

    /// Like [`call`](Self::call), but gives the call up when `stop` says so.
    pub async fn call_until(&self, team: i64, request: Request, stop: &CancellationToken) -> Result<Answer, CallError> {
        self.make(team, request, Redirects::Usual, stop).await
    }

    /// Like [`call_until`](Self::call_until), but a GET follows a 307 or 308 to another origin too, as a bare request.
    pub async fn fetch_until(
        &self,
        team: i64,
        request: Request,
        stop: &CancellationToken,
    ) -> Result<Answer, CallError> {
        self.make(team, request, Redirects::Fetching, stop).await
    }

    /// Makes one call and follows no redirect: what is told to one URL is not told to another.
    pub async fn tell(&self, team: i64, request: Request, stop: &CancellationToken) -> Result<Answer, CallError> {
        self.make(team, request, Redirects::None, stop).await
    }

    async fn make(
        &self,
        team: i64,
        request: Request,
        redirects: Redirects,
        stop: &CancellationToken,
    ) -> Result<Answer, CallError> {
        let started = Instant::now();
        let call = Call { client: &self.shared, team, redirects, sent: AtomicBool::new(false) };
        let timeout = request.timeout;
        // Pinned here, so that the large state of a call is not moved into what bounds it.
        let running = pin!(call.run(request));
        let timed = tokio::time::timeout(timeout, running);
        match stop.run_until_cancelled(timed).await {
            Some(Ok(Ok(answer))) => Ok(Answer { elapsed: started.elapsed(), ..answer }),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(_)) => Err(CallError::TimedOut { sent: call.was_sent() }),
            None => Err(CallError::Stopped { sent: call.was_sent() }),
        }
    }
}

/// One call under way.
struct Call<'a> {
    client: &'a Shared,
    team: i64,
    redirects: Redirects,
    /// Whether any byte of any request of this call may have left. Once true it stays true, so that "not sent" is
    /// only ever said when it is certain.
    sent: AtomicBool,
}

impl Call<'_> {
    async fn run(&self, request: Request) -> Result<Answer, CallError> {
        let mut hop = Hop::first(request, self.redirects);
        for _ in 0..=MAX_REDIRECTS {
            let key = Key { team: self.team, origin: hop.target.origin() };
            let live = self.exchange(&key, &hop).await?;
            let status = live.response.status();
            answer::check_status(status)?;
            let location = match self.redirects {
                Redirects::None => None,
                Redirects::Usual | Redirects::Fetching => redirect::location(&live.response)?,
            };
            let Some(location) = location else {
                let Shared { pool, max_answer_bytes, rooms, .. } = self.client;
                return answer::read(live, key, pool, *max_answer_bytes, rooms).await;
            };
            answer::give_back(live, key, &self.client.pool).await;
            hop = hop.follow(&self.client.guard, status, &location)?;
        }
        Err(CallError::ForbiddenRedirect(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Sends one request, over a kept connection if there is a sound one, and waits for the head of its answer.
    async fn exchange(&self, key: &Key, hop: &Hop) -> Result<message::Live, CallError> {
        let mut request = hop.to_message(&self.client.user_agent);
        while let Some(wire) = self.client.pool.take(key) {
            match wire.send(request, &self.sent).await {
                Ok(live) => return Ok(live),
                Err(message::SendError::Returned { request: back, .. }) => request = *back,
                Err(message::SendError::Broken(text)) => return Err(CallError::Broken(text)),
            }
        }
        // Boxed: most requests find a kept connection, and need not carry the state of a handshake along.
        let wire = Box::pin(self.client.opener.open(&hop.target)).await.map_err(|error| self.place(error))?;
        wire.send(request, &self.sent).await.map_err(|error| match error {
            message::SendError::Returned { text, .. } => self.place(CallError::NotSent(text)),
            message::SendError::Broken(text) => CallError::Broken(text),
        })
    }

    /// A failed connection after a redirect does not undo the request that was redirected.
    fn place(&self, error: CallError) -> CallError {
        match error {
            CallError::NotSent(text) if self.was_sent() => CallError::Broken(text),
            other => other,
        }
    }

    fn was_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }
}
