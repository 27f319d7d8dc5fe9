//! What is read of tasks.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Postgres;
use super::batch::{Bodies, Columns, Kept, READ_ALONG};
use super::browse::is_small;
use super::ended;
use super::handout::record;
use super::row::{self, Row};
use super::session::Session;
use crate::store::{
    Counts, EventRecord, IDEMPOTENCY_MS, Idempotency, ListQuery, Page, StoreError, TaskRecord, encoding, facts,
};
use crate::task::{Entry, Payload, Status, Task, TaskId, TeamId, Timestamp};

/// One in so many is few.
const RARE: u64 = 16;

impl Postgres {
    pub(super) async fn row_of(&self, session: &Session, id: TaskId) -> Result<Row, StoreError> {
        self.read_rows(session, &[id.0]).await?.remove(&id).ok_or(StoreError::NotFound)
    }

    pub(super) async fn read_state(&self, id: TaskId) -> Result<Task, StoreError> {
        let session = Session::open(&self.pool).await?;
        let found = self.read_rows(&session, &[id.0]).await?.remove(&id);
        session.close();
        found.map(|row| row.task).ok_or(StoreError::NotFound)
    }

    pub(super) async fn task_of_key(
        &self,
        team: TeamId,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        let sql = "SELECT i.body, i.task FROM idempotency i JOIN task t ON t.id = i.task \
            WHERE i.team = $1 AND i.key = $2 AND i.at > $3";
        let (key, since) = (&idempotency.key[..], now.plus_millis(-IDEMPOTENCY_MS).0);
        let columns: Columns<'_> = vec![(&team.0, Type::INT8), (&key, Type::BYTEA), (&since, Type::INT8)];
        match self.one(sql, columns).await? {
            Some(row) if row.get::<_, &[u8]>(0) != idempotency.body => Err(StoreError::KeyReused),
            row => Ok(row.map(|row| TaskId(row.get(1)))),
        }
    }

    pub(super) async fn read_record(&self, id: TaskId) -> Result<TaskRecord, StoreError> {
        // One snapshot for row and bodies: between two, the task may be removed.
        let session = Session::snapshot(&self.pool).await?;
        let found = self.row_of(&session, id).await;
        let outcome = match &found {
            Ok(row) => bodies(&session, std::slice::from_ref(row)).await.and_then(|bodies| record(row, &bodies)),
            Err(_) => Err(StoreError::NotFound),
        };
        session.commit().await?;
        found.and(outcome)
    }

    pub(super) async fn read_answer(&self, id: TaskId) -> Result<Option<Payload>, StoreError> {
        let sql = "SELECT j.head, j.body, t.answer IS NULL FROM task t \
            LEFT JOIN journal j ON j.id = t.id AND j.seq = t.answer WHERE t.id = $1";
        let row = self.one(sql, vec![(&id.0, Type::UUID)]).await?.ok_or(StoreError::NotFound)?;
        if row.get(2) {
            return Ok(None);
        }
        Kept::of(&row, 0)?.payload().map(Some)
    }

    pub(super) async fn read_list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let session = Session::snapshot(&self.pool).await?;
        let page = self.page(&session, query).await;
        session.commit().await?;
        page
    }

    async fn page(&self, session: &Session, query: ListQuery) -> Result<Page, StoreError> {
        let total = total(session, query).await?;
        // A page behind the end is not looked for, and the last page stops at the last row that is known to be there.
        let limit = u64::from(query.limit).min(total.saturating_sub(query.offset));
        if limit == 0 {
            return Ok(Page { records: Vec::new(), rest: Vec::new(), total });
        }
        let all = self::total(session, ListQuery { status: None, ..query }).await?;
        let few =
            total * RARE < all && (query.status != Some(Status::Completed) || is_small(session, ended::IDS).await?);
        let sql = page_of(query.status, few);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (limit, offset) = (number(limit), number(query.offset));
        let columns: Columns<'_> = vec![(&query.team.0, Type::INT8), (&limit, Type::INT8), (&offset, Type::INT8)];
        let rows = session.query(&sql, columns).await?;
        let rows: Vec<Row> = rows.iter().map(row::read).collect::<Result<_, _>>()?;
        let weights = weights(session, &rows).await?;
        let weighed = rows.into_iter().map(|row| {
            let bytes = weights.get(&row.task.id).copied().unwrap_or_default();
            (row, bytes)
        });
        let (whole, rest) = Page::split(weighed.collect(), query.room);
        let bodies = bodies(session, &whole).await?;
        Ok(Page {
            records: whole.iter().map(|row| record(row, &bodies)).collect::<Result<_, _>>()?,
            rest: rest.into_iter().map(|(row, bytes)| (row.task.id, bytes)).collect(),
            total,
        })
    }

    pub(super) async fn read_events(&self, id: TaskId) -> Result<Vec<EventRecord>, StoreError> {
        let session = Session::snapshot(&self.pool).await?;
        let row = self.row_of(&session, id).await;
        let sql = "SELECT at, events, CASE WHEN events LIKE '%callback.late%' THEN body END FROM journal \
            WHERE id = $1 AND events IS NOT NULL ORDER BY seq";
        let lines = session.query(sql, vec![(&id.0, Type::UUID)]).await?;
        session.commit().await?;
        let created = EventRecord { at: row?.task.created_at, entry: Entry::Created, body: None };
        let mut events = vec![created];
        for line in lines {
            let mut records = encoding::read_entries(Timestamp(line.get(0)), line.get(1))?;
            if let Some(late) = records.iter_mut().find(|record| record.entry == Entry::CallbackLate) {
                late.body = line.get::<_, Option<Vec<u8>>>(2).map(Into::into);
            }
            events.extend(records);
        }
        Ok(events)
    }

    pub(super) async fn read_counts(&self) -> Result<Counts, StoreError> {
        let rows = self.ask("SELECT status, sum(tasks)::bigint FROM counter GROUP BY status", vec![]).await?;
        let count = |row: &tokio_postgres::Row| {
            let tasks = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
            (facts::status_of(i64::from(row.get::<_, i16>(0))), tasks)
        };
        Ok(rows.iter().map(count).collect())
    }
}

