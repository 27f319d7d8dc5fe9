//! The service's secret, and the keys that are derived from it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::derived::{self, Deriver, Kind};
use super::seal::Sealer;
use crate::task::{TaskId, TeamId};

/// How long a service secret is.
pub const SECRET_BYTES: usize = 32;

/// The service's secrets: the current one, then older ones that outstanding credentials were made with.
pub struct SecretKeys(Vec<Zeroizing<[u8; SECRET_BYTES]>>);

impl SecretKeys {
    /// Reads `current[,older…]`, each 32 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(|key| parse_key(key.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// A new secret.
    pub fn generate() -> Self {
        let mut key = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(&mut *key).expect("the operating system has randomness");
        Self(vec![key])
    }

    /// All of them as text, to be kept in a private file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for (index, secret) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            STANDARD.encode_string(secret.as_slice(), &mut text);
        }
        text
    }

    /// These with a new current one; the ones before go on opening what they made.
    #[must_use]
    pub fn renewed(self) -> Self {
        let Self(mut all) = Self::generate();
        all.extend(self.0);
        Self(all)
    }
}

fn parse_key(text: &str) -> Result<Zeroizing<[u8; SECRET_BYTES]>, String> {
    let bytes = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| "is not base64".to_owned())?;
    let key = <[u8; SECRET_BYTES]>::try_from(bytes.as_slice());
    key.map(Zeroizing::new).map_err(|_| format!("must be {SECRET_BYTES} bytes in base64, but is {} bytes", bytes.len()))
}

/// What is derived from one secret.
#[derive(Clone)]
struct Keys {
    /// The number under which the store knows this secret; tasks keep the number.
    number: u32,
    callback: Deriver,
    signal: Deriver,
    endpoint: Deriver,
    seal: Sealer,
    vault: Sealer,
    /// Signs the management API's tokens.
    ticket: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn new(number: u32, secret: &[u8; SECRET_BYTES]) -> Self {
        let key = |label| expand(secret, label);
        Self {
            number,
            callback: Deriver::new(&key("callback id"), &key("callback mask")),
            signal: Deriver::new(&key("signal id"), &key("signal mask")),
            endpoint: Deriver::new(&key("endpoint id"), &key("endpoint mask")),
            seal: Sealer::new(&key("seal")),
            vault: Sealer::new(&key("vault")),
            ticket: key("session token"),
        }
    }

    fn deriver(&self, kind: Kind) -> &Deriver {
        match kind {
            Kind::Callback => &self.callback,
            Kind::Signal => &self.signal,
            Kind::Endpoint => &self.endpoint,
        }
    }
}

/// HKDF (RFC 5869) with a label per purpose.
fn expand(secret: &[u8; SECRET_BYTES], label: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let info = format!("asyncqueue {label}");
    Hkdf::<Sha256>::new(None, secret).expand(info.as_bytes(), &mut *key).expect("32 bytes can be derived");
    key
}

/// Every key that the service works with. Clones share them, so that a new one holds everywhere at once.
#[derive(Clone)]
pub struct Keyring {
    /// The current one first.
    keys: Arc<RwLock<Vec<Keys>>>,
}

/// A sealed secret begins with the number of its key, so many bytes.
const NUMBER: usize = 4;

impl Keyring {
    /// Matches the secrets with those that the store knows by their check values, by number from 1.
    ///
    /// Answers the keyring, and the check value to add if the current secret is new to the store. Refuses secrets that do
    /// not belong to the store: credentials that were given out could not be opened any more.
    pub fn unlock(secrets: &SecretKeys, known: &[[u8; 32]]) -> Result<(Self, Option<[u8; 32]>), String> {
        let checks: Vec<[u8; 32]> = secrets.0.iter().map(|secret| *expand(secret, "check")).collect();
        if let Some(missing) = known.iter().position(|check| !checks.contains(check)) {
            let number = missing + 1;
            return Err(format!(
                "the secret key does not belong to this store: key number {number}, which it was used with, is missing"
            ));
        }
        let mut keys = Vec::new();
        let mut added = None;
        for (secret, check) in secrets.0.iter().zip(&checks) {
            let number = match known.iter().position(|known| known == check) {
                Some(index) => index + 1,
                None if keys.is_empty() => {
                    added = Some(*check);
                    known.len() + 1
                }
                // An older secret that this store never used opens nothing.
                None => continue,
            };
            keys.push(Keys::new(u32::try_from(number).unwrap_or(u32::MAX), secret));
        }
        Ok((Self { keys: Arc::new(RwLock::new(keys)) }, added))
    }

    /// Takes over the keys of another ring, which knows all of this one's and perhaps a newer one.
    pub fn renew(&self, renewed: &Self) {
        let keys = renewed.keys().clone();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<Keys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the secret that new credentials are made with.
    pub fn current(&self) -> u32 {
        self.keys()[0].number
    }

    /// A task's credential, made with the secret of this number; none if the service no longer has that one.
    pub fn derive(&self, kind: Kind, task: TaskId, number: u32) -> Option<String> {
        self.derive_classed(kind, task, 0, number)
    }

    /// A task's credential that carries a class, below [`CLASSES`](super::CLASSES).
    pub fn derive_classed(&self, kind: Kind, task: TaskId, class: u8, number: u32) -> Option<String> {
        let keys = self.keys();
        let keys = keys.iter().find(|keys| keys.number == number)?;
        Some(keys.deriver(kind).derive(task, class))
    }

    /// The task that a credential is for; none if this service did not make it.
    pub fn open(&self, kind: Kind, credential: &str) -> Option<TaskId> {
        self.open_classed(kind, credential).map(|(task, _)| task)
    }

    /// The task that a credential is for, and the class it carries.
    pub fn open_classed(&self, kind: Kind, credential: &str) -> Option<(TaskId, u8)> {
        let bytes = derived::decode(credential)?;
        self.keys().iter().find_map(|keys| keys.deriver(kind).open(&bytes))
    }

    /// A new webhook secret: `whsec_` and base64 of 32 random bytes.
    pub fn new_webhook_secret() -> Zeroizing<String> {
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bits).expect("the operating system has randomness");
        Zeroizing::new(format!("whsec_{}", STANDARD.encode(*bits)))
    }

