//! What a creation asks to be followed after the call: a provider, a poll, callbacks by a rule.

use super::request::{Strings, filled, url_message};
use crate::api::Api;
use crate::api::fields::{Fields, Reader};
use crate::follow;
use crate::providers::{CallbackRule, Json, PollConfig, Template, Wrong};
use crate::task::{PollPolicy, Request, placeholder};
use crate::vault;

const PARAMS_MAX: usize = 16;
const PARAM_BYTES_MAX: usize = 4 * 1024;

/// How long a task waits that follows nothing in particular, milliseconds.
const WAIT_MS: i64 = 30_000;

/// How long a task waits for callbacks by a rule, where no template knows better, milliseconds.
const RULED_WAIT_MS: i64 = 3_600_000;

/// What a task's policy needs of it.
pub(super) struct Followed {
    pub poll: Option<PollPolicy>,
    /// The default of `maxWaitTime`, milliseconds.
    pub max_wait_ms: i64,
}

/// Reads the fields, and puts what is stored of them into the request.
pub(super) fn read(fields: &Fields<'_>, reader: &mut Reader<'_, '_>, request: &mut Request, api: &Api) -> Followed {
    let template = provider(reader);
    request.follow.provider = template.map(|template| template.id.clone());
    request.follow.provider_params = params(reader);
    request.follow.use_callback = reader.read_or("useCallback", "true or false", false);
    request.follow.callback_secret = secret(reader, template);
    let poll = poll(fields, reader, template, request);
    for (field, url) in poll.iter().flat_map(PollConfig::literal_urls) {
        if let Err(refused) = api.guard.check_url(&url) {
            reader.refuse(field, url_message(field, &refused));
        }
    }
    request.follow.poll_config = poll.as_ref().map(PollConfig::stored);
    let rule = rule(fields, reader, template);
    request.follow.callback_config = rule.as_ref().map(CallbackRule::stored);
    for status in template.map(|template| template.retry_on.as_slice()).unwrap_or_default() {
        if !request.retry_on.contains(status) {
            request.retry_on.push(*status);
        }
    }
    if request.follow.use_callback {
        check_passing(reader, template, request, api);
    }
    let eases = || request.follow.use_callback || placeholder::mentioned(request);
    let max_wait_ms = match template {
        Some(template) => template.max_duration_ms(),
        None if rule.is_some() => RULED_WAIT_MS,
        None => WAIT_MS,
    };
    let policy =
        |poll: &PollConfig| PollPolicy { every_ms: poll.interval_ms(), for_ms: poll.max_duration_ms(), eases: eases() };
    Followed { poll: poll.as_ref().map(policy), max_wait_ms }
}

fn provider(reader: &mut Reader<'_, '_>) -> Option<&'static Template> {
    let id = reader.string("provider")?;
    let template = follow::template_named(&id);
    if template.is_none() {
        let shown: String = id.chars().take(64).collect();
        reader.refuse("provider", format!("Unknown provider: {shown}; GET /v1/providers lists them"));
    }
    template
}

fn params(reader: &mut Reader<'_, '_>) -> Vec<(String, String)> {
    let Strings(params) = reader.read_or("providerParams", "an object of strings", Strings::default());
    let bytes: usize = params.iter().map(|(name, value)| name.len() + value.len()).sum();
    if params.len() > PARAMS_MAX || bytes > PARAM_BYTES_MAX {
        let text = format!("providerParams must be at most {PARAMS_MAX} entries and {PARAM_BYTES_MAX} bytes together");
        reader.refuse("providerParams", text);
    }
    for (index, (name, _)) in params.iter().enumerate() {
        if params[..index].iter().any(|(before, _)| before == name) {
            reader.refuse("providerParams", format!("Duplicate entry: {name}"));
        }
    }
    params
}

fn secret(reader: &mut Reader<'_, '_>, template: Option<&Template>) -> Option<String> {
    let secret = reader.string("callbackSecret")?;
    if !secret.starts_with(vault::PREFIX) {
        reader.refuse("callbackSecret", "callbackSecret must be a vault reference (tok_…); see POST /v1/tokens");
    }
    let callback = template.and_then(Template::callback);
    if callback.is_none_or(|callback| callback.signature.is_none()) {
        let text = "callbackSecret needs a provider whose webhooks are signed; name it, or leave callbackSecret out";
        reader.refuse("callbackSecret", text);
    }
    Some(secret)
}

fn poll(
    fields: &Fields<'_>,
    reader: &mut Reader<'_, '_>,
    template: Option<&Template>,
    request: &Request,
) -> Option<PollConfig> {
    let params = &request.follow.provider_params;
    let asked = match given(fields, "pollConfig") {
        Some(json) => PollConfig::parse(json, template, params, &request.target_url),
        None => template?.poll()?.for_task(params, &request.target_url),
    };
    kept(reader, asked)
}

fn rule(fields: &Fields<'_>, reader: &mut Reader<'_, '_>, template: Option<&Template>) -> Option<CallbackRule> {
    let under = template.and_then(Template::callback).map(|callback| &callback.rule);
    kept(reader, CallbackRule::parse(given(fields, "callbackConfig")?, under))
}

/// A field's JSON, if it is there and not `null`.
fn given<'a>(fields: &Fields<'a>, name: &str) -> Option<Json<'a>> {
    fields.raw(name).filter(|text| *text != "null").and_then(|text| Json::parse(text.as_bytes()))
}

fn kept<T>(reader: &mut Reader<'_, '_>, asked: Result<T, Vec<Wrong>>) -> Option<T> {
    match asked {
        Ok(value) => Some(value),
        Err(wrong) => {
            for Wrong { field, message } in wrong {
                reader.refuse(&field, message);
            }
            None
        }
    }
}

/// Tries to put a callback URL where the provider wants it, so that a body that has no place for it is refused now.
fn check_passing(reader: &mut Reader<'_, '_>, template: Option<&Template>, request: &Request, api: &Api) {
    let Some(template) = template else {
        return reader.refuse("useCallback", "useCallback needs a provider, which says where the callback URL belongs");
    };
    let url = format!("{}{}", api.callback_base, "0".repeat(64));
    let target_url = filled(&request.target_url, api);
    let outgoing = follow::outgoing(request, &target_url, request.body.as_deref());
    if let Err(refused) = template.pass(outgoing, &url, None) {
        reader.refuse("useCallback", refused.to_string());
    }
}
