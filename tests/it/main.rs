//! The contract, sentence by sentence, held by the real service over real HTTP.

#![expect(clippy::format_push_string, reason = "tests may be plain")]

mod callbacks;
mod calls;
mod creation;
mod providers;
mod races;
mod reading;
mod signals;
mod ssrf;
mod support;
mod vault;
mod webhooks;
