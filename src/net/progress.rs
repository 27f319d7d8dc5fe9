//! How far a connection is, shared between its two ends: the wire sees bytes, the service sees requests, and only both
//! together know what the client is late with. One task owns it all, so nothing here ever waits.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use super::framing::{BodyFraming, Framing};

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted; nothing was read yet.
    Fresh,
    /// An answer went out; no byte of the next request has come in.
    Idle,
    /// A request's head is half read.
    Head,
    /// A handler has the request, or its answer's body is being made.
    Handling,
    /// The answer is made; some of it is still to be written.
    Flushing,
    /// The client does not take what we write.
    Blocked,
    /// We are done writing and wait for the client to hear it.
    Closing,
}

const PHASES: [Phase; 7] =
    [Phase::Fresh, Phase::Idle, Phase::Head, Phase::Handling, Phase::Flushing, Phase::Blocked, Phase::Closing];
const PHASE: u32 = 0x7;
const BLOCKED: u32 = 0x8;
/// Steps are counted above the flags, so that a phase entered anew is not taken for the same one.
const STEP: u32 = 0x10;

/// A phase together with the moment in which it was entered, to be compared only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u32);

impl Mark {
    pub(super) fn phase(self) -> Phase {
        if self.0 & BLOCKED == 0 { self.resting_phase() } else { Phase::Blocked }
    }

    fn resting_phase(self) -> Phase {
        PHASES[(self.0 & PHASE) as usize]
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    /// A `Mark`. Relaxed is enough everywhere: one task writes and reads it.
    mark: AtomicU32,
    /// Whether the client was refused before its request was understood.
    is_refused: AtomicBool,
    framing: Mutex<Framing>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            mark: AtomicU32::new(Phase::Fresh as u32),
            is_refused: AtomicBool::new(false),
            framing: Mutex::new(Framing::new()),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.mark.load(Relaxed))
    }

    pub(super) fn enter(&self, phase: Phase) {
        let step = self.mark.load(Relaxed).wrapping_add(STEP) & !(PHASE | BLOCKED);
        self.mark.store(step | phase as u32, Relaxed);
    }

    /// Whether whatever is written now is the HTTP library's own answer to a head it could not read.
    pub(super) fn is_before_handling(&self) -> bool {
        matches!(self.mark().resting_phase(), Phase::Fresh | Phase::Idle | Phase::Head)
    }

    /// Bytes came in.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.framing().saw(bytes);
        if matches!(self.mark().phase(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// A head was read in full. Says whether the parser left nothing out of it.
    pub(super) fn begin(&self, fields: usize, body: BodyFraming) -> bool {
        self.enter(Phase::Handling);
        self.framing().is_plain_head(fields, body)
    }

    /// The last of an answer was handed over to be written.
    pub(super) fn answered(&self) {
        if self.mark().resting_phase() == Phase::Handling {
            self.enter(Phase::Flushing);
        }
    }

    /// Everything handed over was written.
    pub(super) fn flushed(&self) {
        if self.mark().resting_phase() == Phase::Flushing {
            let next = if self.framing().is_in_head() { Phase::Head } else { Phase::Idle };
            self.enter(next);
        }
    }

    /// A write went through, or had to wait for the client.
    pub(super) fn wrote(&self, waits: bool) {
        let mark = self.mark.load(Relaxed);
        if waits != (mark & BLOCKED != 0) {
            self.mark.store(mark.wrapping_add(STEP) ^ BLOCKED, Relaxed);
        }
    }

    /// The client's request will not be understood.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Relaxed);
    }

    /// Whether the client has said all that it has to say for now, and waits for its answer.
    pub(super) fn is_held(&self) -> bool {
        self.mark().resting_phase() == Phase::Handling && self.framing().is_between_requests()
    }

    /// Whether the client may still be sending what we will not read.
    pub(super) fn is_unread(&self) -> bool {
        self.is_refused.load(Relaxed) || !self.framing().is_between_requests()
    }

    /// Whether the body under way turned out to be broken.
    pub(super) fn is_lost(&self) -> bool {
        self.framing().is_lost()
    }

    pub(super) fn request_line_len(&self) -> usize {
        self.framing().request_line_len()
    }

    fn framing(&self) -> MutexGuard<'_, Framing> {
        self.framing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
