//! Every durable store compared with the reference model: the same random commands, the same answers.
//!
//! A failing seed is named in the panic; run that one alone with `ASYNCQUEUE_TEST_SEED=<seed>`.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/shared.rs"]
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use asyncqueue::store::memory::Memory;
use asyncqueue::store::{
    Capacity, HostId, Idempotency, ListQuery, NewTask, NewTeam, NoObserver, Store, StoreError, Stray, Sweep,
};
use asyncqueue::task::{
    Answer, Backoff, CallbackVerdict, Delivery, DeliveryOutcome, EarlyCallbacks, Event, Follow, Job, Method, Payload,
    Policy, PollPolicy, PollVerdict, Request, Status, Task, TaskId, TeamId, Then, Timestamp,
};
use scratch::Scratch;
use shared::Shared;

const SEEDS: std::ops::Range<u64> = 0..8;
const STEPS: u32 = 1500;

/// A store that can be closed and opened again.
trait Reopens: Deref<Target: Store> {
    /// How many teams have tasks. Whose turn it is, each node of a shared store decides for itself; so there one team
    /// says it all.
    const TEAMS: u64;
    async fn make() -> Self;
    async fn open_again(&mut self);
}

impl Reopens for Scratch {
    const TEAMS: u64 = 3;

    async fn make() -> Self {
        Self::new()
    }

    async fn open_again(&mut self) {
        self.reopen();
    }
}

impl Reopens for Shared {
    const TEAMS: u64 = 1;

    async fn make() -> Self {
        Self::new().await
    }

    async fn open_again(&mut self) {
        self.reopen().await;
    }
}

/// A small, fast, seeded generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn small(&mut self, limit: u16) -> u16 {
        u16::try_from(self.below(limit.into())).unwrap()
    }

    fn millis(&mut self, limit: u32) -> i64 {
        i64::try_from(self.below(limit.into())).unwrap()
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let length = u64::try_from(from.len()).unwrap();
        let index = if length == 0 { return None } else { self.below(length) };
        from.get(usize::try_from(index).unwrap()).cloned()
    }
}

/// Both stores, and what the test knows of them.
struct Pair<S> {
    model: Memory,
    store: S,
    dice: Dice,
    now: Timestamp,
    ids: Vec<TaskId>,
    in_flight: Vec<(TaskId, u32, Option<Timestamp>)>,
    delivering: Vec<(TaskId, Delivery)>,
    polling: Vec<Task>,
    ready_since: Timestamp,
    /// Statuses that tasks were seen in: a comparison that never reached one would prove little.
    seen: BTreeSet<Status>,
}

/// Answers are compared by all that they say, errors too.
fn comparable<T: Debug>(answer: &Result<T, StoreError>) -> String {
    format!("{answer:?}")
}

/// Asks both stores the same, and insists on one answer.
macro_rules! both {
    ($pair:expr, $method:ident ( $($argument:expr),* )) => {{
        let modelled = $pair.model.$method($($argument.clone()),*).await;
        let stored = $pair.store.$method($($argument.clone()),*).await;
        assert_eq!(comparable(&stored), comparable(&modelled), "{}{:?}", stringify!($method), ($(&$argument,)*));
        modelled
    }};
}

