//! Providers' public keys: fetched through the guarded client, kept for a while, and kept longer when they cannot be
//! fetched again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::guard::Guard;
use crate::outbound::{Client, Request};
use crate::providers::Jwks;

/// How long a set is believed (fal asks for at most a day).
const BELIEVED: Duration = Duration::from_secs(3600);

/// How often a set is fetched because of a key that it does not have: anybody can make one up.
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// How long it is believed that a set cannot be fetched.
const MISSED: Duration = Duration::from_secs(5);

/// A webhook has to be answered within two seconds.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Connections for this belong to no team.
const NO_TEAM: i64 = 0;

/// Sets of public keys by their URL.
pub struct KeySets {
    client: Client,
    guard: Arc<Guard>,
    known: Mutex<HashMap<String, Known>>,
    /// One fetch at a time: a burst of webhooks asks the provider once.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    set: Option<Arc<Jwks>>,
    /// When it was last tried to fetch it.
    tried: Instant,
    /// When that was last because of a key that was missing.
    refreshed: Option<Instant>,
}

impl KeySets {
    /// None known yet.
    pub fn new(client: Client, guard: Arc<Guard>) -> Self {
        Self { client, guard, known: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The set at `url`. None if it was never fetched and cannot be now.
    pub async fn get(&self, url: &str) -> Option<Arc<Jwks>> {
        self.unless(url, Known::is_fresh, None).await
    }

    /// The set at `url`, fetched anew if that was not just done for the same reason: a key changes whenever it does, and
    /// be it a second after the last fetch.
    pub async fn refreshed(&self, url: &str) -> Option<Arc<Jwks>> {
        self.unless(url, Known::was_just_refreshed, Some(Instant::now())).await
    }

    async fn unless(
        &self,
        url: &str,
        will_do: impl Fn(&Known) -> bool,
        refreshed: Option<Instant>,
    ) -> Option<Arc<Jwks>> {
        if let Some(known) = self.known(url).filter(&will_do) {
            return known.set;
        }
        let _one = self.fetching.lock().await;
        let before = self.known(url);
        if let Some(known) = before.as_ref().filter(|known| will_do(known)) {
            return known.set.clone();
        }
        let refreshed = refreshed.or(before.as_ref().and_then(|known| known.refreshed));
        let set = match self.fetch(url).await {
            Ok(set) => Some(Arc::new(set)),
            Err(error) => {
                tracing::warn!(url, error, "A provider's public keys could not be fetched; the last ones stay");
                before.and_then(|known| known.set)
            }
        };
        let known = Known { set: set.clone(), tried: Instant::now(), refreshed };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), known);
        set
    }

    fn known(&self, url: &str) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    async fn fetch(&self, url: &str) -> Result<Jwks, String> {
        let target = self.guard.check_url(url).map_err(|refused| refused.to_string())?;
        let request = Request {
            method: Method::GET,
            target,
            headers: Vec::new(),
            body: None,
            timeout: TIMEOUT,
            own: Vec::new(),
            signer: None,
        };
        let answer = self.client.call(NO_TEAM, request).await.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("HTTP {}", answer.status));
        }
        Jwks::parse(&answer.body)
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.tried.elapsed() < if self.set.is_some() { BELIEVED } else { MISSED }
    }

    fn was_just_refreshed(&self) -> bool {
        self.refreshed.is_some_and(|at| at.elapsed() < REFRESH_EVERY)
    }
}
