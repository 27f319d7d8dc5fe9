//! Providers end to end: the real service against simulated ones.

mod bodies;
mod callbacks;
mod endpoints;
mod fields;
mod passing;
mod polls;
mod races;
mod refusals;
pub mod signatures;
mod simulated;
mod templates;
mod trust;
