//! Why a run ended early. A benchmark that saw one wrong answer has no numbers to give, so nothing here is recovered.

use std::fmt;

/// A result of any step of the benchmark.
pub type Outcome<T> = Result<T, Failure>;

/// What went wrong, for the person who reads the terminal.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// The same failure, saying during what it happened.
    pub fn during(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

/// Ends a step with a message.
pub fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Failure(message.into()))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("unexpected JSON: {error}"))
    }
}

impl From<httparse::Error> for Failure {
    fn from(error: httparse::Error) -> Self {
        Self(format!("malformed HTTP: {error}"))
    }
}
