//! People on disk.

mod audit;
mod changes;
mod read;

use async_trait::async_trait;
use uuid::Uuid;

use super::Sqlite;
use crate::store::{
    Account, ApiKey, AuditQuery, Change, Directory, Identity, Invitation, Line, Member, Presence, Session, StoreError,
    Team,
};
use crate::task::{TeamId, Timestamp};

#[async_trait]
impl Directory for Sqlite {
    async fn change(&self, change: Change, line: Line) -> Result<(), StoreError> {
        self.writer
            .run(move |writer| {
                let made = changes::apply(&writer.db, &change, line.at)?;
                audit::write(&writer.db, &Line { team: made.or(line.team), ..line.clone() })
            })
            .await
    }

    async fn record(&self, line: Line) -> Result<(), StoreError> {
        self.writer.run(move |writer| audit::write(&writer.db, &line)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<(i64, Line)>, StoreError> {
        self.readers.run(move |db| audit::page(db, query)).await
    }

    async fn has_accounts(&self) -> Result<bool, StoreError> {
        self.readers.run(changes::has_accounts).await
    }

    async fn set_setup_link(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<(), StoreError> {
        self.writer.run(move |writer| changes::set_setup_link(&writer.db, &hash, expires_at)).await
    }

    async fn is_setup_link(&self, hash: [u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        self.readers.run(move |db| changes::is_setup_link(db, &hash, now)).await
    }

    async fn account(&self, uid: Uuid) -> Result<Account, StoreError> {
        self.readers.run(move |db| read::account(db, uid)).await
    }

    async fn account_of(&self, email: String) -> Result<Account, StoreError> {
        self.readers.run(move |db| read::account_of(db, &email)).await
    }

    async fn account_by(&self, identity: Identity) -> Result<Account, StoreError> {
        self.readers.run(move |db| read::account_by(db, &identity)).await
    }

    async fn presence(&self, hash: [u8; 32]) -> Result<Presence, StoreError> {
        self.readers.run(move |db| read::presence(db, read::session_by_hash(db, &hash)?)).await
    }

    async fn presence_of(&self, session: Uuid) -> Result<Presence, StoreError> {
        self.readers.run(move |db| read::presence(db, read::session(db, session)?)).await
    }

    async fn sessions(&self, account: Uuid) -> Result<Vec<Session>, StoreError> {
        self.readers.run(move |db| read::sessions(db, account)).await
    }

    async fn seen(&self, session: Uuid, at: Timestamp) -> Result<(), StoreError> {
        self.writer.run(move |writer| changes::seen(&writer.db, session, at)).await
    }

    async fn look_at(&self, session: Uuid, team: TeamId) -> Result<(), StoreError> {
        self.writer.run(move |writer| changes::look_at(&writer.db, session, team)).await
    }

    async fn members(&self, team: TeamId) -> Result<Vec<Member>, StoreError> {
        self.readers.run(move |db| read::members(db, team)).await
    }

    async fn invitations(&self, team: TeamId, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
        self.readers.run(move |db| read::invitations(db, team, now)).await
    }

    async fn invitation(&self, hash: [u8; 32], now: Timestamp) -> Result<(Invitation, Team), StoreError> {
        self.readers.run(move |db| read::invitation(db, &hash, now)).await
    }

    async fn invitation_of(&self, uid: Uuid) -> Result<Invitation, StoreError> {
        self.readers.run(move |db| read::invitation_of(db, uid)).await
    }

    async fn team_of(&self, uid: Uuid) -> Result<Team, StoreError> {
        self.readers.run(move |db| super::queries::team_of(db, uid)).await
    }

    async fn key_of(&self, uid: Uuid) -> Result<ApiKey, StoreError> {
        self.readers.run(move |db| super::queries::key_of(db, uid)).await
    }

    async fn tidy(
        &self,
        unused_since: Timestamp,
        lines_before: Timestamp,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.writer.run(move |writer| changes::tidy(&writer.db, unused_since, lines_before, now)).await
    }
}
