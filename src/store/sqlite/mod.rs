//! The embedded store: `SQLite` in WAL mode with full durability, one writer with group commit, and a few readers.

mod browse;
mod checkpoint;
mod commands;
mod endpoints;
mod handout;
mod in_hand;
mod open;
mod people;
mod polls;
mod queries;
mod readers;
mod ready;
mod redo;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod transfer;
mod vault;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{ErrorCode, ffi};

use super::{
    ApiKey, Capacity, Claimed, ClaimedDelivery, ClaimedPoll, Counts, Created, DeliveryTaker, Endpoint, EventRecord,
    Idempotency, ListQuery, NewTask, NewTeam, Observer, Page, Seal, Store, StoreError, Stray, Sweep, TaskRecord,
    TaskTaker, Team, Token, encoding,
};
use crate::task::{Delivery, DeliveryOutcome, Event, Job, Payload, Task, TaskId, TeamId, Timestamp};

pub use checkpoint::log_bytes;

/// The embedded store.
pub struct Sqlite {
    writer: writer::Handle,
    readers: readers::Readers,
    behind: redo::Behind,
    path: PathBuf,
}

/// How to open the store.
pub struct Options {
    /// The database file. It and its folder are made if they are missing, private to the user.
    pub path: PathBuf,
    /// Is told of every commit.
    pub observer: Arc<dyn Observer>,
    /// Told why, when the disk cannot be trusted any more. Should end the process: after a failed sync only a restart
    /// from disk tells what is there.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
    /// From so many rows on whose change is on disk but not in its place, they are put there also in a rush; an eighth of
    /// them while there is time. More of them need more memory (about half a KiB each), and are put in their place with
    /// fewer writes.
    pub behind_max: usize,
}

/// What suits most machines as [`Options::behind_max`].
pub const BEHIND_MAX: usize = 65_536;

