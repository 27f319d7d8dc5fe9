//! An example for every body: those of answers and requests from one file, which a running service wrote; those of errors
//! are their texts, one on each line of what an operation says of a status.

use serde_json::{Map, Value, json};

/// By operation: `request`, and statuses.
const EXAMPLES: &str = include_str!("examples.json");

/// Puts the examples where they belong.
pub fn put_into(described: &mut Value) {
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).expect("the file is JSON");
    let paths = described["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.flat_map(|item| item.as_object_mut().into_iter().flat_map(|item| item.values_mut())) {
        let own = operation["operationId"].as_str().and_then(|id| examples.get(id)).cloned().unwrap_or_default();
        if let Some(content) = operation.pointer_mut("/requestBody/content") {
            show(content, own.get("request"));
        }
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            let errors = told(response);
            let Some(content) = response.get_mut("content") else { continue };
            match own.get(status) {
                Some(example) => show(content, Some(example)),
                None if status.as_str() >= "400" => show_errors(content, &errors),
                None => {}
            }
        }
    }
}

/// What an answer says: one text, or one on each line, which then stand side by side.
fn told(response: &mut Value) -> Vec<String> {
    let texts: Vec<String> = response["description"].as_str().unwrap_or_default().lines().map(str::to_owned).collect();
    response["description"] = texts.join(" / ").into();
    texts
}

fn show_errors(content: &mut Value, errors: &[String]) {
    if let [error] = errors {
        return show(content, Some(&json!({"error": error})));
    }
    let examples: Map<String, Value> =
        errors.iter().map(|error| (error.clone(), json!({"value": {"error": error}}))).collect();
    for media in content.as_object_mut().into_iter().flat_map(|content| content.values_mut()) {
        media["examples"] = examples.clone().into();
    }
}

fn show(content: &mut Value, example: Option<&Value>) {
    for media in content.as_object_mut().into_iter().flat_map(|content| content.values_mut()) {
        if let Some(example) = example {
            media["example"] = example.clone();
        }
    }
}
