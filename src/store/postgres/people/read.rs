//! Looking people up.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::batch::Columns;
use super::super::session::Session as Link;
use super::super::teams::{self, read_team_at};
use crate::store::{Account, Door, Identity, Invitation, Member, Presence, Role, Session, StoreError, Team};
use crate::task::{TeamId, Timestamp};

const ACCOUNT: &str = "SELECT a.uid, a.email, a.name, a.password, a.created_at FROM account a";
const SESSION: &str =
    "SELECT uid, hash, account, team, door, address, agent, created_at, seen_at, expires_at FROM session";
const INVITATION: &str = "SELECT uid, hash, team, role, email, invited_by, created_at, expires_at FROM invitation";

pub(super) async fn account(link: &Link, uid: Uuid) -> Result<Account, StoreError> {
    one(link, &format!("{ACCOUNT} WHERE a.uid = $1"), vec![(&uid, Type::UUID)], read_account).await
}

pub(super) async fn account_of(link: &Link, email: &str) -> Result<Account, StoreError> {
    one(link, &format!("{ACCOUNT} WHERE a.email = $1"), vec![(&email, Type::TEXT)], read_account).await
}

pub(super) async fn account_by(link: &Link, identity: &Identity) -> Result<Account, StoreError> {
    let sql = format!("{ACCOUNT} JOIN identity i ON i.account = a.uid WHERE i.issuer = $1 AND i.subject = $2");
    one(link, &sql, vec![(&identity.issuer, Type::TEXT), (&identity.subject, Type::TEXT)], read_account).await
}

pub(super) async fn session(link: &Link, uid: Uuid) -> Result<Session, StoreError> {
    one(link, &format!("{SESSION} WHERE uid = $1"), vec![(&uid, Type::UUID)], read_session).await
}

pub(super) async fn session_by_hash(link: &Link, hash: &[u8; 32]) -> Result<Session, StoreError> {
    one(link, &format!("{SESSION} WHERE hash = $1"), vec![(&&hash[..], Type::BYTEA)], read_session).await
}

pub(super) async fn sessions(link: &Link, account: Uuid) -> Result<Vec<Session>, StoreError> {
    let sql = format!("{SESSION} WHERE account = $1 ORDER BY number DESC");
    Ok(link.query(&sql, vec![(&account, Type::UUID)]).await?.iter().map(read_session).collect())
}

pub(super) async fn presence(link: &Link, session: Session) -> Result<Presence, StoreError> {
    let account = account(link, session.account).await?;
    let sql = "SELECT m.role, t.id, t.uid, t.name, t.created_at, t.rate_limit, t.secret, t.old_secret, t.old_secret_until \
        FROM membership m JOIN team t ON t.id = m.team WHERE m.account = $1 ORDER BY m.team";
    let rows = link.query(sql, vec![(&account.uid, Type::UUID)]).await?;
    let teams = rows.iter().map(|row| (read_team_at(row, 1), role(row.get(0)))).collect();
    Ok(Presence { session, account, teams })
}

pub(super) async fn members(link: &Link, team: TeamId) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT a.uid, a.email, a.name, a.password, a.created_at, m.role, m.since \
        FROM membership m JOIN account a ON a.uid = m.account WHERE m.team = $1 ORDER BY m.number";
    let read =
        |row: &SqlRow| Member { account: read_account(row), role: role(row.get(5)), since: Timestamp(row.get(6)) };
    Ok(link.query(sql, vec![(&team.0, Type::INT8)]).await?.iter().map(read).collect())
}

pub(super) async fn invitations(link: &Link, team: TeamId, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
    let sql = format!("{INVITATION} WHERE team = $1 AND expires_at > $2 ORDER BY number");
    let rows = link.query(&sql, vec![(&team.0, Type::INT8), (&now.0, Type::INT8)]).await?;
    Ok(rows.iter().map(read_invitation).collect())
}

/// With a lock on it, so that of two who use it at once the second finds it gone.
pub(super) async fn invitation(
    link: &Link,
    hash: &[u8; 32],
    now: Timestamp,
    lock: &str,
) -> Result<(Invitation, Team), StoreError> {
    let sql = format!("{INVITATION} WHERE hash = $1 AND expires_at > $2 {lock}");
    let hash = &hash[..];
    let columns: Columns<'_> = vec![(&hash, Type::BYTEA), (&now.0, Type::INT8)];
    let found = one(link, &sql, columns, read_invitation).await?;
    let team = teams::team(link, found.team).await?;
    Ok((found, team))
}

pub(super) async fn invitation_of(link: &Link, uid: Uuid) -> Result<Invitation, StoreError> {
    one(link, &format!("{INVITATION} WHERE uid = $1"), vec![(&uid, Type::UUID)], read_invitation).await
}

async fn one<T>(
    link: &Link,
    sql: &str,
    columns: Columns<'_>,
    read: impl FnOnce(&SqlRow) -> T,
) -> Result<T, StoreError> {
    link.query_one(sql, columns).await?.as_ref().map(read).ok_or(StoreError::NotFound)
}

fn read_account(row: &SqlRow) -> Account {
    Account {
        uid: row.get(0),
        email: row.get(1),
        name: row.get(2),
        password: row.get(3),
        created_at: Timestamp(row.get(4)),
    }
}

fn read_session(row: &SqlRow) -> Session {
    Session {
        uid: row.get(0),
        hash: row.get::<_, &[u8]>(1).try_into().unwrap_or_default(),
        account: row.get(2),
        team: row.get::<_, Option<i64>>(3).map(TeamId),
        door: if row.get::<_, i16>(4) == 0 { Door::Browser } else { Door::Api },
        address: row.get::<_, Option<&str>>(5).and_then(|text| text.parse().ok()),
        agent: row.get(6),
        created_at: Timestamp(row.get(7)),
        seen_at: Timestamp(row.get(8)),
        expires_at: Timestamp(row.get(9)),
    }
}

fn read_invitation(row: &SqlRow) -> Invitation {
    Invitation {
        uid: row.get(0),
        hash: row.get::<_, &[u8]>(1).try_into().unwrap_or_default(),
        team: TeamId(row.get(2)),
        role: role(row.get(3)),
        email: row.get(4),
        invited_by: row.get(5),
        created_at: Timestamp(row.get(6)),
        expires_at: Timestamp(row.get(7)),
    }
}

/// A number of a role that we do not know is the least of them.
fn role(number: i16) -> Role {
    usize::try_from(number).ok().and_then(|number| Role::ALL.get(number).copied()).unwrap_or(Role::Reader)
}
