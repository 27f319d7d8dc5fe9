//! People in the shared store.

mod audit;
mod changes;
mod read;

use async_trait::async_trait;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::batch::Columns;
use super::session::Session as Link;
use super::teams::{KEY, TEAM, read_key, read_team};
use crate::store::{
    Account, ApiKey, AuditQuery, Change, Directory, Identity, Invitation, Line, Member, Presence, Session, StoreError,
    Team,
};
use crate::task::{TeamId, Timestamp};

/// Asks one question on a connection of the pool. Answers and refusals give it back; a failure closes it.
macro_rules! ask {
    ($store:expr, $question:expr, $link:ident) => {{
        let $link = Link::snapshot(&$store.pool).await?;
        let answer = $question.await;
        match answer {
            // The session is closed as it is dropped.
            Err(StoreError::Unavailable(why)) => Err(StoreError::Unavailable(why)),
            answer => $link.commit().await.and(answer),
        }
    }};
}

impl Postgres {
    async fn write_people(&self, sql: &str, columns: Columns<'_>) -> Result<(), StoreError> {
        let link = Link::begin(&self.pool).await?;
        let outcome = changes::changed(&link, sql, columns).await;
        link.commit().await?;
        outcome
    }
}

#[async_trait]
impl Directory for Postgres {
    async fn change(&self, change: Change, line: Line) -> Result<(), StoreError> {
        // Whoever is refused midway leaves nothing behind: the session is closed, and its transaction with it.
        let link = Link::begin(&self.pool).await?;
        let made = changes::apply(&link, &change, line.at).await?;
        audit::write(&link, &Line { team: made.or(line.team), ..line }).await?;
        link.commit().await
    }

    async fn record(&self, line: Line) -> Result<(), StoreError> {
        let link = Link::begin(&self.pool).await?;
        audit::write(&link, &line).await?;
        link.commit().await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<(i64, Line)>, StoreError> {
        self.audit_page(query).await
    }

    async fn has_accounts(&self) -> Result<bool, StoreError> {
        Ok(self.one("SELECT 1 FROM account LIMIT 1", vec![]).await?.is_some())
    }

    async fn set_setup_link(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<(), StoreError> {
        let value = [hash.as_slice(), &expires_at.0.to_be_bytes()].concat();
        self.write_meta(changes::SETUP_LINK, &value).await
    }

    async fn is_setup_link(&self, hash: [u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        let known = ask!(self, changes::setup_link(&link, ""), link)?;
        Ok(changes::is_link(&known, &hash, now))
    }

    async fn account(&self, uid: Uuid) -> Result<Account, StoreError> {
        ask!(self, read::account(&link, uid), link)
    }

    async fn account_of(&self, email: String) -> Result<Account, StoreError> {
        ask!(self, read::account_of(&link, &email), link)
    }

    async fn account_by(&self, identity: Identity) -> Result<Account, StoreError> {
        ask!(self, read::account_by(&link, &identity), link)
    }

    async fn presence(&self, hash: [u8; 32]) -> Result<Presence, StoreError> {
        ask!(self, async { read::presence(&link, read::session_by_hash(&link, &hash).await?).await }, link)
    }

    async fn presence_of(&self, session: Uuid) -> Result<Presence, StoreError> {
        ask!(self, async { read::presence(&link, read::session(&link, session).await?).await }, link)
    }

    async fn sessions(&self, account: Uuid) -> Result<Vec<Session>, StoreError> {
        ask!(self, read::sessions(&link, account), link)
    }

    async fn seen(&self, session: Uuid, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE session SET seen_at = greatest(seen_at, $2) WHERE uid = $1";
        self.write_people(sql, vec![(&session, Type::UUID), (&at.0, Type::INT8)]).await
    }

    async fn look_at(&self, session: Uuid, team: TeamId) -> Result<(), StoreError> {
        let sql = "UPDATE session SET team = $2 WHERE uid = $1";
        self.write_people(sql, vec![(&session, Type::UUID), (&team.0, Type::INT8)]).await
    }

    async fn members(&self, team: TeamId) -> Result<Vec<Member>, StoreError> {
        ask!(self, read::members(&link, team), link)
    }

    async fn invitations(&self, team: TeamId, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
        ask!(self, read::invitations(&link, team, now), link)
    }

    async fn invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<(Invitation, Team), StoreError> {
        ask!(self, read::invitation(&link, &hash, now, ""), link)
    }

    async fn invitation_of(&self, uid: Uuid) -> Result<Invitation, StoreError> {
        ask!(self, read::invitation_of(&link, uid), link)
    }

    async fn team_of(&self, uid: Uuid) -> Result<Team, StoreError> {
        let row = self.one(&format!("{TEAM} WHERE uid = $1"), vec![(&uid, Type::UUID)]).await?;
        row.as_ref().map(read_team).ok_or(StoreError::NotFound)
    }

    async fn key_of(&self, uid: Uuid) -> Result<ApiKey, StoreError> {
        let row = self.one(&format!("{KEY} WHERE uid = $1"), vec![(&uid, Type::UUID)]).await?;
        row.as_ref().map(read_key).ok_or(StoreError::NotFound)
    }

    async fn tidy(
        &self,
        unused_since: Timestamp,
        lines_before: Timestamp,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let link = Link::begin(&self.pool).await?;
        let rows = changes::tidy(&link, unused_since, lines_before, now).await?;
        link.commit().await?;
        Ok(rows)
    }
}
