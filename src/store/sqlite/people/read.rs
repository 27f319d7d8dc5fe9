//! Looking people up.

use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, params};
use uuid::Uuid;

use super::super::{failed, queries};
use crate::store::{Account, Door, Identity, Invitation, Member, Presence, Role, Session, StoreError, Team};
use crate::task::{TeamId, Timestamp};

const ACCOUNT: &str = "SELECT a.uid, a.email, a.name, a.password, a.created_at FROM account a";
const SESSION: &str =
    "SELECT uid, hash, account, team, door, address, agent, created_at, seen_at, expires_at FROM session";
const INVITATION: &str = "SELECT uid, hash, team, role, email, invited_by, created_at, expires_at FROM invitation";

pub(super) fn account(db: &Connection, uid: Uuid) -> Result<Account, StoreError> {
    one(db, &format!("{ACCOUNT} WHERE a.uid = ?1"), [uid], read_account)
}

pub(super) fn account_of(db: &Connection, email: &str) -> Result<Account, StoreError> {
    one(db, &format!("{ACCOUNT} WHERE a.email = ?1"), [email], read_account)
}

pub(super) fn account_by(db: &Connection, identity: &Identity) -> Result<Account, StoreError> {
    let sql = format!("{ACCOUNT} JOIN identity i ON i.account = a.uid WHERE i.issuer = ?1 AND i.subject = ?2");
    one(db, &sql, [&identity.issuer, &identity.subject], read_account)
}

pub(super) fn session(db: &Connection, uid: Uuid) -> Result<Session, StoreError> {
    one(db, &format!("{SESSION} WHERE uid = ?1"), [uid], read_session)
}

pub(super) fn session_by_hash(db: &Connection, hash: &[u8; 32]) -> Result<Session, StoreError> {
    one(db, &format!("{SESSION} WHERE hash = ?1"), [hash], read_session)
}

pub(super) fn sessions(db: &Connection, account: Uuid) -> Result<Vec<Session>, StoreError> {
    all(db, &format!("{SESSION} WHERE account = ?1 ORDER BY number DESC"), [account], read_session)
}

pub(super) fn presence(db: &Connection, session: Session) -> Result<Presence, StoreError> {
    let account = account(db, session.account)?;
    let sql = "SELECT team, role FROM membership WHERE account = ?1 ORDER BY team";
    let roles = all(db, sql, [account.uid], |row| Ok((TeamId(row.get(0)?), role(row.get(1)?))))?;
    let with_team = |(id, role)| queries::team(db, id).map(|team| (team, role));
    let teams = roles.into_iter().map(with_team).collect::<Result<_, _>>()?;
    Ok(Presence { session, account, teams })
}

pub(super) fn members(db: &Connection, team: TeamId) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT a.uid, a.email, a.name, a.password, a.created_at, m.role, m.since \
        FROM membership m JOIN account a ON a.uid = m.account WHERE m.team = ?1 ORDER BY m.number";
    let read = |row: &SqlRow<'_>| {
        Ok(Member { account: read_account(row)?, role: role(row.get(5)?), since: Timestamp(row.get(6)?) })
    };
    all(db, sql, [team.0], read)
}

pub(super) fn invitations(db: &Connection, team: TeamId, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
    let sql = format!("{INVITATION} WHERE team = ?1 AND expires_at > ?2 ORDER BY number");
    all(db, &sql, [team.0, now.0], read_invitation)
}

pub(super) fn invitation(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<(Invitation, Team), StoreError> {
    let sql = format!("{INVITATION} WHERE hash = ?1 AND expires_at > ?2");
    let found = one(db, &sql, params![hash, now.0], read_invitation)?;
    let team = queries::team(db, found.team)?;
    Ok((found, team))
}

pub(super) fn invitation_of(db: &Connection, uid: Uuid) -> Result<Invitation, StoreError> {
    one(db, &format!("{INVITATION} WHERE uid = ?1"), [uid], read_invitation)
}

fn one<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    select.query_row(values, read).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    select.query_map(values, read).and_then(Iterator::collect).map_err(failed)
}

fn read_account(row: &SqlRow<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        uid: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        password: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
    })
}

fn read_session(row: &SqlRow<'_>) -> rusqlite::Result<Session> {
    let address: Option<String> = row.get(5)?;
    Ok(Session {
        uid: row.get(0)?,
        hash: row.get(1)?,
        account: row.get(2)?,
        team: row.get::<_, Option<i64>>(3)?.map(TeamId),
        door: if row.get::<_, i64>(4)? == 0 { Door::Browser } else { Door::Api },
        address: address.and_then(|text| text.parse().ok()),
        agent: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        seen_at: Timestamp(row.get(8)?),
        expires_at: Timestamp(row.get(9)?),
    })
}

fn read_invitation(row: &SqlRow<'_>) -> rusqlite::Result<Invitation> {
    Ok(Invitation {
        uid: row.get(0)?,
        hash: row.get(1)?,
        team: TeamId(row.get(2)?),
        role: role(row.get(3)?),
        email: row.get(4)?,
        invited_by: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        expires_at: Timestamp(row.get(7)?),
    })
}

/// A number of a role that we do not know is the least of them.
pub(super) fn role(number: usize) -> Role {
    Role::ALL.get(number).copied().unwrap_or(Role::Reader)
}
