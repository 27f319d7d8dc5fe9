//! What a person does at a page, to tasks, endpoints and the vault, by the very rules that hold for callers: pages are
//! handed this, and know nothing else of the API.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::problem::Problem;
use super::{Api, create, endpoints, tasks, tokens};
use crate::store::{Endpoint, Idempotency, Team, Token};
use crate::task::TaskId;

impl Api {
    /// Cancels a task of the team; or says why not.
    pub async fn cancel_by_hand(&self, team: &Team, id: TaskId) -> Result<(), Problem> {
        tasks::give_up(self, team, id).await.map(drop)
    }

    /// Delivers a task's completion webhook once more; or says why not.
    pub async fn resend_by_hand(&self, team: &Team, id: TaskId) -> Result<(), Problem> {
        tasks::send_again(self, team, id).await
    }

    /// Makes a new task that does what a final one did, and answers its id; or says why not. The same `once` makes no
    /// second one, however often a button is pressed.
    pub async fn retry_by_hand(&self, team: &Team, id: TaskId, once: &str) -> Result<TaskId, Problem> {
        let idempotency = Idempotency {
            key: Sha256::new().chain_update(b"by hand").chain_update(once).chain_update(id.0).finalize().into(),
            body: Sha256::digest(id.0).into(),
        };
        let asked = create::repeated(self, team, id).await?;
        let made = create::insert(self, team, asked, Some(idempotency)).await?;
        Ok(made.map_or_else(|before| before, |record| record.task.id))
    }

    /// Makes an endpoint of the team, as the fields of a request say it; answers it with its URL.
    pub async fn create_endpoint_by_hand(
        &self,
        team: &Team,
        fields: Map<String, Value>,
    ) -> Result<(Endpoint, Option<String>), Problem> {
        let endpoint = endpoints::make(self, team.id, &text(fields)).await?;
        let url = endpoints::url(self, &endpoint);
        Ok((endpoint, url))
    }

    /// Gives an endpoint of the team a new URL; answers it with that.
    pub async fn rotate_endpoint_by_hand(&self, team: &Team, uid: Uuid) -> Result<(Endpoint, Option<String>), Problem> {
        let endpoint = endpoints::rotated(self, team.id, uid).await?;
        let url = endpoints::url(self, &endpoint);
        Ok((endpoint, url))
    }

    /// Gives an endpoint of the team another secret, as the fields of a request say it.
    pub async fn resecret_endpoint_by_hand(
        &self,
        team: &Team,
        uid: Uuid,
        fields: Map<String, Value>,
    ) -> Result<Endpoint, Problem> {
        endpoints::resecreted(self, team.id, uid, &text(fields)).await
    }

    /// Removes an endpoint of the team.
    pub async fn delete_endpoint_by_hand(&self, team: &Team, uid: Uuid) -> Result<Endpoint, Problem> {
        endpoints::deleted(self, team.id, uid).await
    }

    /// Puts a value into the team's vault, as the fields of a request say it.
    pub async fn create_token_by_hand(&self, team: &Team, fields: Map<String, Value>) -> Result<Token, Problem> {
        tokens::make(self, team.id, &text(fields)).await
    }

    /// Stops a token of the team from working.
    pub async fn revoke_token_by_hand(&self, team: &Team, id: &str) -> Result<Token, Problem> {
        tokens::revoked(self, team.id, id).await
    }
}

/// A request's body with these fields.
fn text(fields: Map<String, Value>) -> Vec<u8> {
    Value::Object(fields).to_string().into_bytes()
}
