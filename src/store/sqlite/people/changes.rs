//! Changes to people. Whatever may be refused is refused before the first write.

use rusqlite::{Connection, Params, params};
use uuid::Uuid;

use super::super::{failed, queries};
use super::read;
use crate::store::{Account, Change, Door, Identity, Invitation, Joining, Role, Session, StoreError};
use crate::task::{TeamId, Timestamp};

/// Under which name the setup link is kept: 32 bytes of hash, 8 bytes of time.
const SETUP_LINK: &str = "setup link";

/// Makes a change; answers the team that it made, if it made one.
pub(super) fn apply(db: &Connection, change: &Change, now: Timestamp) -> Result<Option<TeamId>, StoreError> {
    match change {
        Change::CreateTeam { team, seal, owner } => {
            owner.map_or(Ok(()), |owner| read::account(db, owner).map(drop))?;
            let made = queries::create_team(db, team, seal, now)?.id;
            owner.map_or(Ok(()), |owner| add_member(db, made, owner, Role::Owner, now))?;
            Ok(Some(made))
        }
        other => apply_other(db, other, now).map(|()| None),
    }
}

fn apply_other(db: &Connection, change: &Change, now: Timestamp) -> Result<(), StoreError> {
    match change {
        Change::SetUp { link, account, session } => set_up(db, link, account, session, now),
        Change::SignIn(session) => open_session(db, session),
        Change::SignUp { account, identity, session } => {
            must_be_free(db, identity)?;
            add_account(db, account)?;
            link(db, account.uid, identity)?;
            open_session(db, session)
        }
        Change::Link { account, identity } => link(db, *account, identity),
        Change::EndSession { account, session } => {
            changed(db, "DELETE FROM session WHERE uid = ?1 AND account = ?2", [session, account])
        }
        Change::EndSessions { account, but } => end_sessions(db, *account, *but),
        Change::SetPassword { account, password, but } => {
            changed(db, "UPDATE account SET password = ?2 WHERE uid = ?1", params![account, password])?;
            end_sessions(db, *account, *but)
        }
        Change::Rename { account, name } => {
            changed(db, "UPDATE account SET name = ?2 WHERE uid = ?1", params![account, name])
        }
        Change::AddMember { team, account, role } => add_member(db, *team, *account, *role, now),
        Change::SetRole { team, account, role } => set_role(db, *team, *account, *role),
        Change::RemoveMember { team, account } => {
            must_have_owner(db, *team, *account)?;
            changed(db, "DELETE FROM membership WHERE team = ?1 AND account = ?2", params![team.0, account])
        }
        Change::Invite(invitation) => invite(db, invitation),
        Change::RevokeInvitation { team, uid } => {
            changed(db, "DELETE FROM invitation WHERE team = ?1 AND uid = ?2", params![team.0, uid])
        }
        Change::Accept { invitation, joining } => accept(db, invitation, joining, now),
        Change::CreateTeam { .. } => unreachable!("that makes a team"),
        Change::LimitTeam { team, limit } => queries::set_rate_limit(db, *team, *limit).map(drop),
        Change::CreateKey(key) => queries::create_key(db, key),
        Change::RevokeKey(uid) => queries::revoke_key(db, *uid, now).map(drop),
        Change::RotateSecret { team, sealed, old_until } => {
            queries::rotate_secret(db, *team, sealed, *old_until).map(drop)
        }
    }
}

fn set_up(
    db: &Connection,
    link: &[u8; 32],
    account: &Account,
    session: &Session,
    now: Timestamp,
) -> Result<(), StoreError> {
    if has_accounts(db)? {
        return Err(StoreError::Taken);
    }
    if !is_setup_link(db, link, now)? {
        return Err(StoreError::NotFound);
    }
    execute(db, "DELETE FROM meta WHERE name = ?1", [SETUP_LINK])?;
    add_account(db, account)?;
    for team in queries::teams(db)? {
        add_member(db, team.id, account.uid, Role::Owner, now)?;
    }
    open_session(db, session)
}

pub(super) fn has_accounts(db: &Connection) -> Result<bool, StoreError> {
    exists(db, "SELECT 1 FROM account LIMIT 1", [])
}

pub(super) fn set_setup_link(db: &Connection, hash: &[u8; 32], expires_at: Timestamp) -> Result<(), StoreError> {
    let value = [hash.as_slice(), &expires_at.0.to_be_bytes()].concat();
    queries::set_meta(db, SETUP_LINK, &value)
}

pub(super) fn is_setup_link(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
    let known = queries::meta(db, SETUP_LINK)?.unwrap_or_default();
    let Some((known, expires_at)) = known.split_at_checked(32) else {
        return Ok(false);
    };
    let expires_at = expires_at.try_into().map_or(0, i64::from_be_bytes);
    Ok(known == hash && now.0 < expires_at)
}

fn add_account(db: &Connection, account: &Account) -> Result<(), StoreError> {
    if exists(db, "SELECT 1 FROM account WHERE email = ?1 OR uid = ?2", params![account.email, account.uid])? {
        return Err(StoreError::Taken);
    }
    let Account { uid, email, name, password, created_at } = account;
    let sql = "INSERT INTO account (uid, email, name, password, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(db, sql, params![uid, email, name, password, created_at.0]).map(drop)
}

fn link(db: &Connection, account: Uuid, identity: &Identity) -> Result<(), StoreError> {
    must_be_free(db, identity)?;
    let sql = "INSERT INTO identity (issuer, subject, account) VALUES (?1, ?2, ?3)";
    execute(db, sql, params![identity.issuer, identity.subject, account]).map(drop)
}

