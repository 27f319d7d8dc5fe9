//! Becoming one of the nodes that share a store.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::heart::Heart;
use super::{App, Opened, Surroundings};
use crate::api::Surface;
use crate::clock::SharedClock;
use crate::config::{Config, Database, Role};
use crate::dispatch::Grip;
use crate::store::postgres;

impl App {
    /// Becomes one of the nodes that share the store, if others do.
    pub(super) fn join_nodes(
        &mut self,
        config: &Config,
        opened: &Opened,
        grip: &Arc<Grip>,
        clock: Option<Arc<SharedClock>>,
    ) {
        let (Some(store), Some(clock)) = (opened.shared.clone(), clock) else { return };
        let (hub, grip, lease) = (opened.hub.clone(), grip.clone(), config.node_lease);
        let heart = Arc::new(Heart { store, clock, hub, grip, lease, api: OnceLock::new() });
        let stop = CancellationToken::new();
        tokio::spawn(heart.clone().run(stop.clone()));
        tokio::spawn(heart.clone().look_around(stop.clone()));
        self.heart = Some((heart, stop));
    }
}

/// Where many nodes share a store, they share its time.
pub(super) fn shared_time(config: &Config, surroundings: Surroundings) -> (Surroundings, Option<Arc<SharedClock>>) {
    match config.database {
        Database::Sqlite(_) => (surroundings, None),
        Database::Postgres(_) => {
            let clock = Arc::new(SharedClock::new(surroundings.clock.clone()));
            (Surroundings { clock: clock.clone(), ..surroundings }, Some(clock))
        }
    }
}

/// What this node tells the others of itself.
pub(super) fn introduction(config: &Config) -> postgres::Introduction {
    let roles: Vec<&str> = config.role.iter().map(|role| role.name()).collect();
    postgres::Introduction {
        name: config.node_name.clone().unwrap_or_else(|| config.listen.to_string()),
        roles: roles.join(","),
        address: config.listen.to_string(),
        lease: config.node_lease,
    }
}

pub(super) fn surface(config: &Config) -> Surface {
    Surface { private: config.role.contains(&Role::Api), callbacks: config.role.contains(&Role::Callbacks) }
}
