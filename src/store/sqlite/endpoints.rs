//! Endpoints on disk, the jobs that their events are about, and the events that came too early.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use uuid::Uuid;

use super::failed;
use super::row;
use super::writer::Writer;
use crate::store::{Endpoint, STRAYS_MAX, StoreError, Stray, encoding};
use crate::task::{Job, TaskId, TeamId, Timestamp};

const ENDPOINT: &str = "SELECT uid, address, team, provider, secret, key_number, created_at FROM endpoint";

pub(super) fn create(db: &Connection, endpoint: &Endpoint) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO endpoint (uid, address, team, provider, secret, key_number, created_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Endpoint { uid, address, team, provider, secret, key_number, created_at } = endpoint;
    let values = params![uid, address, team.0, provider, secret, key_number, created_at.0];
    match db.execute(sql, values).map_err(failed)? {
        0 => Err(StoreError::Taken),
        _ => Ok(()),
    }
}

pub(super) fn list(db: &Connection, team: TeamId) -> Result<Vec<Endpoint>, StoreError> {
    let mut select = db.prepare_cached(&format!("{ENDPOINT} WHERE team = ?1 ORDER BY number")).map_err(failed)?;
    let rows = select.query_map([team.0], read).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

pub(super) fn find(db: &Connection, address: Uuid) -> Result<Endpoint, StoreError> {
    let mut select = db.prepare_cached(&format!("{ENDPOINT} WHERE address = ?1")).map_err(failed)?;
    select.query_row([address], read).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

fn own(db: &Connection, team: TeamId, uid: Uuid) -> Result<Endpoint, StoreError> {
    let mut select = db.prepare_cached(&format!("{ENDPOINT} WHERE uid = ?1 AND team = ?2")).map_err(failed)?;
    select.query_row(params![uid, team.0], read).optional().map_err(failed)?.ok_or(StoreError::NotFound)
}

pub(super) fn rotate(
    db: &Connection,
    team: TeamId,
    uid: Uuid,
    address: Uuid,
    key_number: u32,
) -> Result<Endpoint, StoreError> {
    let sql = "UPDATE endpoint SET address = ?3, key_number = ?4 WHERE uid = ?1 AND team = ?2";
    db.execute(sql, params![uid, team.0, address, key_number]).map_err(failed)?;
    own(db, team, uid)
}

pub(super) fn resecret(db: &Connection, team: TeamId, uid: Uuid, secret: Option<&str>) -> Result<Endpoint, StoreError> {
    let sql = "UPDATE endpoint SET secret = ?3 WHERE uid = ?1 AND team = ?2";
    db.execute(sql, params![uid, team.0, secret]).map_err(failed)?;
    own(db, team, uid)
}

pub(super) fn delete(db: &Connection, team: TeamId, uid: Uuid) -> Result<Endpoint, StoreError> {
    let endpoint = own(db, team, uid)?;
    db.execute("DELETE FROM endpoint WHERE uid = ?1", [uid]).map_err(failed)?;
    Ok(endpoint)
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint {
        uid: row.get(0)?,
        address: row.get(1)?,
        team: TeamId(row.get(2)?),
        provider: row.get(3)?,
        secret: row.get(4)?,
        key_number: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
    })
}

pub(super) fn find_job(db: &Connection, team: TeamId, job: &Job) -> Result<TaskId, StoreError> {
    let sql = "SELECT task FROM job WHERE team = ?1 AND provider = ?2 AND job = ?3";
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let key: Option<i64> =
        select.query_row(params![team.0, job.provider, job.id], |row| row.get(0)).optional().map_err(failed)?;
    let row = key.map(|key| row::load_by_key(db, key)).transpose().map_err(failed)?.flatten();
    row.map(|row| row.task.id).ok_or(StoreError::NotFound)
}

pub(super) fn drop_stray(db: &Connection, id: i64) -> Result<(), StoreError> {
    db.execute("DELETE FROM stray WHERE id = ?1", [id]).map(drop).map_err(failed)
}

pub(super) fn purge_strays(db: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    db.execute("DELETE FROM stray WHERE at < ?1", [before.0]).map_err(failed)
}

pub(super) fn matched_strays(db: &Connection, limit: usize) -> Result<Vec<(Stray, TaskId)>, StoreError> {
    let sql = "SELECT stray.id, team, provider, job, stray.at, verdict, body, job.task \
        FROM stray JOIN job USING (team, provider, job) ORDER BY stray.id LIMIT ?1";
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let rows = select.query_map([limit], |row| Ok((read_stray(row)?, row.get(7)?))).map_err(failed)?;
    let mut matched = Vec::new();
    for found in rows {
        let ((stray, verdict), key): ((Stray, String), i64) = found.map_err(failed)?;
        let stray = Stray { verdict: encoding::read_verdict(&verdict)?, ..stray };
        if let Some(row) = row::load_by_key(db, key).map_err(failed)? {
            matched.push((stray, row.task.id));
        }
    }
    Ok(matched)
}

fn read_stray(row: &SqlRow<'_>) -> rusqlite::Result<(Stray, String)> {
    let stray = Stray {
        id: row.get(0)?,
        team: TeamId(row.get(1)?),
        provider: row.get(2)?,
        job: row.get(3)?,
        at: Timestamp(row.get(4)?),
        verdict: crate::task::CallbackVerdict::Interim,
        body: row.get::<_, Vec<u8>>(6)?.into(),
    };
    Ok((stray, row.get(5)?))
}

impl Writer {
    /// Remembers which task a job stands for. The first task keeps a job that two claim.
    pub(super) fn remember_job(&mut self, team: TeamId, job: &Job, task: TaskId) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO job (team, provider, job, task) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.db.prepare_cached(sql).map_err(failed)?;
        insert.execute(params![team.0, job.provider, job.id, task.sort_key()]).map_err(failed)?;
        drop(insert);
        self.effects.matched = true;
        Ok(())
    }

    pub(super) fn forget_jobs(&self, key: i64) -> Result<(), StoreError> {
        let delete = self.db.prepare_cached("DELETE FROM job WHERE task = ?1");
        delete.and_then(|mut delete| delete.execute([key])).map(drop).map_err(failed)
    }

    pub(super) fn keep_stray(&mut self, stray: &Stray) -> Result<(), StoreError> {
        let count = "SELECT count(*) FROM stray WHERE team = ?1";
        let kept: usize = self.db.query_row(count, [stray.team.0], |row| row.get(0)).map_err(failed)?;
        if kept >= STRAYS_MAX {
            return Err(StoreError::Overloaded);
        }
        let sql = "INSERT INTO stray (team, provider, job, at, verdict, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let verdict = encoding::write_verdict(&stray.verdict);
        let values = params![stray.team.0, stray.provider, stray.job, stray.at.0, verdict, stray.body.as_ref()];
        self.db.execute(sql, values).map_err(failed)?;
        // The answer that names its job may have come meanwhile.
        self.effects.matched = true;
        Ok(())
    }
}
