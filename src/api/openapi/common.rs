//! What holds for many operations: how one signs in, and the errors that come from in front of the handlers.

use utoipa::Modify;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Header, OpenApi, Ref, RefOr, Response, ResponseBuilder};

/// The two ways to send a key, and how to send a session's token.
pub struct Keys;

/// What those ask for who want somebody to have signed in.
const SESSION: &str = "session";

impl Modify for Keys {
    fn modify(&self, described: &mut OpenApi) {
        let components = described.components.get_or_insert_default();
        let bearer = |text: &str| HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer("An API key").build()));
        let session = bearer("The token of somebody who signed in").bearer_format("JWT");
        components.add_security_scheme(SESSION, SecurityScheme::Http(session.build()));
        let header = ApiKeyValue::with_description("X-API-Key", "The same key in a header of its own");
        components.add_security_scheme("header", SecurityScheme::ApiKey(ApiKey::Header(header)));
        described.security =
            Some(["bearer", "header"].map(|name| SecurityRequirement::new(name, Vec::<String>::new())).to_vec());
    }
}

/// Errors of every operation.
const ALWAYS: &[(&str, &str)] = &[
    ("400", "Malformed request"),
    ("408", "Request header timed out"),
    ("414", "URI too long"),
    ("431", "Request header too large"),
    ("500", "Internal error"),
    ("503", "The service cannot store or read just now; try again"),
];

/// Errors of those that ask for a key.
const WITH_KEY: &[(&str, &str)] =
    &[("401", "API key required\nInvalid or revoked API key"), ("429", "Rate limit exceeded")];

/// Errors of those that ask for a session's token.
const WITH_SESSION: &[(&str, &str)] = &[("401", "Sign-in required\nInvalid or expired token")];

/// Errors of those that take a body.
const WITH_BODY: &[(&str, &str)] = &[("413", "Request body too large"), ("415", "Content-Encoding is not supported")];

/// Adds to each operation the errors that it has with others, and to each error its form.
pub fn complete(described: &mut OpenApi) {
    env!("CARGO_PKG_VERSION").clone_into(&mut described.info.version);
    for item in described.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
        operations.into_iter().flatten().for_each(complete_operation);
    }
}

fn complete_operation(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    add(operation, ALWAYS);
    add(operation, errors_of(operation.security.as_deref()));
    if has_body {
        add(operation, WITH_BODY);
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            complete_response(status, response);
        }
    }
}

/// What can be wrong with the credential that an operation asks for; without a word of its own it asks for a key.
fn errors_of(security: Option<&[SecurityRequirement]>) -> &'static [(&'static str, &'static str)] {
    match security {
        None => WITH_KEY,
        Some(ways) if ways.contains(&SecurityRequirement::new(SESSION, Vec::<String>::new())) => WITH_SESSION,
        Some(_) => &[],
    }
}

fn add(operation: &mut Operation, errors: &[(&str, &str)]) {
    for (status, text) in errors {
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert_with(|| ResponseBuilder::new().description(*text).into());
    }
}

fn complete_response(status: &str, response: &mut Response) {
    if status >= "400" && response.content.is_empty() {
        let error = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
        response.content.insert("application/json".to_owned(), RefOr::T(error));
    }
    if matches!(status, "429" | "503") {
        let mut seconds = Header::new(Object::with_type(Type::Integer));
        seconds.description = Some("Seconds after which to try again".to_owned());
        response.headers.insert("Retry-After".to_owned(), RefOr::T(seconds));
    }
}
