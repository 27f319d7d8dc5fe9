//! `asyncqueue profile …`: no server is asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{profiles_path, secret};
use crate::client::{Exit, Failure, Profile, Profiles, Screen, Table};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Keep a server and its key, which is read from standard input
    Set {
        /// The profile's name
        #[arg(value_name = "NAME")]
        name: String,
        /// The server's base URL
        #[arg(long, value_name = "URL")]
        url: String,
        /// The file that holds the key; without it, or for `-`, standard input does
        #[arg(long, value_name = "PATH")]
        key_file: Option<PathBuf>,
        /// The PEM file whose certificates to trust instead of the public web's
        #[arg(long, value_name = "PATH")]
        ca_file: Option<PathBuf>,
    },
    /// Show the profiles, without their keys
    List,
    /// Make a profile the one that is used when none is named
    Use {
        /// The profile's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Forget a profile
    Remove {
        /// The profile's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Works on the file.
pub(super) fn run(Arguments { verb }: Arguments) -> Result<Exit, Failure> {
    let path = profiles_path()?;
    let mut profiles = Profiles::load(&path)?;
    match verb {
        Verb::List => {
            Screen::new(false).answer(&[], |_| Ok(table(&profiles)))?;
            return Ok(Exit::Done);
        }
        Verb::Set { name, url, key_file, ca_file } => {
            let key = Some(secret(key_file.as_deref())?.to_string());
            let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
            profiles.set(&name, Profile { url, key, ca_file: ca_file.map(absolute) })?;
        }
        Verb::Use { name } => profiles.choose(&name)?,
        Verb::Remove { name } => profiles.remove(&name)?,
    }
    profiles.save(&path)?;
    Ok(Exit::Done)
}

fn table(profiles: &Profiles) -> String {
    let mut table = Table::new(&["NAME", "URL", "DEFAULT"]);
    for (name, profile, is_default) in profiles.all() {
        table.row([name, &profile.url, if is_default { "yes" } else { "" }]);
    }
    table.text()
}
