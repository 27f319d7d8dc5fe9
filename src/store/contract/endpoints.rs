//! Endpoints, jobs, and events that come too early.

use uuid::Uuid;

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::{Endpoint, STRAYS_MAX, Stray};

fn endpoint(team: TeamId, n: u128) -> Endpoint {
    Endpoint {
        uid: Uuid::from_u128(n),
        address: Uuid::from_u128(n + 100),
        team,
        provider: "openai-responses".to_owned(),
        secret: Some("tok_x".to_owned()),
        key_number: 1,
        created_at: T,
    }
}

fn job(id: &str) -> Job {
    Job { provider: "openai-responses".to_owned(), id: id.to_owned() }
}

fn stray(team: TeamId, id: &str, at: Timestamp) -> Stray {
    let verdict = CallbackVerdict::Failed("no \"luck\"".to_owned());
    let job = job(id);
    Stray { id: 0, team, provider: job.provider, job: job.id, at, verdict, body: Bytes::from_static(b"{\"a\":1}") }
}

/// Creates a task that waits for `named`.
async fn waiting_for(store: &dyn Store, team: TeamId, n: u16, named: &str) {
    store.create(new(team, n)).await.unwrap();
    assert_eq!(claim(store, 1).await, [id(n)]);
    let answer = Answer::Accepted { status: 200, job: Some(job(named)) };
    let event = Event::Answered { attempt: 1, answer, duration_ms: 1 };
    store.transition(id(n), event, told("answer"), T).await.unwrap();
}

pub async fn an_endpoint_is_found_by_its_latest_address(store: &dyn Store) {
    let team = team(store, "a").await;
    let first = endpoint(team, 1);
    store.create_endpoint(first.clone()).await.unwrap();
    assert_eq!(store.find_endpoint(first.address).await.unwrap(), first);
    let address = Uuid::from_u128(999);
    let rotated = store.rotate_endpoint(team, first.uid, address, 2).await.unwrap();
    assert_eq!(rotated, Endpoint { address, key_number: 2, ..first.clone() });
    assert!(is_missing(&store.find_endpoint(first.address).await));
    assert_eq!(store.find_endpoint(address).await.unwrap(), rotated);
    let secret = Some("tok_y".to_owned());
    let changed = store.resecret_endpoint(team, first.uid, secret.clone()).await.unwrap();
    assert_eq!(changed, Endpoint { secret, ..rotated });
    assert_eq!(store.find_endpoint(address).await.unwrap(), changed);
    assert_eq!(store.delete_endpoint(team, first.uid).await.unwrap(), changed);
    assert!(is_missing(&store.find_endpoint(address).await));
}

pub async fn an_endpoint_is_its_teams_own(store: &dyn Store) {
    let (own, other) = (team(store, "a").await, team(store, "b").await);
    let endpoint = endpoint(own, 1);
    store.create_endpoint(endpoint.clone()).await.unwrap();
    assert!(matches!(store.create_endpoint(endpoint.clone()).await, Err(StoreError::Taken)));
    assert_eq!(store.endpoints(own).await.unwrap(), std::slice::from_ref(&endpoint));
    assert_eq!(store.endpoints(other).await.unwrap(), []);
    assert!(is_missing(&store.delete_endpoint(other, endpoint.uid).await));
    assert!(is_missing(&store.rotate_endpoint(other, endpoint.uid, Uuid::from_u128(5), 1).await));
    assert!(is_missing(&store.resecret_endpoint(other, endpoint.uid, None).await));
}

pub async fn a_job_finds_the_task_whose_answer_named_it(store: &dyn Store) {
    let (own, other) = (team(store, "a").await, team(store, "b").await);
    waiting_for(store, own, 1, "resp_1").await;
    assert_eq!(store.find_job(own, job("resp_1")).await.unwrap(), id(1));
    assert!(is_missing(&store.find_job(other, job("resp_1")).await));
    assert!(is_missing(&store.find_job(own, job("resp_2")).await));
    let elsewhere = Job { provider: "mux".to_owned(), ..job("resp_1") };
    assert!(is_missing(&store.find_job(own, elsewhere).await));
    waiting_for(store, own, 2, "resp_1").await;
    assert_eq!(store.find_job(own, job("resp_1")).await.unwrap(), id(1), "the first task keeps it");
    store.transition(id(1), Event::Cancel, None, T).await.unwrap();
    store.delete(id(1)).await.unwrap();
    assert!(is_missing(&store.find_job(own, job("resp_1")).await), "it goes with its task");
}

pub async fn an_early_event_meets_its_task_once_the_answer_names_it(store: &dyn Store) {
    let team = team(store, "a").await;
    store.keep_stray(stray(team, "resp_1", T)).await.unwrap();
    store.keep_stray(stray(team, "resp_9", T)).await.unwrap();
    assert_eq!(store.matched_strays(9).await.unwrap(), []);
    waiting_for(store, team, 1, "resp_1").await;
    let matched = store.matched_strays(9).await.unwrap();
    let [(found, task)] = &matched[..] else { panic!("{matched:?}") };
    assert_eq!((found, *task), (&Stray { id: found.id, ..stray(team, "resp_1", T) }, id(1)));
    store.drop_stray(found.id).await.unwrap();
    assert_eq!(store.matched_strays(9).await.unwrap(), []);
}

pub async fn early_events_are_bounded_and_forgotten(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..STRAYS_MAX {
        let at = T.plus_millis(i64::try_from(n).unwrap());
        store.keep_stray(stray(team, "resp_1", at)).await.unwrap();
    }
    assert!(matches!(store.keep_stray(stray(team, "resp_1", T)).await, Err(StoreError::Overloaded)));
    assert_eq!(store.purge_strays(T.plus_millis(10)).await.unwrap(), 10);
    store.keep_stray(stray(team, "resp_1", T)).await.unwrap();
}
