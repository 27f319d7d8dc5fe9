//! The command line.

mod admin;
mod client;
mod dev;
mod generate;
mod nodes;
mod serve;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::app::{self, Surroundings};
use crate::client::Exit;
use crate::clock::SystemClock;
use crate::config::{self, Config, FlagValues, Host};
use crate::guard::AllowTarget;
use crate::outbound::{Detours, SystemResolver};
use crate::telemetry::logging;

/// The exit code of a command that was not done.
const FAILED: u8 = 1;

/// The exit code when the disk cannot be trusted any more (`EX_IOERR` of sysexits).
const DISK_FAILED: i32 = 74;

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(&matches));
            // A look-up that hangs in the operating system must not hold the process up.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            outcome
        }
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(text) => {
            eprintln!("asyncqueue: {text}");
            ExitCode::from(FAILED)
        }
    }
}

async fn dispatch(matches: &ArgMatches) -> Result<Exit, String> {
    match matches.subcommand() {
        Some((name, _)) if client::has(name) => Ok(client::run(matches).await),
        _ => operate(matches).await.map(|()| Exit::Done),
    }
}

/// The commands of those who run a service.
async fn operate(matches: &ArgMatches) -> Result<(), String> {
    match matches.subcommand() {
        Some((name, flags)) if generate::has(name) => generate::run(name, command(), flags),
        Some(("serve", flags)) => serve::serve(load(FlagValues::from_matches(flags))?).await,
        Some(("dev", flags)) => dev::dev(flags).await,
        Some(("check-config", flags)) => {
            println!("{}", load(FlagValues::from_matches(flags))?.describe());
            Ok(())
        }
        Some((name, flags)) if nodes::has(name) => nodes::run(name, flags).await,
        Some((name, flags)) => admin::run(name, flags).await,
        None => Err("a command is needed; see --help".to_owned()),
    }
}

/// The command line, whole.
pub fn command() -> Command {
    let operators = Command::new("asyncqueue")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Calls AI providers, receives their webhooks, and never loses a result")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("serve").about("Run the service").args(config::args()))
        .subcommand(
            Command::new("dev")
                .about("Run the service in a scratch folder with a simulated AI provider, and show one round trip")
                .args(config::args())
                .arg(flag("once", "End after the round trip; the exit code says whether it worked"))
                .args(dev::args()),
        )
        .subcommand(Command::new("check-config").about("Check the configuration and show it").args(config::args()))
        .subcommands(admin::commands())
        .subcommands(nodes::commands())
        .subcommands(generate::commands());
    client::augment(operators)
}

/// A flag without a value.
fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A value by position.
fn value(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(name).required(true).value_parser(value_parser!(String)).help(help)
}

/// The configuration from flags, environment and file, or everything that is wrong with it.
fn load(flags: FlagValues) -> Result<Config, String> {
    let check = |text: &str| AllowTarget::parse(text).map(drop);
    Config::load(flags, config::environment(), &Host::system(&check)).map_err(|error| error.to_string())
}

fn start_logging(config: &Config) -> Result<(), String> {
    logging::init(config.log, &config.log_level).map_err(|error| error.to_string())
}

/// The machine this runs on.
fn surroundings() -> Surroundings {
    Surroundings {
        clock: Arc::new(SystemClock),
        resolver: Arc::new(SystemResolver),
        tls: None,
        detours: Detours::default(),
        fatal: Arc::new(|why| {
            tracing::error!(why, "The disk failed; ending, so that the next start recovers from what is on it");
            eprintln!("asyncqueue: the disk failed: {why}");
            std::process::exit(DISK_FAILED);
        }),
    }
}

/// Does one act: by the running service if there is one, else on the store itself.
async fn perform(config: &Config, act: crate::admin::Act) -> Result<crate::admin::Outcome, String> {
    if let Some(path) = config.database.file().filter(|path| app::in_use(path)) {
        let socket = app::socket::path_for(path);
        let asked = app::socket::ask(&socket, &act).await;
        return asked
            .map_err(|error| format!("the running service cannot be reached at {}: {error}", socket.display()));
    }
    let opened = app::open(config, &surroundings(), None).await?;
    Ok(opened.admin.perform(act).await)
}