fn must_be_free(db: &Connection, identity: &Identity) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM identity WHERE issuer = ?1 AND subject = ?2";
    let is_taken = exists(db, sql, [&identity.issuer, &identity.subject])?;
    if is_taken { Err(StoreError::Taken) } else { Ok(()) }
}

fn open_session(db: &Connection, session: &Session) -> Result<(), StoreError> {
    let sql = "INSERT INTO session (uid, hash, account, team, door, address, agent, created_at, seen_at, expires_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let Session { uid, hash, account, agent, .. } = session;
    let (team, door) = (session.team.map(|team| team.0), i64::from(session.door == Door::Api));
    let address = session.address.map(|address| address.to_string());
    let (from, seen, until) = (session.created_at.0, session.seen_at.0, session.expires_at.0);
    execute(db, sql, params![uid, hash, account, team, door, address, agent, from, seen, until]).map(drop)
}

fn end_sessions(db: &Connection, account: Uuid, but: Option<Uuid>) -> Result<(), StoreError> {
    execute(db, "DELETE FROM session WHERE account = ?1 AND uid IS NOT ?2", params![account, but]).map(drop)
}

pub(super) fn seen(db: &Connection, session: Uuid, at: Timestamp) -> Result<(), StoreError> {
    changed(db, "UPDATE session SET seen_at = max(seen_at, ?2) WHERE uid = ?1", params![session, at.0])
}

pub(super) fn look_at(db: &Connection, session: Uuid, team: TeamId) -> Result<(), StoreError> {
    changed(db, "UPDATE session SET team = ?2 WHERE uid = ?1", params![session, team.0])
}

fn add_member(db: &Connection, team: TeamId, account: Uuid, role: Role, now: Timestamp) -> Result<(), StoreError> {
    if is_member(db, team, account)? {
        return Err(StoreError::Taken);
    }
    if !exists(db, "SELECT 1 FROM team, account WHERE team.id = ?1 AND account.uid = ?2", params![team.0, account])? {
        return Err(StoreError::NotFound);
    }
    let sql = "INSERT INTO membership (team, account, role, since) VALUES (?1, ?2, ?3, ?4)";
    execute(db, sql, params![team.0, account, role as i64, now.0]).map(drop)
}

fn is_member(db: &Connection, team: TeamId, account: Uuid) -> Result<bool, StoreError> {
    exists(db, "SELECT 1 FROM membership WHERE team = ?1 AND account = ?2", params![team.0, account])
}

fn set_role(db: &Connection, team: TeamId, account: Uuid, role: Role) -> Result<(), StoreError> {
    if role != Role::Owner {
        must_have_owner(db, team, account)?;
    }
    let sql = "UPDATE membership SET role = ?3 WHERE team = ?1 AND account = ?2";
    changed(db, sql, params![team.0, account, role as i64])
}

/// Refuses to do without this member if nobody else owns the team.
fn must_have_owner(db: &Connection, team: TeamId, without: Uuid) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM membership WHERE team = ?1 AND role = ?2 AND (account = ?3) = ?4";
    let owner = Role::Owner as i64;
    let owns = exists(db, sql, params![team.0, owner, without, true])?;
    let others = exists(db, sql, params![team.0, owner, without, false])?;
    if owns && !others { Err(StoreError::LastOwner) } else { Ok(()) }
}

fn invite(db: &Connection, invitation: &Invitation) -> Result<(), StoreError> {
    let sql = "INSERT INTO invitation (uid, hash, team, role, email, invited_by, created_at, expires_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Invitation { uid, hash, team, role, email, invited_by, created_at, expires_at } = invitation;
    let role = *role as i64;
    execute(db, sql, params![uid, hash, team.0, role, email, invited_by, created_at.0, expires_at.0]).map(drop)
}

fn accept(db: &Connection, hash: &[u8; 32], joining: &Joining, now: Timestamp) -> Result<(), StoreError> {
    let (invitation, _) = read::invitation(db, hash, now)?;
    let uid = match joining {
        Joining::Known(uid) if is_member(db, invitation.team, *uid)? => return Err(StoreError::Taken),
        Joining::Known(uid) => *uid,
        Joining::New(newcomer) => {
            add_account(db, &newcomer.0)?;
            newcomer.0.uid
        }
    };
    add_member(db, invitation.team, uid, invitation.role, now)?;
    changed(db, "DELETE FROM invitation WHERE uid = ?1", [invitation.uid])?;
    match joining {
        Joining::New(newcomer) => open_session(db, &newcomer.1),
        Joining::Known(_) => Ok(()),
    }
}

pub(super) fn tidy(
    db: &Connection,
    unused_since: Timestamp,
    lines_before: Timestamp,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let sessions = execute(db, "DELETE FROM session WHERE seen_at < ?1 OR expires_at <= ?2", [unused_since.0, now.0])?;
    let invitations = execute(db, "DELETE FROM invitation WHERE expires_at <= ?1", [now.0])?;
    // Lines are written in the order of time, so the old ones are the first.
    let lines = execute(
        db,
        "DELETE FROM audit WHERE number IN (SELECT number FROM audit ORDER BY number LIMIT 1000) AND at < ?1",
        [lines_before.0],
    )?;
    Ok(sessions + invitations + lines)
}

fn exists(db: &Connection, sql: &str, values: impl Params) -> Result<bool, StoreError> {
    db.prepare_cached(sql).and_then(|mut select| select.exists(values)).map_err(failed)
}

fn execute(db: &Connection, sql: &str, values: impl Params) -> Result<usize, StoreError> {
    db.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(failed)
}

/// Executes what has to find its row.
fn changed(db: &Connection, sql: &str, values: impl Params) -> Result<(), StoreError> {
    match execute(db, sql, values)? {
        0 => Err(StoreError::NotFound),
        _ => Ok(()),
    }
}
