//! The rules about people: who may sign in and how, what a session is good for, and what each role may decide.
//!
//! Accounts, sessions and the audit log are kept by [`Directory`]; whatever is changed there comes through here, with its
//! line in the log. Pages and the management API are two faces of this.

mod acting;
mod believed;
mod door;
mod members;
mod operator;
mod own;
pub mod password;
mod teams;
mod tickets;
mod visitor;
mod wrong;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::credentials::{Ids, Keyring};
use crate::net::limit::SlidingLog;
use crate::store::{Directory, Presence, Store, StoreError};
use crate::teams::Teams;

pub use acting::{Acting, Subject};
use believed::Believed;
pub use door::{Entered, NewPerson, Vouched};
pub use members::Invited;
use password::Passwords;
pub use teams::{NewKey, Secret};
pub use tickets::Issued;
pub use visitor::Visitor;
pub use wrong::Wrong;

/// Knows who is who.
pub struct People {
    directory: Arc<dyn Directory>,
    store: Arc<dyn Store>,
    keyring: Keyring,
    teams: Arc<Teams>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    passwords: Passwords,
    terms: Terms,
    by_account: SlidingLog<[u8; 32]>,
    by_source: SlidingLog,
    present: Believed<Presence>,
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A session that is not used ends after this time.
    pub session_idle: Duration,
    /// Any session ends after this time.
    pub session_lifetime: Duration,
    /// How long an old webhook secret signs too.
    pub secret_grace: Duration,
}

/// What [`People`] works with.
pub struct Surroundings {
    /// Where people are kept.
    pub directory: Arc<dyn Directory>,
    /// Where teams are kept.
    pub store: Arc<dyn Store>,
    /// Seals secrets and signs tokens.
    pub keyring: Keyring,
    /// Forgets what it believed of a team after a change.
    pub teams: Arc<Teams>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<Ids>,
}

/// Attempts to sign in to one account, and from one source, in [`ATTEMPTS_WINDOW`]. Counted before the password is looked
/// at, and whether or not there is such an account.
const ATTEMPTS_PER_ACCOUNT: u32 = 20;
const ATTEMPTS_PER_SOURCE: u32 = 60;
const ATTEMPTS_WINDOW: Duration = Duration::from_secs(15 * 60);

/// How often what is over is forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// How long lines of the audit log are kept.
const LINES_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// How many accounts and sources are remembered for that.
const REMEMBERED: usize = 20_000;

impl People {
    /// With these surroundings and terms.
    pub fn new(around: Surroundings, terms: Terms) -> Self {
        let Surroundings { directory, store, keyring, teams, clock, ids } = around;
        Self {
            directory,
            store,
            keyring,
            teams,
            clock,
            ids,
            passwords: Passwords::default(),
            terms,
            by_account: SlidingLog::new(ATTEMPTS_PER_ACCOUNT, ATTEMPTS_WINDOW, REMEMBERED),
            by_source: SlidingLog::new(ATTEMPTS_PER_SOURCE, ATTEMPTS_WINDOW, REMEMBERED),
            present: Believed::default(),
        }
    }

    /// Forgets now and then what is over, until `stop`.
    pub async fn tidy_up(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
            if let Err(error) = self.forget_what_is_over().await {
                tracing::warn!(%error, "Old sessions could not be removed; trying again later");
            }
        }
    }

    /// Forgets sessions and invitations that are over, and old lines of the audit log. Answers how many.
    pub async fn forget_what_is_over(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let before = |age: Duration| now.plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        self.directory.tidy(before(self.terms.session_idle), before(LINES_KEPT), now).await
    }

    /// How long a session lasts at most.
    pub fn session_lifetime(&self) -> Duration {
        self.terms.session_lifetime
    }
}
