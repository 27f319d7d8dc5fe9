//! The dashboard: server-rendered pages that read through the store. Whatever was stored is text here and never markup.
//!
//! `/teams`, `/apikeys`, `/invitations`, `/sessions`, `/me` and `/signin` belong to the management API; pages live beside
//! them.

pub mod account;
pub mod cookie;
pub mod enter;
pub mod form;
mod invite;
mod plain;
pub mod who;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use ipnet::IpNet;

use crate::people::People;
use crate::store::Store;

/// What pages work with.
pub struct Ui {
    /// Who is who.
    pub people: Arc<People>,
    /// Where tasks live.
    pub store: Arc<dyn Store>,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Base of this service's own URLs, without a trailing slash.
    pub base_url: String,
}

impl Ui {
    /// Whether browsers reach this service by https.
    pub fn is_secure(&self) -> bool {
        self.base_url.starts_with("https://")
    }
}

/// The pages.
pub fn routes(ui: Arc<Ui>) -> Router {
    Router::new()
        .route("/setup/{link}", get(enter::setup_page).post(enter::set_up))
        .route("/login", get(enter::login_page).post(enter::sign_in))
        .route("/logout", post(enter::sign_out))
        .route("/invite/{link}", get(invite::page).post(invite::accept))
        .route("/account", get(account::page))
        .route("/account/name", post(account::rename))
        .route("/account/password", post(account::set_password))
        .route("/account/sessions/others/end", post(account::end_others))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/team/switch", post(enter::switch_team))
        .with_state(ui)
}
