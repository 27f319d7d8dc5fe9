//! Values of a template's file, and values put where its paths lead.

use serde_json::{Value, json};

/// One text, several, or none.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Puts a value at a dot path; the empty one is the whole. Objects and arrays on the way are made.
pub fn set(into: &mut Value, path: &str, value: Value) {
    let mut here = into;
    for segment in path.split('.').filter(|segment| !segment.is_empty()) {
        here = match segment.parse::<usize>() {
            Ok(index) => element(here, index),
            Err(_) => member(here, segment),
        };
    }
    *here = value;
}

fn element(here: &mut Value, index: usize) -> &mut Value {
    if !here.is_array() {
        *here = json!([]);
    }
    let Value::Array(list) = here else { unreachable!("it was just made an array") };
    if list.len() <= index {
        list.resize(index + 1, Value::Null);
    }
    &mut list[index]
}

fn member<'a>(here: &'a mut Value, name: &str) -> &'a mut Value {
    if !here.is_object() {
        *here = json!({});
    }
    let Value::Object(members) = here else { unreachable!("it was just made an object") };
    members.entry(name).or_insert(Value::Null)
}

/// The value at a dot path; `-` is the element of this number.
pub(super) fn at<'a>(whole: &'a Value, path: &str, number: usize) -> Option<&'a Value> {
    path.split('.').filter(|segment| !segment.is_empty()).try_fold(whole, |here, segment| match here {
        Value::Array(list) if segment == "-" => list.get(number),
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        Value::Object(members) => members.get(segment),
        _ => None,
    })
}

/// A value as providers write it: truth and numbers are no strings.
pub(super) fn scalar(text: &str) -> Value {
    let parsed = serde_json::from_str(text).ok();
    parsed.filter(|value: &Value| value.is_boolean() || value.is_number()).unwrap_or_else(|| json!(text))
}

/// The paths that a URL template looks up in this answer (`startResult.body.`).
pub(super) fn looked_up(template: &str, answer: &str) -> Vec<String> {
    let placeholders = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    placeholders.filter_map(|(name, _)| name.strip_prefix(answer)).map(str::to_owned).collect()
}

/// Whether a URL template is nothing but a placeholder.
pub(super) fn is_whole(template: &str) -> bool {
    template.starts_with('{') && template.ends_with('}') && template.matches('{').count() == 1
}
