//! Lanes: each takes what gathered while its last transaction ran, makes one transaction of it, and answers everybody
//! when that is on disk. A task always takes the same lane of a node, so that its commands wait for each other in memory
//! and not in the database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join4;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::acts::{Act, Done};
use super::batch::{self, Batch, Known};
use super::connect::{Connector, Link};
use super::handout::{HandOut, Promised};
use super::in_hand::Hands;
use super::node::Me;
use super::{away, failed};
use crate::store::{Observer, StoreError};
use crate::task::{TaskId, TeamId, Timestamp};

/// Commands in one transaction, and the bytes that they bring along.
const BATCH_MAX: usize = 512;
const BATCH_BYTES: usize = 32 << 20;

/// Commands that may wait in one lane.
const QUEUE_MAX: usize = 4096;

/// How long a connection may take to come about, greetings and all.
const CONNECT: Duration = Duration::from_secs(4);

/// How long a transaction may take before its connection is taken for dead.
const PATIENCE: Duration = Duration::from_secs(8);

/// Writers of a node: its lanes, and whatever writes beside them.
const PARTS_OF_A_NODE: i32 = 16;

/// Pauses between attempts to reach the server.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

pub(super) struct Command {
    pub act: Act,
    pub reply: oneshot::Sender<Result<Done, StoreError>>,
}

/// What lanes share.
pub(super) struct Shared {
    pub connector: Connector,
    pub observer: Arc<dyn Observer>,
    pub hand_out: HandOut,
    pub me: Me,
    pub hands: Hands,
    /// How many nodes that make calls are alive; they share what a host may be asked at once.
    pub dispatchers: AtomicUsize,
}

impl Shared {
    /// Which part of the counters a writer of this node has to itself, as far as there are parts: nodes are told apart by
    /// their numbers, and where two share a part they wait for each other.
    pub fn part(&self, writer: i32) -> i32 {
        const NODES: i64 = 16;
        i32::try_from(self.me.id() % NODES).unwrap_or_default() * PARTS_OF_A_NODE + writer
    }

    fn promise(&self, batch: &mut Batch, node: Option<i64>) -> Promised<'_> {
        match node {
            Some(node) => self.hand_out.promise(batch, node, self.dispatchers.load(Ordering::Acquire)),
            None => self.hand_out.nothing(),
        }
    }
}

/// The ways to the lanes.
pub(super) struct Lanes(Vec<mpsc::Sender<Command>>);

impl Lanes {
    pub fn start(count: usize, shared: &Arc<Shared>) -> Self {
        let lane = |number| {
            let (sender, commands) = mpsc::channel(QUEUE_MAX);
            let number = i32::try_from(number).unwrap_or_default();
            tokio::spawn(Lane { number, shared: shared.clone(), link: None, failures: 0 }.run(commands));
            sender
        };
        Self((0..count).map(lane).collect())
    }

    /// Has it done; answers when it is on disk.
    pub async fn run(&self, act: Act) -> Result<Done, StoreError> {
        let (reply, answered) = oneshot::channel();
        let number = usize::try_from(act.id().0.as_u64_pair().1 % self.0.len() as u64).unwrap_or_default();
        self.0[number].try_send(Command { act, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => away("the store was closed"),
        })?;
        answered.await.map_err(|_| away("the store was closed"))?
    }
}

struct Lane {
    number: i32,
    shared: Arc<Shared>,
    link: Option<Link>,
    /// Attempts to reach the server that failed one after the other.
    failures: usize,
}

type Answers = Vec<Result<Done, StoreError>>;

