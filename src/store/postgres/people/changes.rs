//! Changes to people. What two nodes may decide at once is decided under a lock: on the team's row for its members, on the
//! setup link for the first account, on the invitation for who uses it.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::batch::Columns;
use super::super::session::Session as Link;
use super::super::teams;
use super::audit::without_nul;
use super::read;
use crate::store::{Account, Change, Door, Identity, Invitation, Joining, Role, Session, StoreError};
use crate::task::{TeamId, Timestamp};

/// Under which name the setup link is kept: 32 bytes of hash, 8 bytes of time.
pub(super) const SETUP_LINK: &str = "setup link";

/// Makes a change; answers the team that it made, if it made one.
pub(super) async fn apply(link: &Link, change: &Change, now: Timestamp) -> Result<Option<TeamId>, StoreError> {
    if let Change::CreateTeam { team, seal, owner } = change {
        if let Some(owner) = owner {
            read::account(link, *owner).await?;
        }
        let made = teams::create_team(link, team, seal, now).await?.id;
        if let Some(owner) = owner {
            add_member(link, made, *owner, Role::Owner, now).await?;
        }
        return Ok(Some(made));
    }
    apply_other(link, change, now).await.map(|()| None)
}

async fn apply_other(link: &Link, change: &Change, now: Timestamp) -> Result<(), StoreError> {
    match change {
        Change::SetUp { link: hash, account, session } => set_up(link, hash, account, session, now).await,
        Change::SignIn(session) => open_session(link, session).await,
        Change::SignUp { account, identity, session } => {
            add_account(link, account).await?;
            add_identity(link, account.uid, identity).await?;
            open_session(link, session).await
        }
        Change::Link { account, identity } => add_identity(link, *account, identity).await,
        Change::EndSession { account, session } => {
            let sql = "DELETE FROM session WHERE uid = $1 AND account = $2";
            changed(link, sql, vec![(session, Type::UUID), (account, Type::UUID)]).await
        }
        Change::EndSessions { account, but } => end_sessions(link, *account, *but).await,
        Change::SetPassword { account, password, but } => {
            let sql = "UPDATE account SET password = $2 WHERE uid = $1";
            changed(link, sql, vec![(account, Type::UUID), (password, Type::TEXT)]).await?;
            end_sessions(link, *account, *but).await
        }
        Change::Rename { account, name } => {
            let (sql, name) = ("UPDATE account SET name = $2 WHERE uid = $1", without_nul(name));
            changed(link, sql, vec![(account, Type::UUID), (&name, Type::TEXT)]).await
        }
        Change::Accept { invitation, joining } => accept(link, invitation, joining, now).await,
        other => apply_to_team(link, other, now).await,
    }
}

async fn apply_to_team(link: &Link, change: &Change, now: Timestamp) -> Result<(), StoreError> {
    match change {
        Change::AddMember { team, account, role } => add_member(link, *team, *account, *role, now).await,
        Change::SetRole { team, account, role } => set_role(link, *team, *account, *role).await,
        Change::RemoveMember { team, account } => {
            must_have_owner(link, *team, *account).await?;
            let sql = "DELETE FROM membership WHERE team = $1 AND account = $2";
            changed(link, sql, vec![(&team.0, Type::INT8), (account, Type::UUID)]).await
        }
        Change::Invite(invitation) => invite(link, invitation).await,
        Change::RevokeInvitation { team, uid } => {
            let sql = "DELETE FROM invitation WHERE team = $1 AND uid = $2";
            changed(link, sql, vec![(&team.0, Type::INT8), (uid, Type::UUID)]).await
        }
        Change::LimitTeam { team, limit } => {
            teams::set_rate_limit(link, *team, *limit).await?;
            teams::team(link, *team).await.map(drop)
        }
        Change::CreateKey(key) => teams::create_key(link, key).await,
        Change::RevokeKey(uid) => teams::revoke_key(link, *uid, now).await.map(drop),
        Change::RotateSecret { team, sealed, old_until } => {
            teams::rotate_secret(link, *team, sealed, *old_until).await?;
            teams::team(link, *team).await.map(drop)
        }
        _ => unreachable!("it is about people alone"),
    }
}

