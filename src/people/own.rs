//! What everybody decides about themselves: name, password, sessions.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::teams::{check_name, missing};
use super::{Acting, People, Wrong, password};
use crate::store::{Action, AuditQuery, Change, Line, Scope, Session, StoreError};

impl People {
    /// A new name.
    pub async fn rename(&self, who: Acting<'_>, name: &str) -> Result<(), Wrong> {
        let change = Change::Rename { account: who.uid(), name: check_name(name)? };
        self.change_own(change, self.own_line(who, Action::Rename)).await
    }

    /// A new password, for somebody who knows the old one. All other sessions end.
    pub async fn set_password(
        &self,
        who: Acting<'_>,
        current: Zeroizing<String>,
        new: Zeroizing<String>,
    ) -> Result<(), Wrong> {
        let account = &who.presence.account;
        self.knock(Some(&account.email), who.visitor)?;
        // What they hold of the account may be a second old.
        let kept = self.directory.account(account.uid).await?.password;
        if current.len() > password::BYTES_MAX || !self.passwords.check(current, kept).await? {
            return Err(Wrong::field("current", "The current password is wrong"));
        }
        if let Some(why) = password::refusal(&new, &account.email, &account.name) {
            return Err(Wrong::field("password", why));
        }
        let password = self.passwords.hash(new).await?;
        let change = Change::SetPassword { account: account.uid, password, but: Some(who.presence.session.uid) };
        self.change_own(change, self.own_line(who, Action::SetPassword)).await
    }

    /// One's own sessions that last, newest first.
    pub async fn sessions(&self, who: Acting<'_>) -> Result<Vec<Session>, StoreError> {
        let now = self.clock.now();
        let sessions = self.directory.sessions(who.uid()).await?;
        Ok(sessions.into_iter().filter(|session| self.is_alive(session, now)).collect())
    }

    /// Ends one of one's own sessions.
    pub async fn end_session(&self, who: Acting<'_>, session: Uuid) -> Result<(), Wrong> {
        let change = Change::EndSession { account: who.uid(), session };
        self.change_own(change, self.own_line(who, Action::EndSession)).await
    }

    /// Ends all of one's own sessions but this one.
    pub async fn end_other_sessions(&self, who: Acting<'_>) -> Result<(), Wrong> {
        let change = Change::EndSessions { account: who.uid(), but: Some(who.presence.session.uid) };
        self.change_own(change, self.own_line(who, Action::EndSessions)).await
    }

    /// What one did, and what was done to one's account, newest first.
    pub async fn own_audit(&self, who: Acting<'_>, limit: u32) -> Result<Vec<(i64, Line)>, StoreError> {
        self.directory.audit(AuditQuery { scope: Scope::Account(who.uid()), before: None, limit }).await
    }

    async fn change_own(&self, change: Change, line: Line) -> Result<(), Wrong> {
        let done = self.directory.change(change, line).await;
        self.present.clear();
        done.map_err(|error| missing(error, "Session"))
    }

    /// A line about one's own account.
    pub(super) fn own_line(&self, who: Acting<'_>, action: Action) -> Line {
        self.line(&who.presence.account, action, who.visitor)
    }
}
