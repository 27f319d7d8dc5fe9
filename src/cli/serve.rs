//! `asyncqueue serve`.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use super::{start_logging, surroundings};
use crate::app::{App, process};
use crate::config::Config;

/// Runs the service until it is told to stop.
pub async fn serve(config: Config) -> Result<(), String> {
    start_logging(&config)?;
    process::prepare();
    // Before the start: a signal that comes while the first request is answered must find who hears it.
    let mut signals = Signals::listen()?;
    // On a task of its own: a store that is brought up to date works for long without a pause in which a signal would be seen.
    let start = config.clone();
    let start = tokio::spawn(async move { App::start(&start, surroundings()).await });
    let app = tokio::select! {
        started = start => started.map_err(|died| died.to_string())??,
        stopped_by = signals.next() => {
            info!(signal = stopped_by, "Stopped before it served");
            return Ok(());
        }
    };
    announce(&config, &app);
    let stopped_by = signals.next().await;
    info!(signal = stopped_by, "Stopping");
    app.stop().await;
    info!("Stopped");
    Ok(())
}

fn announce(config: &Config, app: &App) {
    let database = config.database.shown();
    let base = config.base_url(app.address);
    info!(address = %app.address, database, public_url = base, "Serving on http://{}", app.address);
    if let Some(key) = &app.first_key {
        // To the terminal and not to the log: a key in the clear is for the person who started the service.
        println!("The first API key, shown only now: {key}");
    }
    if let Some(url) = &app.setup_url {
        println!("There is no account yet. Make the first one within a day: {url}");
    }
}

/// The signals that stop the service. From when this is made they no longer end the process by themselves.
pub struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| error.to_string());
        Ok(Self { term: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM or SIGINT, and answers which came.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
