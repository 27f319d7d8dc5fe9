//! The audit log on disk: rows are added and grow old, and never change.

use rusqlite::{Connection, Row as SqlRow, params};
use uuid::Uuid;

use super::super::failed;
use super::read::all;
use crate::store::{Action, Actor, AuditQuery, Line, Scope, StoreError};
use crate::task::{TeamId, Timestamp};

const LINE: &str =
    "SELECT number, at, actor, actor_id, actor_name, action, team, subject, subject_name, address FROM audit";

pub(super) fn write(db: &Connection, line: &Line) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (at, actor, actor_id, actor_name, action, team, subject, subject_name, address) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let (kind, id, name) = match &line.actor {
        Actor::Account { uid, email } => (0, Some(*uid), email.as_str()),
        Actor::Key { uid, prefix } => (1, Some(*uid), prefix.as_str()),
        Actor::Operator => (2, None, ""),
        Actor::Stranger => (3, None, ""),
    };
    let team = line.team.map(|team| team.0);
    let address = line.address.map(|address| address.to_string());
    let mut insert = db.prepare_cached(sql).map_err(failed)?;
    let values = params![line.at.0, kind, id, name, line.action.name(), team, line.subject, line.name, address];
    insert.execute(values).map(drop).map_err(failed)
}

pub(super) fn page(db: &Connection, query: AuditQuery) -> Result<Vec<(i64, Line)>, StoreError> {
    let before = query.before.unwrap_or(i64::MAX);
    // What is about an account alone has its e-mail address for a subject.
    match query.scope {
        Scope::Team(team) => {
            let sql = format!(
                "{LINE} WHERE (team = ?1 OR team IS NULL AND subject IN (SELECT a.email FROM membership m \
                 JOIN account a ON a.uid = m.account WHERE m.team = ?1)) AND number < ?2 ORDER BY number DESC LIMIT ?3"
            );
            all(db, &sql, params![team.0, before, query.limit], read)
        }
        Scope::Account(account) => {
            let sql = format!(
                "{LINE} WHERE (actor_id = ?1 OR team IS NULL AND subject = (SELECT email FROM account WHERE uid = ?1)) \
                 AND number < ?2 ORDER BY number DESC LIMIT ?3"
            );
            all(db, &sql, params![account, before, query.limit], read)
        }
    }
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<(i64, Line)> {
    let (uid, name): (Option<Uuid>, String) = (row.get(3)?, row.get(4)?);
    let actor = match (row.get::<_, i64>(2)?, uid) {
        (0, Some(uid)) => Actor::Account { uid, email: name },
        (1, Some(uid)) => Actor::Key { uid, prefix: name },
        (2, _) => Actor::Operator,
        _ => Actor::Stranger,
    };
    let action: String = row.get(5)?;
    let unknown = || rusqlite::Error::InvalidColumnType(5, action.clone(), rusqlite::types::Type::Text);
    let address: Option<String> = row.get(9)?;
    let line = Line {
        at: Timestamp(row.get(1)?),
        actor,
        action: Action::named(&action).ok_or_else(unknown)?,
        team: row.get::<_, Option<i64>>(6)?.map(TeamId),
        subject: row.get(7)?,
        name: row.get(8)?,
        address: address.and_then(|text| text.parse().ok()),
    };
    Ok((row.get(0)?, line))
}
