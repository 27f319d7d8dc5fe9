//! `asyncqueue team`, `key`, `account`, `setup-link`, `secret` and `backup`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{load, perform, value};
use crate::admin::{Act, KeyLine, Outcome, TeamLine};
use crate::app::DEFAULT_TEAM;
use crate::config::{self, FlagValues};

/// The commands of this file.
pub fn commands() -> Vec<Command> {
    vec![team(), key(), account(), setup_link(), secret(), backup()]
}

fn team() -> Command {
    let rate_limit = Arg::new("rate-limit")
        .long("rate-limit")
        .value_name("N")
        .value_parser(value_parser!(u32))
        .help("Requests per minute over all keys of the team; without it the service's default holds");
    let secret = Command::new("secret")
        .about("The secret that calls and completion webhooks are signed with")
        .subcommand_required(true)
        .subcommand(with_store(Command::new("show").about("Show it").arg(team_flag())))
        .subcommand(with_store(
            Command::new("rotate").about("Replace it; the old one signs too for the grace time").arg(team_flag()),
        ));
    let create = Command::new("create").about("Make a team").arg(value("NAME", "Its name")).arg(rate_limit.clone());
    let limit = Command::new("limit")
        .about("Set a team's own rate limit; without --rate-limit lift it")
        .arg(value("NAME", "Its name"))
        .arg(rate_limit);
    Command::new("team")
        .about("Teams: what tasks and keys belong to")
        .subcommand_required(true)
        .subcommand(with_store(create))
        .subcommand(with_store(limit))
        .subcommand(with_store(Command::new("list").about("Show all teams")))
        .subcommand(secret)
}

fn key() -> Command {
    let name = Arg::new("name").long("name").value_name("NAME").default_value("key").help("What the key is for");
    let create = Command::new("create").about("Make a key; it is shown only now").arg(team_flag()).arg(name);
    Command::new("key")
        .about("API keys")
        .subcommand_required(true)
        .subcommand(with_store(create))
        .subcommand(with_store(Command::new("list").about("Show a team's keys").arg(team_flag())))
        .subcommand(with_store(
            Command::new("revoke").about("Stop a key from working").arg(value("ID", "The key's id, from key list")),
        ))
}

fn account() -> Command {
    let email = || value("EMAIL", "The account's e-mail address");
    let role = Arg::new("role")
        .long("role")
        .value_name("ROLE")
        .value_parser(["owner", "member", "reader"])
        .default_value("owner")
        .help("What the account may do there");
    let grant = Command::new("grant")
        .about("Put an account into a team, or change its role there")
        .arg(email())
        .arg(team_flag())
        .arg(role);
    let reset = Command::new("reset-password")
        .about("Give an account a new password, shown only now; all its sessions end")
        .arg(email());
    Command::new("account")
        .about("Accounts of people, for when nobody who could help can sign in")
        .subcommand_required(true)
        .subcommand(with_store(reset))
        .subcommand(with_store(grant))
}

fn setup_link() -> Command {
    with_store(
        Command::new("setup-link")
            .about("Print a link that makes the first account, works for a day, and replaces the one before"),
    )
}

fn secret() -> Command {
    Command::new("secret")
        .about("The service's own secret, which seals the others")
        .subcommand_required(true)
        .subcommand(with_store(Command::new("rotate").about(
            "Seal every secret anew, also while the service runs: with a new key where a file keeps it, else with the \
             first key of ASYNCQUEUE_SECRET_KEY",
        )))
}

fn backup() -> Command {
    let path =
        Arg::new("PATH").required(true).value_parser(value_parser!(PathBuf)).help("A file that does not exist yet");
    with_store(Command::new("backup").about("Copy the store to a new file, also while the service runs").arg(path))
}

fn team_flag() -> Arg {
    Arg::new("team").long("team").value_name("NAME").default_value(DEFAULT_TEAM).help("Which team")
}

/// The settings that say where the store is.
fn with_store(command: Command) -> Command {
    const NEEDED: [&str; 3] = ["config", "database", "secret-grace"];
    let args = config::args().into_iter().filter(|arg| NEEDED.contains(&arg.get_id().as_str()));
    command.args(args)
}

