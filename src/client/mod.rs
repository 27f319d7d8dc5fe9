//! The command-line client's half of the API, against any server: which one, with which key, how a request is made
//! and made again, how a task is waited for, and what is shown of an answer. The command line parses; this does.

mod answer;
mod creation;
mod failure;
mod profiles;
mod server;
mod session;
mod show;
mod table;
mod wait;

pub use answer::{Created, Endpoint, Endpoints, Event, Events, Page, Provider, Providers, Task, Token, Tokens, read};
pub use creation::{Creation, pairs};
pub use failure::{Exit, Failure};
pub use profiles::{Profile, Profiles};
pub use server::{Ask, Server};
pub use session::{Given, Session};
pub use show::{Screen, escaped};
pub use table::Table;
pub use wait::wait;
