//! What the service knows about AI providers: templates as data, and the pure rules that read them. No I/O, no clock,
//! no async; times and keys are arguments.
//!
//! A provider is a file in the folder `providers/` at the root of the project; nothing here names one.
//!
//! # What others call
//!
//! - **The list of templates**: [`embedded`] gives the [`Catalogue`]: `get(id)`, `iter()` in public order,
//!   `of_account(name)`; each is a [`Template`], whose `shown()` is its entry in the API.
//! - **Creation, polling**: [`PollConfig::parse`] (a user's, alone or over a template's), or `Template::poll` and
//!   `for_task`. `stored()` and `restore(text)` keep it with the task; `shown()` is what the API shows.
//! - **Creation, callbacks**: [`CallbackRule::parse`], or `Template::callback`; stored and shown the same way. What
//!   is wrong with either is a list of [`Wrong`].
//! - **The call**: `Template::pass` puts the callback URL where the provider wants it: [`Outgoing`] becomes
//!   [`Passed`], or [`NotPassed`] says what to do.
//! - **The answer to the call**: [`Envelope::refusal`] knows a [`Refused`] request that was answered 200.
//! - **A callback**: [`CallbackRule::read`] makes of a [`Delivery`] a [`Reading`]: a [`Verdict`], the job's id, and
//!   the [`Content`]; [`NotJson`] if it cannot be taken.
//! - **A poll**: [`PollConfig::poll`], `result_request` and `cancel` make requests of [`Sources`];
//!   [`PollConfig::judge`] says what a [`PollAnswer`] means ([`PollVerdict`]), `result` what it brought, as raw
//!   JSON text.
//! - **Credentials**: [`may_carry_credentials`] decides for each URL, with `PollConfig::trusted`.
//! - **Signatures**: [`Scheme::verify`] checks a [`Signed`] webhook with [`Keys`] at a time; [`Jwks::parse`] reads
//!   public keys, which others fetch from [`Scheme::jwks_url`]. `Scheme::for_request` knows a header that the
//!   request chose.
//! - **For people**: [`table`] lists the templates as docs/providers.md holds them.
//! - **What is shown of payloads**: [`redact`] leaves secrets out.
//! - **Looking into JSON**: [`Json`] and [`Path`], without changing a byte.

mod callbackconfig;
mod catalogue;
mod envelope;
mod expand;
mod hosts;
mod inject;
mod json;
mod passing;
mod path;
mod pollconfig;
mod redact;
mod rule;
mod signature;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod wire;
mod wrong;

pub use catalogue::{BadTemplate, Catalogue, embedded, files};
pub use envelope::{Envelope, Refused};
pub use expand::{Author, NotExpanded, Sources, UrlTemplate};
pub use hosts::{TrustedHost, may_carry_credentials};
pub use inject::{Existing, NotPassed};
pub use json::{Json, Kind};
pub use passing::{Outgoing, Part, Passed, Passing, Setting};
pub use path::{Path, Place, View};
pub use pollconfig::{PollAnswer, PollConfig, PollRequest, PollVerdict};
pub use redact::redact;
pub use rule::{CallbackRule, Content, Delivery, Forms, NotJson, Reading, Verdict};
pub use signature::{Encoding, Invalid, Jwks, Keys, Scheme, Signed};
pub use table::table;
pub use template::{Accepts, Callback, Confidence, Retries, Submit, Template};
pub use wrong::Wrong;
