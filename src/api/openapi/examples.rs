//! An example for every body: those of answers and requests from one file, which a running service wrote; those of errors
//! are their texts.

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
            let error = json!({"error": response["description"]});
            let example = own.get(status).or((status.as_str() >= "400").then_some(&error));
            if let Some(content) = response.get_mut("content") {
                show(content, example);
            }
        }
    }
}

fn show(content: &mut Value, example: Option<&Value>) {
    for media in content.as_object_mut().into_iter().flat_map(|content| content.values_mut()) {
        if let Some(example) = example {
            media["example"] = example.clone();
        }
    }
}
