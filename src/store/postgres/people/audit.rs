//! The audit log: rows are added and grow old, and never change.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::away;
use super::super::batch::Columns;
use super::super::session::Session;
use crate::store::{Action, Actor, AuditQuery, Line, Scope, StoreError};
use crate::task::{TeamId, Timestamp};

const LINE: &str =
    "SELECT number, at, actor, actor_id, actor_name, action, team, subject, subject_name, address FROM audit";

pub(super) async fn write(session: &Session, line: &Line) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (at, actor, actor_id, actor_name, action, team, subject, subject_name, address) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (kind, id, name): (i16, Option<Uuid>, &str) = match &line.actor {
        Actor::Account { uid, email } => (0, Some(*uid), email),
        Actor::Key { uid, prefix } => (1, Some(*uid), prefix),
        Actor::Operator => (2, None, ""),
        Actor::Stranger => (3, None, ""),
    };
    let team = line.team.map(|team| team.0);
    let address = line.address.map(|address| address.to_string());
    let (action, subject) = (line.action.name(), without_nul(&line.subject));
    let called = line.name.as_deref().map(without_nul);
    let columns: Columns<'_> = vec![
        (&line.at.0, Type::INT8),
        (&kind, Type::INT2),
        (&id, Type::UUID),
        (&name, Type::TEXT),
        (&action, Type::TEXT),
        (&team, Type::INT8),
        (&subject, Type::TEXT),
        (&called, Type::TEXT),
        (&address, Type::TEXT),
    ];
    session.execute(sql, columns).await.map(drop)
}

/// What somebody else chose may hold what a text of PostgreSQL cannot.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Postgres {
    pub(super) async fn audit_page(&self, query: AuditQuery) -> Result<Vec<(i64, Line)>, StoreError> {
        let (before, limit) = (query.before.unwrap_or(i64::MAX), i64::from(query.limit));
        // What is about an account alone has its e-mail address for a subject.
        let rows = match query.scope {
            Scope::Team(team) => {
                let sql = format!(
                    "{LINE} WHERE (team = $1 OR team IS NULL AND subject IN (SELECT a.email FROM membership m \
                     JOIN account a ON a.uid = m.account WHERE m.team = $1)) AND number < $2 ORDER BY number DESC LIMIT $3"
                );
                self.ask(&sql, vec![(&team.0, Type::INT8), (&before, Type::INT8), (&limit, Type::INT8)]).await?
            }
            Scope::Account(account) => {
                let sql = format!(
                    "{LINE} WHERE (actor_id = $1 OR team IS NULL AND subject = (SELECT email FROM account WHERE uid = $1)) \
                     AND number < $2 ORDER BY number DESC LIMIT $3"
                );
                self.ask(&sql, vec![(&account, Type::UUID), (&before, Type::INT8), (&limit, Type::INT8)]).await?
            }
        };
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqlRow) -> Result<(i64, Line), StoreError> {
    let (uid, name): (Option<Uuid>, String) = (row.get(3), row.get(4));
    let actor = match (row.get::<_, i16>(2), uid) {
        (0, Some(uid)) => Actor::Account { uid, email: name },
        (1, Some(uid)) => Actor::Key { uid, prefix: name },
        (2, _) => Actor::Operator,
        _ => Actor::Stranger,
    };
    let action: &str = row.get(5);
    let unknown = || away(&format!("the audit log tells of an unknown action, {action}"));
    let line = Line {
        at: Timestamp(row.get(1)),
        actor,
        action: Action::named(action).ok_or_else(unknown)?,
        team: row.get::<_, Option<i64>>(6).map(TeamId),
        subject: row.get(7),
        name: row.get(8),
        address: row.get::<_, Option<&str>>(9).and_then(|text| text.parse().ok()),
    };
    Ok((row.get(0), line))
}
