//! The journal: what the service has acknowledged, written down before anything else is done.
//!
//! The lines are appended to a file outside the service's folder, and read back for the check, so that the check
//! judges what was written and not what somebody remembers.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::harness::http::Outcome;

/// What a caller may conclude from an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// 2xx: it holds from now on.
    Acknowledged,
    /// 4xx, or never sent: it did not happen and never will.
    Refused,
    /// 5xx, or no answer: it may have happened.
    Unknown,
}

impl From<&Outcome> for Verdict {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answered(answer) if answer.status < 300 => Self::Acknowledged,
            Outcome::Answered(answer) if answer.status < 500 => Self::Refused,
            Outcome::NotSent(_) => Self::Refused,
            Outcome::Answered(_) | Outcome::Unknown(_) => Self::Unknown,
        }
    }
}

/// What a creation was meant to be; decides how its task may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Completed by the target's answer.
    Plain,
    /// The target refuses the first attempt.
    Flaky,
    /// Due a little later.
    Delayed,
    /// Waits for its callback.
    Callback,
    /// Waits for a signal.
    Signal,
    /// Waits two seconds for what nobody sends.
    Short,
    /// Due in an hour, to be cancelled.
    Victim,
}

/// A creation and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Create {
    pub marker: String,
    pub team: usize,
    pub kind: Kind,
    pub request: Value,
    pub verdict: Verdict,
    pub status: u16,
    pub sent: i64,
    /// The acknowledged task's.
    pub id: Option<String>,
}

/// A callback, a signal or a cancellation, and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Act {
    pub by: By,
    pub task: String,
    /// The callback id or signal token; empty for a cancellation.
    pub credential: String,
    /// What was sent.
    pub body: String,
    pub verdict: Verdict,
    pub status: u16,
    pub answer: Value,
    pub sent: i64,
    pub answered: i64,
}

/// The ways in which a client ends a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    Callback,
    Signal,
    Cancel,
}

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry {
    Create(Create),
    Act(Act),
    /// The server was ended at this time.
    Down(i64),
    /// The server was ready at this time.
    Ready(i64),
}

/// The journal of one test.
pub struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
}

impl Ledger {
    pub fn open(dir: &Path) -> Self {
        let path = dir.join("journal.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("the journal opens");
        Self { path, file: Mutex::new(file) }
    }

    /// Appends one line; it is with the operating system when this returns. Only the service is killed here, never
    /// the machine, so that is enough.
    pub fn write(&self, entry: &Entry) {
        let line = serde_json::to_string(entry).expect("an entry is JSON") + "\n";
        self.file.lock().unwrap().write_all(line.as_bytes()).expect("the journal is written");
    }

    /// Everything that was written, in order.
    pub fn read(&self) -> Vec<Entry> {
        let file = BufReader::new(File::open(&self.path).expect("the journal opens"));
        file.lines().map(|line| serde_json::from_str(&line.expect("a line")).expect("a line of ours")).collect()
    }
}

/// The JSON text without the whitespace between its tokens, and nothing else changed.
pub fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let whitespace = !in_string && c.is_ascii_whitespace();
        let quote = *c == '"' && !escaped;
        escaped = in_string && *c == '\\' && !escaped;
        in_string ^= quote;
        !whitespace
    };
    json.chars().filter(keep).collect()
}

#[test]
fn compacting_touches_nothing_but_whitespace_between_tokens() {
    assert_eq!(compact(" { \"a b\" : [ 1.0e2 , \"x \\\" y \\\\\" , 1 ] }\n"), r#"{"a b":[1.0e2,"x \" y \\",1]}"#);
}

#[test]
fn what_was_written_is_read_back() {
    let dir = std::env::temp_dir().join(format!("asyncqueue-ledger-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let ledger = Ledger::open(&dir);
    ledger.write(&Entry::Down(1));
    ledger.write(&Entry::Ready(2));
    assert!(matches!(ledger.read()[..], [Entry::Down(1), Entry::Ready(2)]));
    std::fs::remove_dir_all(dir).unwrap();
}
