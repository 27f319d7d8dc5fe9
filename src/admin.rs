//! What an operator does by command: teams, keys, webhook secrets, backups. The same acts whether a service runs, which
//! is then asked through a private socket beside the database, or the command opens the store itself.

pub mod secret_key;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::credentials::{ApiKeySecret, Keyring};
use crate::people::People;
use crate::store::{ApiKey, Role, Store, StoreError, Team};
use crate::task::{TeamId, Timestamp};
use crate::teams::Teams;
use crate::wire::iso;

/// An act.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Make a team.
    CreateTeam {
        /// Its name.
        name: String,
        /// Its own limit, requests per minute.
        rate_limit: Option<u32>,
    },
    /// Show all teams.
    ListTeams,
    /// Set or lift a team's own rate limit.
    LimitTeam {
        /// Its name.
        team: String,
        /// Requests per minute; none is the service's default.
        rate_limit: Option<u32>,
    },
    /// Show a team's webhook secret.
    ShowSecret {
        /// Its name.
        team: String,
    },
    /// Replace a team's webhook secret; the old one signs too for a while.
    RotateSecret {
        /// Its name.
        team: String,
    },
    /// Make an API key.
    CreateKey {
        /// Whose.
        team: String,
        /// What it is for.
        name: String,
    },
    /// Show a team's keys.
    ListKeys {
        /// Whose.
        team: String,
    },
    /// Stop a key from working.
    RevokeKey {
        /// Its id.
        id: String,
    },
    /// Print a fresh link that makes the first account.
    SetupLink,
    /// Give an account a new password.
    ResetPassword {
        /// Its e-mail address.
        email: String,
    },
    /// Put an account into a team, or change its role there.
    Grant {
        /// Its e-mail address.
        email: String,
        /// The team's name.
        team: String,
        /// owner, member or reader.
        role: String,
    },
    /// Seal every secret anew with the service's current secret, which is made first where a file keeps it.
    RotateKey,
    /// Copy the store to a new file.
    Backup {
        /// An absolute path.
        path: PathBuf,
    },
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Teams.
    Teams(Vec<TeamLine>),
    /// A webhook secret, and until when the old one signs too.
    Secret {
        /// The secret.
        secret: String,
        /// ISO 8601.
        old_until: Option<String>,
    },
    /// A new key, in the clear for this once.
    Key {
        /// The key.
        key: String,
        /// Its id.
        id: String,
    },
    /// Keys.
    Keys(Vec<KeyLine>),
    /// Secrets were sealed anew.
    Resealed {
        /// The number of the service's secret that seals them now.
        key_number: u32,
        /// How many.
        secrets: usize,
        /// Whether that secret is a new one.
        new_key: bool,
    },
    /// Where the first account is made.
    Setup(String),
    /// A new password, in the clear for this once.
    Password(String),
    /// It was done, and there is nothing to show.
    Done,
    /// A copy was written.
    Copied(PathBuf),
    /// It was not done, and why.
    Refused(String),
}

/// A team in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// ISO 8601.
    pub created_at: String,
    /// Its own limit, requests per minute.
    pub rate_limit: Option<u32>,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601; none while it works.
    pub revoked_at: Option<String>,
}

/// The longest name of a team or key.
const NAME_MAX: usize = 100;

/// Does what operators ask.
pub struct Admin {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Seals secrets.
    pub keyring: Keyring,
    /// Changes teams and people, and writes down that an operator did.
    pub people: Arc<People>,
    /// Forgets what it believed of teams after a change.
    pub teams: Arc<Teams>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Base of this service's own URLs, without a trailing slash, as it is configured…
    pub base_url: String,
    /// …and as it is once the service listens.
    pub serves_at: OnceLock<String>,
    /// The file that keeps the service's secrets; none where a variable gives them.
    pub key_file: Option<PathBuf>,
    /// One rotation at a time.
    pub rotating: tokio::sync::Mutex<()>,
}

impl Admin {
    /// Does it, and says what came of it in words for people.
    pub async fn perform(&self, act: Act) -> Outcome {
        let outcome = self.attempt(act).await;
        self.teams.forget();
        outcome.unwrap_or_else(Outcome::Refused)
    }

