//! The commands that are a client of a server, this machine's or another: `asyncqueue task`, `signal`, `token`, `provider`,
//! `endpoint`, and `profile`, which keeps servers and keys.

mod profile;
mod task;
mod things;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use zeroize::Zeroizing;

use crate::client::{Exit, Failure, Given, Profiles, Screen, Server, Session};

/// Where profiles are kept.
const PROFILES: &str = "ASYNCQUEUE_PROFILES";

const URL: &str =
    "The server's base URL [env: ASYNCQUEUE_URL, with the key in ASYNCQUEUE_API_KEY] [default: http://127.0.0.1:8080]";
const PROFILE: &str = "A server and key kept by `asyncqueue profile` [env: ASYNCQUEUE_PROFILE]";
const CA_FILE: &str = "Trust the certificates of this PEM file instead of the public web's [env: ASYNCQUEUE_CA_FILE]";

/// The longest text that is read from a file or from standard input, bytes.
const TEXT_MAX: u64 = 64 * 1024 * 1024;

#[derive(Subcommand)]
enum Commands {
    /// Create, read, wait for, list, cancel and retry tasks
    Task(task::Arguments),
    /// Tell how the job of a task went
    Signal(things::Signal),
    /// The vault for providers' keys and secrets
    Token(things::Tokens),
    /// What the server knows about AI providers
    Provider(things::Providers),
    /// One URL for the webhooks of all of an account's jobs
    Endpoint(things::Endpoints),
    /// Servers and keys under names, in a file that only you may read
    Profile(profile::Arguments),
}

/// Which server, and how to answer.
#[derive(Args)]
struct At {
    #[arg(long, global = true, value_name = "URL", help_heading = "Server", help = URL)]
    url: Option<String>,
    #[arg(long, global = true, value_name = "NAME", help_heading = "Server", help = PROFILE)]
    profile: Option<String>,
    #[arg(long, global = true, value_name = "PATH", help_heading = "Server", help = CA_FILE)]
    ca_file: Option<PathBuf>,
    /// Print the server's answer as it is
    #[arg(long, global = true)]
    json: bool,
}

/// Adds these commands.
pub fn augment(command: Command) -> Command {
    Commands::augment_subcommands(command)
}

/// Whether a command is one of these.
pub fn has(name: &str) -> bool {
    augment(Command::new("asyncqueue")).find_subcommand(name).is_some()
}

/// Runs one of these commands; the exit code says how it went.
pub async fn run(matches: &ArgMatches) -> Exit {
    let outcome = match Commands::from_arg_matches(matches) {
        Ok(commands) => dispatch(commands).await,
        Err(error) => Err(Failure::usage(error.to_string())),
    };
    outcome.unwrap_or_else(|failure| {
        Screen::new(false).say(&failure.text);
        failure.exit
    })
}

async fn dispatch(commands: Commands) -> Result<Exit, Failure> {
    match commands {
        Commands::Task(arguments) => task::run(arguments).await,
        Commands::Signal(arguments) => things::signal(arguments).await,
        Commands::Token(arguments) => things::tokens(arguments).await,
        Commands::Provider(arguments) => things::providers(arguments).await,
        Commands::Endpoint(arguments) => things::endpoints(arguments).await,
        Commands::Profile(arguments) => profile::run(arguments),
    }
}

impl At {
    /// The server that is meant.
    fn connect(self) -> Result<(Server, Screen), Failure> {
        let mut screen = Screen::new(self.json);
        let given = Given {
            url: self.url,
            profile: self.profile,
            ca_file: self.ca_file.or_else(|| variable("ASYNCQUEUE_CA_FILE").map(PathBuf::from)),
            env_url: variable("ASYNCQUEUE_URL"),
            env_key: variable("ASYNCQUEUE_API_KEY").map(Zeroizing::new),
            env_profile: variable("ASYNCQUEUE_PROFILE"),
        };
        let session = Session::choose(given, || Profiles::load(&profiles_path()?))?;
        let server = Server::connect(&session)?;
        if server.is_overheard() {
            screen.say(&format!("warning: the key goes to {} unencrypted", session.url));
        }
        Ok((server, screen))
    }
}

/// A variable; an empty one counts as unset.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn profiles_path() -> Result<PathBuf, Failure> {
    let path = variable(PROFILES).map(PathBuf::from).or_else(Profiles::usual_path);
    path.ok_or_else(|| Failure::usage(format!("there is no home folder to keep profiles in; set {PROFILES}")))
}

/// A text that was given: itself, or what the file holds that `@` names (`@-` is standard input, `@@` a single `@`).
fn text(given: &str) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        None => Ok(given.to_owned()),
        Some("-") => all_of(std::io::stdin(), "standard input"),
        Some(literal) if literal.starts_with('@') => Ok(literal.to_owned()),
        Some(path) => file(Path::new(path)),
    }
}

fn file(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    all_of(file, &name)
}

fn all_of(reader: impl Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = reader.take(TEXT_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    if text.len() as u64 > TEXT_MAX {
        return Err(Failure::usage(format!("{name} is larger than {TEXT_MAX} bytes")));
    }
    Ok(text)
}

/// A secret: the first line of a file, or of standard input.
fn secret(path: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let whole = match path {
        Some(path) if path != Path::new("-") => file(path)?,
        _ => {
            if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                eprintln!("Paste the value, then press Enter and Ctrl-D:");
            }
            all_of(std::io::stdin(), "standard input")?
        }
    };
    let whole = Zeroizing::new(whole);
    match whole.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::usage("the value is empty")),
        value if value.contains(['\r', '\n']) => Err(Failure::usage("the value is more than one line")),
        value => Ok(Zeroizing::new(value.to_owned())),
    }
}

/// An id or token, which becomes a part of a path.
fn segment(text: &str) -> Result<&str, Failure> {
    let fine = (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fine { Ok(text) } else { Err(Failure::usage(format!("{text:?} is no id"))) }
}