impl Lane {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut queue = Vec::with_capacity(BATCH_MAX);
        while commands.recv_many(&mut queue, BATCH_MAX).await > 0 {
            while !queue.is_empty() {
                let rest = queue.split_off(fitting(&queue));
                self.serve(std::mem::replace(&mut queue, rest)).await;
            }
            if self.link.is_none() {
                self.reconnect(&mut commands).await;
            }
        }
    }

    /// Makes one transaction of the commands, and answers them.
    async fn serve(&mut self, batch: Vec<Command>) {
        let start = Instant::now();
        let size = batch.len();
        let (acts, replies): (Vec<Act>, Vec<_>) = batch.into_iter().map(|command| (command.act, command.reply)).unzip();
        let answers = match self.attempt(&acts).await {
            Ok(answers) => answers,
            Err(error) if self.link.is_none() => acts.iter().map(|_| Err(again(&error))).collect(),
            // Something in the batch is not to the database's liking: each by itself, so that it spoils only itself.
            Err(_) => self.one_by_one(&acts).await,
        };
        self.shared.observer.batch(size, start.elapsed());
        for ((act, reply), answer) in acts.iter().zip(replies).zip(answers) {
            // What could not be recorded is tried again, and is in hand until then.
            if !matches!(answer, Err(StoreError::Unavailable(_))) {
                act.gives_back(&self.shared.hands);
            }
            // The caller may have gone away; what it asked for stands all the same.
            let _ = reply.send(answer);
        }
    }

    async fn one_by_one(&mut self, acts: &[Act]) -> Answers {
        let mut answers = Answers::with_capacity(acts.len());
        for act in acts {
            if self.link.is_none() {
                // Nobody waits for one connection after the other.
                answers.push(Err(away("the connection was lost")));
                continue;
            }
            let mut answer = self.attempt(std::slice::from_ref(act)).await;
            if answer.is_err() && self.link.is_some() {
                // What somebody else did at the same time is seen now.
                answer = self.attempt(std::slice::from_ref(act)).await;
            }
            answers.push(answer.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(away("no answer")))));
        }
        answers
    }

    /// One transaction. After an error nothing of it holds, or, if the connection is gone, nobody knows.
    async fn attempt(&mut self, acts: &[Act]) -> Result<Answers, StoreError> {
        if self.link.as_ref().is_none_or(|link| link.client.is_closed()) {
            self.connect().await?;
        }
        let Some(link) = self.link.take() else { return Err(away("there is no connection")) };
        let outcome = tokio::time::timeout(PATIENCE, self.transaction(&link, acts)).await;
        match outcome {
            Ok(Ok(answers)) => {
                self.link = Some(link);
                Ok(answers)
            }
            Ok(Err(error)) => {
                // What may hold must not be run again.
                if !link.is_spoiled() && link.takes_more().await {
                    self.link = Some(link);
                }
                Err(error)
            }
            Err(_) => Err(away("the database does not answer")),
        }
    }

    async fn transaction(&self, link: &Link, acts: &[Act]) -> Result<Answers, StoreError> {
        let mut batch = Batch::default();
        load(link, &mut batch, acts).await?;
        let answers: Answers = acts.iter().map(|act| batch.perform(act)).collect();
        let shared = &self.shared;
        let node = shared.me.claims();
        let promise = shared.promise(&mut batch, node);
        match batch.commit(link, shared.part(self.number)).await {
            Ok(bodies) => {
                // If the answer took too long, what was claimed may be others' by now. Where it is not, it is given back.
                let is_ours = node == shared.me.claims();
                let kept = if is_ours { promise.keep(&mut batch, &bodies, &shared.hands) } else { Ok(()) };
                shared.observer.committed(&batch.effects);
                if let Err(error) = kept {
                    tracing::error!(%error, "A webhook cannot be delivered: what it tells cannot be read");
                }
                Ok(answers)
            }
            Err(error) => Err(error),
        }
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        let open = async { self.shared.connector.open().await?.settle().await };
        let outcome = match tokio::time::timeout(CONNECT, open).await {
            Ok(Ok(link)) => {
                if self.number == 0 {
                    tell_how(&link);
                }
                Ok(link)
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(away("the database does not answer")),
        };
        self.failures = if outcome.is_ok() { 0 } else { self.failures + 1 };
        self.link = None;
        self.link = Some(outcome?);
        Ok(())
    }

    /// Until the server is there again, whoever asks is told so at once.
    async fn reconnect(&mut self, commands: &mut mpsc::Receiver<Command>) {
        while self.link.is_none() {
            let pause = PAUSES[self.failures.min(PAUSES.len()) - usize::from(self.failures > 0)];
            let rest = tokio::time::sleep(pause);
            tokio::pin!(rest);
            loop {
                tokio::select! {
                    () = &mut rest => break,
                    command = commands.recv() => match command {
                        Some(command) => drop(command.reply.send(Err(away("the database is away")))),
                        None => return,
                    },
                }
            }
            if let Err(error) = self.connect().await {
                tracing::debug!(%error, "The database is still away");
            }
        }
    }
}

