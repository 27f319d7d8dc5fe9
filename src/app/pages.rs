//! Hands the dashboard what it works with. What people do to tasks goes through the API's own code.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::Opened;
use crate::api::Api;
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::Ids;
use crate::store::Team;
use crate::task::TaskId;
use crate::ui::act::Acts;
use crate::ui::views::Views;

/// The API's code, as pages see it.
struct ByHand(Arc<Api>);

#[async_trait]
impl Acts for ByHand {
    async fn cancel(&self, team: &Team, id: TaskId) -> Result<(), String> {
        self.0.cancel_by_hand(team, id).await
    }

    async fn resend(&self, team: &Team, id: TaskId) -> Result<(), String> {
        self.0.resend_by_hand(team, id).await
    }

    async fn retry(&self, team: &Team, id: TaskId, once: &str) -> Result<TaskId, String> {
        self.0.retry_by_hand(team, id, once).await
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
