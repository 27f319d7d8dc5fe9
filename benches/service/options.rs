//! The benchmark's own command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::failure::{Failure, Outcome, fail};

/// What `--help` prints.
pub const USAGE: &str = "\
cargo bench --bench service [-- OPTIONS]
  --quick         about a minute: fewer rounds, smaller counts, no special sections
  --json          one JSON object on standard output and nothing else
  --only A,B      some of: echo, yardstick, create, resolve, ruled, cycle, million, longpolls, polls
  --rounds N      interleaved rounds (default 5; 3 with --quick)
  --binary PATH   measure this binary instead of the one just built
  --database postgres   on a PostgreSQL server of the system's packages, with pgbench's rate beside it
  --nodes N       so many nodes on it, the connections spread over them (default 1)
";

/// Everything that can be asked for by name, in the order in which it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// A bare server that answers the body.
    Echo,
    /// A bare server that makes the body durable first.
    Yardstick,
    /// `POST /v1/tasks`, due in an hour.
    Create,
    /// `POST /v1/callbacks/:id`.
    Resolve,
    /// The same, for tasks with a callback rule.
    Ruled,
    /// Creation to answered completion webhook.
    Cycle,
    /// What the database's own benchmark does on the same server.
    Pgbench,
    /// A store with a million waiting tasks.
    Million,
    /// Ten thousand open long polls.
    LongPolls,
    /// Twenty thousand polling tasks.
    Polls,
}

impl Section {
    /// All of them.
    const ALL: [Self; 10] = [
        Self::Echo,
        Self::Yardstick,
        Self::Create,
        Self::Resolve,
        Self::Ruled,
        Self::Cycle,
        Self::Pgbench,
        Self::Million,
        Self::LongPolls,
        Self::Polls,
    ];

    /// The name on the command line and in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Yardstick => "yardstick",
            Self::Create => "create",
            Self::Resolve => "resolve",
            Self::Ruled => "ruled",
            Self::Cycle => "cycle",
            Self::Pgbench => "pgbench",
            Self::Million => "million",
            Self::LongPolls => "longpolls",
            Self::Polls => "polls",
        }
    }

    fn named(name: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|section| section.name() == name);
        found.ok_or_else(|| Failure(format!("no section is called {name:?}\n{USAGE}")))
    }
}

/// What this process is to do.
#[derive(Debug)]
pub enum Command {
    /// Print the usage.
    Help,
    /// Be the bare echo server.
    ServeEcho(SocketAddr),
    /// Be the yardstick, appending to this file.
    ServeYardstick(SocketAddr, PathBuf),
    /// Measure.
    Measure(Options),
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Small counts.
    pub quick: bool,
    /// Machine-readable output.
    pub json: bool,
    /// How often each row is measured.
    pub rounds: u32,
    /// The binary under test.
    pub binary: PathBuf,
    /// Whether it runs on PostgreSQL.
    pub postgres: bool,
    /// How many nodes share the store.
    pub nodes: u32,
    sections: Vec<Section>,
}

impl Options {
    /// Whether `section` was asked for.
    pub fn runs(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }

    /// Open files that the chosen sections need, in this process and in the service each.
    pub fn descriptors_needed(&self) -> u64 {
        if self.runs(Section::LongPolls) && !self.quick { 11_000 } else { 1_000 }
    }
}

/// Reads the arguments that follow the program's name.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Command> {
    let (mut quick, mut json, mut rounds, mut only) = (false, false, None, None);
    let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_asyncqueue"));
    let (mut postgres, mut nodes) = (false, 1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo adds this one to every benchmark.
            "--bench" => {}
            "--quick" => quick = true,
            "--json" => json = true,
            "--rounds" => rounds = Some(rounds_of(&value(&argument, &mut arguments)?)?),
            "--only" => only = Some(sections_of(&value(&argument, &mut arguments)?)?),
            "--database" if value(&argument, &mut arguments)? == "postgres" => postgres = true,
            "--nodes" => nodes = rounds_of(&value(&argument, &mut arguments)?)?,
            "--binary" => binary = value(&argument, &mut arguments)?.into(),
            "--serve-echo" => return Ok(Command::ServeEcho(address(&argument, &mut arguments)?)),
            "--serve-yardstick" => {
                let address = address(&argument, &mut arguments)?;
                return Ok(Command::ServeYardstick(address, value(&argument, &mut arguments)?.into()));
            }
            "--help" | "-h" => return Ok(Command::Help),
            _ => return fail(format!("unknown argument {argument:?}\n{USAGE}")),
        }
    }
    let rounds = rounds.unwrap_or(if quick { 3 } else { 5 });
    if nodes > 1 && !postgres {
        return fail("an embedded store has one node; --nodes needs --database postgres");
    }
    let sections = only.unwrap_or_else(|| usual_sections(quick, postgres));
    Ok(Command::Measure(Options { quick, json, rounds, binary, postgres, nodes, sections }))
}

fn usual_sections(quick: bool, postgres: bool) -> Vec<Section> {
    let usual = |section: &Section| match section {
        // The long ones look at the embedded store's files.
        Section::Million | Section::LongPolls | Section::Polls => !quick && !postgres,
        Section::Pgbench => postgres,
        _ => true,
    };
    Section::ALL.into_iter().filter(usual).collect()
}

fn value(name: &str, arguments: &mut impl Iterator<Item = String>) -> Outcome<String> {
    arguments.next().ok_or_else(|| Failure(format!("{name} needs a value\n{USAGE}")))
}

fn address(name: &str, arguments: &mut impl Iterator<Item = String>) -> Outcome<SocketAddr> {
    let text = value(name, arguments)?;
    text.parse().map_err(|_| Failure(format!("{name} needs an address, not {text:?}")))
}

fn rounds_of(text: &str) -> Outcome<u32> {
    match text.parse() {
        Ok(rounds) if rounds > 0 => Ok(rounds),
        _ => fail(format!("--rounds needs a number above 0, not {text:?}")),
    }
}

fn sections_of(text: &str) -> Outcome<Vec<Section>> {
    text.split(',').map(|name| Section::named(name.trim())).collect()
}
