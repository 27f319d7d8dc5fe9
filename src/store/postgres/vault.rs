//! The vault in the database.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;

use super::Postgres;
use crate::store::{StoreError, Team, Token};
use crate::task::{TeamId, Timestamp};

const TOKEN: &str = "SELECT id, team, name, sealed, allowed_hosts, verify_only, created_at, revoked_at FROM token";

impl Postgres {
    pub(super) async fn add_token(&self, token: &Token) -> Result<(), StoreError> {
        let sql = "INSERT INTO token (id, team, name, sealed, allowed_hosts, verify_only, created_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING number";
        let hosts = token.allowed_hosts.join(" ");
        let columns: super::batch::Columns<'_> = vec![
            (&token.id, Type::TEXT),
            (&token.team.0, Type::INT8),
            (&token.name, Type::TEXT),
            (&token.sealed, Type::BYTEA),
            (&hosts, Type::TEXT),
            (&token.verify_only, Type::BOOL),
            (&token.created_at.0, Type::INT8),
        ];
        self.one(sql, columns).await?.map(drop).ok_or(StoreError::Taken)
    }

    pub(super) async fn tokens_of(&self, team: TeamId) -> Result<Vec<Token>, StoreError> {
        let sql = format!("{TOKEN} WHERE team = $1 AND revoked_at IS NULL ORDER BY number");
        Ok(self.ask(&sql, vec![(&team.0, Type::INT8)]).await?.iter().map(read).collect())
    }

    pub(super) async fn one_token(&self, team: TeamId, id: &str) -> Result<Token, StoreError> {
        let sql = format!("{TOKEN} WHERE id = $1 AND team = $2");
        let row = self.one(&sql, vec![(&id, Type::TEXT), (&team.0, Type::INT8)]).await?;
        row.as_ref().map(read).ok_or(StoreError::NotFound)
    }

    pub(super) async fn stop_token(&self, team: TeamId, id: &str, now: Timestamp) -> Result<Token, StoreError> {
        let sql = "UPDATE token SET revoked_at = $3, sealed = '' WHERE id = $1 AND team = $2 AND revoked_at IS NULL \
            RETURNING id, team, name, sealed, allowed_hosts, verify_only, created_at, revoked_at";
        let row = self.one(sql, vec![(&id, Type::TEXT), (&team.0, Type::INT8), (&now.0, Type::INT8)]).await?;
        row.as_ref().map(read).ok_or(StoreError::NotFound)
    }

    pub(super) async fn tokens_sealed_otherwise(
        &self,
        key_number: u32,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError> {
        let number = key_number.to_be_bytes();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = format!(
            "{TOKEN} WHERE revoked_at IS NULL AND substring(sealed FROM 1 FOR 4) <> $1 ORDER BY number LIMIT $2"
        );
        let rows = self.ask(&sql, vec![(&&number[..], Type::BYTEA), (&limit, Type::INT8)]).await?;
        Ok(rows.iter().map(read).collect())
    }

    pub(super) async fn replace_seal(&self, id: &str, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        let sql = "UPDATE token SET sealed = $3 WHERE id = $1 AND sealed = $2";
        self.ask(sql, vec![(&id, Type::TEXT), (&from, Type::BYTEA), (&to, Type::BYTEA)]).await.map(drop)
    }

    pub(super) async fn replace_team_seals(&self, from: &Team, to: &Team) -> Result<(), StoreError> {
        let old = |team: &Team| team.old_secret.as_ref().map(|(sealed, _)| sealed.clone());
        let sql = "UPDATE team SET secret = $3, old_secret = $5 \
            WHERE id = $1 AND secret = $2 AND old_secret IS NOT DISTINCT FROM $4";
        let (old_from, old_to) = (old(from), old(to));
        let columns: super::batch::Columns<'_> = vec![
            (&from.id.0, Type::INT8),
            (&from.secret, Type::BYTEA),
            (&to.secret, Type::BYTEA),
            (&old_from, Type::BYTEA),
            (&old_to, Type::BYTEA),
        ];
        self.ask(sql, columns).await.map(drop)
    }
}

fn read(row: &SqlRow) -> Token {
    Token {
        id: row.get(0),
        team: TeamId(row.get(1)),
        name: row.get(2),
        sealed: row.get(3),
        allowed_hosts: row.get::<_, &str>(4).split(' ').filter(|host| !host.is_empty()).map(str::to_owned).collect(),
        verify_only: row.get(5),
        created_at: Timestamp(row.get(6)),
        revoked_at: row.get::<_, Option<i64>>(7).map(Timestamp),
    }
}
