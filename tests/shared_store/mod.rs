//! What only a store with several nodes, and partitions, has to promise.

mod days;
mod ends;
mod people;
mod queues;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asyncqueue::store::{HostId, NewTask, NewTeam, Store, StoreError};
use asyncqueue::task::{Backoff, Event, Follow, Method, Policy, Request, Task, TaskId, TeamId, Then, Timestamp};

use crate::postgres;
use crate::shared::Shared;

/// What the database says to a statement.
fn sql(store: &Shared, statement: &str) -> String {
    let (_, database) = store.url().rsplit_once('/').expect("the URL names a database");
    postgres::shared().sql(database, statement)
}

/// A number that no other test has.
fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

pub async fn team(store: &Shared, name: &str) -> TeamId {
    let new = NewTeam { uid: uuid::Uuid::from_u128(number().into()), name: name.to_owned(), rate_limit: None };
    store.create_team(new, Arc::new(|_| vec![7]), Timestamp(0)).await.unwrap().id
}

/// A task that is called once, with the request that all these tasks have.
pub fn pending(team: TeamId, id: TaskId, at: Timestamp, then: Then) -> NewTask {
    let policy = Policy {
        max_retries: 0,
        backoff: Backoff::Linear,
        then,
        max_wait_ms: 3_600_000,
        callback: then == Then::Wait,
        signal: false,
        completion: false,
    };
    let request = Request {
        target_url: "https://target.example/".to_owned(),
        method: Method::Post,
        headers: Vec::new(),
        body: Some("a body".to_owned()),
        timeout_ms: 1000,
        retry_on: Vec::new(),
        delay_until: None,
        wait_for_signal: false,
        on_complete_url: None,
        on_complete_max_retries: 0,
        metadata: Vec::new(),
        retry_of: None,
        depth: 0,
        follow: Follow::default(),
    };
    let task = Task::new(id, team, 5, policy, None, at);
    NewTask { task, request, host: HostId(7), key_number: 1, idempotency: None }
}

/// Makes a pending task that was created then.
async fn create(store: &Shared, team: TeamId, at: Timestamp) -> TaskId {
    let id = TaskId::from_parts(u64::try_from(at.0).unwrap(), 1, number());
    store.create(pending(team, id, at, Then::Finish)).await.unwrap();
    id
}

/// Makes a task that ended as soon as it was created.
async fn ended(store: &Shared, team: TeamId, at: Timestamp) -> TaskId {
    let id = create(store, team, at).await;
    store.transition(id, Event::Cancel, None, at).await.unwrap();
    id
}

async fn is_gone(store: &Shared, id: TaskId) -> bool {
    matches!(store.read(id).await, Err(StoreError::NotFound))
}
