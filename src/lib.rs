//! `AsyncQueue` takes the wait for late answers off an application: it calls an AI provider's asynchronous API,
//! receives the provider's native webhook at a one-time callback URL, and keeps the result until it is read.
//!
//! The folder tree is the architecture; ARCHITECTURE.md says which room may know which.

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod deliver;
pub mod dispatch;
pub mod follow;
pub mod guard;
pub mod keysets;
pub mod memory;
pub mod net;
pub mod oidc;
pub mod outbound;
pub mod people;
pub mod poll;
pub mod providers;
pub mod simulate;
pub mod stats;
pub mod store;
pub mod strays;
pub mod task;
pub mod teams;
pub mod telemetry;
pub mod timers;
pub mod ui;
pub mod vault;
pub mod waiters;
pub mod wire;