    /// Seals a team's webhook secret for the store.
    pub fn seal_webhook_secret(&self, team: TeamId, secret: &str) -> Vec<u8> {
        self.seal(|keys| &keys.seal, &webhook_owner(team), secret)
    }

    /// Opens a team's sealed webhook secret; none if it was not sealed by this service for this team.
    pub fn open_webhook_secret(&self, team: TeamId, sealed: &[u8]) -> Option<Zeroizing<String>> {
        self.unseal(|keys| &keys.seal, &webhook_owner(team), sealed)
    }

    /// Seals a value of the vault for the store.
    pub fn seal_token(&self, team: TeamId, id: &str, value: &str) -> Vec<u8> {
        self.seal(|keys| &keys.vault, &token_owner(team, id), value)
    }

    /// Opens a sealed value of the vault; none if it was not sealed by this service for this token of this team.
    pub fn open_token(&self, team: TeamId, id: &str, sealed: &[u8]) -> Option<Zeroizing<String>> {
        self.unseal(|keys| &keys.vault, &token_owner(team, id), sealed)
    }

    /// The key of this number that signs the management API's tokens.
    pub(super) fn ticket_key(&self, number: u32) -> Option<Zeroizing<[u8; 32]>> {
        self.keys().iter().find(|keys| keys.number == number).map(|keys| keys.ticket.clone())
    }

    /// Whether a seal was made with the current key.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.current().to_be_bytes())
    }

    fn seal(&self, sealer: impl Fn(&Keys) -> &Sealer, owner: &str, secret: &str) -> Vec<u8> {
        let keys = self.keys();
        let sealed = sealer(&keys[0]).seal(owner, secret.as_bytes());
        [keys[0].number.to_be_bytes().as_slice(), &sealed].concat()
    }

    fn unseal(&self, sealer: impl Fn(&Keys) -> &Sealer, owner: &str, sealed: &[u8]) -> Option<Zeroizing<String>> {
        let (number, sealed) = sealed.split_at_checked(NUMBER)?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        let keys = self.keys();
        let keys = keys.iter().find(|keys| keys.number == number)?;
        let secret = sealer(keys).open(owner, sealed)?;
        std::str::from_utf8(&secret).ok().map(|secret| Zeroizing::new(secret.to_owned()))
    }
}

fn webhook_owner(team: TeamId) -> String {
    format!("webhook secret of team {}", team.0)
}

fn token_owner(team: TeamId, id: &str) -> String {
    format!("vault token {id} of team {}", team.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlock(secrets: &SecretKeys, known: &[[u8; 32]]) -> (Keyring, Option<[u8; 32]>) {
        Keyring::unlock(secrets, known).unwrap()
    }

    #[test]
    fn a_rotated_secret_opens_what_the_older_one_made() {
        let old = SecretKeys::generate();
        let (before, check) = unlock(&old, &[]);
        let known = [check.unwrap()];
        let task = TaskId::from_parts(1, 2, 3);
        let id = before.derive(Kind::Callback, task, 1).unwrap();

        let both = SecretKeys::parse(&format!("{},{}", *SecretKeys::generate().to_text(), *old.to_text())).unwrap();
        let (after, check) = unlock(&both, &known);
        assert!(check.is_some());
        assert_eq!(after.current(), 2);
        assert_eq!(after.open(Kind::Callback, &id), Some(task));
        assert_eq!(after.derive(Kind::Callback, task, 1), Some(id));
    }

    #[test]
    fn a_secret_of_another_store_is_refused() {
        let (_, check) = unlock(&SecretKeys::generate(), &[]);
        assert!(Keyring::unlock(&SecretKeys::generate(), &[check.unwrap()]).is_err());
    }

    #[test]
    fn a_callback_id_is_no_signal_token() {
        let (keyring, _) = unlock(&SecretKeys::generate(), &[]);
        let task = TaskId::from_parts(1, 2, 3);
        let id = keyring.derive(Kind::Callback, task, 1).unwrap();
        assert_eq!(keyring.open(Kind::Signal, &id), None);
    }

    #[test]
    fn a_sealed_secret_belongs_to_its_team() {
        let (keyring, _) = unlock(&SecretKeys::generate(), &[]);
        let sealed = keyring.seal_webhook_secret(TeamId(1), "whsec_x");
        assert_eq!(*keyring.open_webhook_secret(TeamId(1), &sealed).unwrap(), "whsec_x");
        assert!(keyring.open_webhook_secret(TeamId(2), &sealed).is_none());
    }

    #[test]
    fn a_secret_is_32_bytes_of_base64() {
        assert!(SecretKeys::parse("AAAA").is_err());
        assert!(SecretKeys::parse("not base64!").is_err());
        assert!(SecretKeys::parse(&STANDARD.encode([1; 32])).is_ok());
    }
}
