//! Moving from one store to another: what a store holds, in a form that both understand.
//!
//! Tasks go in batches by their ids, so that a move can stop anywhere and go on. Everything else is small, and goes a table
//! at a time.

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{HostId, Idempotency, StoreError};
use crate::task::{Delivery, Job, State, Task, TaskId, Timestamp};

/// A part of a task's journal, as it was written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What happened, encoded.
    pub events: Option<String>,
    /// A request or answer without its body, encoded.
    pub head: Option<String>,
    /// The body.
    pub body: Option<Bytes>,
}

/// A task with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its state.
    pub task: Task,
    /// Which target host it calls.
    pub host: HostId,
    /// Which of the service's secrets its credentials are derived from.
    pub key_number: u32,
    /// Where its completion webhook stands.
    pub delivery: Option<Delivery>,
    /// Attempts to deliver beyond the first.
    pub hook_retries: u32,
    /// Its journal; the first line is the request.
    pub lines: Vec<Line>,
    /// Which line is the target's answer, the result, and the progress.
    pub marks: [Option<usize>; 3],
    /// The jobs that it stands for.
    pub jobs: Vec<Job>,
    /// The idempotency key that it was created with, as long as it is remembered.
    pub idempotency: Option<(Idempotency, Timestamp)>,
}

impl Moved {
    /// What the task is and holds, in 32 bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(format!("{self:?}")).into()
    }

    /// Whether somebody was calling its target when the store was left.
    pub fn is_called(&self) -> bool {
        matches!(self.task.state, State::Processing { .. })
    }
}

/// What a column of a small table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number,
    /// A number that is small in some backends.
    Small,
    /// Yes or no.
    Switch,
    /// A text.
    Text,
    /// A text that may hold any character.
    AnyText,
    /// Bytes.
    Bytes,
    /// A UUID.
    Uuid,
}

/// A small table: its name, its columns, and the one that the store numbers itself, if it does.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name, the same in every backend.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Kind)],
    /// The column that the store numbers.
    pub numbered: Option<&'static str>,
}

use Kind::{AnyText, Bytes as Blob, Number, Small, Switch, Text, Uuid};

/// All tables beside those of tasks, in an order in which each row finds what it refers to.
pub const TABLES: &[Table] = &[
    Table { name: "meta", columns: &[("name", Text), ("value", Blob)], numbered: None },
    Table {
        name: "team",
        columns: &[
            ("id", Number),
            ("uid", Uuid),
            ("name", Text),
            ("created_at", Number),
            ("rate_limit", Number),
            ("secret", Blob),
            ("old_secret", Blob),
            ("old_secret_until", Number),
        ],
        numbered: Some("id"),
    },
    Table {
        name: "api_key",
        columns: &[
            ("uid", Uuid),
            ("team", Number),
            ("name", Text),
            ("prefix", Text),
            ("hash", Blob),
            ("created_at", Number),
            ("revoked_at", Number),
        ],
        numbered: None,
    },
    Table {
        name: "token",
        columns: &[
            ("id", Text),
            ("team", Number),
            ("name", Text),
            ("sealed", Blob),
            ("allowed_hosts", Text),
            ("verify_only", Switch),
            ("created_at", Number),
            ("revoked_at", Number),
        ],
        numbered: None,
    },
    Table {
        name: "endpoint",
        columns: &[
            ("uid", Uuid),
            ("address", Uuid),
            ("team", Number),
            ("provider", Text),
            ("secret", Text),
            ("key_number", Number),
            ("created_at", Number),
        ],
        numbered: None,
    },
    Table {
        name: "account",
        columns: &[("uid", Uuid), ("email", Text), ("name", Text), ("password", Text), ("created_at", Number)],
        numbered: None,
    },
    Table { name: "identity", columns: &[("issuer", Text), ("subject", Text), ("account", Uuid)], numbered: None },
    Table {
        name: "membership",
        columns: &[("team", Number), ("account", Uuid), ("role", Small), ("since", Number)],
        numbered: None,
    },
    Table {
        name: "session",
        columns: &[
            ("uid", Uuid),
            ("hash", Blob),
            ("account", Uuid),
            ("team", Number),
            ("door", Small),
            ("address", Text),
            ("agent", Text),
            ("created_at", Number),
            ("seen_at", Number),
            ("expires_at", Number),
        ],
        numbered: None,
    },
    Table {
        name: "invitation",
        columns: &[
            ("uid", Uuid),
            ("hash", Blob),
            ("team", Number),
            ("role", Small),
            ("email", Text),
            ("invited_by", Uuid),
            ("created_at", Number),
            ("expires_at", Number),
        ],
        numbered: None,
    },
    Table {
        name: "audit",
        columns: &[
            ("number", Number),
            ("at", Number),
            ("actor", Small),
            ("actor_id", Uuid),
            ("actor_name", Text),
            ("action", Text),
            ("team", Number),
            ("subject", Text),
            ("subject_name", Text),
            ("address", Text),
        ],
        numbered: Some("number"),
    },
    Table {
        name: "stray",
        columns: &[
            ("team", Number),
            ("provider", Text),
            ("job", AnyText),
            ("at", Number),
            ("verdict", Text),
            ("body", Blob),
        ],
        numbered: None,
    },
];

/// A value of a small table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// There is none.
    Nothing,
    /// A number, also for yes (1) and no (0).
    Number(i64),
    /// A text.
    Text(String),
    /// Bytes, also of a UUID.
    Bytes(Vec<u8>),
}

/// A store that can be left.
#[async_trait]
pub trait Leave: Send + Sync {
    /// Tasks behind this one, by id, at most so many.
    async fn tasks_after(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Moved>, StoreError>;

    /// All rows of a small table, in the order in which they came.
    async fn rows(&self, table: &'static Table) -> Result<Vec<Vec<Cell>>, StoreError>;
}

/// A store that can be moved into.
#[async_trait]
pub trait Enter: Send + Sync {
    /// Takes tasks in; those that are there already are left as they are. Calls that were under way count as interrupted.
    async fn take_tasks(&self, tasks: Vec<Moved>, now: Timestamp) -> Result<(), StoreError>;

    /// Takes rows of a small table in; those that are there already are left as they are.
    async fn take_rows(&self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError>;

    /// The last task that a move has taken in so far.
    async fn moved_up_to(&self) -> Result<Option<TaskId>, StoreError>;
}
