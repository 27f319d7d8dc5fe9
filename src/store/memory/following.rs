//! Polls, the vault and endpoints in the reference model.

use std::collections::BTreeSet;

use super::shelf::Shelf;
use crate::store::{Capacity, ClaimedPoll, Endpoint, STRAYS_MAX, StoreError, Stray, Team, Token};
use crate::task::{Job, Payload, State, TaskId, TeamId, Timestamp};

/// A due poll whose host has no room is looked at again after this time.
const PUT_OFF_MS: i64 = 1000;

impl Shelf {
    /// Polls that nobody has claimed, by due time.
    fn planned(&self) -> BTreeSet<(Timestamp, TaskId)> {
        let idle = self.rows.values().map(|row| &row.record.task).filter(|task| !self.polling.contains(&task.id));
        let polls = idle.filter(|task| matches!(task.state, State::Polling { .. }));
        polls.filter_map(|task| Some((task.polling.next_at?, task.id))).collect()
    }

    pub fn claim_polls(&mut self, mut capacity: Capacity, now: Timestamp) -> Result<Vec<ClaimedPoll>, StoreError> {
        let mut claimed = Vec::new();
        for (_, id) in self.planned().into_iter().take_while(|(at, _)| *at <= now) {
            if claimed.len() >= capacity.slots {
                break;
            }
            let row = self.row_mut(id)?;
            let calls = capacity.in_flight.entry(row.host).or_default();
            if *calls >= capacity.per_host {
                row.record.task.polling.next_at = Some(now.plus_millis(PUT_OFF_MS));
                continue;
            }
            *calls += 1;
            let (record, answer) = (row.record.clone(), row.answer.clone());
            claimed.push(ClaimedPoll { record, answer, host: row.host });
            self.polling.insert(id);
        }
        Ok(claimed)
    }

    pub fn next_poll(&self) -> Option<Timestamp> {
        self.planned().first().map(|(at, _)| *at)
    }

    pub fn return_poll(&mut self, id: TaskId) {
        self.polling.remove(&id);
        self.effects.poll = Some(Timestamp(i64::MIN));
    }

    pub fn answer(&self, id: TaskId) -> Result<Option<Payload>, StoreError> {
        Ok(self.row(id)?.answer.clone())
    }

    pub fn find_job(&self, team: TeamId, job: &Job) -> Result<TaskId, StoreError> {
        let found = self.jobs.get(&(team, job.clone())).filter(|id| self.rows.contains_key(id));
        found.copied().ok_or(StoreError::NotFound)
    }

    pub fn keep_stray(&mut self, stray: Stray) -> Result<(), StoreError> {
        if self.strays.iter().filter(|kept| kept.team == stray.team).count() >= STRAYS_MAX {
            return Err(StoreError::Overloaded);
        }
        let id = self.strays.last().map_or(1, |last| last.id + 1);
        self.strays.push(Stray { id, ..stray });
        self.effects.matched = true;
        Ok(())
    }

    pub fn matched_strays(&self, limit: usize) -> Vec<(Stray, TaskId)> {
        let found = |stray: &Stray| {
            let job = Job { provider: stray.provider.clone(), id: stray.job.clone() };
            Some((stray.clone(), self.find_job(stray.team, &job).ok()?))
        };
        self.strays.iter().filter_map(found).take(limit).collect()
    }

    pub fn drop_stray(&mut self, id: i64) {
        self.strays.retain(|stray| stray.id != id);
    }

    pub fn purge_strays(&mut self, before: Timestamp) -> usize {
        let kept = self.strays.len();
        self.strays.retain(|stray| stray.at >= before);
        kept - self.strays.len()
    }

    pub fn create_token(&mut self, token: Token) -> Result<(), StoreError> {
        if self.tokens.iter().any(|other| other.id == token.id) {
            return Err(StoreError::Taken);
        }
        self.tokens.push(Token { revoked_at: None, ..token });
        Ok(())
    }

    pub fn tokens_of(&self, team: TeamId) -> Vec<Token> {
        let live = self.tokens.iter().filter(|token| token.team == team && token.revoked_at.is_none());
        live.cloned().collect()
    }

