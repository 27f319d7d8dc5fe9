//! What the store holds beside tasks so that jobs can be followed: polls to make, the vault, endpoints for webhooks that
//! come to one address for all jobs, and those that came too early.

use bytes::Bytes;

use super::{HostId, TaskRecord};
use crate::task::{CallbackVerdict, Payload, TeamId, Timestamp};

/// A poll that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedPoll {
    /// The polling task.
    pub record: TaskRecord,
    /// The target's answer to the call, which the poll's URL may come from.
    pub answer: Option<Payload>,
    /// The host it counts towards.
    pub host: HostId,
}

/// A secret in the vault. Its value is sealed; nobody is ever shown it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What tasks refer to it by: `tok_` and 32 hex characters.
    pub id: String,
    /// Whose it is.
    pub team: TeamId,
    /// What it is, in its owner's words.
    pub name: String,
    /// The value, sealed; empty once it was revoked.
    pub sealed: Vec<u8>,
    /// Hosts it may be sent to (`host` or `*.suffix`); none is any.
    pub allowed_hosts: Vec<String>,
    /// Whether it only verifies, and is never sent.
    pub verify_only: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stopped working.
    pub revoked_at: Option<Timestamp>,
}

/// One address for the webhooks of all of a team's jobs at one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id in the API: a `UUIDv7`.
    pub uid: uuid::Uuid,
    /// What its URL's token opens to: another `UUIDv7`, and a new one after each rotation.
    pub address: uuid::Uuid,
    /// Whose it is.
    pub team: TeamId,
    /// The provider template's id.
    pub provider: String,
    /// The vault reference of the provider's webhook secret.
    pub secret: Option<String>,
    /// Which of the service's secrets the URL's token is derived from.
    pub key_number: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A provider's event that came before the answer that names its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its number in the store.
    pub id: i64,
    /// Whose endpoint it came to.
    pub team: TeamId,
    /// The provider template's id.
    pub provider: String,
    /// The provider's own id of the job.
    pub job: String,
    /// When it came.
    pub at: Timestamp,
    /// What it says.
    pub verdict: CallbackVerdict,
    /// The event, compact.
    pub body: Bytes,
}

/// How long an event waits for the answer that names its job.
pub const STRAY_MS: i64 = 600_000;

/// So many events of one team may wait.
pub const STRAYS_MAX: usize = 1000;
