//! `cargo bench --bench service`: what the release binary does over loopback, beside two bare servers.
//!
//! Every server under test is a process of its own on a store of its own; the load comes from one cheap client in this
//! process, the same for all. `echo` shows what HTTP alone costs here, `yardstick` what HTTP and a durable log cost;
//! the service's rows are given as ratios to the yardstick of the same round, which makes machines comparable.

// `main` of a benchmark is the crate's root, so the folder beside it has to be named.
#[path = "service/cycle.rs"]
mod cycle;
#[path = "service/failure.rs"]
mod failure;
#[path = "service/lab.rs"]
mod lab;
#[path = "service/load.rs"]
mod load;
#[path = "service/longpolls.rs"]
mod longpolls;
#[path = "service/machine.rs"]
mod machine;
#[path = "service/million.rs"]
mod million;
#[path = "service/options.rs"]
mod options;
#[path = "service/polls.rs"]
mod polls;
#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "service/process.rs"]
mod process;
#[path = "service/references.rs"]
mod references;
#[path = "service/report.rs"]
mod report;
#[path = "service/requests.rs"]
mod requests;
#[path = "service/rows.rs"]
mod rows;
#[path = "service/seed.rs"]
mod seed;
#[path = "service/stats.rs"]
mod stats;
#[path = "service/target.rs"]
mod target;
#[path = "service/wire.rs"]
mod wire;

use std::process::ExitCode;

use crate::failure::Outcome;
use crate::lab::Lab;
use crate::options::{Command, Options, Section};
use crate::report::Report;

/// The service's own allocator, so that the bare servers do not differ from it in that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)).and_then(obey) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Outcome<()> {
    match command {
        Command::Help => {
            print!("{}", options::USAGE);
            Ok(())
        }
        Command::ServeEcho(address) => references::serve_echo(address),
        Command::ServeYardstick(address, log) => references::serve_yardstick(address, &log),
        Command::Measure(options) => {
            machine::ensure_descriptors(options.descriptors_needed())?;
            // One thread: the other core is the server's.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(measure(options))
        }
    }
}

async fn measure(options: Options) -> Outcome<()> {
    let lab = Lab::new(&options)?;
    let mut report = Report::new(machine::describe(&lab.scratch)?);
    report.rows = rows::measure_all(&lab, &options).await?;
    if options.runs(Section::Million) {
        report.million = Some(million::measure(&lab, options.rounds).await?);
    }
    if options.runs(Section::LongPolls) {
        report.long_polls = Some(longpolls::measure(&lab).await?);
    }
    if options.runs(Section::Polls) {
        report.polls = Some(polls::measure(&lab).await?);
    }
    if options.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(())
}