async fn set_up(
    link: &Link,
    hash: &[u8; 32],
    account: &Account,
    session: &Session,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Whoever locks the link first makes the account; the others find it, or the link gone.
    let known = setup_link(link, "FOR UPDATE").await?;
    if exists(link, "SELECT 1 FROM account LIMIT 1", vec![]).await? {
        return Err(StoreError::Taken);
    }
    if !is_link(&known, hash, now) {
        return Err(StoreError::NotFound);
    }
    link.execute("DELETE FROM meta WHERE name = $1", vec![(&SETUP_LINK, Type::TEXT)]).await?;
    add_account(link, account).await?;
    for row in link.query("SELECT id FROM team ORDER BY id", vec![]).await? {
        add_member(link, TeamId(row.get(0)), account.uid, Role::Owner, now).await?;
    }
    open_session(link, session).await
}

/// The setup link as it is kept; empty if there is none.
pub(super) async fn setup_link(link: &Link, lock: &str) -> Result<Vec<u8>, StoreError> {
    let sql = format!("SELECT value FROM meta WHERE name = $1 {lock}");
    let row = link.query_one(&sql, vec![(&SETUP_LINK, Type::TEXT)]).await?;
    Ok(row.map(|row| row.get(0)).unwrap_or_default())
}

/// Whether what is kept is this link, and it works.
pub(super) fn is_link(known: &[u8], hash: &[u8; 32], now: Timestamp) -> bool {
    let Some((known, expires_at)) = known.split_at_checked(32) else { return false };
    let expires_at = expires_at.try_into().map_or(0, i64::from_be_bytes);
    known == hash && now.0 < expires_at
}

async fn add_account(link: &Link, account: &Account) -> Result<(), StoreError> {
    let Account { uid, email, name, password, created_at } = account;
    let name = without_nul(name);
    let sql = "INSERT INTO account (uid, email, name, password, created_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT DO NOTHING";
    let columns: Columns<'_> = vec![
        (uid, Type::UUID),
        (email, Type::TEXT),
        (&name, Type::TEXT),
        (password, Type::TEXT),
        (&created_at.0, Type::INT8),
    ];
    added(link, sql, columns).await
}

async fn add_identity(link: &Link, account: Uuid, identity: &Identity) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity (issuer, subject, account) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let columns: Columns<'_> =
        vec![(&identity.issuer, Type::TEXT), (&identity.subject, Type::TEXT), (&account, Type::UUID)];
    added(link, sql, columns).await
}

async fn open_session(link: &Link, session: &Session) -> Result<(), StoreError> {
    let sql = "INSERT INTO session (uid, hash, account, team, door, address, agent, created_at, seen_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let (team, door) = (session.team.map(|team| team.0), i16::from(session.door == Door::Api));
    let address = session.address.map(|address| address.to_string());
    let (hash, agent) = (&session.hash[..], without_nul(&session.agent));
    let columns: Columns<'_> = vec![
        (&session.uid, Type::UUID),
        (&hash, Type::BYTEA),
        (&session.account, Type::UUID),
        (&team, Type::INT8),
        (&door, Type::INT2),
        (&address, Type::TEXT),
        (&agent, Type::TEXT),
        (&session.created_at.0, Type::INT8),
        (&session.seen_at.0, Type::INT8),
        (&session.expires_at.0, Type::INT8),
    ];
    link.execute(sql, columns).await.map(drop)
}

async fn end_sessions(link: &Link, account: Uuid, but: Option<Uuid>) -> Result<(), StoreError> {
    let sql = "DELETE FROM session WHERE account = $1 AND uid IS DISTINCT FROM $2";
    link.execute(sql, vec![(&account, Type::UUID), (&but, Type::UUID)]).await.map(drop)
}

async fn add_member(link: &Link, team: TeamId, account: Uuid, role: Role, now: Timestamp) -> Result<(), StoreError> {
    let there = "SELECT 1 FROM team, account WHERE team.id = $1 AND account.uid = $2";
    if !exists(link, there, vec![(&team.0, Type::INT8), (&account, Type::UUID)]).await? {
        return Err(StoreError::NotFound);
    }
    let sql = "INSERT INTO membership (team, account, role, since) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let role = role as i16;
    let columns: Columns<'_> =
        vec![(&team.0, Type::INT8), (&account, Type::UUID), (&role, Type::INT2), (&now.0, Type::INT8)];
    added(link, sql, columns).await
}

