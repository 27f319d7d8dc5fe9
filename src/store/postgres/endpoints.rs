//! Endpoints, the jobs that their events are about, and the events that came too early.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::row::small;
use super::session::Session;
use crate::store::{Effects, Endpoint, STRAYS_MAX, StoreError, Stray, encoding};
use crate::task::{Job, TaskId, TeamId, Timestamp};

const COLUMNS: &str = "uid, address, team, provider, secret, key_number, created_at";

impl Postgres {
    pub(super) async fn add_endpoint(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let sql = "INSERT INTO endpoint (uid, address, team, provider, secret, key_number, created_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING number";
        let key_number = i64::from(endpoint.key_number);
        let columns: super::batch::Columns<'_> = vec![
            (&endpoint.uid, Type::UUID),
            (&endpoint.address, Type::UUID),
            (&endpoint.team.0, Type::INT8),
            (&endpoint.provider, Type::TEXT),
            (&endpoint.secret, Type::TEXT),
            (&key_number, Type::INT8),
            (&endpoint.created_at.0, Type::INT8),
        ];
        self.one(sql, columns).await?.map(drop).ok_or(StoreError::Taken)
    }

    pub(super) async fn endpoints_of(&self, team: TeamId) -> Result<Vec<Endpoint>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM endpoint WHERE team = $1 ORDER BY number");
        Ok(self.ask(&sql, vec![(&team.0, Type::INT8)]).await?.iter().map(read).collect())
    }

    pub(super) async fn endpoint_at(&self, address: Uuid) -> Result<Endpoint, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM endpoint WHERE address = $1");
        let row = self.one(&sql, vec![(&address, Type::UUID)]).await?;
        row.as_ref().map(read).ok_or(StoreError::NotFound)
    }

    pub(super) async fn move_endpoint(
        &self,
        team: TeamId,
        uid: Uuid,
        address: Uuid,
        key_number: u32,
    ) -> Result<Endpoint, StoreError> {
        let sql = format!(
            "UPDATE endpoint SET address = $3, key_number = $4 WHERE uid = $1 AND team = $2 RETURNING {COLUMNS}"
        );
        let key_number = i64::from(key_number);
        let columns: super::batch::Columns<'_> =
            vec![(&uid, Type::UUID), (&team.0, Type::INT8), (&address, Type::UUID), (&key_number, Type::INT8)];
        let row = self.one(&sql, columns).await?;
        row.as_ref().map(read).ok_or(StoreError::NotFound)
    }

    pub(super) async fn set_endpoint_secret(
        &self,
        team: TeamId,
        uid: Uuid,
        secret: Option<&str>,
    ) -> Result<Endpoint, StoreError> {
        let sql = format!("UPDATE endpoint SET secret = $3 WHERE uid = $1 AND team = $2 RETURNING {COLUMNS}");
        let row = self.one(&sql, vec![(&uid, Type::UUID), (&team.0, Type::INT8), (&secret, Type::TEXT)]).await?;
        row.as_ref().map(read).ok_or(StoreError::NotFound)
    }

    pub(super) async fn remove_endpoint(&self, team: TeamId, uid: Uuid) -> Result<Endpoint, StoreError> {
        let sql = format!("DELETE FROM endpoint WHERE uid = $1 AND team = $2 RETURNING {COLUMNS}");
        let row = self.one(&sql, vec![(&uid, Type::UUID), (&team.0, Type::INT8)]).await?;
        row.as_ref().map(read).ok_or(StoreError::NotFound)
    }

    pub(super) async fn task_of_job(&self, team: TeamId, job: &Job) -> Result<TaskId, StoreError> {
        let sql = "SELECT j.task FROM job j JOIN task t ON t.id = j.task WHERE j.team = $1 AND j.provider = $2 AND j.job = $3";
        let name = job.id.as_bytes();
        let columns: super::batch::Columns<'_> =
            vec![(&team.0, Type::INT8), (&job.provider, Type::TEXT), (&name, Type::BYTEA)];
        self.one(sql, columns).await?.map(|row| TaskId(row.get(0))).ok_or(StoreError::NotFound)
    }

    pub(super) async fn add_stray(&self, stray: &Stray) -> Result<(), StoreError> {
        let session = Session::begin(&self.pool).await?;
        let count = "SELECT count(*) FROM stray WHERE team = $1";
        let kept = session.query_one(count, vec![(&stray.team.0, Type::INT8)]).await?;
        let kept: i64 = kept.map(|row| row.get(0)).unwrap_or_default();
        if kept >= small(u32::try_from(STRAYS_MAX).unwrap_or(u32::MAX)).into() {
            session.commit().await?;
            return Err(StoreError::Overloaded);
        }
        let sql = "INSERT INTO stray (team, provider, job, at, verdict, body) VALUES ($1, $2, $3, $4, $5, $6)";
        let (verdict, job, body) = (encoding::write_verdict(&stray.verdict), stray.job.as_bytes(), stray.body.as_ref());
        let columns: super::batch::Columns<'_> = vec![
            (&stray.team.0, Type::INT8),
            (&stray.provider, Type::TEXT),
            (&job, Type::BYTEA),
            (&stray.at.0, Type::INT8),
            (&verdict, Type::TEXT),
            (&body, Type::BYTEA),
        ];
        session.execute(sql, columns).await?;
        session.commit().await?;
        // The answer that names its job may have come meanwhile.
        self.shared.observer.committed(&Effects { matched: true, ..Effects::default() });
        Ok(())
    }

    pub(super) async fn strays_with_tasks(&self, limit: usize) -> Result<Vec<(Stray, TaskId)>, StoreError> {
        let sql = "SELECT s.id, s.team, s.provider, s.job, s.at, s.verdict, s.body, j.task \
            FROM stray s JOIN job j ON j.team = s.team AND j.provider = s.provider AND j.job = s.job \
            JOIN task t ON t.id = j.task ORDER BY s.id LIMIT $1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.ask(sql, vec![(&limit, Type::INT8)]).await?;
        rows.iter().map(|row| Ok((read_stray(row)?, TaskId(row.get(7))))).collect()
    }

    pub(super) async fn remove_stray(&self, id: i64) -> Result<(), StoreError> {
        self.ask("DELETE FROM stray WHERE id = $1", vec![(&id, Type::INT8)]).await.map(drop)
    }

    pub(super) async fn remove_strays(&self, before: Timestamp) -> Result<usize, StoreError> {
        let rows = self.ask("DELETE FROM stray WHERE at < $1 RETURNING id", vec![(&before.0, Type::INT8)]).await?;
        Ok(rows.len())
    }
}

fn read(row: &SqlRow) -> Endpoint {
    Endpoint {
        uid: row.get(0),
        address: row.get(1),
        team: TeamId(row.get(2)),
        provider: row.get(3),
        secret: row.get(4),
        key_number: u32::try_from(row.get::<_, i64>(5)).unwrap_or_default(),
        created_at: Timestamp(row.get(6)),
    }
}

fn read_stray(row: &SqlRow) -> Result<Stray, StoreError> {
    Ok(Stray {
        id: row.get(0),
        team: TeamId(row.get(1)),
        provider: row.get(2),
        job: String::from_utf8_lossy(row.get(3)).into_owned(),
        at: Timestamp(row.get(4)),
        verdict: encoding::read_verdict(row.get(5))?,
        body: row.get::<_, Vec<u8>>(6).into(),
    })
}
