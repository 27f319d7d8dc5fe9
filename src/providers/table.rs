//! The list of providers for people, as docs/providers.md holds it.

use std::fmt::Write;

use super::catalogue::Catalogue;
use super::passing::{Part, Setting};
use super::template::{Callback, Confidence, Template};

const NOTHING: &str = "–";

/// All templates as a table in Markdown, in the order in which they are listed.
pub fn table(catalogue: &Catalogue) -> String {
    let mut table = String::from(
        "| `provider` | Name | Callback URL | Polled | Signature | Endpoint | `providerParams` | Facts |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for template in catalogue {
        writeln!(table, "{}", row(template)).expect("a string takes any text");
    }
    table
}

fn row(template: &Template) -> String {
    let callback = template.callback();
    let polled = template.poll().map(|poll| format!("{} s", poll.interval_ms() / 1000));
    let params: Vec<String> = template.params.keys().map(|key| code(key)).collect();
    let cells = [
        code(&template.id),
        format!("[{}]({})", template.name, template.docs),
        or_nothing(callback.map(passed)),
        or_nothing(polled),
        or_nothing(callback.and_then(signed)),
        or_nothing(template.account().map(code)),
        or_nothing(Some(params.join(", ")).filter(|params| !params.is_empty())),
        match template.confidence {
            Confidence::Documented => "documented".to_owned(),
            Confidence::Inferred => "inferred".to_owned(),
        },
    ];
    format!("| {} |", cells.join(" | "))
}

/// Where the callback URL goes.
fn passed(callback: &Callback) -> String {
    let at = |part: &str, setting: &Setting| {
        let form = if setting.base64 { ", in base64" } else { "" };
        format!("{part} {}{form}", code(&setting.at.to_string()))
    };
    match (callback.passing.place, callback.passing.settings.first()) {
        (Part::Query, Some(setting)) => at("query", setting),
        (Part::Body, Some(setting)) => at("body", setting),
        _ => "account".to_owned(),
    }
}

/// How events are signed, and what with.
fn signed(callback: &Callback) -> Option<String> {
    let scheme = callback.signature.as_ref()?;
    let keys = if scheme.needs_no_secret() { ", public keys" } else { "" };
    Some(format!("{}{keys}", code(scheme.name())))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn or_nothing(text: Option<String>) -> String {
    text.unwrap_or_else(|| NOTHING.to_owned())
}
