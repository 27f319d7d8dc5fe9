//! What the operating system allows the process. Set once, before anything is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Takes as many descriptors as the system grants, and forbids core dumps.
pub fn prepare() {
    // Shells and service managers keep the soft limit at 1024 for the sake of programs that use `select`; this is none.
    let granted = getrlimit(Resource::Nofile).maximum;
    set("open files", Resource::Nofile, Rlimit { current: granted, maximum: granted });
    // A dump would hold every secret in memory, in a file of whatever mode the system chose.
    set("core dumps", Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// A refusal is told and lived with: the service works without, only less well.
fn set(what: &str, resource: Resource, limit: Rlimit) {
    if let Err(error) = setrlimit(resource, limit) {
        warn!(%error, "The limit of {what} could not be set");
    }
}
