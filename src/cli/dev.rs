//! `asyncqueue dev`: the service in a scratch folder, with a simulated AI provider, and one round trip to look at.

mod named;
mod options;
mod provider;
mod tour;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgMatches;

use super::serve::Signals;
use super::{load, start_logging, surroundings};
use crate::app::{App, Surroundings, process};
use crate::clock::SystemClock;
use crate::config::{Config, FlagValues};
use crate::simulate::{Facts, Listener, Simulator};
use options::Named;
pub use options::args;

/// Runs it.
pub async fn dev(matches: &ArgMatches) -> Result<(), String> {
    let named = options::named(matches)?;
    let scratch = Scratch::make()?;
    let flags = FlagValues::from_matches(matches)
        .with_default("listen", free_address().to_string())
        .with_default("database", format!("sqlite:{}", scratch.0.join("asyncqueue.db").display()))
        .with_default("allow-target", "127.0.0.0/8")
        .with_default("callback-rate-limit", "0")
        .with_default("shutdown-notice", "0s")
        .with_default("log-level", "warn");
    let config = load(flags)?;
    start_logging(&config)?;
    process::prepare();
    match named {
        Some(named) => play(named, &config, matches.get_flag("once"), &scratch.0).await,
        None => plain(&config, matches.get_flag("once"), &scratch.0).await,
    }
}

/// With a provider of no name, which calls a URL in its query.
async fn plain(config: &Config, once: bool, scratch: &Path) -> Result<(), String> {
    let (app, base, key) = start(config, surroundings()).await?;
    let provider = provider::start().await?;
    let toured = tour::round_trip(&base, &key, provider).await;
    if once || toured.is_err() {
        app.stop().await;
        return toured;
    }
    let mut signals = Signals::listen()?;
    tour::invite(&base, &key, provider, scratch);
    signals.next().await;
    app.stop().await;
    Ok(())
}

/// With a simulation of a provider that there is a template for. Its hosts lead there, so that tasks are as they would be.
async fn play(named: Named, config: &Config, once: bool, scratch: &Path) -> Result<(), String> {
    let facts = Facts::named(&named.provider).ok_or("the template is gone")?;
    let hear = Listener::new(|what| println!("   [{:>12}] {what}", "the provider"));
    let simulator = Simulator::start(facts.clone(), named.plan.clone(), Arc::new(SystemClock), hear).await?;
    let mut surroundings = surroundings();
    simulator.lead(&mut surroundings.detours);
    let (app, base, key) = start(config, surroundings).await?;
    let toured = named::round_trip(&base, &key, &simulator, &facts, &named.plan).await;
    if once || toured.is_err() {
        app.stop().await;
        return toured.map(drop);
    }
    let mut signals = Signals::listen()?;
    named::invite(&base, &key, &toured?, scratch);
    signals.next().await;
    app.stop().await;
    Ok(())
}

/// The service, where it is, and a key for it.
async fn start(config: &Config, surroundings: Surroundings) -> Result<(App, String, String), String> {
    let app = App::start(config, surroundings).await?;
    let base = format!("http://{}", app.address);
    let key = match &app.first_key {
        Some(key) => key.clone(),
        None => config.bootstrap_key.as_ref().map(|key| key.expose().clone()).unwrap_or_default(),
    };
    Ok((app, base, key))
}

/// 8080, or any free port if that one is in use.
fn free_address() -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, String> {
        let name = format!("asyncqueue-dev-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path);
        made.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}
