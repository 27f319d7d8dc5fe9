//! Coming in and going out: the setup link, signing in, sessions, passwords.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{People, Visitor, Wrong, password};
use crate::credentials::Bearer;
use crate::net::bucket;
use crate::store::{Account, Action, Actor, Change, Door, Identity, Line, Presence, Session, StoreError, Team};
use crate::task::{TeamId, Timestamp};

/// How long a setup link works.
const SETUP_LINK_MS: i64 = 24 * 3600 * 1000;

/// How often it is written down that a session is in use.
const SEEN_EVERY_MS: i64 = 60_000;

const EMAIL_MAX: usize = 254;
const NAME_MAX: usize = 100;

/// Who wants an account.
#[derive(Clone)]
pub struct NewPerson {
    /// How to reach them, and what they sign in with.
    pub email: String,
    /// How they want to be called; without a name it is the address.
    pub name: String,
    /// What only they know.
    pub password: Zeroizing<String>,
}

/// Somebody whom a provider vouches for.
pub struct Vouched {
    /// Who they are there.
    pub identity: Identity,
    /// Their address, if the provider has made sure of it.
    pub email: Option<String>,
    /// How they are called there.
    pub name: String,
    /// Whether they get an account if they have none.
    pub may_sign_up: bool,
}

/// Somebody who just came in.
pub struct Entered {
    /// What their browser is to hold.
    pub bearer: Bearer,
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub account: Account,
}

impl People {
    /// A new link that makes the first account; none if there is one. The link before it stops working.
    pub async fn new_setup_link(&self) -> Result<Option<Bearer>, StoreError> {
        if self.directory.has_accounts().await? {
            return Ok(None);
        }
        let link = Bearer::generate();
        self.directory.set_setup_link(link.hash(), self.clock.now().plus_millis(SETUP_LINK_MS)).await?;
        Ok(Some(link))
    }

