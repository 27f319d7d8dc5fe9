//! The table of settings: the only place that knows their names, forms, defaults and meaning.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::error::Problem;
use super::parse;
use super::secret::{Secret, SecretKeys, Secrets};
use super::sources::Sources;
use crate::telemetry::logging;

/// One line of the table.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes, and the key of the file.
    pub name: &'static str,
    /// What a value looks like, in the words of a usage line.
    pub form: &'static str,
    /// The default, as one would write it.
    pub default: Preset,
    /// Whether it may be given several times.
    pub repeatable: bool,
    /// What it is for.
    pub help: &'static str,
}

/// Where a setting's default comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// This text, read as if the operator had written it.
    Text(&'static str),
    /// Nothing: the setting is then absent or empty.
    Nothing,
    /// Something that is known only at run time, described here.
    Derived(&'static str),
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// This many times …
    pub count: u32,
    /// … in any stretch of this length.
    pub window: Duration,
}

/// Which requests the callback limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitCounts {
    /// Every admitted request.
    All,
    /// Only those that were answered 400, 404 or 409.
    Refused,
}

/// What becomes of a callback that overtakes the answer to the call which asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyCallbacks {
    /// It resolves the task then and there.
    Accept,
    /// It is answered 409.
    Reject,
}

/// Where tasks are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// An embedded store in this file.
    Sqlite(PathBuf),
    /// A PostgreSQL server at this URL, shared by many nodes. The URL may hold a password.
    Postgres(Secret<String>),
}

impl Database {
    /// How it is shown: without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => without_password(url.expose()),
        }
    }

    /// The embedded store's file.
    pub fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

fn without_password(url: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = base.split_once("://").unwrap_or(("postgres", base));
    let base = match rest.rsplit_once('@') {
        Some((user, place)) => format!("{scheme}://{}@{place}", user.split(':').next().unwrap_or_default()),
        None => format!("{scheme}://{rest}"),
    };
    let kept: Vec<&str> = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("password=")).collect();
    if kept.is_empty() { base } else { format!("{base}?{}", kept.join("&")) }
}

/// What a node does, of all that is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves the API and the pages.
    Api,
    /// Serves callbacks and signals.
    Callbacks,
    /// Calls targets, and fires timers.
    Dispatch,
    /// Delivers completion webhooks.
    Deliver,
    /// Polls providers.
    Poll,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Api, Self::Callbacks, Self::Dispatch, Self::Deliver, Self::Poll];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Callbacks => "callbacks",
            Self::Dispatch => "dispatch",
            Self::Deliver => "deliver",
            Self::Poll => "poll",
        }
    }
}

/// Makes the table and the struct from one list, so that neither can hold what the other lacks.
macro_rules! settings {
    ($($name:literal $field:ident: $type:ty = $read:expr, $form:literal, $default:expr, $repeat:ident, $help:literal;)*) => {
        /// Every setting there is, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            form: $form,
            default: $default,
            repeatable: Repeat::$repeat.is_many(),
            help: $help,
        }),*];

        /// The effective configuration.
        #[derive(Clone, Debug)]
        pub struct Config {
            $(#[doc = $help] pub $field: $type,)*
            /// `ASYNCQUEUE_BOOTSTRAP_KEY`: the key of team `default` if the store is empty.
            pub bootstrap_key: Option<Secret<String>>,
            /// `ASYNCQUEUE_SECRET_KEY`: what every credential is derived from; `None` means the file beside the database.
            pub secret_keys: Option<Secret<SecretKeys>>,
            /// `ASYNCQUEUE_OIDC_CLIENT_SECRET`: what we prove to the OpenID provider who we are with.
            pub oidc_secret: Option<Secret<String>>,
            pub(super) sources: Sources,
        }

        /// Reads each setting where it was found; `None` if any could not be read.
        pub(super) fn read(sources: &Sources, secrets: Secrets, problems: &mut Vec<Problem>) -> Option<Config> {
            $(let $field: Option<$type> = sources.read($name, $read, problems);)*
            Some(Config {
                $($field: $field?,)*
                bootstrap_key: secrets.bootstrap_key,
                secret_keys: secrets.secret_keys,
                oidc_secret: secrets.oidc_secret,
                sources: sources.clone(),
            })
        }
    };
}

