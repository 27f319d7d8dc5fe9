//! Teams, keys, and what belongs to the store as a whole.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::ApiKey;

fn key(n: u8, team: TeamId) -> ApiKey {
    ApiKey {
        uid: uuid::Uuid::from_u128(n.into()),
        team,
        name: format!("key {n}"),
        prefix: format!("async_{n}"),
        hash: [n; 32],
        created_at: T,
        revoked_at: None,
    }
}

pub async fn a_teams_name_is_taken_once(store: &dyn Store) {
    let first = team(store, "a").await;
    let again = NewTeam { uid: uuid::Uuid::from_u128(1), name: "a".to_owned(), rate_limit: None };
    assert!(matches!(store.create_team(again, Arc::new(|_| vec![]), T).await, Err(StoreError::Taken)));
    let second = team(store, "b").await;
    let ids: Vec<_> = store.teams().await.unwrap().into_iter().map(|team| team.id).collect();
    assert_eq!(ids, [first, second]);
}

pub async fn a_secret_is_sealed_for_its_team_and_rotated(store: &dyn Store) {
    team(store, "a").await;
    let id = team(store, "b").await;
    let made = store.team(id).await.unwrap();
    assert_eq!((&made.secret[..], &made.old_secret), (&id.0.to_le_bytes()[..1], &None));
    let until = T.plus_millis(9);
    let rotated = store.rotate_secret(id, vec![9, 9], until).await.unwrap();
    assert_eq!((&rotated.secret[..], rotated.old_secret.clone()), (&[9, 9][..], Some((made.secret, until))));
    let again = store.rotate_secret(id, vec![8], until).await.unwrap();
    assert_eq!(again.old_secret, Some((vec![9, 9], until)));
    assert_eq!(store.team(id).await.unwrap(), again);
    assert!(is_missing(&store.rotate_secret(TeamId(99), vec![], T).await));
}

pub async fn a_rate_limit_is_set_and_lifted(store: &dyn Store) {
    let id = team(store, "a").await;
    for limit in [Some(60), None] {
        assert_eq!(store.set_rate_limit(id, limit).await.unwrap().rate_limit, limit);
        assert_eq!(store.team(id).await.unwrap().rate_limit, limit);
    }
    assert!(is_missing(&store.set_rate_limit(TeamId(99), None).await));
}

pub async fn a_key_is_found_until_it_is_revoked(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create_key(key(1, team)).await.unwrap();
    assert!(matches!(store.create_key(ApiKey { hash: [1; 32], ..key(2, team) }).await, Err(StoreError::Taken)));
    let (found, owner) = store.find_key([1; 32]).await.unwrap();
    assert_eq!((found, owner), (key(1, team), store.team(team).await.unwrap()));
    assert!(is_missing(&store.find_key([2; 32]).await));
    let revoked = store.revoke_key(key(1, team).uid, T.plus_millis(4)).await.unwrap();
    assert_eq!(revoked.revoked_at, Some(T.plus_millis(4)));
    assert!(is_missing(&store.find_key([1; 32]).await));
    assert!(is_missing(&store.revoke_key(key(1, team).uid, T).await));
    assert_eq!(store.keys(team).await.unwrap(), [revoked]);
}

pub async fn keys_are_listed_oldest_first_by_team(store: &dyn Store) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    for (n, team) in [(3, one), (1, two), (2, one)] {
        store.create_key(key(n, team)).await.unwrap();
    }
    assert_eq!(store.keys(one).await.unwrap(), [key(3, one), key(2, one)]);
    assert_eq!(store.keys(two).await.unwrap(), [key(1, two)]);
    assert_eq!(store.keys(TeamId(99)).await.unwrap(), []);
}

pub async fn small_values_are_kept(store: &dyn Store) {
    assert_eq!(store.meta("colour").await.unwrap(), None);
    for value in [&b"red"[..], b"", b"blue"] {
        store.set_meta("colour", value.to_vec()).await.unwrap();
        assert_eq!(store.meta("colour").await.unwrap().as_deref(), Some(value));
    }
}

pub async fn a_ping_is_answered(store: &dyn Store) {
    for _ in 0..12 {
        store.ping().await.unwrap();
    }
}
