//! Where tasks live. A trait of atomic acts, its promises as tests ([`contract`]), and its backends.

pub mod browse;
mod capacity;
#[doc(hidden)]
pub mod contract;
mod encoding;
mod facts;
mod following;
mod handout;
pub mod memory;
mod people;
pub mod postgres;
pub mod sqlite;
pub mod transfer;

use std::sync::Arc;

use async_trait::async_trait;

pub use capacity::Capacity;
pub use people::{
    Account, Action, Actor, AuditQuery, Change, Directory, Door, Identity, Invitation, Joining, Line, Member, Presence,
    Role, Scope, Session,
};

pub use following::{ClaimedPoll, Endpoint, STRAY_MS, STRAYS_MAX, Stray, Token};
pub use handout::{DeliveryTaker, Taker, TaskTaker};

use crate::task::{
    Delivery, DeliveryOutcome, Entry, Event, Job, Payload, Refusal, Request, Status, Task, TaskId, TeamId, Timestamp,
};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// The transition is no arrow of the diagram.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The name or id is taken.
    #[error("already exists")]
    Taken,
    /// Nobody would own the team any more.
    #[error("a team needs an owner")]
    LastOwner,
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The store has more work than it may queue.
    #[error("too many writes are queued")]
    Overloaded,
    /// The store cannot be read or written just now; nothing was acknowledged.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored of one task cannot be read: it was damaged, or written by something else. Other tasks are not concerned.
    #[error("a stored task cannot be read: {0}")]
    Unreadable(String),
    /// The disk cannot be trusted any more: a sync failed, or a page is damaged. The process should end and recover.
    #[error("the store's disk failed: {0}")]
    Damaged(String),
}

/// What a new task brings along.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its first state.
    pub task: Task,
    /// What it is asked to do.
    pub request: Request,
    /// Which target host it will call; calls in flight are bounded per host.
    pub host: HostId,
    /// Which of the service's secrets its credentials are derived from.
    pub key_number: u32,
    /// Makes a repeated creation answer the first one.
    pub idempotency: Option<Idempotency>,
}

/// An idempotency key with the request that it stands for, both hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of the request's body.
    pub body: [u8; 32],
}

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_MS: i64 = 24 * 3600 * 1000;

/// The largest body of a late callback that is kept.
pub const LATE_BODY_MAX: usize = 1 << 20;

/// What came of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The task is new.
    New,
    /// The same creation was made before, with this id.
    Before(TaskId),
}

/// A target host, as a number: equal hosts have equal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub i64);

/// A task with all that can be read back of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Its state.
    pub task: Task,
    /// What it was asked to do.
    pub request: Request,
    /// Which secret its credentials are derived from.
    pub key_number: u32,
    /// Its result, once it has one.
    pub result: Option<Payload>,
    /// The latest interim callback's body.
    pub progress: Option<Payload>,
    /// Where its completion webhook stands; none before the end, or if none is wanted.
    pub delivery: Option<Delivery>,
}

/// One line of a task's history, with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub entry: Entry,
    /// The body that came with it, for a late callback.
    pub body: Option<bytes::Bytes>,
}

/// A task that was claimed for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its state, now `processing`; its attempt number is the fence.
    pub task: Task,
    /// What to call.
    pub request: Request,
    /// The host it counts towards.
    pub host: HostId,
    /// Which secret its credentials are derived from.
    pub key_number: u32,
}

/// A completion webhook that was claimed for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The ended task.
    pub record: TaskRecord,
    /// Its webhook's state before the attempt.
    pub delivery: Delivery,
}

/// A team: what everything belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Its number in this store.
    pub id: TeamId,
    /// Its id in the API: a `UUIDv7`.
    pub uid: uuid::Uuid,
    /// Its name, unique.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Requests per minute over all its keys, where it has a limit of its own.
    pub rate_limit: Option<u32>,
    /// The webhook secret, sealed.
    pub secret: Vec<u8>,
    /// The secret before the last rotation, sealed, and until when it signs too.
    pub old_secret: Option<(Vec<u8>, Timestamp)>,
}

/// A team to be made.
#[derive(Clone, Debug)]
pub struct NewTeam {
    /// Its id in the API.
    pub uid: uuid::Uuid,
    /// Its name.
    pub name: String,
    /// Requests per minute, if limited.
    pub rate_limit: Option<u32>,
}

