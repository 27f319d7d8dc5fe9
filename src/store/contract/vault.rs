//! The vault.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::Token;

fn token(team: TeamId, id: &str) -> Token {
    Token {
        id: format!("tok_{id}"),
        team,
        name: format!("the key {id}"),
        sealed: vec![0, 0, 0, 1, 42],
        allowed_hosts: vec!["api.example".to_owned(), "*.cdn.example".to_owned()],
        verify_only: id == "v",
        created_at: T,
        revoked_at: None,
    }
}

pub async fn a_token_is_its_teams_until_it_is_revoked(store: &dyn Store) {
    let (own, other) = (team(store, "a").await, team(store, "b").await);
    for id in ["x", "v"] {
        store.create_token(token(own, id)).await.unwrap();
    }
    assert!(matches!(store.create_token(token(other, "x")).await, Err(StoreError::Taken)));
    assert_eq!(store.tokens(own).await.unwrap(), [token(own, "x"), token(own, "v")]);
    assert_eq!(store.tokens(other).await.unwrap(), []);
    assert_eq!(store.token(own, "tok_v".to_owned()).await.unwrap(), token(own, "v"));
    assert!(is_missing(&store.token(other, "tok_v".to_owned()).await));
    assert!(is_missing(&store.revoke_token(other, "tok_v".to_owned(), T).await));
    store.revoke_token(own, "tok_v".to_owned(), T).await.unwrap();
    assert_eq!(store.tokens(own).await.unwrap(), [token(own, "x")]);
}

pub async fn a_revoked_token_has_no_value_left(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create_token(token(team, "x")).await.unwrap();
    let revoked = store.revoke_token(team, "tok_x".to_owned(), T.plus_millis(5)).await.unwrap();
    assert_eq!(revoked, Token { sealed: Vec::new(), revoked_at: Some(T.plus_millis(5)), ..token(team, "x") });
    assert_eq!(store.token(team, "tok_x".to_owned()).await.unwrap(), revoked);
    assert!(is_missing(&store.revoke_token(team, "tok_x".to_owned(), T).await), "the second time");
}

pub async fn seals_are_replaced_only_as_they_were_read(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create_token(token(team, "x")).await.unwrap();
    store.create_token(token(team, "y")).await.unwrap();
    store.revoke_token(team, "tok_y".to_owned(), T).await.unwrap();
    assert_eq!(store.tokens_to_reseal(1, 9).await.unwrap(), []);
    assert_eq!(store.tokens_to_reseal(2, 9).await.unwrap(), [token(team, "x")]);
    let (from, to) = (vec![0, 0, 0, 1, 42], vec![0, 0, 0, 2, 7]);
    store.reseal_token("tok_x".to_owned(), to.clone(), vec![9]).await.unwrap();
    assert_eq!(store.token(team, "tok_x".to_owned()).await.unwrap().sealed, from);
    store.reseal_token("tok_x".to_owned(), from, to.clone()).await.unwrap();
    assert_eq!(store.token(team, "tok_x".to_owned()).await.unwrap().sealed, to);
    assert_eq!(store.tokens_to_reseal(2, 9).await.unwrap(), []);
}

pub async fn a_teams_seals_are_replaced_only_as_they_were_read(store: &dyn Store) {
    let id = team(store, "a").await;
    let before = store.rotate_secret(id, vec![2], T).await.unwrap();
    let old = before.old_secret.clone().unwrap();
    let after = Team { secret: vec![3], old_secret: Some((vec![4], old.1)), ..before.clone() };
    store.reseal_team(after.clone(), before.clone()).await.unwrap();
    assert_eq!(store.team(id).await.unwrap(), before, "the seals were others by then");
    store.reseal_team(before, after.clone()).await.unwrap();
    assert_eq!(store.team(id).await.unwrap(), after);
}
