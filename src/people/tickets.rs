//! Signing in for programs: the management API takes a signed token that lasts for minutes, and is renewed as long as its
//! session lasts. A session that ends takes its tokens with it within a second.

use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{People, Visitor, Wrong};
use crate::credentials::Ticket;
use crate::store::{Account, Door, Presence, Session, StoreError};
use crate::task::Timestamp;

/// How long a token is believed.
const TICKET_MS: i64 = 15 * 60 * 1000;

/// A token that was just made.
pub struct Issued {
    /// The token.
    pub token: Zeroizing<String>,
    /// Until when it is believed.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub account: Account,
}

impl People {
    /// Signs somebody in for the management API.
    pub async fn sign_in_by_api(
        &self,
        email: &str,
        password: Zeroizing<String>,
        visitor: &Visitor,
    ) -> Result<Issued, Wrong> {
        let entered = self.sign_in(email, password, Door::Api, visitor).await?;
        Ok(self.issue(&entered.session, entered.account))
    }

    /// A token for a session.
    pub fn issue(&self, session: &Session, account: Account) -> Issued {
        let now = self.clock.now();
        let expires_at = now.plus_millis(TICKET_MS).min(session.expires_at);
        let ticket = Ticket { account: account.uid, session: session.uid, expires_at };
        Issued { token: self.keyring.sign_ticket(ticket, now), expires_at, account }
    }

    /// Whose token this is; none if it, or its session, is over.
    pub async fn present_by_api(&self, token: &str) -> Result<Option<Arc<Presence>>, StoreError> {
        let now = self.clock.now();
        let Some(ticket) = self.keyring.open_ticket(token, now) else {
            return Ok(None);
        };
        let ask = || self.directory.presence_of(ticket.session);
        let presence = self.present_by(believed_as(ticket.session), ask).await?;
        Ok(presence.filter(|presence| presence.session.door == Door::Api && presence.session.account == ticket.account))
    }
}

/// A session's id in the form of a hash.
fn believed_as(session: Uuid) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(session.as_bytes());
    key
}