/// An API key, without the key: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id: a `UUIDv7`.
    pub uid: uuid::Uuid,
    /// Whose it is.
    pub team: TeamId,
    /// What it is for, in its owner's words.
    pub name: String,
    /// The key's first characters, to tell keys apart.
    pub prefix: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stopped working.
    pub revoked_at: Option<Timestamp>,
}

/// What a commit changed, for those who wait for it.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Tasks whose status changed.
    pub changed: Vec<TaskId>,
    /// A task may be ready to be claimed.
    pub ready: bool,
    /// A completion webhook may be due.
    pub deliver: bool,
    /// The earliest timer that was set.
    pub timer: Option<Timestamp>,
    /// The earliest poll that was planned.
    pub poll: Option<Timestamp>,
    /// An event that came early may have found its task.
    pub matched: bool,
    /// Whose tasks were created, one for each.
    pub created: Vec<TeamId>,
    /// Tasks that ended.
    pub ended: Vec<Ended>,
}

/// A task that ended, as far as statistics are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose.
    pub team: TeamId,
    /// In which final status.
    pub status: Status,
    /// How long it took from its creation, milliseconds.
    pub after_ms: i64,
}

impl Ended {
    /// The task's end, if it has ended.
    pub fn of(task: &Task) -> Option<Self> {
        let after_ms = task.completed_at()?.millis_since(task.created_at);
        Some(Self { team: task.team, status: task.status(), after_ms })
    }
}

/// Is told of every commit, after it is on disk. Calls must return quickly.
pub trait Observer: Send + Sync + 'static {
    /// What the commit changed.
    fn committed(&self, effects: &Effects);
    /// How many commands shared the commit, and how long it took.
    fn batch(&self, commands: usize, took: std::time::Duration);
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn committed(&self, _: &Effects) {}
    fn batch(&self, _: usize, _: std::time::Duration) {}
}

/// How many tasks are in each status, over all teams or for one.
pub type Counts = std::collections::BTreeMap<Status, u64>;