    pub fn token(&self, team: TeamId, id: &str) -> Result<Token, StoreError> {
        let found = self.tokens.iter().find(|token| token.team == team && token.id == id);
        found.cloned().ok_or(StoreError::NotFound)
    }

    pub fn revoke_token(&mut self, team: TeamId, id: &str, now: Timestamp) -> Result<Token, StoreError> {
        let live = |token: &&mut Token| token.team == team && token.id == id && token.revoked_at.is_none();
        let token = self.tokens.iter_mut().find(live).ok_or(StoreError::NotFound)?;
        token.revoked_at = Some(now);
        token.sealed = Vec::new();
        Ok(token.clone())
    }

    pub fn tokens_to_reseal(&self, key_number: u32, limit: usize) -> Vec<Token> {
        let number = key_number.to_be_bytes();
        let live = self.tokens.iter().filter(|token| token.revoked_at.is_none());
        live.filter(|token| !token.sealed.starts_with(&number)).take(limit).cloned().collect()
    }

    pub fn reseal_token(&mut self, id: &str, from: &[u8], to: Vec<u8>) {
        if let Some(token) = self.tokens.iter_mut().find(|token| token.id == id && token.sealed == from) {
            token.sealed = to;
        }
    }

    pub fn reseal_team(&mut self, from: &Team, to: &Team) {
        let old = |team: &Team| team.old_secret.as_ref().map(|(sealed, _)| sealed.clone());
        let same = |team: &&mut Team| team.secret == from.secret && old(team) == old(from);
        if let Some(team) = self.teams.get_mut(&from.id).filter(same) {
            team.secret.clone_from(&to.secret);
            if let (Some((sealed, _)), Some(new)) = (&mut team.old_secret, old(to)) {
                *sealed = new;
            }
        }
    }

    pub fn create_endpoint(&mut self, endpoint: Endpoint) -> Result<(), StoreError> {
        let taken = |other: &Endpoint| other.uid == endpoint.uid || other.address == endpoint.address;
        if self.endpoints.iter().any(taken) {
            return Err(StoreError::Taken);
        }
        self.endpoints.push(endpoint);
        Ok(())
    }

    pub fn endpoints_of(&self, team: TeamId) -> Vec<Endpoint> {
        self.endpoints.iter().filter(|endpoint| endpoint.team == team).cloned().collect()
    }

    pub fn find_endpoint(&self, address: uuid::Uuid) -> Result<Endpoint, StoreError> {
        let found = self.endpoints.iter().find(|endpoint| endpoint.address == address);
        found.cloned().ok_or(StoreError::NotFound)
    }

    pub fn rotate_endpoint(
        &mut self,
        team: TeamId,
        uid: uuid::Uuid,
        address: uuid::Uuid,
        key_number: u32,
    ) -> Result<Endpoint, StoreError> {
        let endpoint = self.own_endpoint(team, uid)?;
        (endpoint.address, endpoint.key_number) = (address, key_number);
        Ok(endpoint.clone())
    }

    pub fn resecret_endpoint(
        &mut self,
        team: TeamId,
        uid: uuid::Uuid,
        secret: Option<String>,
    ) -> Result<Endpoint, StoreError> {
        let endpoint = self.own_endpoint(team, uid)?;
        endpoint.secret = secret;
        Ok(endpoint.clone())
    }

    fn own_endpoint(&mut self, team: TeamId, uid: uuid::Uuid) -> Result<&mut Endpoint, StoreError> {
        let own = |endpoint: &&mut Endpoint| endpoint.team == team && endpoint.uid == uid;
        self.endpoints.iter_mut().find(own).ok_or(StoreError::NotFound)
    }

    pub fn delete_endpoint(&mut self, team: TeamId, uid: uuid::Uuid) -> Result<Endpoint, StoreError> {
        let own = |endpoint: &Endpoint| endpoint.team == team && endpoint.uid == uid;
        let place = self.endpoints.iter().position(own).ok_or(StoreError::NotFound)?;
        Ok(self.endpoints.remove(place))
    }
}
