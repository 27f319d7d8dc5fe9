//! What the dashboard works with beside people and the store.

use std::sync::Arc;

use super::act::Acts;
use super::live::Live;
use super::settings::InForce;
use crate::clock::Clock;
use crate::credentials::Ids;
use crate::stats::Statistics;
use crate::store::browse::Browse;
use crate::store::postgres::Postgres;
use crate::waiters::Waiters;

/// What pages about tasks are made of.
pub struct Views {
    /// Answers what pages ask.
    pub browse: Arc<dyn Browse>,
    /// How the last hour went.
    pub stats: Arc<Statistics>,
    /// Tells pages that there is news.
    pub live: Arc<Live>,
    /// Wakes who looks at one task.
    pub waiters: Arc<Waiters>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes what nobody had before.
    pub ids: Arc<Ids>,
    /// What people may do to tasks.
    pub acts: Arc<dyn Acts>,
    /// The settings in force.
    pub settings: Vec<InForce>,
    /// What this node is called.
    pub node: String,
    /// Where its tasks are kept.
    pub backend: &'static str,
    /// The store that other nodes share, which knows them.
    pub shared: Option<Arc<Postgres>>,
}
