//! What `dev` can be asked of a simulated provider.

use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};

use crate::simulate::{Facts, Outcome, Plan};

/// A provider to simulate, and how it is to behave.
pub struct Named {
    pub provider: String,
    pub plan: Plan,
}

/// The flags.
pub fn args() -> Vec<Arg> {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading("Simulated provider")
    };
    vec![
        flag(
            "provider",
            "ID",
            "Simulate this provider, by the id of its template: fal, replicate, luma, openai-videos, …",
        )
        .value_parser(value_parser!(String)),
        flag("outcome", "END", "How the provider's jobs end")
            .value_parser(["done", "failed"])
            .default_value("done")
            .requires("provider"),
        flag("work", "SECONDS", "How long a job takes")
            .value_parser(value_parser!(f64))
            .allow_negative_numbers(true)
            .default_value("2")
            .requires("provider"),
        flag("lose-webhooks", "N", "So many webhooks get lost, or all; the provider tries again as it does")
            .value_parser(value_parser!(String))
            .default_value("0")
            .requires("provider"),
        flag("busy", "N", "So many calls are answered 503 first")
            .value_parser(value_parser!(u32))
            .default_value("0")
            .requires("provider"),
    ]
}

/// The provider that was asked for, if one was.
pub fn named(matches: &ArgMatches) -> Result<Option<Named>, String> {
    let Some(asked) = matches.get_one::<String>("provider") else { return Ok(None) };
    let facts = Facts::named(asked).or_else(|| of_account(asked));
    let facts =
        facts.ok_or_else(|| format!("--provider {asked}: there is no such template; GET /v1/providers lists them"))?;
    let seconds = matches.get_one::<f64>("work").copied().unwrap_or_default();
    let work = Duration::try_from_secs_f64(seconds).ok().filter(|work| *work <= Duration::from_secs(3600));
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let lost = match text("lose-webhooks") {
        "all" => Some(u32::MAX),
        number => number.parse().ok(),
    };
    let plan = Plan {
        outcome: if text("outcome") == "failed" { Outcome::Failed } else { Outcome::Done },
        work: work.ok_or("--work is a number of seconds from 0 to 3600")?,
        lost: lost.ok_or("--lose-webhooks is a number, or all")?,
        busy: matches.get_one::<u32>("busy").copied().unwrap_or_default(),
        ..Plan::default()
    };
    check(&facts, &plan)?;
    Ok(Some(Named { provider: facts.id().to_owned(), plan }))
}

/// The first template of an account's (`openai`).
fn of_account(name: &str) -> Option<Facts> {
    Facts::all().into_iter().find(|facts| facts["callback"]["url"]["account"] == name)
}

/// What cannot be played is told before anything is started.
fn check(facts: &Facts, plan: &Plan) -> Result<(), String> {
    let (id, polled) = (facts.id(), facts["pollConfig"].is_object());
    let fails = facts.failed("job").is_some() || facts.end("job", true).is_some();
    if plan.outcome == Outcome::Failed && !fails {
        return Err(format!("{id} never says that a job failed, so --outcome failed cannot be played"));
    }
    if plan.lost == u32::MAX && !polled {
        return Err(format!("{id} cannot be polled, so nothing makes good for --lose-webhooks all"));
    }
    Ok(())
}
