//! What requests hold, and the parts of answers that are made by hand. Requests are read field by field (`fields`), so these
//! are descriptions alone; tests hold them to what is really taken.

pub mod people;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A task's status.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    Pending,
    Delayed,
    Processing,
    Waiting,
    Polling,
    Completed,
    Failed,
    Timeout,
    Cancelled,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Backoff {
    Exponential,
    Linear,
}

/// A result: what the target, the callback, the signal or the poll said.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskResult {
    #[schema(minimum = 100, maximum = 599)]
    status_code: u16,
    /// Names in lower case; repeated ones are joined by ", ".
    headers: BTreeMap<String, String>,
    body: String,
    /// Milliseconds.
    #[schema(minimum = 0)]
    duration: i64,
    /// There if the body is binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<Encoding>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Encoding {
    Base64,
}

/// What a creation asks for. A field that is not here is refused by name.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TaskCreation)]
pub struct Creation {
    /// An absolute http or https URL. `{asyncqueue_callback_url}` in its path or query becomes the callback URL.
    #[schema(min_length = 1, max_length = 8192, format = "uri")]
    target_url: String,
    #[schema(required = false, default = "POST")]
    method: Method,
    /// At most 50 and 16 KiB. A value that starts with `tok_` is a reference to the vault.
    #[schema(required = false, default = json!({}))]
    headers: BTreeMap<String, String>,
    /// Sent as it is; not with GET.
    #[schema(required = false)]
    body: Option<String>,
    /// Seconds that one whole attempt may take.
    #[schema(required = false, default = 30, minimum = 0.1, maximum = 3600.0)]
    timeout: f64,
    #[schema(required = false, default = 3, maximum = 10)]
    max_retries: u32,
    /// Exponential: 1, 2, 4, 8, 16… s. Linear: 1, 2, 3, 4, 5… s.
    #[schema(required = false, default = "exponential")]
    retry_backoff: Backoff,
    /// More statuses to retry.
    #[schema(required = false, max_items = 50, value_type = Vec<RetryStatus>)]
    retry_on: Vec<u16>,
    /// ISO 8601 with a zone; at most a year ahead.
    #[schema(required = false, format = DateTime)]
    delay_until: Option<String>,
    /// Higher goes first among a team's due tasks.
    #[schema(required = false, default = 5, minimum = 1, maximum = 10)]
    priority: u8,
    /// Wait after an accepted call.
    #[schema(required = false, default = false)]
    wait_for_signal: bool,
    /// Seconds in `waiting`; 30 unless a provider or a rule says otherwise.
    #[schema(required = false, minimum = 1.0, maximum = 2_592_000.0)]
    max_wait_time: f64,
    /// Where to deliver the completion webhook.
    #[schema(required = false, max_length = 8192, format = "uri")]
    on_complete_url: Option<String>,
    #[schema(required = false, default = 5, maximum = 10)]
    on_complete_max_retries: u32,
    /// The id of one of `GET /v1/providers`.
    #[schema(required = false)]
    provider: Option<String>,
    #[schema(required = false)]
    poll_config: Option<PollConfigGiven>,
    /// Put the callback URL where the provider wants it.
    #[schema(required = false, default = false)]
    use_callback: bool,
    #[schema(required = false)]
    callback_config: Option<CallbackRule>,
    /// The vault reference of the provider's webhook secret.
    #[schema(required = false, pattern = "^tok_")]
    callback_secret: Option<String>,
    /// What the template's URLs need and no answer holds.
    #[schema(required = false, default = json!({}))]
    provider_params: BTreeMap<String, String>,
    /// At most 16 entries and 4 KiB; never looked into.
    #[schema(required = false, default = json!({}))]
    metadata: BTreeMap<String, String>,
}

/// A status that may be retried.
#[derive(Serialize, ToSchema)]
#[schema(minimum = 400, maximum = 599)]
pub struct RetryStatus(u16);

