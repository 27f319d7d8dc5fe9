//! I1 and I12: what was acknowledged is there as it was given, what was refused is not, and teams are apart.

use std::collections::HashMap;

use serde_json::Value;

use super::facts::{Facts, marker};
use super::{Found, TaskRead, Violation, violation};
use crate::harness::time::parse_ms;
use crate::ledger::{Create, Verdict};

/// I1: every acknowledged creation is readable, listed, and has equal fields.
pub fn acknowledged_creations_are_there(facts: &Facts) -> Found {
    let acknowledged = facts.creates.iter().filter_map(|create| Some((*create, create.id.as_deref()?)));
    acknowledged.flat_map(|(create, id)| kept(facts, create, id)).collect()
}

fn kept(facts: &Facts, create: &Create, id: &str) -> Found {
    let Some(read) = facts.read(id).filter(|read| !read.first.is_null()) else {
        return vec![violation("I1", id, format!("acknowledged and lost ({})", create.marker))];
    };
    let unlisted = (!read.listed).then(|| violation("I1", id, "readable but not listed"));
    unlisted.into_iter().chain(changed_fields(create, read)).collect()
}

fn changed_fields(create: &Create, read: &TaskRead) -> Found {
    let sent = create.request.as_object().into_iter().flatten();
    let changed = sent.filter(|(field, value)| !same(field, value, &read.first[field.as_str()]));
    let tell = |(field, value): (&String, &Value)| {
        violation("I1", &read.id, format!("{field} was {value} and is {}", read.first[field.as_str()]))
    };
    changed.map(tell).collect()
}

fn same(field: &str, sent: &Value, read: &Value) -> bool {
    match (field, sent, read) {
        ("delayUntil", Value::String(sent), Value::String(read)) => parse_ms(sent) == parse_ms(read),
        ("headers", Value::Object(sent), Value::Object(read)) => {
            let lower = |map: &serde_json::Map<String, Value>| -> HashMap<String, Value> {
                map.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
            };
            lower(sent) == lower(read)
        }
        (_, Value::Number(sent), Value::Number(read)) => sent.as_f64() == read.as_f64(),
        _ => sent == read,
    }
}

/// I1, the other way round: a refused creation left nothing, and none was done twice.
pub fn nothing_is_there_that_was_refused(facts: &Facts) -> Found {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for read in facts.seen.tasks.iter().filter(|read| !marker(&read.first).is_empty()) {
        *times.entry(marker(&read.first)).or_default() += 1;
    }
    let twice = times.iter().filter(|(_, count)| **count > 1);
    let twice = twice.map(|(marker, count)| violation("I1", marker, format!("created once, there {count} times")));
    let refused = facts.creates.iter().filter(|create| create.verdict == Verdict::Refused);
    let kept = refused.filter(|create| times.contains_key(create.marker.as_str()));
    twice.chain(kept.map(|create| violation("I1", &create.marker, "refused and yet there"))).collect()
}

/// I12: no team sees another's row.
pub fn teams_are_apart(facts: &Facts) -> Found {
    let seen = facts.seen.foreign.iter().filter(|(_, status)| *status != 403);
    let seen = seen.map(|(id, status)| violation("I12", id, format!("another team's key got {status}")));
    let misplaced = facts.made().into_iter().filter(|(create, read)| create.team != read.team);
    let tell = |(create, read): (&Create, &TaskRead)| -> Violation {
        violation("I12", &read.id, format!("made by team {}, listed for team {}", create.team, read.team))
    };
    seen.chain(misplaced.map(tell)).collect()
}
