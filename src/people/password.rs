//! Passwords: which are good enough, and how they are kept and checked. Hashing is dear by design, so only a few are
//! hashed at once, off the threads that serve requests, and a queue that is full says so.

mod common;

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{Semaphore, TryAcquireError};
use zeroize::Zeroizing;

pub use common::is_common;

/// The fewest characters. Length is what counts; rules about kinds of characters make passwords worse.
pub const CHARACTERS_MIN: usize = 12;

/// The most bytes: more would only cost us time.
pub const BYTES_MAX: usize = 256;

/// 19 MiB, two passes, one lane: OWASP's recommendation for Argon2id where memory is scarce.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many are hashed at once; together they take 38 MiB.
const AT_ONCE: usize = 2;

/// How many may wait for that.
const QUEUE_MAX: usize = 32;

/// Why a password is not good enough, in words for the one who chose it.
pub fn refusal(password: &str, email: &str, name: &str) -> Option<String> {
    if password.chars().count() < CHARACTERS_MIN {
        return Some(format!("The password must have at least {CHARACTERS_MIN} characters"));
    }
    if password.len() > BYTES_MAX {
        return Some(format!("The password must have at most {BYTES_MAX} bytes"));
    }
    let about_you = [email, name].into_iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
    is_common(password, about_you)
        .then(|| "The password is easy to guess: take several words that do not belong together".to_owned())
}

/// No password can be hashed just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Hashes and checks passwords.
pub struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// The hash of a password that nobody knows: checking one takes as long where there is no account.
    nobody: String,
}

impl Default for Passwords {
    fn default() -> Self {
        let mut unknown = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *unknown).expect("the operating system has randomness");
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(QUEUE_MAX)),
            nobody: hash(&*unknown),
        }
    }
}

impl Passwords {
    /// What is kept of a password.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, Busy> {
        self.apart(move || hash(password.as_bytes())).await
    }

    /// Whether this is the password. Takes as long where there is none.
    pub async fn check(&self, password: Zeroizing<String>, kept: Option<String>) -> Result<bool, Busy> {
        let is_somebody = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.nobody.clone());
        let is_right = self.apart(move || verify(password.as_bytes(), &kept)).await?;
        Ok(is_right && is_somebody)
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _place = match self.waiting.try_acquire() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(Busy),
        };
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| Busy)?;
        let work = move || {
            // Held by the work and not by its caller: one who goes away frees no place that is still in use.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &[u8]) -> String {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).expect("the operating system has randomness");
    hasher().hash_password_with_salt(password, &salt).expect("the parameters are within bounds").to_string()
}

fn verify(password: &[u8], kept: &str) -> bool {
    PasswordHash::new(kept).is_ok_and(|kept| hasher().verify_password(password, &kept).is_ok())
}

/// Whether a hash was made with less effort than is made today.
pub fn is_outdated(kept: &str) -> bool {
    let today = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$");
    !kept.starts_with(&today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_checked_against_its_hash_and_no_other() {
        let passwords = Passwords::default();
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let kept = passwords.hash(secret("purple otter bicycle")).await.unwrap();
        assert!(!is_outdated(&kept), "{kept}");
        assert_ne!(kept, passwords.hash(secret("purple otter bicycle")).await.unwrap(), "salted");
        assert!(passwords.check(secret("purple otter bicycle"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.check(secret("purple otter bicycles"), Some(kept)).await.unwrap());
        assert!(!passwords.check(secret("purple otter bicycle"), None).await.unwrap());
        assert!(!passwords.check(secret("x"), Some("no hash".to_owned())).await.unwrap());
        assert!(is_outdated("$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHQ$aGFzaA"));
    }

    #[tokio::test]
    async fn a_full_queue_says_so() {
        let passwords = Passwords::default();
        let _all = passwords.waiting.try_acquire_many(u32::try_from(QUEUE_MAX).unwrap()).unwrap();
        assert_eq!(passwords.hash(Zeroizing::new(String::new())).await, Err(Busy));
    }

    #[test]
    fn short_endless_and_obvious_passwords_are_refused() {
        let refused = |password: &str| refusal(password, "ada.lovelace@example.com", "Ada Lovelace").is_some();
        let long = "x7".repeat(200);
        for bad in ["elevenchars", &long, "password12345", "Passw0rd!2026", "qwertyuiop123", "adalovelace1815"] {
            assert!(refused(bad), "{bad}");
        }
        for good in ["purple otter bicycle", "tr0ub4dor&3 on mars", "Ada likes green trombones", "ünïcödé wörds"] {
            assert!(!refused(good), "{good}");
        }
    }
}
