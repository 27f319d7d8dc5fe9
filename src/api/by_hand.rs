//! What a person does to tasks at a page, by the very rules that hold for callers: pages are handed this, and know nothing
//! else of the API.

use sha2::{Digest, Sha256};

use super::{Api, create, tasks};
use crate::store::{Idempotency, Team};
use crate::task::TaskId;

impl Api {
    /// Cancels a task of the team; or says why not.
    pub async fn cancel_by_hand(&self, team: &Team, id: TaskId) -> Result<(), String> {
        tasks::give_up(self, team, id).await.map(drop).map_err(|problem| problem.text().to_owned())
    }

    /// Delivers a task's completion webhook once more; or says why not.
    pub async fn resend_by_hand(&self, team: &Team, id: TaskId) -> Result<(), String> {
        tasks::send_again(self, team, id).await.map_err(|problem| problem.text().to_owned())
    }

    /// Makes a new task that does what a final one did, and answers its id; or says why not. The same `once` makes no
    /// second one, however often a button is pressed.
    pub async fn retry_by_hand(&self, team: &Team, id: TaskId, once: &str) -> Result<TaskId, String> {
        let idempotency = Idempotency {
            key: Sha256::new().chain_update(b"by hand").chain_update(once).chain_update(id.0).finalize().into(),
            body: Sha256::digest(id.0).into(),
        };
        let made = async {
            let asked = create::repeated(self, team, id).await?;
            create::insert(self, team, asked, Some(idempotency)).await
        };
        let made = made.await.map_err(|problem| problem.text().to_owned())?;
        Ok(made.map_or_else(|before| before, |record| record.task.id))
    }
}
