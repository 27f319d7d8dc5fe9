//! What stands before the routes: measuring, and the API key.
//!
//! It is one plain function around the router rather than layers inside it: each layer would box and clone its way to
//! the next for every request. For the same reason the two busiest routes are called without the router's help.

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{Method, Request, StatusCode};
use tokio::time::Instant;
use tower::Service;

use super::problem::Problem;
use super::{Shared, Surface, auth, callbacks, create};
use crate::net::{Handler, Incoming};
use crate::telemetry::metrics::Route;
use crate::telemetry::redact;

/// The service as the network sees it.
#[derive(Clone)]
pub struct Front {
    api: Shared,
    routes: Router,
}

impl Front {
    /// Stands before `routes`.
    pub(super) fn new(api: Shared, routes: Router) -> Self {
        Self { api, routes }
    }

    async fn admit_and_route(&self, route: Route, mut request: Request<Incoming>) -> Response {
        if !is_served(self.api.surface, route) {
            return Problem::new(StatusCode::NOT_FOUND, "Not found").into_response();
        }
        if !is_private(route) {
            return match route {
                Route::Callback if request.method() == Method::POST => {
                    Box::pin(callbacks::receive(State(self.api.clone()), request.map(Body::new))).await
                }
                _ => self.route(request).await,
            };
        }
        let team = match auth::authenticate(&self.api, request.headers()).await {
            Ok(team) => team,
            Err(problem) => return problem.into_response(),
        };
        let admission = auth::admit(&self.api, &team);
        let mut response = match admission.and_then(|admission| admission.retry_after) {
            Some(seconds) => auth::too_many(seconds),
            None if matches!(route, Route::Tasks) && request.method() == Method::POST => {
                let caller = Extension(auth::Caller(team));
                let created = Box::pin(create::create(State(self.api.clone()), caller, request.map(Body::new)));
                created.await.into_response()
            }
            None => {
                request.extensions_mut().insert(auth::Caller(team));
                self.route(request).await
            }
        };
        if let Some(admission) = admission {
            auth::show(admission, response.headers_mut());
        }
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Response {
        let Ok(response) = self.routes.clone().call(request.map(Body::new)).await;
        response
    }
}

impl Handler for Front {
    /// Answers a request, counts it, and logs it without what its path gives away.
    async fn handle(&self, request: Request<Incoming>) -> Response {
        let start = Instant::now();
        let route = Route::of_path(request.uri().path());
        let method = request.method().clone();
        let shown = tracing::enabled!(tracing::Level::DEBUG).then(|| redact::path(request.uri().path()).into_owned());
        let response = self.admit_and_route(route, request).await;
        let status = response.status();
        let took = start.elapsed();
        self.api.metrics.request_answered(route, method.as_str(), status.as_u16(), took);
        if let Some(path) = shown {
            let elapsed_ms = took.as_millis();
            tracing::debug!(%method, %path, status = status.as_u16(), elapsed_ms, "Answered a request");
        }
        response
    }
}

/// Whether a node with this surface serves a route. Nodes that take no callbacks are private, so that they show metrics.
fn is_served(surface: Surface, route: Route) -> bool {
    match route {
        Route::Health | Route::Ready => true,
        Route::Callback | Route::EndpointEvent | Route::Signal => surface.callbacks,
        Route::Metrics => surface.private || !surface.callbacks,
        _ => surface.private,
    }
}

/// Whether a route belongs to a team. A route that is not named here is: forgetting one must not open it.
fn is_private(route: Route) -> bool {
    !matches!(
        route,
        Route::Callback
            | Route::EndpointEvent
            | Route::Signal
            | Route::Providers
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::OpenApi
            | Route::Docs
            | Route::DocsStyle
            | Route::Other
    ) && !is_for_people(route)
}

/// Whether people ask it who are signed in: it looks at their session itself.
fn is_for_people(route: Route) -> bool {
    matches!(
        route,
        Route::SignIn
            | Route::SignInRenew
            | Route::SignOut
            | Route::Me
            | Route::MeName
            | Route::MePassword
            | Route::Sessions
            | Route::SessionRevoke
            | Route::Teams
            | Route::Team
            | Route::TeamKeys
            | Route::KeyRevoke
            | Route::TeamSecret
            | Route::TeamSecretRotate
            | Route::TeamAudit
            | Route::TeamMembers
            | Route::MemberRole
            | Route::MemberRemove
            | Route::TeamInvitations
            | Route::InvitationRevoke
            | Route::InvitationAccept
    )
}
