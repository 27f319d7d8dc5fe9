//! The reference model: a store that is obviously right, and nothing else. It keeps nothing on disk, and looks at
//! every task for every question.

mod browse;
mod following;
mod people;
mod shelf;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use self::shelf::Shelf;
use super::{
    ApiKey, Capacity, Claimed, ClaimedDelivery, ClaimedPoll, Counts, Created, Endpoint, EventRecord, Idempotency,
    ListQuery, NewTask, NewTeam, Observer, Page, Seal, Store, StoreError, Stray, Sweep, TaskRecord, Team, Token,
};
use crate::task::{Delivery, DeliveryOutcome, Event, Job, Payload, Task, TaskId, TeamId, Timestamp};

/// The reference model of a store.
pub struct Memory {
    observer: Arc<dyn Observer>,
    shelf: Mutex<Shelf>,
}

impl Memory {
    /// An empty store that tells `observer` of every change.
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, shelf: Mutex::default() }
    }

    /// Forgets what a durable store forgets when it is closed: which webhooks were claimed, and whose turn it was.
    pub fn reopen(&self) {
        self.read_with(Shelf::reopen);
    }

    fn read_with<T>(&self, question: impl FnOnce(&mut Shelf) -> T) -> T {
        question(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, act: impl FnOnce(&mut Shelf) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (answer, effects) = self.read_with(|shelf| (act(shelf), std::mem::take(&mut shelf.effects)));
        self.observer.committed(&effects);
        self.observer.batch(1, Duration::ZERO);
        answer
    }
}

#[async_trait]
impl Store for Memory {
    async fn create(&self, new: NewTask) -> Result<Created, StoreError> {
        self.write(|shelf| shelf.create(new))
    }

    async fn created_before(
        &self,
        team: TeamId,
        idempotency: Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        self.read_with(|shelf| shelf.created_before(team, &idempotency, now))
    }

    async fn transition(
        &self,
        id: TaskId,
        event: Event,
        payload: Option<Payload>,
        now: Timestamp,
    ) -> Result<Task, StoreError> {
        self.write(|shelf| shelf.transition(id, &event, payload, now))
    }

    async fn claim(
        &self,
        capacity: Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.write(|shelf| shelf.claim(capacity, lease_until, now))
    }

