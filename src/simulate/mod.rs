//! Simulated AI providers on loopback, so that a round trip can be seen, tried and tested without an account and without
//! paying. What one answers, when it calls, and how it signs comes from its template, and what it sends from the webhooks that
//! are documented of it; nothing here names a provider.
//!
//! - [`Facts`] is a template's file as it is written, and what follows from it: answers, webhooks, hosts.
//! - [`Signing`] signs webhooks by any scheme that a template can name.
//! - [`Simulator`] is the provider itself: it takes jobs, works on them by a [`Plan`], answers polls, and sends
//!   webhooks again as its template says that the real one does.

mod deliver;
mod facts;
mod jobs;
mod route;
mod samples;
mod server;
mod sign;
mod told;
mod values;

pub use facts::{Facts, Sent};
pub use jobs::{Outcome, Plan};
pub use server::{Listener, Simulator};
pub use sign::{SignedWebhook, Signing};
pub use told::{Receiver, receivers};
pub use values::{set, texts};
