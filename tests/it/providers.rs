//! Providers end to end: the real service against simulated ones.

mod bodies;
mod callbacks;
mod endpoints;
mod fields;
mod passing;
mod polls;
mod races;
mod signatures;
mod templates;
mod trust;
