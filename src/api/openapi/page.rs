//! `/docs`: the description for people, written by the server from the same text that tools get. It asks nobody else for
//! anything, and runs no script.

use std::sync::LazyLock;

use axum::response::Response;
use http::{HeaderValue, header};
use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value};

/// Nothing but our own style sheet.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub async fn page() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let described: Value = serde_json::from_str(super::text()).expect("the description is JSON");
        whole(&described).into_string()
    });
    answer(PAGE.as_str(), "text/html; charset=utf-8")
}

/// Its style.
pub async fn style() -> Response {
    answer(include_str!("style.css"), "text/css; charset=utf-8")
}

fn answer(text: &'static str, kind: &'static str) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// One operation of the description.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    described: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(self.described, "operationId")
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value[key].as_object().into_iter().flatten()
}

fn operations(described: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, item) in entries(described, "paths") {
        let own = item.as_object().into_iter().flatten();
        all.extend(own.map(|(method, described)| Operation { method, path, described }));
    }
    all
}

fn whole(described: &Value) -> Markup {
    let operations = operations(described);
    let of_tag = |tag: &str| -> Vec<&Operation<'_>> {
        operations.iter().filter(|operation| operation.described["tags"][0] == tag).collect()
    };
    let tags: Vec<&Value> = described["tags"].as_array().into_iter().flatten().collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "AsyncQueue API" }
                link rel="stylesheet" href="/docs/style.css";
            }
            body {
                a.skip href="#operations" { "Skip to the operations" }
                header {
                    h1 { "AsyncQueue API " small { (text(&described["info"], "version")) } }
                    p { (text(&described["info"], "description")) }
                    p { a href="/openapi.json" { "openapi.json" } " is the same for tools." }
                }
                nav aria-label="Operations" {
                    @for tag in &tags {
                        h2 { (text(tag, "name")) }
                        ul { @for operation in of_tag(text(tag, "name")) { li { (link(operation)) } } }
                    }
                    h2 { a href="#schemas" { "Schemas" } }
                }
                main #operations {
                    (keys())
                    @for tag in &tags {
                        section {
                            h2 { (text(tag, "name")) }
                            p { (text(tag, "description")) }
                            @for operation in of_tag(text(tag, "name")) { (one(operation)) }
                        }
                    }
                    section #schemas {
                        h2 { "Schemas" }
                        @for (name, schema) in entries(&described["components"], "schemas") { (shape(name, schema)) }
                    }
                }
            }
        }
    }
}

fn keys() -> Markup {
    html! {
        section {
            h2 { "Keys and tokens" }
            p { "Where an operation asks for an API key, send it in one of these headers:" }
            pre { "Authorization: Bearer async_…\nX-API-Key: async_…" }
            p { "Where it asks for a session's token, " a href="#signIn" { "sign in" } " and send what you got:" }
            pre { "Authorization: Bearer eyJ…" }
            p { "Every error is " code { "{\"error\": \"…\"}" } ", with " code { "details" } " where fields are wrong." }
        }
    }
}

fn link(operation: &Operation<'_>) -> Markup {
    html! { a href={ "#" (operation.id()) } { (method(operation)) " " span.path { (operation.path) } } }
}

fn method(operation: &Operation<'_>) -> Markup {
    html! { span.method.(operation.method) { (operation.method.to_uppercase()) } }
}

fn one(operation: &Operation<'_>) -> Markup {
    let described = operation.described;
    html! {
        article id=(operation.id()) {
            h3 { a href={ "#" (operation.id()) } { (method(operation)) " " code { (operation.path) } } }
            p { (text(described, "summary")) " " small { (credential(&described["security"])) } }
            @if !text(described, "description").is_empty() { p { (text(described, "description")) } }
            (parameters(described))
            @if described["requestBody"].is_object() {
                h4 { "Body" }
                (content(&described["requestBody"]))
            }
            h4 { "Answers" }
            @for (status, response) in entries(described, "responses") { (answered(status, response)) }
        }
    }
}

/// What a request has to come with.
fn credential(security: &Value) -> &'static str {
    let Some(ways) = security.as_array() else { return "API key" };
    let is_open = ways.contains(&Value::Object(Map::new()));
    match (ways.iter().any(|way| way["session"].is_array()), is_open) {
        (true, false) => "Session token",
        (true, true) => "Session token, or nothing",
        (false, _) => "No API key",
    }
}

fn parameters(described: &Value) -> Markup {
    let all: Vec<&Value> = described["parameters"].as_array().into_iter().flatten().collect();
    html! {
        @if !all.is_empty() {
            h4 { "Parameters" }
            dl {
                @for one in all {
                    dt { code { (text(one, "name")) } " " small { (text(one, "in")) ", " (kind(&one["schema"])) } }
                    dd { (text(one, "description")) }
                }
            }
        }
    }
}

fn answered(status: &str, response: &Value) -> Markup {
    let is_error = status >= "400";
    html! {
        details open[!is_error] {
            summary { span.status.wrong[is_error] { (status) } " " (text(response, "description")) }
            (content(response))
        }
    }
}

fn content(holder: &Value) -> Markup {
    html! {
        @for (media, form) in entries(holder, "content") {
            p { small { (media) } " " (kind(&form["schema"])) }
            @if !form["example"].is_null() { pre tabindex="0" { (example(&form["example"])) } }
            @for (_, one) in entries(form, "examples") { pre tabindex="0" { (example(&one["value"])) } }
        }
    }
}

/// Text as it is, JSON with its lines.
fn example(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// A schema's type in a few words, with links to named ones.
fn kind(schema: &Value) -> Markup {
    let name = text(schema, "$ref").rsplit('/').next().unwrap_or_default();
    let choices = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema[key].as_array());
    let values = schema["enum"].as_array();
    html! {
        @if !name.is_empty() {
            a href={ "#schema-" (name) } { (name) }
        } @else if let Some(choices) = choices {
            @for (place, choice) in choices.iter().enumerate() { @if place > 0 { " or " } (kind(choice)) }
        } @else if let Some(values) = values {
            @for (place, value) in values.iter().enumerate() { @if place > 0 { ", " } code { (example(value)) } }
        } @else if schema["type"] == "array" {
            "array of " (kind(&schema["items"]))
        } @else {
            (types(schema)) (bounds(schema))
        }
    }
}

fn types(schema: &Value) -> String {
    let types = match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any JSON".to_owned(),
    };
    match schema["format"].as_str() {
        Some(format) if !format.starts_with("int") && format != "double" => format!("{types} ({format})"),
        _ => types,
    }
}

fn bounds(schema: &Value) -> String {
    let bound = |key: &str, word: &str| (!schema[key].is_null()).then(|| format!(", {word} {}", schema[key]));
    let all = [
        bound("minimum", "from"),
        bound("maximum", "to"),
        bound("minLength", "at least"),
        bound("maxLength", "at most"),
        bound("default", "default"),
    ];
    all.into_iter().flatten().collect()
}

fn shape(name: &str, schema: &Value) -> Markup {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        article id={ "schema-" (name) } {
            h3 { a href={ "#schema-" (name) } { (name) } }
            @if !text(schema, "description").is_empty() { p { (text(schema, "description")) } }
            @if schema["properties"].is_object() {
                dl {
                    @for (field, form) in entries(schema, "properties") {
                        dt {
                            code { (field) } " "
                            small { (kind(form)) @if required.contains(&field.as_str()) { ", required" } }
                        }
                        dd { (text(form, "description")) }
                    }
                }
            } @else { p { (kind(schema)) } }
        }
    }
}
