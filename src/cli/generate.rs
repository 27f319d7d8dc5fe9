//! `asyncqueue completions` and `asyncqueue man`: what a package puts beside the program, made from the commands themselves.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::api::openapi;

/// The commands of this file.
pub fn commands() -> Vec<Command> {
    let shell = Arg::new("SHELL").required(true).value_parser(value_parser!(Shell)).help("Which shell");
    let folder =
        Arg::new("FOLDER").required(true).value_parser(value_parser!(PathBuf)).help("A folder; it is made if need be");
    vec![
        Command::new("openapi").about("Print the description of the API: OpenAPI 3.1"),
        Command::new("completions").about("Print a script that completes commands in a shell").arg(shell),
        Command::new("man").about("Write a manual page for each command into a folder").arg(folder),
    ]
}

/// Whether a command is one of these.
pub fn has(name: &str) -> bool {
    commands().iter().any(|command| command.get_name() == name)
}

/// Runs one of these commands.
pub fn run(name: &str, mut whole: Command, matches: &ArgMatches) -> Result<(), String> {
    if name == "openapi" {
        return print(openapi::text().as_bytes());
    }
    if let Some(shell) = matches.try_get_one::<Shell>("SHELL").ok().flatten() {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut whole, "asyncqueue", &mut script);
        return print(&script);
    }
    let folder = matches.get_one::<PathBuf>("FOLDER").cloned().unwrap_or_default();
    let written = std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(whole, &folder));
    written.map_err(|error| format!("{}: {error}", folder.display()))
}

fn print(text: &[u8]) -> Result<(), String> {
    std::io::Write::write_all(&mut std::io::stdout(), text).map_err(|error| error.to_string())
}
