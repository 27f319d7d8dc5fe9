//! Hands the dashboard what it works with. What people do there goes through the API's own code.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::Opened;
use crate::api::{Api, Problem};
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::Ids;
use crate::store::{Endpoint, Team, Token};
use crate::task::TaskId;
use crate::ui::act::{Acts, Fields, NotDone};
use crate::ui::views::Views;

/// The API's code, as pages see it.
struct ByHand(Arc<Api>);

/// What the API says, as a page says it.
fn said(problem: &Problem) -> NotDone {
    NotDone { status: problem.status(), why: problem.text().to_owned() }
}

#[async_trait]
impl Acts for ByHand {
    async fn cancel(&self, team: &Team, id: TaskId) -> Result<(), NotDone> {
        self.0.cancel_by_hand(team, id).await.map_err(|problem| said(&problem))
    }

    async fn resend(&self, team: &Team, id: TaskId) -> Result<(), NotDone> {
        self.0.resend_by_hand(team, id).await.map_err(|problem| said(&problem))
    }

    async fn retry(&self, team: &Team, id: TaskId, once: &str) -> Result<TaskId, NotDone> {
        self.0.retry_by_hand(team, id, once).await.map_err(|problem| said(&problem))
    }

    async fn create_endpoint(&self, team: &Team, fields: Fields) -> Result<(Endpoint, Option<String>), NotDone> {
        self.0.create_endpoint_by_hand(team, fields).await.map_err(|problem| said(&problem))
    }

    async fn rotate_endpoint(&self, team: &Team, uid: Uuid) -> Result<(Endpoint, Option<String>), NotDone> {
        self.0.rotate_endpoint_by_hand(team, uid).await.map_err(|problem| said(&problem))
    }

    async fn resecret_endpoint(&self, team: &Team, uid: Uuid, fields: Fields) -> Result<Endpoint, NotDone> {
        self.0.resecret_endpoint_by_hand(team, uid, fields).await.map_err(|problem| said(&problem))
    }

    async fn delete_endpoint(&self, team: &Team, uid: Uuid) -> Result<Endpoint, NotDone> {
        self.0.delete_endpoint_by_hand(team, uid).await.map_err(|problem| said(&problem))
    }

    async fn create_token(&self, team: &Team, fields: Fields) -> Result<Token, NotDone> {
        self.0.create_token_by_hand(team, fields).await.map_err(|problem| said(&problem))
    }

    async fn revoke_token(&self, team: &Team, id: &str) -> Result<Token, NotDone> {
        self.0.revoke_token_by_hand(team, id).await.map_err(|problem| said(&problem))
    }
}

/// What pages about tasks are made of.
pub(super) fn views(
    config: &Config,
    clock: Arc<dyn Clock>,
    opened: &Opened,
    api: Arc<Api>,
    address: SocketAddr,
) -> Views {
    Views {
        browse: opened.browse.clone(),
        stats: opened.hub.stats.clone(),
        live: opened.hub.live.clone(),
        waiters: opened.hub.waiters.clone(),
        ids: Arc::new(Ids::new(clock.clone())),
        clock,
        acts: Arc::new(ByHand(api)),
        settings: config.in_force(),
        node: address.to_string(),
        backend: if opened.file.is_some() { "SQLite, embedded" } else { "PostgreSQL" },
        shared: opened.shared.clone(),
    }
}
