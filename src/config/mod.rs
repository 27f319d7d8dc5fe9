//! What an operator may decide. One table (`settings.rs`) names every setting; the flags, the environment variables,
//! the keys of the file, the documentation and the typed [`Config`] all come from it, so that they cannot drift apart.
//!
//! A flag wins over a variable, a variable over the file, the file over the default. Whatever is wrong is reported in
//! one go, each problem with the place it stands in: a service that refuses to start should have to do so only once.

mod command_line;
mod error;
mod file;
mod parse;
mod report;
mod secret;
mod settings;
mod sources;
mod suggest;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use command_line::{FlagValues, args};
pub use error::{ConfigError, Origin, Problem};
pub use report::markdown_table;
pub use secret::{Secret, SecretKeys};
pub use settings::{Config, Database, EarlyCallbacks, RateLimit, RateLimitCounts, Role, SETTINGS, Setting};

use secret::Secrets;
use sources::Sources;

/// What the configuration has to ask of its surroundings. Tests pass their own.
pub struct Host<'a> {
    /// Reads the configuration file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Where the platform keeps this program's data; `None` where it does not say.
    pub data_folder: Option<PathBuf>,
    /// Says what is wrong with a value of `--allow-target`. The rule belongs to the guard, which this room cannot see.
    pub check_target: &'a dyn Fn(&str) -> Result<(), String>,
}

impl<'a> Host<'a> {
    /// The machine this runs on, with the guard's rule for `--allow-target`.
    pub fn system(check_target: &'a dyn Fn(&str) -> Result<(), String>) -> Self {
        let folders = directories::ProjectDirs::from("", "", "asyncqueue");
        Self {
            read_file: &|path| std::fs::read_to_string(path),
            data_folder: folders.map(|folders| folders.data_dir().to_owned()),
            check_target,
        }
    }
}

/// Reads where a database is, as the setting of that name does.
pub fn database(text: &str) -> Result<Database, String> {
    parse::database(text.trim())
}

/// This process's `ASYNCQUEUE_*` variables. What is not UTF-8 comes with replacement characters, which
/// [`Config::load`] refuses by name.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(sources::PREFIX))
}

impl Config {
    /// Reads every source, and answers with the whole configuration or with everything that is wrong.
    pub fn load(
        flags: FlagValues,
        env: impl IntoIterator<Item = (String, String)>,
        host: &Host<'_>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let (sources, secrets) = Sources::gather(flags, env, host, &mut problems);
        let secrets = Secrets::read(&secrets, &mut problems);
        let config = settings::read(&sources, secrets, &mut problems);
        check_public_url(&sources, &mut problems);
        check_targets(&sources, host, &mut problems);
        check_oidc(&sources, config.as_ref(), &mut problems);
        check_nodes(&sources, config.as_ref(), &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::new(problems)),
        }
    }

    /// The base of callback URLs, without a trailing slash, once the service listens on `bound`.
    pub fn base_url(&self, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{bound}"))
    }
}

/// Whoever listens to the world has to say how the world may call back.
fn check_public_url(sources: &Sources, problems: &mut Vec<Problem>) {
    let listen = sources.texts("listen").first().and_then(|text| parse::socket(text.trim()).ok());
    let open = listen.filter(|listen| !listen.ip().to_canonical().is_loopback());
    if let (Some(listen), []) = (open, sources.texts("public-url")) {
        problems.push(Problem::new(
            sources.origin("listen"),
            format!("{listen} is not a loopback address, and no public URL is set"),
            "providers need an address that reaches this service: set --public-url https://…",
        ));
    }
}

/// A provider needs to know who asks.
fn check_oidc(sources: &Sources, config: Option<&Config>, problems: &mut Vec<Problem>) {
    let Some(config) = config.filter(|config| config.oidc_issuer.is_some()) else {
        return;
    };
    if config.oidc_client_id.is_none() || config.oidc_secret.is_none() {
        problems.push(Problem::new(
            sources.origin("oidc-issuer"),
            "an OpenID provider is set, but not who this service is there",
            "set --oidc-client-id and ASYNCQUEUE_OIDC_CLIENT_SECRET, or leave the provider out",
        ));
    }
}

/// What belongs to many nodes needs a store that they share, and what they share needs one secret.
fn check_nodes(sources: &Sources, config: Option<&Config>, problems: &mut Vec<Problem>) {
    let Some(config) = config else { return };
    match config.database {
        Database::Postgres(_) if config.secret_keys.is_none() => problems.push(Problem::new(
            sources.origin("database"),
            "nodes that share a database share one secret key, and none is set",
            "set ASYNCQUEUE_SECRET_KEY to the same 32 bytes in base64 on every node",
        )),
        Database::Sqlite(_) if config.role.len() < Role::ALL.len() => problems.push(Problem::new(
            sources.origin("role"),
            "an embedded store has one node, which has to do everything",
            "leave --role out, or set --database postgres://…",
        )),
        Database::Sqlite(_) if config.require_sync => problems.push(Problem::new(
            sources.origin("require-sync"),
            "an embedded store has no standby",
            "leave --require-sync out, or set --database postgres://…",
        )),
        _ => {}
    }
}

fn check_targets(sources: &Sources, host: &Host<'_>, problems: &mut Vec<Problem>) {
    let refused = |target: &String| Some((target.clone(), (host.check_target)(target.trim()).err()?));
    // What is no word was refused when it was read; one wrong value is one problem.
    let words = sources.texts("allow-target").iter().filter(|target| parse::word(target.trim()).is_ok());
    problems.extend(words.filter_map(refused).map(|(target, reason)| {
        let advice = "give a host name, an address or a range such as 10.0.0.0/8";
        Problem::new(sources.origin("allow-target"), format!("{target:?}: {reason}"), advice)
    }));
}

#[cfg(test)]
mod tests;
