//! The network's edge, so that no room behind it has to doubt a client: slow, oversized, ambiguous and excessive
//! requests end here. Knows nothing of tasks; a handler comes in, and only well-framed requests reach it.

pub mod body;
pub mod limit;

mod address;
mod answer;
mod connection;
mod framing;
mod head;
mod limits;
mod progress;
mod room;
mod serve;
mod sources;
mod wire;

#[cfg(test)]
mod tests;

pub use address::{bucket, client_address};
pub use connection::{Handler, Peer};
pub use hyper::body::Incoming;
pub use limits::Limits;
pub use serve::serve;
