//! The shared store: PostgreSQL, for many nodes. Any node takes any request; what one has in hand is marked as its own.

mod acts;
mod batch;
mod browse;
mod claims;
mod connect;
mod direct;
mod ended;
mod endpoints;
mod handout;
mod in_hand;
mod lane;
mod node;
mod notice;
mod partitions;
mod people;
mod plan;
mod queries;
mod row;
mod schema;
mod session;
mod teams;
mod tls;
mod transfer;
mod turn;
mod vault;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use deadpool::managed::Pool;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use self::acts::{Act, Done};
use self::batch::Columns;
use self::connect::Connector;
use self::lane::{Lanes, Shared};
use self::partitions::Cutoff;
use self::session::Session;
use super::{
    ApiKey, Capacity, Claimed, ClaimedDelivery, ClaimedPoll, Counts, Created, DeliveryTaker, Effects, Endpoint,
    EventRecord, Idempotency, ListQuery, NewTask, NewTeam, Observer, Page, Seal, Store, StoreError, Stray, Sweep,
    TaskRecord, TaskTaker, Team, Token,
};
use crate::task::{Delivery, DeliveryOutcome, Event, Job, Payload, Task, TaskId, TeamId, Timestamp};

pub use self::node::{Beat, Introduction, NodeState, Seen};

/// Transactions that a node makes side by side for its commands.
const LANES: usize = 2;

/// The part of a node's counters that claims and other rare acts write; lanes have those of their numbers.
const PART_OF_ACTS: i32 = 15;

/// The shared store.
pub struct Postgres {
    lanes: Lanes,
    pool: Pool<Connector>,
    /// Connections that only the node's own life uses: what callers ask must not keep it from being heard.
    vital: Pool<Connector>,
    shared: Arc<Shared>,
    introduction: Option<Introduction>,
    turn: Mutex<turn::Turn>,
    notices: notice::Notices,
    days: Mutex<partitions::Days>,
    /// When partitions were seen to last.
    partitioned: tokio::sync::Mutex<Option<tokio::time::Instant>>,
}

/// How to open the store.
pub struct Options {
    /// `postgres://…`, as libpq takes it.
    pub url: String,
    /// Is told of every commit of this node.
    pub observer: Arc<dyn Observer>,
    /// What this node tells the others of itself; none for a process that does one command and takes nothing on.
    pub introduction: Option<Introduction>,
    /// Refuse a server that does not wait for a standby at each commit.
    pub require_sync: bool,
}