/// Tells operators what they have: behind a pooler each batch is parsed and planned anew.
fn tell_how(link: &Link) {
    if link.keeps_statements() {
        tracing::info!("Connected to the database; its sessions keep statements");
    } else {
        tracing::info!("Connected to the database through a pooler; sessions keep no statements");
    }
}

/// How many of the commands fit into one transaction; one at least.
fn fitting(commands: &[Command]) -> usize {
    let mut bytes = 0;
    let fits = |command: &&Command| {
        bytes += command.act.weight();
        bytes <= BATCH_BYTES
    };
    commands.iter().take_while(fits).count().max(1)
}

/// The same error for another caller.
fn again(error: &StoreError) -> StoreError {
    StoreError::Unavailable(match error {
        StoreError::Unavailable(why) => why.clone(),
        error => error.to_string(),
    })
}

const KNOWN: &str = "SELECT i.team, i.key, i.body, i.task, i.at, EXISTS (SELECT FROM task t WHERE t.id = i.task) \
    FROM unnest($1::bigint[], $2::bytea[]) AS u (team, key) JOIN idempotency i ON i.team = u.team AND i.key = u.key";
const UNDER_WAY: &str = "SELECT id FROM outbox WHERE id = ANY($1::uuid[]) AND node IS NOT NULL";

/// Begins the transaction and locks what the acts are about, in one round trip. Where there is nothing to lock or look up,
/// that is left to the commit.
async fn load(link: &Link, batch: &mut Batch, acts: &[Act]) -> Result<(), StoreError> {
    let ids: BTreeSet<Uuid> = acts.iter().filter(|act| act.needs_row()).map(|act| act.id().0).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let keys: Vec<_> = acts.iter().filter_map(Act::needs_key).collect();
    let resent: Vec<Uuid> = acts.iter().filter(|act| act.needs_webhook()).map(|act| act.id().0).collect();
    let teams: Vec<i64> = keys.iter().map(|(team, _)| team.0).collect();
    let hashes: Vec<&[u8]> = keys.iter().map(|(_, idempotency)| &idempotency.key[..]).collect();
    if ids.is_empty() && keys.is_empty() && resent.is_empty() {
        return Ok(());
    }
    batch.begun = true;
    let client = &link.client;
    let begin = link.begin();
    let known = async {
        let columns: batch::Columns<'_> = vec![(&teams, Type::INT8_ARRAY), (&hashes, Type::BYTEA_ARRAY)];
        if keys.is_empty() { Ok(Vec::new()) } else { client.query_typed(KNOWN, &columns).await }
    };
    if !ids.is_empty() {
        link.prepare(&batch::LOCK, &vec![(&ids, Type::UUID_ARRAY)]).await.map_err(failed)?;
    }
    let rows = async { if ids.is_empty() { Ok(Vec::new()) } else { batch::lock(link, &ids).await } };
    let under_way = async {
        if resent.is_empty() {
            return Ok(Vec::new());
        }
        client.query_typed(UNDER_WAY, &[(&resent, Type::UUID_ARRAY)]).await
    };
    let (begun, rows, known, under_way) = join4(begin, rows, known, under_way).await;
    begun.map_err(failed)?;
    batch.hold(&rows.map_err(failed)?)?;
    for row in known.map_err(failed)? {
        let place = (TeamId(row.get(0)), hash(row.get(1)));
        let known =
            Known { body: hash(row.get(2)), task: TaskId(row.get(3)), at: Timestamp(row.get(4)), is_there: row.get(5) };
        batch.known.insert(place, known);
    }
    batch.under_way = under_way.map_err(failed)?.iter().map(|row| TaskId(row.get(0))).collect();
    Ok(())
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}