impl Sqlite {
    /// Opens the store, bringing its layout up to date.
    ///
    /// Fails with a text for people if another process has it open, if a newer version wrote it, or if the disk refuses.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        open::open(options)
    }

    /// Whether a process has the store at `path` open.
    pub fn in_use(path: &std::path::Path) -> bool {
        open::in_use(path)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn create(&self, new: NewTask) -> Result<Created, StoreError> {
        let head = encoding::write_request_head(&new.request);
        self.writer.run(move |writer| writer.create(&new, &head)).await
    }

    async fn created_before(
        &self,
        team: TeamId,
        idempotency: Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        self.readers.run(move |db| Ok(queries::known_key(db, team, &idempotency, now)?.and_then(Result::ok))).await
    }

    async fn transition(
        &self,
        id: TaskId,
        event: Event,
        payload: Option<Payload>,
        now: Timestamp,
    ) -> Result<Task, StoreError> {
        // A refusal is an answer like any other: what it may have kept must be on disk too.
        let payload = payload.as_ref().map(encoding::write_payload);
        self.writer.run(move |writer| writer.transition(id, &event, payload.as_ref(), now)).await?
    }

    async fn claim(
        &self,
        capacity: Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.writer.run(move |writer| writer.claim(&capacity, lease_until, now)).await
    }

    async fn hand_out(&self, taker: Arc<TaskTaker>, lease: Duration, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .run(move |writer| {
                writer.look_for_tasks(&taker, lease, now);
                Ok(())
            })
            .await
    }

    async fn void_claims(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.writer.run(move |writer| writer.void_claims(now)).await
    }

    async fn fire_timers(&self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError> {
        self.writer.run(move |writer| writer.fire_timers(sweep, now)).await
    }

    async fn next_timer(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers.run(queries::next_timer).await
    }

    async fn claim_deliveries(&self, limit: usize, now: Timestamp) -> Result<Vec<ClaimedDelivery>, StoreError> {
        self.writer.run(move |writer| writer.claim_deliveries(limit, now)).await
    }

    async fn hand_out_deliveries(&self, taker: Arc<DeliveryTaker>, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .run(move |writer| {
                writer.look_for_deliveries(&taker, now);
                Ok(())
            })
            .await
    }

    async fn finish_delivery(
        &self,
        id: TaskId,
        claimed: Delivery,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        self.writer.run(move |writer| writer.finish_delivery(id, claimed, &outcome, now)).await
    }

    async fn return_delivery(&self, id: TaskId) -> Result<(), StoreError> {
        self.writer
            .run(move |writer| {
                writer.delivering.give_back(id.sort_key());
                writer.woke_deliveries();
                Ok(())
            })
            .await
    }

    async fn resend(&self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError> {
        self.writer.run(move |writer| writer.resend(id, now)).await
    }

    async fn next_delivery(&self) -> Result<Option<Timestamp>, StoreError> {
        self.writer.run(writer::Writer::next_delivery).await
    }

    async fn claim_polls(&self, capacity: Capacity, now: Timestamp) -> Result<Vec<ClaimedPoll>, StoreError> {
        self.writer.run(move |writer| writer.claim_polls(&capacity, now)).await
    }

    async fn return_poll(&self, id: TaskId) -> Result<(), StoreError> {
        self.writer
            .run(move |writer| {
                writer.return_poll(id);
                Ok(())
            })
            .await
    }

    async fn next_poll(&self) -> Result<Option<Timestamp>, StoreError> {
        self.writer.run(writer::Writer::next_poll).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Payload>, StoreError> {
        let behind = self.behind.row(id);
        self.readers.run(move |db| queries::answer(db, id, behind.as_deref())).await
    }

    async fn find_job(&self, team: TeamId, job: Job) -> Result<TaskId, StoreError> {
        self.readers.run(move |db| endpoints::find_job(db, team, &job)).await
    }

    async fn keep_stray(&self, stray: Stray) -> Result<(), StoreError> {
        self.writer.run(move |writer| writer.keep_stray(&stray)).await
    }

    async fn matched_strays(&self, limit: usize) -> Result<Vec<(Stray, TaskId)>, StoreError> {
        self.readers.run(move |db| endpoints::matched_strays(db, limit)).await
    }

    async fn drop_stray(&self, id: i64) -> Result<(), StoreError> {
        self.writer.run(move |writer| endpoints::drop_stray(&writer.db, id)).await
    }

    async fn purge_strays(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.writer.run(move |writer| endpoints::purge_strays(&writer.db, before)).await
    }

    async fn create_token(&self, token: Token) -> Result<(), StoreError> {
        self.writer.run(move |writer| vault::create(&writer.db, &token)).await
    }

    async fn tokens(&self, team: TeamId) -> Result<Vec<Token>, StoreError> {
        self.readers.run(move |db| vault::list(db, team)).await
    }

    async fn token(&self, team: TeamId, id: String) -> Result<Token, StoreError> {
        self.readers.run(move |db| vault::find(db, team, &id)).await
    }

    async fn revoke_token(&self, team: TeamId, id: String, now: Timestamp) -> Result<Token, StoreError> {
        self.writer.run(move |writer| vault::revoke(&writer.db, team, &id, now)).await
    }

    async fn tokens_to_reseal(&self, key_number: u32, limit: usize) -> Result<Vec<Token>, StoreError> {
        self.readers.run(move |db| vault::to_reseal(db, key_number, limit)).await
    }

    async fn reseal_token(&self, id: String, from: Vec<u8>, to: Vec<u8>) -> Result<(), StoreError> {
        self.writer.run(move |writer| vault::reseal(&writer.db, &id, &from, &to)).await
    }

    async fn reseal_team(&self, from: Team, to: Team) -> Result<(), StoreError> {
        self.writer.run(move |writer| vault::reseal_team(&writer.db, &from, &to)).await
    }

    async fn create_endpoint(&self, endpoint: Endpoint) -> Result<(), StoreError> {
        self.writer.run(move |writer| endpoints::create(&writer.db, &endpoint)).await
    }

    async fn endpoints(&self, team: TeamId) -> Result<Vec<Endpoint>, StoreError> {
        self.readers.run(move |db| endpoints::list(db, team)).await
    }

    async fn find_endpoint(&self, address: uuid::Uuid) -> Result<Endpoint, StoreError> {
        self.readers.run(move |db| endpoints::find(db, address)).await
    }

    async fn rotate_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        address: uuid::Uuid,
        key_number: u32,
    ) -> Result<Endpoint, StoreError> {
        self.writer.run(move |writer| endpoints::rotate(&writer.db, team, uid, address, key_number)).await
    }

    async fn resecret_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        secret: Option<String>,
    ) -> Result<Endpoint, StoreError> {
        self.writer.run(move |writer| endpoints::resecret(&writer.db, team, uid, secret.as_deref())).await
    }

    async fn delete_endpoint(&self, team: TeamId, uid: uuid::Uuid) -> Result<Endpoint, StoreError> {
        self.writer.run(move |writer| endpoints::delete(&writer.db, team, uid)).await
    }

    async fn state(&self, id: TaskId) -> Result<Task, StoreError> {
        let behind = self.behind.row(id);
        self.readers.run(move |db| queries::state(db, id, behind.as_deref())).await
    }

    async fn read(&self, id: TaskId) -> Result<TaskRecord, StoreError> {
        let behind = self.behind.row(id);
        self.readers.run(move |db| queries::read(db, id, behind.as_deref())).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let known = self.behind.known();
        self.readers.run(move |db| queries::list(db, query, known)).await
    }

    async fn events(&self, id: TaskId) -> Result<Vec<EventRecord>, StoreError> {
        let behind = self.behind.row(id);
        self.readers.run(move |db| queries::events(db, id, behind.as_deref())).await
    }

    async fn delete(&self, id: TaskId) -> Result<(), StoreError> {
        self.writer.run(move |writer| writer.delete(id)).await
    }

    async fn purge(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.writer.run(move |writer| writer.purge(before, limit, now)).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.readers.run(queries::counts).await
    }

    async fn create_team(&self, team: NewTeam, seal: Seal, now: Timestamp) -> Result<Team, StoreError> {
        self.writer.run(move |writer| queries::create_team(&writer.db, &team, &seal, now)).await
    }

    async fn teams(&self) -> Result<Vec<Team>, StoreError> {
        self.readers.run(queries::teams).await
    }

    async fn team(&self, id: TeamId) -> Result<Team, StoreError> {
        self.readers.run(move |db| queries::team(db, id)).await
    }

    async fn rotate_secret(&self, id: TeamId, sealed: Vec<u8>, old_until: Timestamp) -> Result<Team, StoreError> {
        self.writer.run(move |writer| queries::rotate_secret(&writer.db, id, &sealed, old_until)).await
    }

    async fn set_rate_limit(&self, id: TeamId, limit: Option<u32>) -> Result<Team, StoreError> {
        self.writer.run(move |writer| queries::set_rate_limit(&writer.db, id, limit)).await
    }

    async fn create_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.writer.run(move |writer| queries::create_key(&writer.db, &key)).await
    }

    async fn keys(&self, team: TeamId) -> Result<Vec<ApiKey>, StoreError> {
        self.readers.run(move |db| queries::keys(db, team)).await
    }

    async fn revoke_key(&self, uid: uuid::Uuid, now: Timestamp) -> Result<ApiKey, StoreError> {
        self.writer.run(move |writer| queries::revoke_key(&writer.db, uid, now)).await
    }

    async fn find_key(&self, hash: [u8; 32]) -> Result<(ApiKey, Team), StoreError> {
        self.readers.run(move |db| queries::find_key(db, &hash)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.run(|writer| queries::ping(&writer.db)).await?;
        self.readers.run(|db| queries::meta(db, "ping").map(drop)).await
    }

    async fn meta(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.readers.run(move |db| queries::meta(db, name)).await
    }

    async fn set_meta(&self, name: &'static str, value: Vec<u8>) -> Result<(), StoreError> {
        self.writer.run(move |writer| queries::set_meta(&writer.db, name, &value)).await
    }

    async fn backup(&self, path: PathBuf) -> Result<(), StoreError> {
        open::backup(self.path.clone(), path).await
    }
}

/// Errors of the log's index that leave log and database as they were.
const INDEX: [i32; 3] = [ffi::SQLITE_IOERR_SHMOPEN, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_SHMMAP];

/// Turns the database's error into ours.
fn failed(error: rusqlite::Error) -> StoreError {
    // The log's index lies in a file, but is never synced, and is made anew from the log: where it cannot grow, the
    // disk is full, and nothing is lost.
    let index = matches!(&error, rusqlite::Error::SqliteFailure(error, _) if INDEX.contains(&error.extended_code));
    if index {
        return StoreError::Unavailable(format!("{error}; is the disk full?"));
    }
    if matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    ) {
        return StoreError::Unreadable(error.to_string());
    }
    // A failed sync must never be tried again: the kernel may have dropped the pages, and a second sync would report
    // success.
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}