impl Postgres {
    /// Opens the store, bringing its layout up to date, and joins the nodes.
    ///
    /// Fails with a text for people if the server cannot be reached, or if a newer version wrote the database.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        let connector = Connector::from_url(&options.url)?;
        let link = connector.open().await.map_err(failed)?;
        if options.require_sync {
            schema::check_sync(&link.client).await?;
        }
        schema::migrate(&link.client).await?;
        let shared = Arc::new(Shared {
            connector: connector.clone(),
            observer: options.observer,
            hand_out: handout::HandOut::default(),
            me: node::Me::default(),
            hands: in_hand::Hands::default(),
            dispatchers: std::sync::atomic::AtomicUsize::new(1),
        });
        let store = Self {
            lanes: Lanes::start(LANES, &shared),
            pool: session::pool(connector.clone(), session::CONNECTIONS)?,
            vital: session::pool(connector, 2)?,
            shared,
            introduction: options.introduction,
            turn: Mutex::default(),
            notices: notice::Notices::default(),
            days: Mutex::default(),
            partitioned: tokio::sync::Mutex::default(),
        };
        if store.introduction.is_some() {
            let beat = store.beat(0).await?;
            store.see_to_partitions(beat.store_time, None).await?;
        }
        Ok(store)
    }

    /// Makes partitions ahead of time, and drops those that retention has emptied; once an hour is enough.
    async fn see_to_partitions(&self, now: Timestamp, cutoff: Option<Cutoff>) -> Result<(), StoreError> {
        const EVERY: Duration = Duration::from_secs(3600);
        let mut seen_to = self.partitioned.lock().await;
        let known = self.days().clone();
        let is_fresh = seen_to.is_some_and(|last| last.elapsed() < EVERY);
        if is_fresh && !cutoff.is_some_and(|cutoff| known.may_drop(cutoff)) {
            return Ok(());
        }
        let session = Session::open(&self.pool).await?;
        let client = &session.link().client;
        let mut days = partitions::make_ahead(client, now).await?;
        if let Some(cutoff) = cutoff {
            partitions::drop_old(client, &mut days, &known, cutoff).await?;
        }
        session.link().was_warned();
        session.close();
        *self.days() = days;
        *seen_to = Some(tokio::time::Instant::now());
        Ok(())
    }

    /// Makes the partitions of tasks that come from another store.
    async fn make_partitions(&self, ids: &[uuid::Uuid]) -> Result<(), StoreError> {
        let mut days = self.days().clone();
        if !days.lack(ids) {
            return Ok(());
        }
        let session = Session::open(&self.pool).await?;
        days.make_for(&session.link().client, ids).await?;
        session.link().was_warned();
        session.close();
        *self.days() = days;
        Ok(())
    }

    fn days(&self) -> std::sync::MutexGuard<'_, partitions::Days> {
        self.days.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Brings the layout of the database at `url` up to date; answers which version it had, 0 for an empty database.
    pub async fn migrate(url: &str) -> Result<i32, StoreError> {
        let link = Connector::from_url(url)?.open().await.map_err(failed)?;
        schema::migrate(&link.client).await
    }

    /// One statement by itself.
    async fn ask(&self, sql: &str, columns: Columns<'_>) -> Result<Vec<SqlRow>, StoreError> {
        let session = Session::open(&self.pool).await?;
        let rows = session.query(sql, columns).await?;
        if session.link().was_warned() {
            return Err(unconfirmed());
        }
        session.close();
        Ok(rows)
    }

    /// One statement by itself, of which one row is expected.
    async fn one(&self, sql: &str, columns: Columns<'_>) -> Result<Option<SqlRow>, StoreError> {
        Ok(self.ask(sql, columns).await?.into_iter().next())
    }

    async fn run_task(&self, act: Act) -> Result<Task, StoreError> {
        match self.lanes.run(act).await? {
            Done::Task(task) => Ok(*task),
            done => Err(mixed_up(&done)),
        }
    }

    async fn run_delivery(&self, act: Act) -> Result<Delivery, StoreError> {
        match self.lanes.run(act).await? {
            Done::Delivery(delivery) => Ok(delivery),
            done => Err(mixed_up(&done)),
        }
    }

    /// Frees what this node has in hand.
    async fn free(&self, table: &str, id: TaskId, effects: Effects) -> Result<(), StoreError> {
        let sql = format!("UPDATE {table} SET node = NULL WHERE id = $1 AND node = $2");
        self.ask(&sql, vec![(&id.0, Type::UUID), (&self.shared.me.id(), Type::INT8)]).await?;
        self.shared.observer.committed(&effects);
        Ok(())
    }
}

#[async_trait]
impl Store for Postgres {
    async fn create(&self, new: NewTask) -> Result<Created, StoreError> {
        match self.lanes.run(Act::Create(Box::new(new))).await? {
            Done::Created(created) => Ok(created),
            done => Err(mixed_up(&done)),
        }
    }

    async fn created_before(
        &self,
        team: TeamId,
        idempotency: Idempotency,
        now: Timestamp,
    ) -> Result<Option<TaskId>, StoreError> {
        self.task_of_key(team, &idempotency, now).await
    }

    async fn transition(
        &self,
        id: TaskId,
        event: Event,
        payload: Option<Payload>,
        now: Timestamp,
    ) -> Result<Task, StoreError> {
        self.run_task(Act::Transition { id, event, payload, now }).await
    }

    async fn claim(
        &self,
        capacity: Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.claim_tasks(capacity, lease_until, now).await
    }

    async fn hand_out(&self, taker: Arc<TaskTaker>, lease: Duration, now: Timestamp) -> Result<(), StoreError> {
        self.hand_out_tasks(&taker, lease, now).await
    }

    async fn void_claims(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.take_back(self.shared.me.id(), now).await
    }

    async fn fire_timers(&self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError> {
        self.fire(sweep, now).await
    }

    async fn next_timer(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.one("SELECT at FROM timer ORDER BY at LIMIT 1", vec![]).await?.map(|row| Timestamp(row.get(0))))
    }

    async fn claim_deliveries(&self, limit: usize, now: Timestamp) -> Result<Vec<ClaimedDelivery>, StoreError> {
        self.claim_webhooks(limit, now).await
    }

