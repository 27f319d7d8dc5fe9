//! Reads the configuration file: TOML, flat, its keys the names of the flags.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, Problem};
use super::settings::{SETTINGS, Setting};
use super::sources::Value;
use super::suggest::{did_you_mean, nearest};

/// Everything that the file says about known settings; the rest becomes problems.
pub(super) fn read(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<(&'static str, Value)> {
    let file = File { path, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    problems.extend(errors.iter().map(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Problem::new(file.origin(at, ""), error.message(), "correct the TOML")
    }));
    let mut values = Vec::new();
    for (key, value) in table.get_ref() {
        file.take(key.get_ref(), key.span().start, value, &mut values, problems);
    }
    values
}

/// The file being read: what a problem's place is worked out from.
#[derive(Clone, Copy)]
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// The place `at` bytes into the file.
    fn origin(self, at: usize, key: &str) -> Origin {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line, key: key.to_owned() }
    }

    fn take(
        self,
        key: &str,
        at: usize,
        value: &Spanned<DeValue<'_>>,
        values: &mut Vec<(&'static str, Value)>,
        problems: &mut Vec<Problem>,
    ) {
        let origin = self.origin(at, key);
        match (Setting::named(key), value.get_ref()) {
            (Some(setting), value) => match texts(setting, value) {
                Ok(texts) => values.push((setting.name, Value { texts, origin })),
                Err(message) => problems.push(Problem::new(origin, message, format!("give {}", setting.form))),
            },
            (None, DeValue::Table(table)) => {
                for (inner, _) in table {
                    let dotted = format!("{key}.{}", inner.get_ref());
                    problems.push(unknown_key(&dotted, self.origin(inner.span().start, &dotted)));
                }
            }
            (None, _) => problems.push(unknown_key(key, origin)),
        }
    }
}

/// A value as it would be written on the command line.
fn texts(setting: &Setting, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(items) if setting.repeatable => items.iter().map(|item| scalar(item.get_ref())).collect(),
        DeValue::Array(_) => Err("takes one value, not a list".to_owned()),
        single => Ok(vec![scalar(single)?]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        other => Err(format!("takes text or a whole number, not this ({})", other.type_str())),
    }
}

/// Secrets get an answer of their own: a misplaced one should move, not be spelt otherwise.
fn unknown_key(key: &str, origin: Origin) -> Problem {
    let plain = key.replace(['.', '_'], "-").to_lowercase();
    if let "bootstrap-key" | "secret-key" = plain.as_str() {
        let variable = format!("ASYNCQUEUE_{}", plain.replace('-', "_").to_uppercase());
        return Problem::new(origin, "a secret is not read from a file", format!("set the variable {variable}"));
    }
    let names = SETTINGS.iter().map(|setting| setting.name.to_owned());
    Problem::new(origin, "there is no such setting", did_you_mean(nearest(&plain, names), "remove it"))
}
