//! Why something about people was not done.

use super::password::Busy;
use crate::store::StoreError;

/// Why it was not done, in words for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// A field cannot be taken as it is.
    #[error("{message}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// E-mail address or password is wrong; it is not said which.
    #[error("E-mail address or password is wrong")]
    Credentials,
    /// Too many attempts; how many seconds to wait.
    #[error("Too many attempts; wait {0} seconds")]
    TooMany(u32),
    /// There is no such thing.
    #[error("{0} not found")]
    Missing(&'static str),
    /// A link that does not work, or not any more.
    #[error("This link does not work, or not any more")]
    Link,
    /// It is there, and not theirs.
    #[error("Access denied")]
    NotYours,
    /// They are in the team, and may not do this.
    #[error("This needs the role {0}")]
    Role(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Too much is being asked just now.
    #[error("The service is busy; try again")]
    Busy,
    /// The store could not do it.
    #[error(transparent)]
    Store(StoreError),
}

impl Wrong {
    /// This field cannot be taken.
    pub(super) fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self::Field { field, message: message.into() }
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LastOwner => Self::Conflict("A team needs an owner".to_owned()),
            other => Self::Store(other),
        }
    }
}

impl From<Busy> for Wrong {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}