impl<S: Reopens> Pair<S> {
    async fn new(seed: u64) -> Self {
        let model = Memory::new(Arc::new(NoObserver));
        let store = S::make().await;
        let now = Timestamp(1_700_000_000_000);
        for n in 0..S::TEAMS {
            let new = || NewTeam { uid: uuid::Uuid::from_u128(n.into()), name: format!("team {n}"), rate_limit: None };
            model.create_team(new(), Arc::new(|_| vec![1]), now).await.unwrap();
            store.create_team(new(), Arc::new(|_| vec![1]), now).await.unwrap();
        }
        let (ids, in_flight, delivering, polling) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            model,
            store,
            dice: Dice(seed),
            now,
            ids,
            in_flight,
            delivering,
            polling,
            ready_since: now,
            seen: BTreeSet::new(),
        }
    }

    async fn step(&mut self) {
        self.now = self.now.plus_millis(self.dice.millis(400));
        match self.dice.below(100) {
            0..26 => self.create().await,
            26..38 => self.claim().await,
            38..58 => self.finish_call().await,
            58..72 => self.outside_event().await,
            72..77 => self.fire_timers().await,
            77..80 => self.early_event().await,
            80..85 => self.claim_deliveries().await,
            85..90 => self.finish_delivery().await,
            90..93 => self.remove().await,
            93 => self.resend().await,
            94..96 => self.claim_polls().await,
            96..98 => self.finish_poll().await,
            98 if self.dice.one_in(4) => self.reopen().await,
            _ => self.look().await,
        }
    }

    fn policy(&mut self) -> Policy {
        let poll = PollPolicy { every_ms: 200, for_ms: 500 + self.dice.millis(60_000), eases: self.dice.one_in(2) };
        let poll = Then::Poll(poll);
        let then = self.dice.pick(&[Then::Finish, Then::Wait, Then::Wait, poll]).unwrap();
        Policy {
            max_retries: self.dice.small(4).into(),
            backoff: self.dice.pick(&[Backoff::Linear, Backoff::Exponential]).unwrap(),
            then,
            max_wait_ms: 500 + self.dice.millis(60_000),
            callback: then != Then::Finish,
            signal: then != Then::Finish && self.dice.one_in(2),
            completion: !self.dice.one_in(3),
        }
    }

    fn request(&mut self) -> Request {
        let n = self.dice.small(1000);
        Request {
            target_url: format!("https://t{n}.example/"),
            method: Method::Post,
            headers: (0..n % 3).map(|n| (format!("h{n}"), n.to_string())).collect(),
            body: self.dice.one_in(2).then(|| "x".repeat(usize::from(n % 5))),
            timeout_ms: 100,
            retry_on: (0..n % 2).collect(),
            delay_until: None,
            wait_for_signal: n.is_multiple_of(2),
            on_complete_url: None,
            on_complete_max_retries: self.dice.small(3).into(),
            metadata: Vec::new(),
            retry_of: self.dice.pick(&self.ids),
            depth: u32::from(n % 2),
            follow: Follow { provider: self.dice.one_in(3).then(|| "fal".to_owned()), ..Follow::default() },
        }
    }

    async fn create(&mut self) {
        let number = u16::try_from(self.ids.len() % 30_000).unwrap();
        let fresh = TaskId::from_parts(u64::try_from(self.now.0).unwrap(), number, self.dice.next());
        let id = if self.dice.one_in(40) { self.dice.pick(&self.ids).unwrap_or(fresh) } else { fresh };
        let team = TeamId(i64::try_from(1 + self.dice.below(S::TEAMS)).unwrap());
        let due = self.dice.one_in(3).then(|| self.now.plus_millis(self.dice.millis(5000)));
        let priority = u8::try_from(1 + self.dice.below(10)).unwrap();
        let task = Task::new(id, team, priority, self.policy(), due, self.now);
        let (key, body) = (self.dice.small(20).to_le_bytes()[0], self.dice.small(8).min(1).to_le_bytes()[0]);
        let idempotency = self.dice.one_in(4).then_some(Idempotency { key: [key; 32], body: [body; 32] });
        let host = HostId(self.dice.millis(4));
        let new = NewTask { task, request: self.request(), host, key_number: 1, idempotency };
        if both!(self, create(new)).is_ok() {
            self.ids.push(id);
        }
    }

    async fn claim(&mut self) {
        let mut capacity = Capacity {
            slots: usize::from(self.dice.small(6)),
            per_host: 1 + usize::from(self.dice.small(4)),
            reserve: usize::from(self.dice.small(4)),
            ..Capacity::default()
        };
        capacity.in_flight.insert(HostId(0), usize::from(self.dice.small(4)));
        capacity.by_team.insert(TeamId(1), usize::from(self.dice.small(4)));
        let lease_until = self.now.plus_millis(1000);
        let claimed = both!(self, claim(capacity, lease_until, self.now)).unwrap();
        self.in_flight.extend(claimed.iter().map(|claim| (claim.task.id, claim.task.attempt, claim.task.started_at)));
    }

    fn answer(&mut self) -> Answer {
        let error = "it failed".to_owned();
        match self.dice.below(10) {
            0..4 => Answer::Accepted { status: 202, job: self.job() },
            4 => Answer::Rejected { status: 404, error },
            5 => Answer::Retryable { status: 503, error, retry_after_ms: self.dice.one_in(2).then_some(2500) },
            6 => Answer::NotSent { error },
            7 => Answer::Unknown { error },
            8 => Answer::TooLarge { status: 200, error },
            _ => Answer::Forbidden { error },
        }
    }

    fn payload(&mut self) -> Payload {
        let n = self.dice.small(2000);
        Payload {
            status_code: 200 + n % 300,
            headers: (0..n % 3).map(|n| (format!("h{n}"), n.to_string())).collect(),
            body: vec![b'a'; n.into()].into(),
            duration_ms: n.into(),
        }
    }

    async fn finish_call(&mut self) {
        let Some((id, attempt, started_at)) = self.dice.pick(&self.in_flight) else {
            return;
        };
        let event = match self.dice.below(12) {
            0 => Event::Returned { attempt, started_at },
            1 => Event::Interrupted { attempt },
            _ => Event::Answered { attempt, answer: self.answer(), duration_ms: self.dice.millis(900) },
        };
        if !self.dice.one_in(10) {
            self.in_flight.retain(|call| *call != (id, attempt, started_at));
        }
        let payload = self.dice.one_in(2).then(|| self.payload());
        let _ = both!(self, transition(id, event, payload, self.now));
    }

    async fn outside_event(&mut self) {
        let Some(id) = self.recent() else { return };
        let verdict = match self.dice.below(4) {
            0 => CallbackVerdict::Failed("provider".to_owned()),
            1 => CallbackVerdict::Interim,
            _ => CallbackVerdict::Done,
        };
        let early = if self.dice.one_in(3) { EarlyCallbacks::Reject } else { EarlyCallbacks::Accept };
        let result = self.dice.one_in(2);
        let (event, payload) = match self.dice.below(6) {
            0..4 => (Event::Callback { verdict, early }, Some(self.payload())),
            4 => (Event::Signal { error: None, result }, result.then(|| self.payload())),
            _ => (Event::Cancel, None),
        };
        let _ = both!(self, transition(id, event, payload, self.now));
    }

    async fn claim_polls(&mut self) {
        let capacity = Capacity { slots: 4, per_host: 2, ..Capacity::default() };
        let claimed = both!(self, claim_polls(capacity, self.now)).unwrap();
        self.polling.extend(claimed.into_iter().map(|claim| claim.record.task));
        let _ = both!(self, next_poll());
    }

    async fn finish_poll(&mut self) {
        let Some(task) = self.dice.pick(&self.polling) else { return };
        self.polling.retain(|other| other.id != task.id);
        if self.dice.one_in(6) {
            let _ = both!(self, return_poll(task.id));
            return;
        }
        let error = "no".to_owned();
        let verdict = match self.dice.below(6) {
            0 => PollVerdict::Done,
            1 => PollVerdict::Failed { error },
            2 => PollVerdict::Refused { error },
            3 => PollVerdict::Later { error, said: None, retry_after_ms: Some(self.dice.millis(5000)) },
            4 => PollVerdict::Impossible { error },
            _ => PollVerdict::Pending,
        };
        let poll = task.polling.polls + 1;
        let event = Event::Polled { poll, verdict, status_code: Some(200), word: None, duration_ms: 3 };
        let payload = self.dice.one_in(2).then(|| self.payload());
        let _ = both!(self, transition(task.id, event, payload, self.now));
    }

    fn job(&mut self) -> Option<Job> {
        let named = self.dice.one_in(2);
        named.then(|| Job { provider: "mux".to_owned(), id: self.dice.small(50).to_string() })
    }

    async fn early_event(&mut self) {
        let Some(job) = self.job() else { return };
        let team = TeamId(1 + i64::try_from(self.dice.below(S::TEAMS)).unwrap());
        let _ = both!(self, find_job(team, job));
        let stray = Stray {
            id: 0,
            team,
            provider: job.provider,
            job: job.id,
            at: self.now,
            verdict: CallbackVerdict::Done,
            body: self.payload().body,
        };
        let _ = both!(self, keep_stray(stray));
        // The stores number events each in its own way.
        let modelled = self.model.matched_strays(20).await.unwrap();
        let stored = self.store.matched_strays(20).await.unwrap();
        let known = |found: &[(Stray, TaskId)]| -> Vec<_> {
            found.iter().map(|(stray, task)| (Stray { id: 0, ..stray.clone() }, *task)).collect()
        };
        assert_eq!(known(&stored), known(&modelled));
        for ((modelled, _), (stored, _)) in modelled.iter().zip(&stored) {
            self.model.drop_stray(modelled.id).await.unwrap();
            self.store.drop_stray(stored.id).await.unwrap();
        }
        let _ = both!(self, purge_strays(self.now.plus_millis(-3000)));
    }

    /// Mostly one of the latest tasks, so that something still happens to them.
    fn recent(&mut self) -> Option<TaskId> {
        let from = if self.dice.one_in(5) { 0 } else { self.ids.len().saturating_sub(40) };
        self.dice.pick(&self.ids[from..])
    }

    async fn fire_timers(&mut self) {
        let not_before = self.ready_since.plus_millis(2000);
        let sweep = Sweep { limit: usize::from(self.dice.small(30)), missed_before: self.ready_since, not_before };
        let _ = both!(self, fire_timers(sweep, self.now));
    }

    async fn claim_deliveries(&mut self) {
        let limit = usize::from(self.dice.small(5));
        let claimed = both!(self, claim_deliveries(limit, self.now)).unwrap();
        self.delivering.extend(claimed.iter().map(|claim| (claim.record.task.id, claim.delivery)));
    }

    async fn finish_delivery(&mut self) {
        let Some((id, claimed)) = self.dice.pick(&self.delivering) else {
            return;
        };
        self.delivering.retain(|(other, _)| *other != id);
        if self.dice.one_in(5) {
            let _ = both!(self, return_delivery(id));
            return;
        }
        let status_code = self.dice.pick(&[Some(200), Some(500), None]).unwrap();
        let outcome = DeliveryOutcome { status_code, error: None, hopeless: self.dice.one_in(9) };
        let _ = both!(self, finish_delivery(id, claimed, outcome, self.now));
    }

    async fn remove(&mut self) {
        if self.dice.one_in(3) {
            let before = self.now.plus_millis(-60_000);
            let limit = usize::from(self.dice.small(20));
            let _ = both!(self, purge(before, limit, self.now));
        } else if let Some(id) = self.dice.pick(&self.ids) {
            let _ = both!(self, delete(id));
        }
    }

    async fn resend(&mut self) {
        if let Some(id) = self.dice.pick(&self.ids) {
            let _ = both!(self, resend(id, self.now));
        }
    }

    async fn reopen(&mut self) {
        self.store.open_again().await;
        self.model.reopen();
        self.delivering.clear();
        self.polling.clear();
        self.now = self.now.plus_millis(self.dice.millis(10_000));
        self.ready_since = self.now;
        let _ = both!(self, void_claims(self.now));
    }

    async fn look(&mut self) {
        self.compare_counts().await;
        let _ = both!(self, next_timer());
        let _ = both!(self, next_delivery());
        let query = ListQuery {
            team: TeamId(i64::try_from(1 + self.dice.below(S::TEAMS)).unwrap()),
            status: self.dice.one_in(2).then(|| self.dice.pick(&Status::ALL).unwrap()),
            limit: 1 + u32::from(self.dice.small(20)),
            offset: self.dice.below(30),
            room: self.dice.below(30),
        };
        let _ = both!(self, list(query));
        if let Some(id) = self.recent() {
            let _ = both!(self, read(id));
            let _ = both!(self, state(id));
            let _ = both!(self, events(id));
        }
    }

    async fn compare_counts(&mut self) {
        let full = |counts: BTreeMap<Status, u64>| Status::ALL.map(|status| counts.get(&status).copied().unwrap_or(0));
        let (modelled, stored) = (self.model.counts().await.unwrap(), self.store.counts().await.unwrap());
        self.seen.extend(modelled.keys());
        assert_eq!(full(stored), full(modelled));
    }

    /// Every record, list and history.
    async fn compare_all(&mut self) {
        self.compare_counts().await;
        for id in self.ids.clone() {
            let _ = both!(self, read(id));
            let _ = both!(self, events(id));
        }
        for team in 1..=i64::try_from(S::TEAMS).unwrap() {
            for status in std::iter::once(None).chain(Status::ALL.map(Some)) {
                let query = ListQuery { team: TeamId(team), status, limit: 100_000, offset: 0, room: u64::MAX };
                let _ = both!(self, list(query));
            }
        }
    }
}