/// All that belongs to these tasks.
async fn bodies(session: &Session, rows: &[Row]) -> Result<Bodies, StoreError> {
    let (mut ids, mut seqs) = (Vec::new(), Vec::new());
    for row in rows {
        for seq in [Some(0), row.result, row.progress].into_iter().flatten() {
            ids.push(row.task.id.0);
            seqs.push(seq);
        }
    }
    let found = session.query(READ_ALONG, vec![(&ids, Type::UUID_ARRAY), (&seqs, Type::INT4_ARRAY)]).await?;
    found.iter().map(|row| Ok(((TaskId(row.get(0)), row.get(1)), Kept::of(row, 2)?))).collect()
}

/// How long tasks' bodies are; that is known without reading them.
async fn weights(session: &Session, rows: &[Row]) -> Result<std::collections::HashMap<TaskId, u64>, StoreError> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.task.id.0).collect();
    let sql = "SELECT t.id, coalesce(sum(octet_length(j.body)), 0)::bigint FROM task t \
        JOIN journal j ON j.id = t.id AND j.seq IN (0, t.result, t.progress) \
        WHERE t.id = ANY($1::uuid[]) AND j.id = ANY($1::uuid[]) GROUP BY t.id";
    let found = session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await?;
    let weight =
        |row: &tokio_postgres::Row| (TaskId(row.get(0)), u64::try_from(row.get::<_, i64>(1)).unwrap_or_default());
    Ok(found.iter().map(weight).collect())
}

async fn total(session: &Session, query: ListQuery) -> Result<u64, StoreError> {
    let status = query.status.map(|status| i16::try_from(facts::status_code(status)).unwrap_or_default());
    let sql =
        "SELECT coalesce(sum(tasks), 0)::bigint FROM counter WHERE team = $1 AND ($2::smallint IS NULL OR status = $2)";
    let row = session.query_one(sql, vec![(&query.team.0, Type::INT8), (&status, Type::INT2)]).await?;
    Ok(row.map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or_default()))
}

/// The statement that reads a page. The tables beside the hot one know where the few of a status are.
fn page_of(status: Option<Status>, few: bool) -> String {
    let columns = row::COLUMNS;
    let filter = status.map_or_else(String::new, |status| format!("AND t.status = {}", facts::status_code(status)));
    let listed = match status {
        Some(Status::Failed | Status::Timeout | Status::Cancelled) => Some("ended_badly"),
        Some(Status::Pending | Status::Processing) if few => Some("call"),
        Some(Status::Delayed | Status::Waiting) if few => Some("timer"),
        Some(Status::Polling) if few => Some("poll"),
        Some(Status::Completed) if few => Some(ended::IDS),
        _ => None,
    };
    let source = match (listed, status) {
        (Some("ended_badly"), Some(status)) => format!(
            "FROM ended_badly b JOIN task t ON t.id = b.id WHERE b.team = $1 AND b.status = {} ORDER BY b.id DESC",
            facts::status_code(status)
        ),
        (Some(table), _) => {
            format!("FROM task t WHERE t.team = $1 {filter} AND t.id IN (SELECT id FROM {table}) ORDER BY t.id DESC")
        }
        (None, _) => format!("FROM task t WHERE t.team = $1 {filter} ORDER BY t.id DESC"),
    };
    format!("SELECT {columns} {source} LIMIT $2 OFFSET $3")
}
