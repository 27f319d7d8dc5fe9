//! `asyncqueue serve`.

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{start_logging, surroundings};
use crate::app::{App, process};
use crate::config::Config;

/// Runs the service until it is told to stop.
pub async fn serve(config: Config) -> Result<(), String> {
    start_logging(&config)?;
    process::prepare();
    let app = App::start(&config, surroundings()).await?;
    announce(&config, &app);
    let stopped_by = wait_for_signal().await?;
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

/// Waits for SIGTERM or SIGINT, and answers which came.
pub async fn wait_for_signal() -> Result<&'static str, String> {
    let mut term = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    tokio::select! {
        _ = term.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
