//! Teams, their keys, and the small values of the store as a whole.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::session::Session;
use super::{Postgres, failed};
use crate::store::{ApiKey, NewTeam, Seal, StoreError, Team};
use crate::task::{TeamId, Timestamp};

pub(super) const TEAM: &str =
    "SELECT id, uid, name, created_at, rate_limit, secret, old_secret, old_secret_until FROM team";
pub(super) const KEY: &str = "SELECT uid, team, name, prefix, hash, created_at, revoked_at FROM api_key";

pub(super) fn read_team(row: &SqlRow) -> Team {
    read_team_at(row, 0)
}

/// A team whose columns begin at this one.
pub(super) fn read_team_at(row: &SqlRow, first: usize) -> Team {
    let until = Timestamp(row.get::<_, Option<i64>>(first + 7).unwrap_or_default());
    Team {
        id: TeamId(row.get(first)),
        uid: row.get(first + 1),
        name: row.get(first + 2),
        created_at: Timestamp(row.get(first + 3)),
        rate_limit: row.get::<_, Option<i64>>(first + 4).and_then(|limit| u32::try_from(limit).ok()),
        secret: row.get(first + 5),
        old_secret: row.get::<_, Option<Vec<u8>>>(first + 6).map(|secret| (secret, until)),
    }
}

pub(super) fn read_key(row: &SqlRow) -> ApiKey {
    ApiKey {
        uid: row.get(0),
        team: TeamId(row.get(1)),
        name: row.get(2),
        prefix: row.get(3),
        hash: row.get::<_, &[u8]>(4).try_into().unwrap_or_default(),
        created_at: Timestamp(row.get(5)),
        revoked_at: row.get::<_, Option<i64>>(6).map(Timestamp),
    }
}

/// Makes a team within a transaction.
pub(super) async fn create_team(
    session: &Session,
    new: &NewTeam,
    seal: &Seal,
    now: Timestamp,
) -> Result<Team, StoreError> {
    let limit = new.rate_limit.map(i64::from);
    let sql = "INSERT INTO team (uid, name, created_at, rate_limit, secret) VALUES ($1, $2, $3, $4, '') \
        ON CONFLICT (name) DO NOTHING RETURNING id";
    let columns: super::batch::Columns<'_> =
        vec![(&new.uid, Type::UUID), (&new.name, Type::TEXT), (&now.0, Type::INT8), (&limit, Type::INT8)];
    let Some(row) = session.query_one(sql, columns).await? else { return Err(StoreError::Taken) };
    let id = TeamId(row.get(0));
    let sealed = seal(id);
    session
        .execute("UPDATE team SET secret = $2 WHERE id = $1", vec![(&id.0, Type::INT8), (&sealed, Type::BYTEA)])
        .await?;
    team(session, id).await
}

pub(super) async fn team(session: &Session, id: TeamId) -> Result<Team, StoreError> {
    let row = session.query_one(&format!("{TEAM} WHERE id = $1"), vec![(&id.0, Type::INT8)]).await?;
    row.as_ref().map(read_team).ok_or(StoreError::NotFound)
}

pub(super) async fn rotate_secret(
    session: &Session,
    id: TeamId,
    sealed: &[u8],
    old_until: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE team SET old_secret = secret, old_secret_until = $3, secret = $2 WHERE id = $1";
    let columns: super::batch::Columns<'_> =
        vec![(&id.0, Type::INT8), (&sealed, Type::BYTEA), (&old_until.0, Type::INT8)];
    session.execute(sql, columns).await.map(drop)
}

pub(super) async fn set_rate_limit(session: &Session, id: TeamId, limit: Option<u32>) -> Result<(), StoreError> {
    let limit = limit.map(i64::from);
    let sql = "UPDATE team SET rate_limit = $2 WHERE id = $1";
    session.execute(sql, vec![(&id.0, Type::INT8), (&limit, Type::INT8)]).await.map(drop)
}

pub(super) async fn create_key(session: &Session, key: &ApiKey) -> Result<(), StoreError> {
    let sql = "INSERT INTO api_key (uid, team, name, prefix, hash, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
        ON CONFLICT DO NOTHING";
    let hash = &key.hash[..];
    let columns: super::batch::Columns<'_> = vec![
        (&key.uid, Type::UUID),
        (&key.team.0, Type::INT8),
        (&key.name, Type::TEXT),
        (&key.prefix, Type::TEXT),
        (&hash, Type::BYTEA),
        (&key.created_at.0, Type::INT8),
    ];
    match session.execute(sql, columns).await? {
        0 => Err(StoreError::Taken),
        _ => Ok(()),
    }
}

pub(super) async fn revoke_key(session: &Session, uid: Uuid, now: Timestamp) -> Result<ApiKey, StoreError> {
    let sql = "UPDATE api_key SET revoked_at = $2 WHERE uid = $1 AND revoked_at IS NULL \
        RETURNING uid, team, name, prefix, hash, created_at, revoked_at";
    let row = session.query_one(sql, vec![(&uid, Type::UUID), (&now.0, Type::INT8)]).await?;
    row.as_ref().map(read_key).ok_or(StoreError::NotFound)
}

impl Postgres {
    pub(super) async fn all_teams(&self) -> Result<Vec<Team>, StoreError> {
        Ok(self.ask(&format!("{TEAM} ORDER BY id"), vec![]).await?.iter().map(read_team).collect())
    }

    pub(super) async fn keys_of(&self, team: TeamId) -> Result<Vec<ApiKey>, StoreError> {
        let rows = self.ask(&format!("{KEY} WHERE team = $1 ORDER BY number"), vec![(&team.0, Type::INT8)]).await?;
        Ok(rows.iter().map(read_key).collect())
    }

    pub(super) async fn key_by_hash(&self, hash: [u8; 32]) -> Result<(ApiKey, Team), StoreError> {
        let sql = "SELECT k.uid, k.team, k.name, k.prefix, k.hash, k.created_at, k.revoked_at, \
            t.id, t.uid, t.name, t.created_at, t.rate_limit, t.secret, t.old_secret, t.old_secret_until \
            FROM api_key k JOIN team t ON t.id = k.team WHERE k.hash = $1 AND k.revoked_at IS NULL";
        let row = self.one(sql, vec![(&&hash[..], Type::BYTEA)]).await?.ok_or(StoreError::NotFound)?;
        Ok((read_key(&row), read_team_at(&row, 7)))
    }

    pub(super) async fn read_meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.one("SELECT value FROM meta WHERE name = $1", vec![(&name, Type::TEXT)]).await?;
        row.map(|row| row.try_get(0).map_err(failed)).transpose()
    }

    pub(super) async fn write_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value";
        self.ask(sql, vec![(&name, Type::TEXT), (&value, Type::BYTEA)]).await.map(drop)
    }

    /// Writes, so that it is known whether writing works; each node its own row, so that none waits for another.
    pub(super) async fn write_ping(&self) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES ('ping ' || $1::bigint, '0') \
            ON CONFLICT (name) DO UPDATE SET value = CASE meta.value WHEN '0'::bytea THEN '1'::bytea ELSE '0'::bytea END";
        self.ask(sql, vec![(&self.shared.me.id(), Type::INT8)]).await.map(drop)
    }
}
