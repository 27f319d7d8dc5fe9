//! The contract, sentence by sentence, held by the real service over real HTTP.
//!
//! `AQ_TEST_LARGE=1` runs the large forms.

#![expect(clippy::format_push_string, reason = "tests may be plain")]

mod access;
mod callbacks;
mod calls;
mod creation;
mod endpoints;
mod ends;
mod hostile;
mod json_bodies;
mod noisy_team;
mod people;
mod providers;
mod races;
mod reading;
mod redirects;
mod signals;
mod ssrf;
mod ssrf_calls;
mod support;
mod vault;
mod verifiers;
mod webhook_schedule;
mod webhooks;