    async fn attempt(&self, act: Act) -> Result<Outcome, String> {
        match act {
            Act::CreateTeam { name, rate_limit } => self.create_team(name, rate_limit).await,
            Act::ListTeams => {
                let teams = self.store.teams().await.map_err(in_words)?;
                Ok(Outcome::Teams(teams.iter().map(team_line).collect()))
            }
            Act::LimitTeam { team, rate_limit } => {
                let id = self.team(&team).await?.id;
                let team = self.people.operator_limits_team(id, rate_limit).await.map_err(in_words)?;
                Ok(Outcome::Teams(vec![team_line(&team)]))
            }
            Act::ShowSecret { team } => self.show_secret(&team).await,
            Act::RotateSecret { team } => self.rotate_secret(&team).await,
            Act::CreateKey { team, name } => {
                let team = self.team(&team).await?;
                self.add_key(team.id, name, ApiKeySecret::generate()).await
            }
            Act::ListKeys { team } => {
                let team = self.team(&team).await?;
                let keys = self.store.keys(team.id).await.map_err(in_words)?;
                Ok(Outcome::Keys(keys.iter().map(key_line).collect()))
            }
            Act::RevokeKey { id } => self.revoke_key(&id).await,
            Act::SetupLink => self.setup_link().await,
            Act::ResetPassword { email } => {
                let password = self.people.operator_resets_password(&email).await.map_err(|wrong| wrong.to_string())?;
                Ok(Outcome::Password(password.to_string()))
            }
            Act::Grant { email, team, role } => {
                let team = self.team(&team).await?;
                let role = Role::named(&role).ok_or("a role is owner, member or reader")?;
                self.people.operator_grants(&email, &team, role).await.map_err(|wrong| wrong.to_string())?;
                Ok(Outcome::Done)
            }
            Act::RotateKey => {
                let _alone = self.rotating.lock().await;
                self.rotate_key().await
            }
            Act::Backup { path } => {
                self.store.backup(path.clone()).await.map_err(in_words)?;
                Ok(Outcome::Copied(path))
            }
        }
    }

    /// Makes a team with a webhook secret of its own.
    pub async fn new_team(&self, name: String, rate_limit: Option<u32>) -> Result<Team, StoreError> {
        self.people.operator_creates_team(name, rate_limit).await
    }

    async fn setup_link(&self) -> Result<Outcome, String> {
        let link = self.people.new_setup_link().await.map_err(in_words)?;
        let link = link.ok_or("there is an account already; `account reset-password` helps who is locked out")?;
        let base = self.serves_at.get().unwrap_or(&self.base_url);
        Ok(Outcome::Setup(format!("{base}/setup/{}", link.expose())))
    }

    async fn create_team(&self, name: String, rate_limit: Option<u32>) -> Result<Outcome, String> {
        check_name(&name)?;
        match self.new_team(name.clone(), rate_limit).await {
            Ok(team) => Ok(Outcome::Teams(vec![team_line(&team)])),
            Err(StoreError::Taken) => Err(format!("there is a team called {name} already")),
            Err(error) => Err(in_words(error)),
        }
    }

    async fn show_secret(&self, team: &str) -> Result<Outcome, String> {
        let team = self.team(team).await?;
        let secret = self.keyring.open_webhook_secret(team.id, &team.secret);
        let secret = secret.ok_or("the secret cannot be opened with this service's secret key")?;
        self.people.operator_sees_secret(&team).await.map_err(in_words)?;
        let now = self.clock.now();
        let old_until = team.old_secret.as_ref().map(|(_, until)| *until).filter(|until| *until > now).map(iso);
        Ok(Outcome::Secret { secret: secret.to_string(), old_until })
    }

    async fn rotate_secret(&self, team: &str) -> Result<Outcome, String> {
        let team = self.team(team).await?;
        let rotated = self.people.operator_rotates_secret(&team).await.map_err(in_words)?;
        Ok(Outcome::Secret { secret: rotated.secret.to_string(), old_until: rotated.old_until.map(iso) })
    }

    /// Adds a key that works at once.
    pub async fn add_key(&self, team: TeamId, name: String, key: ApiKeySecret) -> Result<Outcome, String> {
        check_name(&name)?;
        let record = self.people.operator_creates_key(team, name, &key).await.map_err(in_words)?;
        Ok(Outcome::Key { key: key.expose().to_owned(), id: record.uid.to_string() })
    }

    async fn revoke_key(&self, id: &str) -> Result<Outcome, String> {
        let none = || format!("there is no key {id} that still works");
        let uid = uuid::Uuid::try_parse(id).map_err(|_| none())?;
        match self.people.operator_revokes_key(uid).await {
            Ok(key) => Ok(Outcome::Keys(vec![key_line(&key)])),
            Err(StoreError::NotFound) => Err(none()),
            Err(error) => Err(in_words(error)),
        }
    }

    async fn team(&self, name: &str) -> Result<Team, String> {
        let teams = self.store.teams().await.map_err(in_words)?;
        teams.into_iter().find(|team| team.name == name).ok_or_else(|| format!("there is no team called {name}"))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fine = !name.trim().is_empty() && name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(format!("a name is 1 to {NAME_MAX} characters, none of them a control character")) }
}

fn team_line(team: &Team) -> TeamLine {
    TeamLine {
        id: team.uid.to_string(),
        name: team.name.clone(),
        created_at: iso(team.created_at),
        rate_limit: team.rate_limit,
    }
}

fn key_line(key: &ApiKey) -> KeyLine {
    KeyLine {
        id: key.uid.to_string(),
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        created_at: iso(key.created_at),
        revoked_at: key.revoked_at.map(|at: Timestamp| iso(at)),
    }
}

fn in_words(error: StoreError) -> String {
    error.to_string()
}