    async fn hand_out_deliveries(&self, taker: Arc<DeliveryTaker>, now: Timestamp) -> Result<(), StoreError> {
        self.shared.hand_out.register_webhooks(&taker);
        let claimed = self.claim_webhooks(taker.room(), now).await?;
        taker.take(claimed);
        Ok(())
    }

    async fn finish_delivery(
        &self,
        id: TaskId,
        claimed: Delivery,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        self.run_delivery(Act::FinishDelivery { id, claimed, outcome, now }).await
    }

    async fn return_delivery(&self, id: TaskId) -> Result<(), StoreError> {
        self.shared.hands.webhooks.give_back(id);
        self.free("outbox", id, Effects { deliver: true, ..Effects::default() }).await
    }

    async fn resend(&self, id: TaskId, now: Timestamp) -> Result<Delivery, StoreError> {
        self.run_delivery(Act::Resend { id, now }).await
    }

    async fn next_delivery(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT at FROM outbox WHERE node IS NULL ORDER BY at LIMIT 1";
        Ok(self.one(sql, vec![]).await?.map(|row| Timestamp(row.get(0))))
    }

    async fn claim_polls(&self, capacity: Capacity, now: Timestamp) -> Result<Vec<ClaimedPoll>, StoreError> {
        self.claim_due_polls(capacity, now).await
    }

    async fn return_poll(&self, id: TaskId) -> Result<(), StoreError> {
        self.shared.hands.polls.give_back(id);
        self.free("poll", id, Effects { poll: Some(Timestamp(i64::MIN)), ..Effects::default() }).await
    }

    async fn next_poll(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT at FROM poll WHERE node IS NULL ORDER BY at LIMIT 1";
        Ok(self.one(sql, vec![]).await?.map(|row| Timestamp(row.get(0))))
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Payload>, StoreError> {
        self.read_answer(id).await
    }

    async fn find_job(&self, team: TeamId, job: Job) -> Result<TaskId, StoreError> {
        self.task_of_job(team, &job).await
    }

    async fn keep_stray(&self, stray: Stray) -> Result<(), StoreError> {
        self.add_stray(&stray).await
    }

    async fn matched_strays(&self, limit: usize) -> Result<Vec<(Stray, TaskId)>, StoreError> {
        self.strays_with_tasks(limit).await
    }

    async fn drop_stray(&self, id: i64) -> Result<(), StoreError> {
        self.remove_stray(id).await
    }

    async fn purge_strays(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.remove_strays(before).await
    }

    async fn create_token(&self, token: Token) -> Result<(), StoreError> {
        self.add_token(&token).await
    }

    async fn tokens(&self, team: TeamId) -> Result<Vec<Token>, StoreError> {
        self.tokens_of(team).await
    }

    async fn token(&self, team: TeamId, id: String) -> Result<Token, StoreError> {
        self.one_token(team, &id).await
    }

    async fn revoke_token(&self, team: TeamId, id: String, now: Timestamp) -> Result<Token, StoreError> {
        self.stop_token(team, &id, now).await
    }

    async fn tokens_to_reseal(&self, key_number: u32, limit: usize) -> Result<Vec<Token>, StoreError> {
        self.tokens_sealed_otherwise(key_number, limit).await
    }

    async fn reseal_token(&self, id: String, from: Vec<u8>, to: Vec<u8>) -> Result<(), StoreError> {
        self.replace_seal(&id, &from, &to).await
    }

    async fn reseal_team(&self, from: Team, to: Team) -> Result<(), StoreError> {
        self.replace_team_seals(&from, &to).await
    }

    async fn create_endpoint(&self, endpoint: Endpoint) -> Result<(), StoreError> {
        self.add_endpoint(&endpoint).await
    }

    async fn endpoints(&self, team: TeamId) -> Result<Vec<Endpoint>, StoreError> {
        self.endpoints_of(team).await
    }

    async fn find_endpoint(&self, address: uuid::Uuid) -> Result<Endpoint, StoreError> {
        self.endpoint_at(address).await
    }

    async fn rotate_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        address: uuid::Uuid,
        key_number: u32,
    ) -> Result<Endpoint, StoreError> {
        self.move_endpoint(team, uid, address, key_number).await
    }

    async fn resecret_endpoint(
        &self,
        team: TeamId,
        uid: uuid::Uuid,
        secret: Option<String>,
    ) -> Result<Endpoint, StoreError> {
        self.set_endpoint_secret(team, uid, secret.as_deref()).await
    }