/// How a job is asked after. With `provider` the keys given replace the template's, and none is required.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PollConfigCreation)]
pub struct PollConfigGiven {
    /// The URL to ask, with placeholders.
    #[schema(required = false, max_length = 8192)]
    url_template: String,
    /// Where the status is; `@http.status` is the status code.
    #[schema(required = false)]
    status_path: String,
    #[schema(required = false, max_items = 100)]
    done_values: Vec<String>,
    #[schema(required = false, max_items = 100)]
    fail_values: Vec<String>,
    /// Seconds between polls.
    #[schema(required = false, default = 5, minimum = 1.0, maximum = 3600.0)]
    interval: f64,
    /// Seconds until `timeout`.
    #[schema(required = false, default = 600, minimum = 1.0, maximum = 2_592_000.0)]
    max_duration: f64,
    #[schema(required = false, default = "")]
    result_path: String,
    #[schema(required = false, max_length = 8192)]
    result_url_template: Option<String>,
    #[schema(required = false)]
    error_path: Option<String>,
    /// Whether your headers go along.
    #[schema(required = false, default = true)]
    forward_auth: bool,
}

/// How a job is asked after, with everything filled in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PollConfig {
    url_template: String,
    status_path: String,
    done_values: Vec<String>,
    fail_values: Vec<String>,
    #[schema(required = false)]
    interval: f64,
    #[schema(required = false)]
    max_duration: f64,
    #[schema(required = false)]
    result_path: Option<String>,
    #[schema(required = false)]
    result_url_template: Option<String>,
    #[schema(required = false)]
    error_path: Option<String>,
    #[schema(required = false)]
    forward_auth: bool,
}

/// What a callback means. Lists of values need `statusPath`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallbackRule {
    #[schema(required = false)]
    status_path: Option<String>,
    #[schema(required = false)]
    done_values: Vec<String>,
    #[schema(required = false)]
    fail_values: Vec<String>,
    #[schema(required = false)]
    interim_values: Vec<String>,
    /// A path, or several.
    #[schema(required = false)]
    done_when_present: Option<Texts>,
    #[schema(required = false)]
    fail_when_present: Option<Texts>,
    #[schema(required = false)]
    id_path: Option<Texts>,
    #[schema(required = false)]
    error_path: Option<Texts>,
}

/// A text, or several.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

/// How a job went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SignalCreation)]
pub struct Signal {
    status: SignalStatus,
    /// Any JSON; without it the target's answer is the result.
    #[schema(required = false)]
    result: Option<serde_json::Value>,
    /// Only with `failed`.
    #[schema(required = false)]
    error: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum SignalStatus {
    Completed,
    Failed,
}

/// A secret for the vault.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TokenCreation)]
pub struct TokenGiven {
    /// Visible characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The whole value of the header, on one line.
    #[schema(min_length = 1, max_length = 8192)]
    value: String,
    /// Hosts such as `api.example.com` or `*.example.com`; any without them.
    #[schema(required = false, max_items = 20)]
    allowed_hosts: Option<Vec<String>>,
    #[schema(required = false)]
    r#use: Option<Use>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Use {
    Send,
    Verify,
}

/// An endpoint to be made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = EndpointCreation)]
pub struct EndpointGiven {
    /// A template whose webhooks are set up per account.
    provider: String,
    /// The vault reference of the provider's webhook secret; required where the provider signs.
    #[schema(required = false)]
    secret: Option<String>,
}

/// An endpoint's other secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = EndpointChange)]
pub struct EndpointSecret {
    /// The vault reference of the provider's webhook secret; required where the provider signs.
    #[schema(required = false)]
    secret: Option<String>,
}

/// What the service knows about providers.
#[derive(Serialize, ToSchema)]
pub struct Providers {
    providers: Vec<Provider>,
}

/// A provider.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Provider {
    id: String,
    name: String,
    description: String,
    #[schema(required)]
    poll_config: Option<PollConfig>,
    #[schema(required)]
    callback: Option<ProviderCallback>,
}

/// How it calls back.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderCallback {
    url: CallbackPlace,
    rule: CallbackRule,
    #[schema(required)]
    signature: Option<String>,
}

/// Where it takes the URL.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CallbackPlace {
    r#in: PlaceKind,
    #[schema(required)]
    at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum PlaceKind {
    Query,
    Body,
    Account,
}

/// `{"ok": true}`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    ok: bool,
}

/// How the service is.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    status: String,
}