async fn set_role(link: &Link, team: TeamId, account: Uuid, role: Role) -> Result<(), StoreError> {
    if role != Role::Owner {
        must_have_owner(link, team, account).await?;
    }
    let sql = "UPDATE membership SET role = $3 WHERE team = $1 AND account = $2";
    let role = role as i16;
    changed(link, sql, vec![(&team.0, Type::INT8), (&account, Type::UUID), (&role, Type::INT2)]).await
}

/// Refuses to do without this member if nobody else owns the team. Locks the team, so that of two owners who remove each
/// other at once only one succeeds.
async fn must_have_owner(link: &Link, team: TeamId, without: Uuid) -> Result<(), StoreError> {
    link.query("SELECT id FROM team WHERE id = $1 FOR UPDATE", vec![(&team.0, Type::INT8)]).await?;
    let sql = "SELECT account FROM membership WHERE team = $1 AND role = $2";
    let owner = Role::Owner as i16;
    let owners = link.query(sql, vec![(&team.0, Type::INT8), (&owner, Type::INT2)]).await?;
    let is_last = owners.len() == 1 && owners[0].get::<_, Uuid>(0) == without;
    if is_last { Err(StoreError::LastOwner) } else { Ok(()) }
}

async fn invite(link: &Link, invitation: &Invitation) -> Result<(), StoreError> {
    let sql = "INSERT INTO invitation (uid, hash, team, role, email, invited_by, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (role, hash) = (invitation.role as i16, &invitation.hash[..]);
    let columns: Columns<'_> = vec![
        (&invitation.uid, Type::UUID),
        (&hash, Type::BYTEA),
        (&invitation.team.0, Type::INT8),
        (&role, Type::INT2),
        (&invitation.email, Type::TEXT),
        (&invitation.invited_by, Type::UUID),
        (&invitation.created_at.0, Type::INT8),
        (&invitation.expires_at.0, Type::INT8),
    ];
    link.execute(sql, columns).await.map(drop)
}

async fn accept(link: &Link, hash: &[u8; 32], joining: &Joining, now: Timestamp) -> Result<(), StoreError> {
    let (invitation, _) = read::invitation(link, hash, now, "FOR UPDATE").await?;
    let uid = match joining {
        Joining::Known(uid) => *uid,
        Joining::New(newcomer) => {
            add_account(link, &newcomer.0).await?;
            newcomer.0.uid
        }
    };
    add_member(link, invitation.team, uid, invitation.role, now).await?;
    changed(link, "DELETE FROM invitation WHERE uid = $1", vec![(&invitation.uid, Type::UUID)]).await?;
    match joining {
        Joining::New(newcomer) => open_session(link, &newcomer.1).await,
        Joining::Known(_) => Ok(()),
    }
}

pub(super) async fn tidy(
    link: &Link,
    unused_since: Timestamp,
    lines_before: Timestamp,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM session WHERE seen_at < $1 OR expires_at <= $2";
    let sessions = link.execute(sql, vec![(&unused_since.0, Type::INT8), (&now.0, Type::INT8)]).await?;
    let invitations = link.execute("DELETE FROM invitation WHERE expires_at <= $1", vec![(&now.0, Type::INT8)]).await?;
    // Lines are written in the order of time, so the old ones are the first.
    let sql = "DELETE FROM audit WHERE number IN (SELECT number FROM audit ORDER BY number LIMIT 1000) AND at < $1";
    let lines = link.execute(sql, vec![(&lines_before.0, Type::INT8)]).await?;
    Ok(usize::try_from(sessions + invitations + lines).unwrap_or(usize::MAX))
}

async fn exists(link: &Link, sql: &str, columns: Columns<'_>) -> Result<bool, StoreError> {
    Ok(link.query_one(sql, columns).await?.is_some())
}

/// Executes what has to find its row.
pub(super) async fn changed(link: &Link, sql: &str, columns: Columns<'_>) -> Result<(), StoreError> {
    match link.execute(sql, columns).await? {
        0 => Err(StoreError::NotFound),
        _ => Ok(()),
    }
}

/// Executes what adds a row, unless there is one.
async fn added(link: &Link, sql: &str, columns: Columns<'_>) -> Result<(), StoreError> {
    match link.execute(sql, columns).await? {
        0 => Err(StoreError::Taken),
        _ => Ok(()),
    }
}
