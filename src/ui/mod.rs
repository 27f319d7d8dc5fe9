//! The dashboard: server-rendered pages that read through the store, with one style sheet and one small script of ours.
//! Whatever was stored is text here and never markup.
//!
//! `/teams`, `/apikeys`, `/invitations`, `/sessions`, `/me` and `/signin` belong to the management API; pages live beside
//! them.

pub mod account;
pub mod act;
pub mod answer;
pub mod assets;
pub mod audit;
pub mod chart;
pub mod cookie;
pub mod curl;
pub mod endpoints;
pub mod enter;
pub mod events;
pub mod filters;
pub mod form;
pub mod frame;
pub mod icon;
mod invite;
pub mod life;
pub mod live;
mod oidc;
pub mod overview;
pub mod pages;
pub mod payload;
mod plain;
pub mod providers;
pub mod quote;
pub mod reasons;
pub mod settings;
pub mod status;
pub mod task;
pub mod tasks;
pub mod team;
pub mod vault;
pub mod views;
pub mod who;
pub mod why;
pub mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use ipnet::IpNet;

use crate::oidc::Oidc;
use crate::people::People;
use crate::store::Store;
use views::Views;

/// What pages work with.
pub struct Ui {
    /// Who is who.
    pub people: Arc<People>,
    /// Signs people in at somebody else's, where that is set up.
    pub oidc: Option<Sso>,
    /// Where tasks live.
    pub store: Arc<dyn Store>,
    /// What pages about tasks are made of.
    pub views: Views,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Base of this service's own URLs, without a trailing slash.
    pub base_url: String,
}

/// Signing in at an OpenID provider.
pub struct Sso {
    /// The provider.
    pub oidc: Oidc,
    /// Domains of addresses whose owners get an account, in lower case.
    pub allowed_domains: Vec<String>,
}

impl Ui {
    /// Whether browsers reach this service by https.
    pub fn is_secure(&self) -> bool {
        self.base_url.starts_with("https://")
    }
}

/// The pages. Where a form leads can be asked for too, by a reload or the way back from signing in: it is the page that the form is on.
pub fn routes(ui: Arc<Ui>) -> Router {
    Router::new()
        .route("/assets/{file}", get(async |Path(file): Path<String>| assets::serve(&file)))
        .route("/setup/{link}", get(enter::setup_page).post(enter::set_up))
        .route("/login", get(enter::login_page).post(enter::sign_in))
        .route("/login/oidc", get(oidc::go))
        .route("/login/oidc/callback", get(oidc::come_back))
        .route("/logout", post(enter::sign_out))
        .route("/invite/{link}", get(invite::page).post(invite::accept))
        .route("/account", get(account::page))
        .route("/account/name", post(account::rename))
        .route("/account/password", post(account::set_password))
        .route("/account/sessions/others/end", post(account::end_others))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/theme", post(pages::set_theme))
        .route("/live", get(pages::live))
        .route("/", get(pages::overview))
        .route("/tasks", get(pages::tasks))
        .route("/tasks/many", get(async || plain::see("/tasks")).post(act::many))
        .route("/tasks/many/do", post(act::many_do))
        .route("/tasks/{id}", get(pages::task))
        .route("/tasks/{id}/{part}", get(pages::download).post(act::one))
        .route("/providers", get(pages::providers))
        .route("/endpoints", get(endpoints::page))
        .route("/endpoints/{act}", get(async || plain::see("/endpoints")).post(endpoints::act))
        .route("/vault", get(vault::page))
        .route("/vault/{act}", get(async || plain::see("/vault")).post(vault::act))
        .route("/team", get(team::page))
        .route("/team/switch", post(enter::switch_team))
        .route("/team/{act}", get(async || plain::see("/team")).post(team::act))
        .route("/audit", get(pages::audit))
        .route("/settings", get(pages::settings))
        .with_state(ui)
}