/// Says `Once` or `Many` in the table, where `true` would have to be looked up.
enum Repeat {
    Once,
    Many,
}

impl Repeat {
    const fn is_many(&self) -> bool {
        matches!(self, Self::Many)
    }
}

use Preset::{Derived, Nothing, Text};

settings! {
    "listen" listen: SocketAddr = parse::one(parse::socket), "ADDRESS:PORT", Text("127.0.0.1:8080"), Once,
        "Address to serve on; port 0 takes a free one. Any but a loopback address needs `public-url`";
    "database" database: Database = parse::one(parse::database), "sqlite:PATH|postgres://…",
        Derived("sqlite:asyncqueue.db in the platform's data folder"), Once,
        "Where tasks are kept: in a file, or on a PostgreSQL server that several nodes share";
    "role" role: Vec<Role> = parse::one(parse::roles), "ROLE,…", Text("api,callbacks,dispatch,deliver,poll"), Once,
        "What this node does, where several share a PostgreSQL server: `api`, `callbacks`, `dispatch`, `deliver`, `poll`";
    "node-name" node_name: Option<String> = parse::optional(parse::name), "NAME", Derived("where it listens"), Once,
        "What people call this node";
    "node-lease" node_lease: Duration = parse::one(parse::lease), "DURATION", Text("15s"), Once,
        "How long a node that is not heard of counts as alive; it speaks up three times as often";
    "require-sync" require_sync: bool = parse::one(parse::switch), "true|false", Text("false"), Once,
        "Refuse to start unless the PostgreSQL server waits for a standby at each commit";
    "public-url" public_url: Option<String> = parse::optional(parse::public_url), "URL", Derived("http://<listen>"), Once,
        "Base of callback URLs, as providers reach this service";
    "allow-target" allow_target: Vec<String> = parse::many(parse::word), "HOST|CIDR", Nothing, Many,
        "Opens a private host or range to outgoing calls, a host also on one `:PORT` alone. Cloud metadata addresses stay closed; this service itself is opened only by host and port";
    "max-in-flight" max_in_flight: usize = parse::one(parse::count::<1, 65_536>), "N", Text("256"), Once,
        "Calls to targets under way at once; the last eighth is for teams with fewer than that under way, if there are several teams";
    "max-in-flight-per-host" max_in_flight_per_host: usize = parse::one(parse::count::<1, 65_536>), "N", Text("64"), Once,
        "The same for one target host, so that a slow one cannot starve the others";
    "max-deliveries" max_deliveries: usize = parse::one(parse::count::<1, 65_536>), "N", Text("64"), Once,
        "Completion webhooks under way at once";
    "max-polls" max_polls: usize = parse::one(parse::count::<1, 65_536>), "N", Text("256"), Once,
        "Polls of providers under way at once; for one host as for calls";
    "max-task-bytes" max_task_bytes: usize = parse::one(parse::size), "SIZE", Text("10MiB"), Once,
        "Largest body of a task creation";
    "max-callback-bytes" max_callback_bytes: usize = parse::one(parse::size), "SIZE", Text("16MiB"), Once,
        "Largest body of a callback or signal";
    "max-answer-bytes" max_answer_bytes: usize = parse::one(parse::size), "SIZE", Text("16MiB"), Once,
        "Largest answer taken from a target";
    "callback-early" callback_early: EarlyCallbacks = parse::one(parse::early), "accept|reject", Text("accept"), Once,
        "Whether a callback may overtake the answer to the call that asked for it";
    "callback-rate-limit" callback_rate_limit: Option<RateLimit> = parse::one(parse::rate_limit), "N/SECONDS", Text("30/60"), Once,
        "Callbacks admitted from one source address in any stretch of so many seconds; 0 is off";
    "callback-rate-limit-counts" callback_rate_limit_counts: RateLimitCounts = parse::one(parse::counts), "all|refused", Text("all"), Once,
        "Which callbacks the limit counts: all, or only those answered 400, 404 or 409";
    "callback-rate-limit-exempt" callback_rate_limit_exempt: Vec<IpNet> = parse::many(parse::network), "CIDR", Nothing, Many,
        "Source addresses the callback limit does not hold for";
    "signal-rate-limit" signal_rate_limit: Option<RateLimit> = parse::one(parse::rate_limit), "N/SECONDS", Text("30/60"), Once,
        "The same limit for signals; 0 is off";
    "team-rate-limit" team_rate_limit: Option<u32> = parse::one(parse::per_minute), "N", Text("0"), Once,
        "Requests a minute over all keys of a team; 0 is unlimited";
    "trusted-proxy" trusted_proxy: Vec<IpNet> = parse::many(parse::network), "CIDR", Nothing, Many,
        "Peers whose X-Forwarded-For is believed; nobody's unless set";
    "max-connections" max_connections: Option<usize> = parse::one(parse::count_or_zero), "N", Text("0"), Once,
        "Connections open at once; 0 takes it from the descriptor limit";
    "max-connections-per-source" max_connections_per_source: Option<usize> = parse::one(parse::count_or_zero), "N", Text("0"), Once,
        "The same for one source address; 0 is unlimited";
    "max-streams" max_streams: usize = parse::one(parse::count::<1, 65_536>), "N", Text("1024"), Once,
        "Streams of tasks' statuses open at once; one team may have half of them";
    "first-byte-timeout" first_byte_timeout: Duration = parse::one(parse::period), "DURATION", Text("5s"), Once,
        "How long a new connection may stay silent";
    "header-timeout" header_timeout: Duration = parse::one(parse::period), "DURATION", Text("10s"), Once,
        "How long a request's head may take";
    "body-timeout" body_timeout: Duration = parse::one(parse::period), "DURATION", Text("15s"), Once,
        "How long a request's body may take";
    "idle-timeout" idle_timeout: Duration = parse::one(parse::period), "DURATION", Text("30s"), Once,
        "How long a connection is kept between requests";
    "retention" retention: Duration = parse::one(parse::period), "DURATION", Text("30d"), Once,
        "Age at which finished tasks are removed";
    "secret-grace" secret_grace: Duration = parse::one(parse::duration), "DURATION", Text("24h"), Once,
        "How long the old webhook secret signs too after a rotation";
    "session-idle" session_idle: Duration = parse::one(parse::period), "DURATION", Text("24h"), Once,
        "How long somebody stays signed in without doing anything";
    "session-lifetime" session_lifetime: Duration = parse::one(parse::period), "DURATION", Text("14d"), Once,
        "How long somebody stays signed in at most";
    "oidc-issuer" oidc_issuer: Option<String> = parse::optional(parse::issuer), "URL", Nothing, Once,
        "OpenID provider that people may sign in at; its client secret is `ASYNCQUEUE_OIDC_CLIENT_SECRET`";
    "oidc-client-id" oidc_client_id: Option<String> = parse::optional(parse::name), "ID", Nothing, Once,
        "Who this service is at the OpenID provider";
    "oidc-allowed-domain" oidc_allowed_domain: Vec<String> = parse::many(parse::word), "DOMAIN", Nothing, Many,
        "Domains of e-mail addresses whose owners get an account when they sign in there; nobody does unless set";
    "no-dashboard" no_dashboard: bool = parse::one(parse::switch), "true|false", Text("false"), Once,
        "Serve no pages, only the APIs";
    "shutdown-notice" shutdown_notice: Duration = parse::one(parse::duration), "DURATION", Text("1s"), Once,
        "How long a stop goes on serving at least, with `/readyz` at 503, so that a balancer can look elsewhere; within `shutdown-grace`";
    "shutdown-grace" shutdown_grace: Duration = parse::one(parse::duration), "DURATION", Text("30s"), Once,
        "How long a stop waits for what is under way";
    "log" log: logging::Format = parse::one(parse::log_format), "text|json|auto", Text("auto"), Once,
        "Form of the log; auto is text on a terminal and JSON otherwise";
    "log-level" log_level: String = parse::one(parse::log_filter), "FILTER", Text("info"), Once,
        "What is logged: a level, or a filter such as `info,asyncqueue::dispatch=debug`";
}

impl Setting {
    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        format!("{}{}", super::sources::PREFIX, self.name.replace('-', "_").to_uppercase())
    }

    /// The setting of that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}
