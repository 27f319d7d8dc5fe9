//! The HTTP API. A handler decides nothing: it reads the request, asks the store, and writes down what it says.

mod answer;
mod auth;
mod by_hand;
mod callbacks;
mod compact;
mod create;
mod endpoints;
mod fields;
mod front;
mod list;
pub mod openapi;
mod operation;
mod people;
mod problem;
mod providers;
mod room;
mod ruled;
mod signals;
mod signature;
mod stream;
mod tasks;
mod tokens;
mod told;
mod view;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa_axum::routes;

use crate::clock::Clock;
use crate::credentials::{Ids, Keyring};
use crate::guard::Guard;
use crate::keysets::KeySets;
use crate::net::limit::{SlidingLog, TeamWindow};
use crate::net::{Peer, bucket, client_address};
use crate::people::People;
use crate::store::Store;
use crate::task::{EarlyCallbacks, TaskId, TeamId};
use crate::teams::Teams;
use crate::telemetry::metrics::Metrics;
use crate::vault::Vault;
use crate::waiters::Waiters;
pub use create::Targets;
pub use front::Front;
pub use problem::Problem;
pub use room::Room;
pub use stream::Seats;

/// Everything that handlers work with.
pub struct Api {
    /// Where tasks live.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes task ids.
    pub ids: Ids,
    /// Makes and opens credentials.
    pub keyring: Keyring,
    /// Who is who.
    pub people: Arc<People>,
    /// Knows whose key is whose.
    pub teams: Arc<Teams>,
    /// Opens references to secrets.
    pub vault: Arc<Vault>,
    /// Providers' public keys.
    pub keysets: Arc<KeySets>,
    /// Judges URLs and headers at creation.
    pub guard: Arc<Guard>,
    /// What it said of them before.
    pub targets: Targets,
    /// Wakes long polls.
    pub waiters: Arc<Waiters>,
    /// Counts.
    pub metrics: Metrics,
    /// What callers may ask for.
    pub limits: Limits,
    /// Base of this service's own URLs, without a trailing slash.
    pub base_url: String,
    /// Callback URLs are this and the id.
    pub callback_base: String,
    /// The limit on callbacks per source address.
    pub callback_log: SlidingLog,
    /// The limit on signals per source address.
    pub signal_log: SlidingLog,
    /// The limit on requests per team.
    pub team_window: TeamWindow,
    /// What large answers may take of the memory.
    pub room: Room,
    /// Creations with an idempotency key that are under way.
    pub creating: Mutex<HashSet<(TeamId, [u8; 32])>>,
    /// Is told of cancelled tasks whose provider may be told too.
    pub cancelled: mpsc::Sender<TaskId>,
    /// How many status streams may be open.
    pub streams: Arc<Seats>,
    /// Set once the service stops: it is no longer ready, and holds no request any longer.
    pub stopping: CancellationToken,
    /// Which routes this node serves.
    pub surface: Surface,
    /// How long the database's log is now, bytes.
    pub log_bytes: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Which routes a node serves. Whether it is well can always be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    /// The API, its description, the metrics and the pages.
    pub private: bool,
    /// What providers and signals come to.
    pub callbacks: bool,
}

/// What callers may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body of a creation, bytes.
    pub task_bytes: usize,
    /// Largest body of a callback or signal, bytes.
    pub callback_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// Requests per minute and team; none is unlimited.
    pub team_rate: Option<u32>,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Sources that the callback limit does not hold for.
    pub exempt: Vec<IpNet>,
    /// Whether the callback limit counts only refused requests.
    pub count_refused_only: bool,
    /// How callbacks are met that overtake the answer to their call.
    pub early: EarlyCallbacks,
}

type Shared = Arc<Api>;

/// The service's routes and the dashboard's, behind one front.
pub fn service(api: Arc<Api>, pages: Option<Router>) -> Front {
    let routes = routes()
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "Not found"))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"))
        .with_state(api.clone());
    Front::new(api, pages.into_iter().fold(routes, Router::merge))
}

/// All routes but the dashboard's: those that describe themselves, those that take any method, and the page of the description.
fn routes() -> Router<Shared> {
    described()
        .0
        .route("/v1/callbacks/{id}", any(callbacks::receive))
        .route("/v1/callbacks/endpoints/{token}", any(endpoints::receive))
        .route("/docs", get(openapi::page))
        .route("/docs/style.css", get(openapi::style))
}

/// The routes that describe themselves, and the description.
fn described() -> (Router<Shared>, utoipa::openapi::OpenApi) {
    openapi::router()
        .routes(routes!(list::list, create::create))
        .routes(routes!(tasks::read, tasks::delete))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::events))
        .routes(routes!(stream::stream))
        .routes(routes!(create::retry))
        .routes(routes!(tasks::resend))
        .routes(routes!(signals::receive))
        .routes(routes!(endpoints::list, endpoints::create))
        .routes(routes!(endpoints::delete, endpoints::resecret))
        .routes(routes!(endpoints::rotate))
        .routes(routes!(providers::list))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(operation::healthz))
        .routes(routes!(operation::readyz))
        .routes(routes!(operation::metrics))
        .routes(routes!(openapi::serve))
        .merge(people::routes())
        .split_for_parts()
}

impl Api {
    /// Where an invitation is accepted.
    fn invitation_url(&self, token: &str) -> String {
        format!("{}/invite/{token}", self.base_url)
    }

    /// Whom a request counts for in the limits: one per IPv4 address, one per IPv6 /64; none for an exempt address.
    fn source(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Option<IpAddr> {
        let Peer(peer) = peer?;
        let address = client_address(*peer, headers, &self.limits.trusted_proxies);
        let exempt = self.limits.exempt.iter().any(|net| net.contains(&address));
        (!exempt).then(|| bucket(address))
    }
}

/// A JSON body may say so or say nothing; anything else is another form.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"))
}

/// A path's last segment as it was sent: percent-encoding is not undone, because no id needs it.
fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl IntoResponse for crate::net::body::BodyError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Label, Route};

    /// A path whose parameters have no names.
    fn plain(path: &str) -> String {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Nothing but its debug form says what a router serves. Were that to change, nothing would be found in it, and the test fail.
    fn served() -> Vec<String> {
        let shown = format!("{:?}", routes());
        // After these come those of the fallback.
        let own = shown.split("paths: ").nth(1).unwrap_or_default();
        let paths = own.split("RouteId(").filter_map(|part| part.split_once("): \"/")?.1.split_once('"'));
        paths.map(|(path, _)| plain(&format!("/{path}"))).collect()
    }

    #[test]
    fn every_route_that_is_served_is_counted_by_its_name() {
        for path in served() {
            let label = Route::of_path(&path);
            assert_eq!(plain(label.text()), path, "{label:?}");
        }
    }

    #[test]
    fn every_route_that_is_served_is_described() {
        let description = described().1;
        let mut wanted: Vec<String> = description.paths.paths.keys().map(|path| plain(path)).collect();
        // The description for people is no part of the API.
        wanted.extend(["/docs".to_owned(), "/docs/style.css".to_owned()]);
        let mut served = served();
        wanted.sort();
        served.sort();
        assert_eq!(served, wanted);
    }
}
