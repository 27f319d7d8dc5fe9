//! The vault on disk.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::failed;
use crate::store::{StoreError, Team, Token};
use crate::task::{TeamId, Timestamp};

const TOKEN: &str = "SELECT id, team, name, sealed, allowed_hosts, verify_only, created_at, revoked_at FROM token";

pub(super) fn create(db: &Connection, token: &Token) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO token (id, team, name, sealed, allowed_hosts, verify_only, created_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let hosts = token.allowed_hosts.join(" ");
    let values =
        params![token.id, token.team.0, token.name, token.sealed, hosts, token.verify_only, token.created_at.0];
    match db.execute(sql, values).map_err(failed)? {
        0 => Err(StoreError::Taken),
        _ => Ok(()),
    }
}

pub(super) fn list(db: &Connection, team: TeamId) -> Result<Vec<Token>, StoreError> {
    let sql = format!("{TOKEN} WHERE team = ?1 AND revoked_at IS NULL ORDER BY number");
    let mut select = db.prepare_cached(&sql).map_err(failed)?;
    let rows = select.query_map([team.0], read).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

pub(super) fn find(db: &Connection, team: TeamId, id: &str) -> Result<Token, StoreError> {
    let mut select = db.prepare_cached(&format!("{TOKEN} WHERE id = ?1 AND team = ?2")).map_err(failed)?;
    select.query_row(params![id, team.0], read).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

pub(super) fn revoke(db: &Connection, team: TeamId, id: &str, now: Timestamp) -> Result<Token, StoreError> {
    let sql = "UPDATE token SET revoked_at = ?3, sealed = x'' WHERE id = ?1 AND team = ?2 AND revoked_at IS NULL";
    match db.execute(sql, params![id, team.0, now.0]).map_err(failed)? {
        0 => Err(StoreError::NotFound),
        _ => find(db, team, id),
    }
}

pub(super) fn to_reseal(db: &Connection, key_number: u32, limit: usize) -> Result<Vec<Token>, StoreError> {
    let sql = format!("{TOKEN} WHERE revoked_at IS NULL AND substr(sealed, 1, 4) != ?1 ORDER BY number LIMIT ?2");
    let mut select = db.prepare_cached(&sql).map_err(failed)?;
    let number = key_number.to_be_bytes();
    let rows = select.query_map(params![number, limit], read).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

pub(super) fn reseal(db: &Connection, id: &str, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
    let sql = "UPDATE token SET sealed = ?3 WHERE id = ?1 AND sealed = ?2";
    db.execute(sql, params![id, from, to]).map(drop).map_err(failed)
}

pub(super) fn reseal_team(db: &Connection, from: &Team, to: &Team) -> Result<(), StoreError> {
    let old = |team: &Team| team.old_secret.as_ref().map(|(sealed, _)| sealed.clone());
    let sql = "UPDATE team SET secret = ?3, old_secret = ?5 WHERE id = ?1 AND secret = ?2 AND old_secret IS ?4";
    db.execute(sql, params![from.id.0, from.secret, to.secret, old(from), old(to)]).map(drop).map_err(failed)
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Token> {
    let hosts: String = row.get(4)?;
    Ok(Token {
        id: row.get(0)?,
        team: TeamId(row.get(1)?),
        name: row.get(2)?,
        sealed: row.get(3)?,
        allowed_hosts: hosts.split(' ').filter(|host| !host.is_empty()).map(str::to_owned).collect(),
        verify_only: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        revoked_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
    })
}
