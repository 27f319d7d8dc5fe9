//! Who knocks, before it is known who that is.

use std::net::IpAddr;

/// The most characters of a client's name for itself that are kept.
const AGENT_MAX: usize = 200;

/// Where a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What it calls itself.
    pub agent: String,
}

impl Visitor {
    /// A visitor from this address, whose name is kept short and plain.
    pub fn new(address: Option<IpAddr>, agent: &str) -> Self {
        let agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect();
        Self { address, agent }
    }
}
