//! Name look-up as a seam, so that tests can lie about names as an attacker's DNS would.

use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// Turns a host name into addresses.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of `host`, best first. The caller bounds how long it waits and how many it uses.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver, with its hosts file and its search order.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}