/// Runs one of these commands.
pub async fn run(name: &str, matches: &ArgMatches) -> Result<(), String> {
    let (act, flags) = read(name, matches)?;
    let config = load(FlagValues::from_matches(flags))?;
    show(perform(&config, act).await?)
}

fn read<'a>(name: &str, matches: &'a ArgMatches) -> Result<(Act, &'a ArgMatches), String> {
    let text = |flags: &ArgMatches, name: &str| flags.get_one::<String>(name).cloned().unwrap_or_default();
    if name == "backup" {
        let path = matches.get_one::<PathBuf>("PATH").cloned().unwrap_or_default();
        let path = std::path::absolute(&path).map_err(|error| error.to_string())?;
        return Ok((Act::Backup { path }, matches));
    }
    if name == "setup-link" {
        return Ok((Act::SetupLink, matches));
    }
    let (verb, mut flags) = matches.subcommand().ok_or("a command is needed; see --help")?;
    let act = match (name, verb) {
        ("team", "create") => Act::CreateTeam { name: text(flags, "NAME"), rate_limit: rate_limit(flags) },
        ("team", "limit") => Act::LimitTeam { team: text(flags, "NAME"), rate_limit: rate_limit(flags) },
        ("team", "list") => Act::ListTeams,
        ("team", _) => {
            let (verb, inner) = flags.subcommand().ok_or("a command is needed; see --help")?;
            flags = inner;
            let team = text(flags, "team");
            if verb == "rotate" { Act::RotateSecret { team } } else { Act::ShowSecret { team } }
        }
        ("account", "grant") => {
            Act::Grant { email: text(flags, "EMAIL"), team: text(flags, "team"), role: text(flags, "role") }
        }
        ("account", _) => Act::ResetPassword { email: text(flags, "EMAIL") },
        ("secret", _) => Act::RotateKey,
        (_, "create") => Act::CreateKey { team: text(flags, "team"), name: text(flags, "name") },
        (_, "list") => Act::ListKeys { team: text(flags, "team") },
        _ => Act::RevokeKey { id: text(flags, "ID") },
    };
    Ok((act, flags))
}

fn rate_limit(flags: &ArgMatches) -> Option<u32> {
    flags.get_one::<u32>("rate-limit").copied()
}

/// What a script may want goes to standard output, what a person may want beside it to standard error.
fn show(outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Refused(why) => return Err(why),
        Outcome::Teams(teams) => teams.iter().for_each(show_team),
        Outcome::Keys(keys) => keys.iter().for_each(show_key),
        Outcome::Key { key, id } => {
            println!("{key}");
            eprintln!("This is the only time the key is shown. Its id is {id}.");
        }
        Outcome::Secret { secret, old_until } => {
            println!("{secret}");
            if let Some(until) = old_until {
                eprintln!("The secret before it signs too until {until}.");
            }
        }
        Outcome::Resealed { key_number, secrets, new_key } => {
            println!("{secrets}");
            let which = if new_key { "a new key" } else { "the current key" };
            eprintln!(
                "So many secrets were sealed anew with {which}, number {key_number}. Keep the older keys: callback ids open with them."
            );
        }
        Outcome::Setup(url) => {
            println!("{url}");
            eprintln!("Whoever opens this within a day makes the first account. Links before it work no longer.");
        }
        Outcome::Password(password) => {
            println!("{password}");
            eprintln!("This is the only time the password is shown. All sessions of the account have ended.");
        }
        Outcome::Done => eprintln!("Done."),
        Outcome::Copied(path) => {
            println!("{}", path.display());
            eprintln!(
                "The copy does not hold the secret key; a restore needs it too: the file beside the database \
                 (its name and .key), or ASYNCQUEUE_SECRET_KEY."
            );
        }
    }
    Ok(())
}

fn show_team(team: &TeamLine) {
    let limit = team.rate_limit.map_or_else(|| "-".to_owned(), |limit| format!("{limit}/min"));
    println!("{}\t{}\t{}\t{limit}", team.id, team.name, team.created_at);
}

fn show_key(key: &KeyLine) {
    let state = key.revoked_at.as_deref().map_or_else(|| "works".to_owned(), |at| format!("revoked {at}"));
    println!("{}\t{}…\t{}\t{}\t{state}", key.id, key.prefix, key.name, key.created_at);
}
