//! Limits that hold over all nodes: each tells the others whom it admitted, and counts what they tell.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::api::Api;
use crate::net::limit::SlidingLog;

/// Whom a node admitted since its last word, and how often.
#[derive(Default, Serialize, Deserialize)]
struct Admitted {
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    callbacks: HashMap<IpAddr, u32>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    signals: HashMap<IpAddr, u32>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    teams: HashMap<i64, u32>,
}

/// What is to be told; none if nobody was admitted.
pub(super) fn to_tell(api: &Arc<Api>) -> Option<String> {
    let (callbacks, signals, teams) =
        (api.callback_log.admitted(), api.signal_log.admitted(), api.team_window.admitted());
    if callbacks.is_empty() && signals.is_empty() && teams.is_empty() {
        return None;
    }
    serde_json::to_string(&Admitted { callbacks, signals, teams }).ok()
}

/// Another node told this. What cannot be read is of a newer version, and is left out.
pub(super) fn heard(api: &Arc<Api>, text: &str) {
    let Ok(admitted) = serde_json::from_str::<Admitted>(text) else { return };
    let now = Instant::now();
    count(&api.callback_log, admitted.callbacks, now);
    count(&api.signal_log, admitted.signals, now);
    for (team, count) in admitted.teams {
        api.team_window.hear(team, count, now);
    }
}

fn count<S: Copy + Eq + Hash>(log: &SlidingLog<S>, admitted: HashMap<S, u32>, now: Instant) {
    for (source, count) in admitted {
        log.hear(source, count, now);
    }
}