/// A durable home of tasks. Each method is one atomic act; when a writing method returns `Ok`, its effect is on disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Adds a task. `Taken` if the id is in use; `KeyReused` if the idempotency key stands for another body.
    async fn create(&self, new: NewTask) -> Result<Created, StoreError>;

    /// The task that an idempotency key stands for, if it stands for one now. `KeyReused` if it stands for another body.
    async fn created_before(
        &self,
        team: TeamId,
        idempotency: Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError>;

    /// Loads the task, `task::step`s it, and saves what came of it with its history and outbox row.
    ///
    /// Answers the task as it is afterwards. A refused callback's payload may be kept as a late one (once per task).
    async fn transition(
        &self,
        id: TaskId,
        event: Event,
        payload: Option<Payload>,
        now: Timestamp,
    ) -> Result<Task, StoreError>;

    /// Claims due tasks: teams take turns; inside a team by priority, then by due time; never beyond a host's bound, and
    /// what is reserved only for teams with few calls in flight, if there is more than one team. No task is ever claimed
    /// twice at once.
    async fn claim(
        &self,
        capacity: Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// Claims due tasks for `taker`, as far as it has room. A store may keep it in mind, and from then on hand it tasks in
    /// the commit that makes them ready; such a commit does not tell [`Effects::ready`].
    async fn hand_out(
        &self,
        taker: Arc<TaskTaker>,
        lease: std::time::Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let claimed = self.claim(taker.room(), now.plus(lease), now).await?;
        taker.take(claimed);
        Ok(())
    }

    /// Voids every claim on a task: what was `processing` was interrupted. Called once, before work starts.
    async fn void_claims(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Fires up to `limit` timers that are due: delays end, waits time out. Deadlines before `missed_before` are put
    /// off until `not_before`. Answers how many timers were looked at.
    async fn fire_timers(&self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError>;

    /// When the next timer is due.
    async fn next_timer(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Claims up to `limit` completion webhooks that are due. None is handed out twice before it is finished.
    async fn claim_deliveries(&self, limit: usize, now: Timestamp) -> Result<Vec<ClaimedDelivery>, StoreError>;

    /// Claims due completion webhooks for `taker`, as far as it has room; may go on doing so, as [`hand_out`](Self::hand_out).
    async fn hand_out_deliveries(&self, taker: Arc<DeliveryTaker>, now: Timestamp) -> Result<(), StoreError> {
        let claimed = self.claim_deliveries(taker.room(), now).await?;
        taker.take(claimed);
        Ok(())
    }

    /// Records one attempt to deliver what was claimed, and plans the next. One that was recorded before changes nothing.
    async fn finish_delivery(
        &self,
        id: TaskId,
        claimed: Delivery,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError>;

    /// Gives a claimed delivery back without an attempt.
    async fn return_delivery(&self, id: TaskId) -> Result<(), StoreError>;

    /// Makes an ended task's webhook due again; `Refused` if the task has not ended, `NotFound` if it wants none.
    async fn resend(&self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError>;

    /// When the next completion webhook is due that nobody has claimed.
    async fn next_delivery(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Claims polls that are due, in the order of their times and within the hosts' bounds; a due poll whose host has no
    /// room is put off by a second. None is handed out twice before its [`Event::Polled`] came or it was given back.
    async fn claim_polls(&self, capacity: Capacity, now: Timestamp) -> Result<Vec<ClaimedPoll>, StoreError>;

    /// Gives a claimed poll back without an answer.
    async fn return_poll(&self, id: TaskId) -> Result<(), StoreError>;

    /// When the next poll is due that nobody has claimed.
    async fn next_poll(&self) -> Result<Option<Timestamp>, StoreError>;

    /// The target's answer that a waiting or polling task keeps, if it has one.
    async fn answer(&self, id: TaskId) -> Result<Option<Payload>, StoreError>;

    /// The task that a team's job at a provider stands for.
    async fn find_job(&self, team: TeamId, job: Job) -> Result<TaskId, StoreError>;

    /// Keeps an event whose job no answer has named yet; its `id` is given by the store. `Overloaded` beyond
    /// [`STRAYS_MAX`] of one team.
    async fn keep_stray(&self, stray: Stray) -> Result<(), StoreError>;

    /// Up to `limit` kept events whose jobs have tasks by now, oldest first.
    async fn matched_strays(&self, limit: usize) -> Result<Vec<(Stray, TaskId)>, StoreError>;

    /// Forgets a kept event.
    async fn drop_stray(&self, id: i64) -> Result<(), StoreError>;

    /// Forgets the events kept before `before`. Answers how many.
    async fn purge_strays(&self, before: Timestamp) -> Result<usize, StoreError>;

    /// Adds a secret to the vault. `Taken` if the id is in use.
    async fn create_token(&self, token: Token) -> Result<(), StoreError>;

    /// A team's secrets that have not been revoked, oldest first.
    async fn tokens(&self, team: TeamId) -> Result<Vec<Token>, StoreError>;

    /// One of a team's secrets, revoked or not.
    async fn token(&self, team: TeamId, id: String) -> Result<Token, StoreError>;

    /// Stops a secret from working, and forgets its value.
    async fn revoke_token(&self, team: TeamId, id: String, now: Timestamp) -> Result<Token, StoreError>;

    /// Up to `limit` secrets that are not sealed with the key of this number: a seal begins with its number, four bytes,
    /// the highest first.
    async fn tokens_to_reseal(&self, key_number: u32, limit: usize) -> Result<Vec<Token>, StoreError>;

    /// Replaces a seal, if it is still `from`.
    async fn reseal_token(&self, id: String, from: Vec<u8>, to: Vec<u8>) -> Result<(), StoreError>;

    /// Replaces the seals of a team's webhook secrets, if they are still those of `from`.
    async fn reseal_team(&self, from: Team, to: Team) -> Result<(), StoreError>;

    /// Adds an endpoint.
    async fn create_endpoint(&self, endpoint: Endpoint) -> Result<(), StoreError>;

    /// A team's endpoints, oldest first.
    async fn endpoints(&self, team: TeamId) -> Result<Vec<Endpoint>, StoreError>;

    /// The endpoint with this address.
    async fn find_endpoint(&self, address: uuid::Uuid) -> Result<Endpoint, StoreError>;

    /// Gives an endpoint a new address; the old one is gone.
    async fn rotate_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        address: uuid::Uuid,
        key_number: u32,
    ) -> Result<Endpoint, StoreError>;

    /// Gives an endpoint another secret, by reference; its address stays.
    async fn resecret_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        secret: Option<String>,
    ) -> Result<Endpoint, StoreError>;

    /// Removes an endpoint.
    async fn delete_endpoint(&self, team: TeamId, uid: uuid::Uuid) -> Result<Endpoint, StoreError>;

    /// The task alone, without its bodies.
    async fn state(&self, id: TaskId) -> Result<Task, StoreError>;

    /// The task with all that belongs to it.
    async fn read(&self, id: TaskId) -> Result<TaskRecord, StoreError>;

    /// A page of a team's tasks, newest first: whole as long as there is room, and from there on by name.
    async fn list(&self, query: ListQuery) -> Result<Page, StoreError>;

    /// Everything a task went through, oldest first.
    async fn events(&self, id: TaskId) -> Result<Vec<EventRecord>, StoreError>;

    /// Removes a final task with all that belongs to it; `Refused` while it is not final.
    async fn delete(&self, id: TaskId) -> Result<(), StoreError>;

    /// Removes up to `limit` tasks that ended before `before`, and outdated idempotency keys. Answers how many tasks.
    async fn purge(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<usize, StoreError>;

    /// How many tasks are in each status.
    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Makes a team; its webhook secret is sealed by `seal` once its number is known. `Taken` if the name is in use.
    async fn create_team(&self, team: NewTeam, seal: Seal, now: Timestamp) -> Result<Team, StoreError>;

    /// All teams, oldest first.
    async fn teams(&self) -> Result<Vec<Team>, StoreError>;

    /// One team.
    async fn team(&self, id: TeamId) -> Result<Team, StoreError>;

    /// Replaces a team's webhook secret; the old one is kept until `old_until`.
    async fn rotate_secret(&self, id: TeamId, sealed: Vec<u8>, old_until: Timestamp) -> Result<Team, StoreError>;

    /// Sets a team's own rate limit, requests per minute.
    async fn set_rate_limit(&self, id: TeamId, limit: Option<u32>) -> Result<Team, StoreError>;

    /// Adds an API key. `Taken` if the key is in use.
    async fn create_key(&self, key: ApiKey) -> Result<(), StoreError>;

    /// A team's keys, oldest first.
    async fn keys(&self, team: TeamId) -> Result<Vec<ApiKey>, StoreError>;

    /// Stops a key from working.
    async fn revoke_key(&self, uid: uuid::Uuid, now: Timestamp) -> Result<ApiKey, StoreError>;

    /// The key with this hash that has not been revoked, and its team.
    async fn find_key(&self, hash: [u8; 32]) -> Result<(ApiKey, Team), StoreError>;

    /// Proves that the store can be read and written: `Ok` once a write is on disk.
    async fn ping(&self) -> Result<(), StoreError>;

    /// A small value that belongs to the store as a whole.
    async fn meta(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Sets a small value that belongs to the store as a whole.
    async fn set_meta(&self, name: &'static str, value: Vec<u8>) -> Result<(), StoreError>;

    /// Writes a consistent copy to a new file at `path` (absolute).
    async fn backup(&self, path: std::path::PathBuf) -> Result<(), StoreError>;
}

/// Seals a new team's webhook secret; the team's number is part of what is sealed.
pub type Seal = Arc<dyn Fn(TeamId) -> Vec<u8> + Send + Sync>;

/// One pass over the timers.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// At most this many timers.
    pub limit: usize,
    /// Deadlines before this moment were missed while the service was down…
    pub missed_before: Timestamp,
    /// …and fire no earlier than this, so that providers' retries win.
    pub not_before: Timestamp,
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The first tasks, as many as there was room for.
    pub records: Vec<TaskRecord>,
    /// The others, each with the bytes of its bodies: to be read one at a time.
    pub rest: Vec<(TaskId, u64)>,
    /// How many tasks there are in all.
    pub total: u64,
}

/// Which page of which tasks.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery {
    /// Whose.
    pub team: TeamId,
    /// Only those in this status.
    pub status: Option<Status>,
    /// At most this many.
    pub limit: u32,
    /// After this many.
    pub offset: u64,
    /// So many bytes of bodies (requests', results', progress) are read at once.
    pub room: u64,
}

impl Page {
    /// The first of these tasks, with the bytes of their bodies, that fit into `room`; and the others.
    fn split<T>(tasks: Vec<(T, u64)>, mut room: u64) -> (Vec<T>, Vec<(T, u64)>) {
        let fits = |(_, bytes): &&(T, u64)| {
            let left = room.checked_sub(*bytes);
            room = left.unwrap_or_default();
            left.is_some()
        };
        let fitting = tasks.iter().take_while(fits).count();
        let mut tasks = tasks;
        let rest = tasks.split_off(fitting);
        (tasks.into_iter().map(|(task, _)| task).collect(), rest)
    }
}