    async fn delete_endpoint(&self, team: TeamId, uid: uuid::Uuid) -> Result<Endpoint, StoreError> {
        self.remove_endpoint(team, uid).await
    }

    async fn state(&self, id: TaskId) -> Result<Task, StoreError> {
        self.read_state(id).await
    }

    async fn read(&self, id: TaskId) -> Result<TaskRecord, StoreError> {
        self.read_record(id).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        self.read_list(query).await
    }

    async fn events(&self, id: TaskId) -> Result<Vec<EventRecord>, StoreError> {
        self.read_events(id).await
    }

    async fn delete(&self, id: TaskId) -> Result<(), StoreError> {
        self.lanes.run(Act::Delete { id }).await.map(drop)
    }

    async fn purge(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.remove_old(before, limit, now).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.read_counts().await
    }

    async fn create_team(&self, team: NewTeam, seal: Seal, now: Timestamp) -> Result<Team, StoreError> {
        let session = Session::begin(&self.pool).await?;
        let made = teams::create_team(&session, &team, &seal, now).await?;
        session.commit().await?;
        Ok(made)
    }

    async fn teams(&self) -> Result<Vec<Team>, StoreError> {
        self.all_teams().await
    }

    async fn team(&self, id: TeamId) -> Result<Team, StoreError> {
        let row = self.one(&format!("{} WHERE id = $1", teams::TEAM), vec![(&id.0, Type::INT8)]).await?;
        row.as_ref().map(teams::read_team).ok_or(StoreError::NotFound)
    }

    async fn rotate_secret(&self, id: TeamId, sealed: Vec<u8>, old_until: Timestamp) -> Result<Team, StoreError> {
        let session = Session::begin(&self.pool).await?;
        teams::rotate_secret(&session, id, &sealed, old_until).await?;
        let team = teams::team(&session, id).await?;
        session.commit().await?;
        Ok(team)
    }

    async fn set_rate_limit(&self, id: TeamId, limit: Option<u32>) -> Result<Team, StoreError> {
        let session = Session::begin(&self.pool).await?;
        teams::set_rate_limit(&session, id, limit).await?;
        let team = teams::team(&session, id).await?;
        session.commit().await?;
        Ok(team)
    }

    async fn create_key(&self, key: ApiKey) -> Result<(), StoreError> {
        let session = Session::begin(&self.pool).await?;
        teams::create_key(&session, &key).await?;
        session.commit().await
    }

    async fn keys(&self, team: TeamId) -> Result<Vec<ApiKey>, StoreError> {
        self.keys_of(team).await
    }

    async fn revoke_key(&self, uid: uuid::Uuid, now: Timestamp) -> Result<ApiKey, StoreError> {
        let session = Session::begin(&self.pool).await?;
        let key = teams::revoke_key(&session, uid, now).await?;
        session.commit().await?;
        Ok(key)
    }

    async fn find_key(&self, hash: [u8; 32]) -> Result<(ApiKey, Team), StoreError> {
        self.key_by_hash(hash).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write_ping().await
    }

    async fn meta(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_meta(name).await
    }

    async fn set_meta(&self, name: &'static str, value: Vec<u8>) -> Result<(), StoreError> {
        self.write_meta(name, &value).await
    }

    async fn backup(&self, _: PathBuf) -> Result<(), StoreError> {
        Err(away("a PostgreSQL database is backed up by its own tools: pg_dump, or pg_basebackup with archived logs"))
    }
}

/// Turns the database's error into ours. What it says of values is left out: they are our users'.
fn failed(error: tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(error) if *error.code() == SqlState::UNIQUE_VIOLATION => StoreError::Taken,
        // A text with a NUL: whatever is looked for, it is not here.
        Some(error) if *error.code() == SqlState::CHARACTER_NOT_IN_REPERTOIRE => StoreError::NotFound,
        Some(error) => away(&format!("{} ({})", error.message(), error.code().code())),
        None => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            away(&format!("{error}{cause}"))
        }
    }
}

fn away(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

/// The commit ended with a warning: it may be here and not on the standby.
fn unconfirmed() -> StoreError {
    away("the database warned at the commit; nobody knows whether it holds")
}

fn mixed_up(done: &Done) -> StoreError {
    away(&format!("a command was answered with {done:?}"))
}