async fn compare<S: Reopens>(seed: u64, step: &std::sync::atomic::AtomicU32) {
    let mut pair = Pair::<S>::new(seed).await;
    for number in 0..STEPS {
        step.store(number, std::sync::atomic::Ordering::Relaxed);
        pair.step().await;
        if number == STEPS / 2 {
            pair.reopen().await;
        }
    }
    pair.compare_all().await;
    pair.reopen().await;
    pair.compare_all().await;
    assert_eq!(pair.seen.len(), Status::ALL.len(), "never reached: seen only {:?}", pair.seen);
}

#[test]
fn the_embedded_store_answers_as_the_model_does() {
    compare_seeds::<Scratch>(SEEDS);
}

#[test]
fn the_shared_store_answers_as_the_model_does() {
    compare_seeds::<Shared>(0..3);
}

fn compare_seeds<S: Reopens>(seeds: std::ops::Range<u64>) {
    let chosen = std::env::var("ASYNCQUEUE_TEST_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    let seeds: Vec<u64> = chosen.map_or_else(|| seeds.collect(), |seed| vec![seed]);
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let step = std::sync::atomic::AtomicU32::new(0);
        let work = std::panic::AssertUnwindSafe(|| runtime.block_on(compare::<S>(seed, &step)));
        let compared = std::panic::catch_unwind(work);
        let step = step.into_inner();
        assert!(compared.is_ok(), "seed {seed} failed at step {step}; run it alone with ASYNCQUEUE_TEST_SEED={seed}");
    };
    std::thread::scope(|scope| {
        for seed in seeds {
            scope.spawn(move || run(seed));
        }
    });
}
