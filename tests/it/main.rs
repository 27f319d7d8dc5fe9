//! The contract, sentence by sentence, held by the real service over real HTTP.
//!
//! `ASYNCQUEUE_TEST_LARGE=1` runs the large forms; `AQ_TEST_DATABASE=postgres` runs all on the shared store.

#![expect(clippy::format_push_string, reason = "tests may be plain")]

mod access;
mod callback_urls;
mod callbacks;
mod calls;
mod client;
mod creation;
mod endpoints;
mod ends;
mod hostile;
#[path = "../support/hostile_targets.rs"]
mod hostile_targets;
mod json_bodies;
mod large_pages;
mod limits;
mod loops;
mod methods;
mod noisy_team;
mod openapi;
mod people;
#[path = "../support/postgres.rs"]
mod postgres;
mod providers;
mod races;
mod reading;
mod redirects;
mod signals;
mod slow_targets;
mod ssrf;
mod ssrf_calls;
mod stopping;
mod streams;
mod support;
mod timing;
mod vault;
mod verifiers;
mod webhook_schedule;
mod webhooks;