    async fn void_claims(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|shelf| shelf.void_claims(now))
    }

    async fn fire_timers(&self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|shelf| shelf.fire_timers(sweep, now))
    }

    async fn next_timer(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read_with(|shelf| Ok(shelf.next_timer()))
    }

    async fn claim_deliveries(&self, limit: usize, now: Timestamp) -> Result<Vec<ClaimedDelivery>, StoreError> {
        self.write(|shelf| Ok(shelf.claim_deliveries(limit, now)))
    }

    async fn finish_delivery(
        &self,
        id: TaskId,
        claimed: Delivery,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        self.write(|shelf| shelf.finish_delivery(id, claimed, outcome, now))
    }

    async fn return_delivery(&self, id: TaskId) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.return_delivery(id);
            Ok(())
        })
    }

    async fn resend(&self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError> {
        self.write(|shelf| shelf.resend(id, now))
    }

    async fn next_delivery(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read_with(|shelf| Ok(shelf.next_delivery()))
    }

    async fn claim_polls(&self, capacity: Capacity, now: Timestamp) -> Result<Vec<ClaimedPoll>, StoreError> {
        self.write(|shelf| shelf.claim_polls(capacity, now))
    }

    async fn return_poll(&self, id: TaskId) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.return_poll(id);
            Ok(())
        })
    }

    async fn next_poll(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read_with(|shelf| Ok(shelf.next_poll()))
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Payload>, StoreError> {
        self.read_with(|shelf| shelf.answer(id))
    }

    async fn find_job(&self, team: TeamId, job: Job) -> Result<TaskId, StoreError> {
        self.read_with(|shelf| shelf.find_job(team, &job))
    }

    async fn keep_stray(&self, stray: Stray) -> Result<(), StoreError> {
        self.write(|shelf| shelf.keep_stray(stray))
    }

    async fn matched_strays(&self, limit: usize) -> Result<Vec<(Stray, TaskId)>, StoreError> {
        self.read_with(|shelf| Ok(shelf.matched_strays(limit)))
    }

    async fn drop_stray(&self, id: i64) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.drop_stray(id);
            Ok(())
        })
    }

    async fn purge_strays(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(|shelf| Ok(shelf.purge_strays(before)))
    }

    async fn create_token(&self, token: Token) -> Result<(), StoreError> {
        self.write(|shelf| shelf.create_token(token))
    }

    async fn tokens(&self, team: TeamId) -> Result<Vec<Token>, StoreError> {
        self.read_with(|shelf| Ok(shelf.tokens_of(team)))
    }

    async fn token(&self, team: TeamId, id: String) -> Result<Token, StoreError> {
        self.read_with(|shelf| shelf.token(team, &id))
    }

    async fn revoke_token(&self, team: TeamId, id: String, now: Timestamp) -> Result<Token, StoreError> {
        self.write(|shelf| shelf.revoke_token(team, &id, now))
    }

    async fn tokens_to_reseal(&self, key_number: u32, limit: usize) -> Result<Vec<Token>, StoreError> {
        self.read_with(|shelf| Ok(shelf.tokens_to_reseal(key_number, limit)))
    }

    async fn reseal_token(&self, id: String, from: Vec<u8>, to: Vec<u8>) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.reseal_token(&id, &from, to);
            Ok(())
        })
    }

    async fn reseal_team(&self, from: Team, to: Team) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.reseal_team(&from, &to);
            Ok(())
        })
    }

    async fn create_endpoint(&self, endpoint: Endpoint) -> Result<(), StoreError> {
        self.write(|shelf| shelf.create_endpoint(endpoint))
    }

    async fn endpoints(&self, team: TeamId) -> Result<Vec<Endpoint>, StoreError> {
        self.read_with(|shelf| Ok(shelf.endpoints_of(team)))
    }

    async fn find_endpoint(&self, address: uuid::Uuid) -> Result<Endpoint, StoreError> {
        self.read_with(|shelf| shelf.find_endpoint(address))
    }

    async fn rotate_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        address: uuid::Uuid,
        key_number: u32,
    ) -> Result<Endpoint, StoreError> {
        self.write(|shelf| shelf.rotate_endpoint(team, uid, address, key_number))
    }

    async fn resecret_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        secret: Option<String>,
    ) -> Result<Endpoint, StoreError> {
        self.write(|shelf| shelf.resecret_endpoint(team, uid, secret))
    }

    async fn delete_endpoint(&self, team: TeamId, uid: uuid::Uuid) -> Result<Endpoint, StoreError> {
        self.write(|shelf| shelf.delete_endpoint(team, uid))
    }

    async fn state(&self, id: TaskId) -> Result<Task, StoreError> {
        self.read_with(|shelf| Ok(shelf.row(id)?.record.task.clone()))
    }

    async fn read(&self, id: TaskId) -> Result<TaskRecord, StoreError> {
        self.read_with(|shelf| Ok(shelf.row(id)?.record.clone()))
    }

    async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        self.read_with(|shelf| Ok(shelf.list(query)))
    }

    async fn events(&self, id: TaskId) -> Result<Vec<EventRecord>, StoreError> {
        self.read_with(|shelf| Ok(shelf.row(id)?.events.clone()))
    }

    async fn delete(&self, id: TaskId) -> Result<(), StoreError> {
        self.write(|shelf| shelf.delete(id))
    }

    async fn purge(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|shelf| Ok(shelf.purge(before, limit, now)))
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.read_with(|shelf| Ok(shelf.counts()))
    }

    async fn create_team(&self, team: NewTeam, seal: Seal, now: Timestamp) -> Result<Team, StoreError> {
        self.write(|shelf| shelf.create_team(team, &seal, now))
    }

    async fn teams(&self) -> Result<Vec<Team>, StoreError> {
        self.read_with(|shelf| Ok(shelf.teams.values().cloned().collect()))
    }

    async fn team(&self, id: TeamId) -> Result<Team, StoreError> {
        self.read_with(|shelf| shelf.teams.get(&id).cloned().ok_or(StoreError::NotFound))
    }

    async fn rotate_secret(&self, id: TeamId, sealed: Vec<u8>, old_until: Timestamp) -> Result<Team, StoreError> {
        self.write(|shelf| shelf.rotate_secret(id, sealed, old_until))
    }

    async fn set_rate_limit(&self, id: TeamId, limit: Option<u32>) -> Result<Team, StoreError> {
        self.write(|shelf| shelf.change_team(id, |team| team.rate_limit = limit))
    }

    async fn create_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.write(|shelf| shelf.create_key(key))
    }

    async fn keys(&self, team: TeamId) -> Result<Vec<ApiKey>, StoreError> {
        self.read_with(|shelf| Ok(shelf.keys.iter().filter(|key| key.team == team).cloned().collect()))
    }

    async fn revoke_key(&self, uid: uuid::Uuid, now: Timestamp) -> Result<ApiKey, StoreError> {
        self.write(|shelf| shelf.revoke_key(uid, now))
    }

    async fn find_key(&self, hash: [u8; 32]) -> Result<(ApiKey, Team), StoreError> {
        self.read_with(|shelf| {
            let alive = |key: &&ApiKey| key.hash == hash && key.revoked_at.is_none();
            let key = shelf.keys.iter().find(alive).ok_or(StoreError::NotFound)?;
            let team = shelf.teams.get(&key.team).ok_or(StoreError::NotFound)?;
            Ok((key.clone(), team.clone()))
        })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn meta(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_with(|shelf| Ok(shelf.meta.get(name).cloned()))
    }

    async fn set_meta(&self, name: &'static str, value: Vec<u8>) -> Result<(), StoreError> {
        self.write(|shelf| {
            shelf.meta.insert(name, value);
            Ok(())
        })
    }

    async fn backup(&self, _: PathBuf) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("the memory store keeps nothing on disk".to_owned()))
    }
}
