//! How a command can end, as scripts and people are told: an exit code with a meaning, and a sentence.

use crate::outbound::CallError;

/// What the exit code says. The numbers are documented, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done; a task that was waited for is completed.
    Done = 0,
    /// The task failed.
    Failed = 1,
    /// The command was not understood, or what it names on this machine is not usable.
    Usage = 2,
    /// The server knows no such thing.
    NotFound = 3,
    /// No key, a bad one, or another team's object.
    Denied = 4,
    /// The server cannot be reached, or is in trouble.
    Unreachable = 5,
    /// The task timed out, or was not over when the wait was.
    Timeout = 6,
    /// The task was cancelled.
    Cancelled = 7,
    /// The server refused the request as it is.
    Refused = 8,
}

/// Why a command was not done.
#[derive(Debug)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// For people.
    pub text: String,
    /// Seconds after which the server wants to be asked again.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), retry_after: None }
    }

    /// The command was not understood.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// The call brought no answer.
    pub fn of_call(error: &CallError, server: &str) -> Self {
        let text = match error {
            CallError::Refused(refused) => return Self::usage(format!("{server} is no server's URL: {refused}")),
            CallError::TooLarge { .. } => return Self::new(Exit::Refused, error.to_string()),
            other => format!("{server} cannot be reached: {other}"),
        };
        Self::new(Exit::Unreachable, text)
    }
}
