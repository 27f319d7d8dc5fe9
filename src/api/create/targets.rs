//! The targets that creations name, remembered once they were judged: most tasks of a team go to the same few.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::guard::{Guard, Refused};
use crate::store::HostId;

/// At most this many URLs are remembered, and none that is longer than `LENGTH_MAX` bytes.
const REMEMBERED: usize = 4096;
const LENGTH_MAX: usize = 512;

/// URLs that passed the guard, and the hosts that they count for. What a guard says of a URL's text never changes;
/// what its name stands for is judged with each call.
#[derive(Default)]
pub struct Targets(Mutex<HashMap<Box<str>, HostId>>);

impl Targets {
    /// The host that a URL counts for, or why it is refused.
    pub fn check(&self, guard: &Guard, url: &str) -> Result<HostId, Refused> {
        if let Some(host) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(url) {
            return Ok(*host);
        }
        let host = super::host_id(&guard.check_url(url)?.authority());
        if url.len() <= LENGTH_MAX {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(url.into(), host);
        }
        Ok(host)
    }
}
