//! `asyncqueue migrate`, `nodes` and `copy`: what belongs to a store that nodes share.

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use super::{flag, load};
use crate::app::moving;
use crate::clock::SystemClock;
use crate::config::{self, Database, FlagValues, database};
use crate::wire::iso;

/// The commands of this file.
pub fn commands() -> Vec<Command> {
    vec![migrate(), nodes(), copy()]
}

/// Whether one of them has this name.
pub fn has(name: &str) -> bool {
    ["migrate", "nodes", "copy"].contains(&name)
}

fn migrate() -> Command {
    Command::new("migrate")
        .about("Bring a PostgreSQL database up to date; a node does so by itself when it starts")
        .args(database_flags())
}

fn nodes() -> Command {
    Command::new("nodes")
        .about("Show the nodes that share a PostgreSQL database")
        .args(database_flags())
        .arg(flag("json", "As JSON"))
}

fn copy() -> Command {
    let place = |name: &'static str, form: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(form).required(true).value_parser(value_parser!(String)).help(help)
    };
    Command::new("copy")
        .about("Copy an embedded store into a PostgreSQL database, and compare the two; can be stopped and run again")
        .arg(place("from", "sqlite:PATH", "The store that is left; nothing may serve it"))
        .arg(place("to", "postgres://…", "The database that is moved into; nothing may serve it yet"))
}

fn database_flags() -> impl Iterator<Item = Arg> {
    const NEEDED: [&str; 2] = ["config", "database"];
    config::args().into_iter().filter(|arg| NEEDED.contains(&arg.get_id().as_str()))
}

/// Runs one of these commands.
pub async fn run(name: &str, matches: &ArgMatches) -> Result<(), String> {
    if name == "copy" {
        return run_copy(matches).await;
    }
    let config = load(FlagValues::from_matches(matches))?;
    if name == "migrate" {
        match moving::migrate(&config.database).await? {
            0 => println!("The database was empty and is ready now."),
            version => println!("The database had layout {version} and is up to date."),
        }
        return Ok(());
    }
    let nodes = moving::nodes(&config.database).await?;
    if matches.get_flag("json") {
        let nodes = nodes.iter().map(|node| {
            json!({
                "id": node.id.to_string(), "name": node.name, "version": node.version, "roles": node.roles.split(',').collect::<Vec<_>>(),
                "address": node.address, "startedAt": iso(node.started_at), "seenAt": iso(node.seen_at),
                "aliveUntil": iso(node.alive_until), "callsInFlight": node.calls, "alive": node.alive,
            })
        });
        println!("{}", json!({"nodes": nodes.collect::<Vec<_>>()}));
        return Ok(());
    }
    println!("{:24} {:7} {:>5}  {:22} {:24} ROLES", "NAME", "STATE", "CALLS", "ADDRESS", "LAST HEARD");
    for node in nodes {
        let state = if node.alive { "alive" } else { "gone" };
        let seen = iso(node.seen_at);
        println!("{:24} {state:7} {:>5}  {:22} {seen:24} {}", node.name, node.calls, node.address, node.roles);
    }
    Ok(())
}

async fn run_copy(matches: &ArgMatches) -> Result<(), String> {
    let place = |name: &str| database(matches.get_one::<String>(name).map_or("", String::as_str));
    let from = place("from").map_err(|why| format!("--from: {why}"))?;
    let to = place("to").map_err(|why| format!("--to: {why}"))?;
    let Database::Sqlite(from) = from else { return Err("--from is an embedded store, sqlite:PATH".to_owned()) };
    let tell = |what: &str| println!("{what}");
    let summary = Box::pin(moving::copy(&from, &to, &SystemClock, &tell)).await?;
    println!("{} tasks and {} other rows are the same in both.", summary.tasks, summary.rows);
    if summary.interrupted > 0 {
        println!("{} calls were under way and count as interrupted.", summary.interrupted);
    }
    println!(
        "Give every node the secret key of the old store: the text of {}.key, as ASYNCQUEUE_SECRET_KEY.",
        from.display()
    );
    Ok(())
}
