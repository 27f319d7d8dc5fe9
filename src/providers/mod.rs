//! What the service knows about AI providers: templates as data, and the pure rules that read them. No I/O, no clock,
//! no async; times and keys are arguments.
//!
//! A provider is a file in the folder `providers/` at the root of the project; nothing here names one.
//!
//! # What others call
//!
//! | for | call |
//! |---|---|
//! | the list of templates | [`embedded`] → [`Catalogue`]: `get(id)`, `iter()` in public order → [`Template`] |
//! | a look into JSON, bytes unchanged | [`Json::parse`], `json.find(&Path)`, `json.scalar()`; [`Path::parse`] |
//! | creation: `pollConfig`, alone or with a provider | [`PollConfig::parse`] → or `Vec<`[`Wrong`]`>`; `Template::poll` |
//! | creation: `callbackConfig` | [`CallbackRule::parse`] → or `Vec<`[`Wrong`]`>`; `Template::callback` |
//! | what is stored of both, and read again | `stored()` and `restore(json)`; the API shows `shown()` |
//! | a call: put the callback URL where it belongs | `Template::pass` ([`Passing::apply`]) → [`Passed`] or [`NotPassed`] |
//! | a callback: what does it say? | [`CallbackRule::read`]`(&`[`Delivery`]`)` → [`Reading`] (verdict, job id, content) |
//! | a poll's answer: what does it say? | [`PollConfig::judge`]`(&`[`PollAnswer`]`)` → [`PollVerdict`]; `result` → raw JSON text |
//! | the next URL to poll | [`UrlTemplate::expand`]`(&`[`Sources`]`)` → [`Expanded`] |
//! | may credentials go there? | [`Trusted`]`::allows(url)` |
//! | is it really from the provider? | [`Scheme::verify`]`(&`[`Signed`]`, `[`Keys`]`, now)`; [`Jwks::parse`] |
//! | secrets in a payload that is shown | [`redact`] |

mod callbackconfig;
mod catalogue;
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
mod template;
#[cfg(test)]
mod tests;
mod wire;
mod wrong;

pub use catalogue::{BadTemplate, Catalogue, embedded};
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
pub use template::{Callback, Confidence, Submit, Template};
pub use wrong::Wrong;