    /// Whether nobody has an account yet.
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        self.directory.has_accounts().await.map(|has| !has)
    }

    /// Whether this is the setup link and works.
    pub async fn is_setup_link(&self, link: &str) -> Result<bool, StoreError> {
        match Bearer::parse(link) {
            Some(link) => self.directory.is_setup_link(link.hash(), self.clock.now()).await,
            None => Ok(false),
        }
    }

    /// Makes the first account, which owns every team there is, and lets it in.
    pub async fn set_up(&self, link: &str, person: NewPerson, visitor: &Visitor) -> Result<Entered, Wrong> {
        let link = Bearer::parse(link).ok_or(Wrong::Link)?;
        self.knock(None, visitor)?;
        // Before the password is hashed, because that is dear.
        if !self.directory.is_setup_link(link.hash(), self.clock.now()).await? {
            return Err(Wrong::Link);
        }
        let account = self.new_account(person).await?;
        let entered = self.entered(account, Door::Browser, visitor);
        let change =
            Change::SetUp { link: link.hash(), account: entered.account.clone(), session: entered.session.clone() };
        let line = self.line(&entered.account, Action::SetUp, visitor);
        self.directory.change(change, line).await.map_err(|error| match error {
            StoreError::NotFound | StoreError::Taken => Wrong::Link,
            other => other.into(),
        })?;
        Ok(entered)
    }

    /// Signs somebody in. What goes wrong, and how long it takes, does not say whether there is such an account.
    pub async fn sign_in(
        &self,
        email: &str,
        password: Zeroizing<String>,
        door: Door,
        visitor: &Visitor,
    ) -> Result<Entered, Wrong> {
        let email = email.trim().to_lowercase();
        self.knock(Some(&email), visitor)?;
        let known = match self.directory.account_of(email).await {
            Ok(account) => Some(account),
            Err(StoreError::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let kept = known.as_ref().and_then(|account| account.password.clone());
        let secret = Zeroizing::new(password.chars().take(password::BYTES_MAX + 1).collect::<String>());
        let is_right = self.passwords.check(secret.clone(), kept).await?;
        let Some(account) = known.as_ref().filter(|_| is_right) else {
            self.refused(known, visitor);
            return Err(Wrong::Credentials);
        };
        let entered = self.entered(account.clone(), door, visitor);
        let line = self.line(account, Action::SignIn, visitor);
        self.directory.change(Change::SignIn(entered.session.clone()), line).await?;
        Ok(entered)
    }

    /// Signs somebody in whom a provider vouches for. Who is not known by that is by an address that the provider has made
    /// sure of; who has no account gets one if the address is of a domain that is let in.
    pub async fn sign_in_by(&self, vouched: Vouched, visitor: &Visitor) -> Result<Entered, Wrong> {
        let identity = vouched.identity.clone();
        match self.directory.account_by(identity.clone()).await {
            Ok(account) => return self.let_in(account, visitor).await,
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let email = check_email(vouched.email.as_deref().ok_or(Wrong::NotYours)?)?;
        match self.directory.account_of(email.clone()).await {
            Ok(account) => {
                let change = Change::Link { account: account.uid, identity };
                self.directory.change(change, self.line(&account, Action::Link, visitor)).await?;
                self.let_in(account, visitor).await
            }
            Err(StoreError::NotFound) if vouched.may_sign_up => self.sign_up(email, vouched, visitor).await,
            Err(StoreError::NotFound) => Err(Wrong::NotYours),
            Err(error) => Err(error.into()),
        }
    }

    async fn let_in(&self, account: Account, visitor: &Visitor) -> Result<Entered, Wrong> {
        let entered = self.entered(account, Door::Browser, visitor);
        let line = self.line(&entered.account, Action::SignIn, visitor);
        self.directory.change(Change::SignIn(entered.session.clone()), line).await?;
        Ok(entered)
    }

    async fn sign_up(&self, email: String, vouched: Vouched, visitor: &Visitor) -> Result<Entered, Wrong> {
        let name = check_name(&vouched.name, &email).unwrap_or_else(|_| email.clone());
        let (id, created_at) = self.ids.make();
        let account = Account { uid: id.0, email, name, password: None, created_at };
        let entered = self.entered(account, Door::Browser, visitor);
        let change = Change::SignUp {
            account: entered.account.clone(),
            identity: vouched.identity,
            session: entered.session.clone(),
        };
        self.directory.change(change, self.line(&entered.account, Action::SignUp, visitor)).await?;
        Ok(entered)
    }

    /// Counts an attempt, by the account that it is for and by where it comes from.
    pub(super) fn knock(&self, email: Option<&str>, visitor: &Visitor) -> Result<(), Wrong> {
        let now = Instant::now();
        if let Some(address) = visitor.address {
            self.by_source.check(bucket(address), now).map_err(|wait| Wrong::TooMany(wait.0))?;
        }
        let account = email.map(|email| Sha256::digest(email.as_bytes()).into());
        account.map_or(Ok(()), |account| self.by_account.check(account, now)).map_err(|wait| Wrong::TooMany(wait.0))
    }

    /// Writes down that a password was wrong. Nobody waits for it: how long the disk takes would say that there is such
    /// an account.
    fn refused(&self, account: Option<Account>, visitor: &Visitor) {
        let Some(account) = account else { return };
        let line = Line { actor: Actor::Stranger, ..self.line(&account, Action::SignInRefused, visitor) };
        let directory = self.directory.clone();
        tokio::spawn(async move {
            if let Err(error) = directory.record(line).await {
                tracing::warn!(%error, "A refused sign-in could not be written down");
            }
        });
    }

    /// Whose session this is; none if it is over.
    pub async fn present(&self, bearer: &Bearer) -> Result<Option<Arc<Presence>>, StoreError> {
        let hash = bearer.hash();
        let ask = || self.directory.presence(hash);
        let presence = self.present_by(hash, ask).await?;
        Ok(presence.filter(|presence| presence.session.door == Door::Browser))
    }

    /// Whose session this is, as the store says or said a moment ago; none if it is over.
    pub(super) async fn present_by<F: Future<Output = Result<Presence, StoreError>>>(
        &self,
        key: [u8; 32],
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Arc<Presence>>, StoreError> {
        let presence = match self.present.get(&key) {
            Some(known) => known,
            None => match ask().await {
                Ok(found) => self.present.put(key, Arc::new(found)),
                Err(StoreError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let now = self.clock.now();
        if !self.is_alive(&presence.session, now) {
            return Ok(None);
        }
        if now.millis_since(presence.session.seen_at) >= SEEN_EVERY_MS {
            self.note_use(key, &presence, now);
        }
        Ok(Some(presence))
    }

    pub(super) fn is_alive(&self, session: &Session, now: Timestamp) -> bool {
        now < session.expires_at && now < session.seen_at.plus(self.terms.session_idle)
    }

    /// Writes down that a session is in use. Nobody waits for that.
    fn note_use(&self, key: [u8; 32], presence: &Presence, now: Timestamp) {
        let session = Session { seen_at: now, ..presence.session.clone() };
        self.present.replace(key, Arc::new(Presence { session, ..presence.clone() }));
        let (directory, session) = (self.directory.clone(), presence.session.uid);
        tokio::spawn(async move {
            if let Err(error) = directory.seen(session, now).await {
                tracing::debug!(%error, "It could not be written down that a session is in use");
            }
        });
    }

    /// Ends the session that somebody is in.
    pub async fn sign_out(&self, presence: &Presence, visitor: &Visitor) -> Result<(), StoreError> {
        let change = Change::EndSession { account: presence.account.uid, session: presence.session.uid };
        let done = self.directory.change(change, self.line(&presence.account, Action::SignOut, visitor)).await;
        self.present.clear();
        // It may have been ended elsewhere.
        if matches!(done, Err(StoreError::NotFound)) { Ok(()) } else { done }
    }

    /// Looks at another of one's teams.
    pub async fn look_at(&self, presence: &Presence, team: Uuid) -> Result<(), Wrong> {
        let team = presence.teams.iter().find(|(known, _)| known.uid == team).ok_or(Wrong::NotYours)?;
        self.directory.look_at(presence.session.uid, team.0.id).await?;
        self.present.clear();
        Ok(())
    }

    /// Looks at a team that one just joined.
    pub async fn look_at_new(&self, presence: &Presence, team: &Team) -> Result<(), StoreError> {
        self.directory.look_at(presence.session.uid, team.id).await?;
        self.present.clear();
        Ok(())
    }

    pub(super) async fn new_account(&self, person: NewPerson) -> Result<Account, Wrong> {
        let email = check_email(&person.email)?;
        let name = check_name(&person.name, &email)?;
        if let Some(why) = password::refusal(&person.password, &email, &name) {
            return Err(Wrong::field("password", why));
        }
        let password = Some(self.passwords.hash(person.password).await?);
        let (id, created_at) = self.ids.make();
        Ok(Account { uid: id.0, email, name, password, created_at })
    }

    pub(super) fn entered(&self, account: Account, door: Door, visitor: &Visitor) -> Entered {
        let bearer = Bearer::generate();
        let (id, now) = self.ids.make();
        let session = Session {
            uid: id.0,
            hash: bearer.hash(),
            account: account.uid,
            team: None,
            door,
            address: visitor.address,
            agent: visitor.agent.clone(),
            created_at: now,
            seen_at: now,
            expires_at: now.plus(self.terms.session_lifetime),
        };
        Entered { bearer, session, account }
    }

    /// A line about an account alone.
    pub(super) fn line(&self, account: &Account, action: Action, visitor: &Visitor) -> Line {
        Line {
            at: self.clock.now(),
            actor: Actor::Account { uid: account.uid, email: account.email.clone() },
            action,
            team: None::<TeamId>,
            subject: account.email.clone(),
            name: None,
            address: visitor.address,
        }
    }
}

/// An address in the one form that it is kept in.
pub(super) fn check_email(text: &str) -> Result<String, Wrong> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@').unwrap_or_default();
    let plain = !email.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"'`\\,;()".contains(c));
    if plain && !local.is_empty() && !domain.is_empty() && email.len() <= EMAIL_MAX {
        return Ok(email);
    }
    Err(Wrong::field("email", "This is no e-mail address"))
}

fn check_name(text: &str, email: &str) -> Result<String, Wrong> {
    let name = if text.trim().is_empty() { email } else { text.trim() };
    if name.chars().count() > NAME_MAX.max(email.len()) || name.chars().any(char::is_control) {
        return Err(Wrong::field("name", format!("A name has at most {NAME_MAX} visible characters")));
    }
    Ok(name.to_owned())
}
