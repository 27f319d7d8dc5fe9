//! Waiting tasks, made before anything is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use asyncqueue::app::{self, Surroundings};
use asyncqueue::clock::SystemClock;
use asyncqueue::config::{Config, FlagValues, Host};
use asyncqueue::credentials::Kind;
use asyncqueue::follow;
use asyncqueue::outbound::SystemResolver;
use asyncqueue::providers::{Json, PollConfig};
use asyncqueue::store::{HostId, NewTask};
use asyncqueue::task::{
    Backoff, Follow, Method, Policy, PollPolicy, Request, State, Task, TaskId, TeamId, Then, Timestamp,
};

use crate::failure::{Failure, Outcome};
use crate::lab::{Lab, SECRET_KEY, Service, Store};

/// How long no call at all may come to its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A task that waits for its callback.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The task's id.
    pub id: String,
    /// What resolves it.
    pub callback_id: String,
}

/// What the tasks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The first callback resolves them.
    Plain,
    /// A callback's status decides.
    Ruled,
}

/// The service, freshly started on a store with `count` waiting tasks, and those tasks in random order. The process that
/// is handed back has not made them itself, so that what making them cost is in none of its numbers.
pub async fn service_with_waiting(lab: &Lab, shape: Shape, count: u32) -> Outcome<(Service, Vec<Waiting>)> {
    let (store, mut tasks) = through_the_store(lab, shape, count).await?;
    shuffle(&mut tasks);
    let service = lab.service_on(store).await?;
    service.wait_for_total("waiting", count, PATIENCE).await?;
    Ok((service, tasks))
}

/// A store with `count` tasks that ask `address` every five seconds how their job goes, which never ends.
pub async fn store_with_polling(lab: &Lab, count: u32, address: SocketAddr) -> Outcome<Store> {
    let store = lab.new_store()?;
    let opened = app::open(&config(&store)?, &surroundings(), None).await?;
    let team = opened.admin.new_team(app::DEFAULT_TEAM.to_owned(), None).await?.id;
    let json = format!(
        r#"{{"urlTemplate":"http://{address}/jobs/{{job}}","statusPath":"status","doneValues":["done"],"failValues":["no"]}}"#
    );
    let json = Json::parse(json.as_bytes()).ok_or("no JSON")?;
    let params = [("job".to_owned(), "1".to_owned())];
    let poll_config =
        PollConfig::parse(json, None, &params, "").map_err(|wrong| Failure(format!("{wrong:?}")))?.stored();
    for _ in 0..count {
        let (id, now) = opened.ids.make();
        let follow =
            Follow { poll_config: Some(poll_config.clone()), provider_params: params.to_vec(), ..Follow::default() };
        let mut new = waiting(id, team, now, opened.keyring.current(), follow);
        let poll = PollPolicy { every_ms: 5_000, for_ms: 24 * 3600 * 1000, eases: false };
        new.task.policy.then = Then::Poll(poll);
        new.task.state = State::Polling { deadline: now.plus(Duration::from_secs(24 * 3600)) };
        new.task.polling.next_at = Some(now.plus_millis(poll.delay_ms(id, 0)));
        new.host = HostId(i64::from(count));
        opened.store.create(new).await?;
    }
    Ok(store)
}

/// Makes the tasks through the store, as they are once their calls were accepted: the same rows, without the calls.
async fn through_the_store(lab: &Lab, shape: Shape, count: u32) -> Outcome<(Store, Vec<Waiting>)> {
    let store = lab.new_store()?;
    let opened = app::open(&config(&store)?, &surroundings(), None).await?;
    let team = opened.admin.new_team(app::DEFAULT_TEAM.to_owned(), None).await?.id;
    let mut tasks = Vec::with_capacity(count as usize);
    let mut creations = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (id, now) = opened.ids.make();
        let number = opened.keyring.current();
        let follow = followed(shape);
        let callback_id = opened.keyring.derive_classed(Kind::Callback, id, follow::class(&follow), number);
        let callback_id = callback_id.ok_or("a callback id cannot be made")?;
        tasks.push(Waiting { id: id.to_string(), callback_id });
        let (store, new) = (opened.store.clone(), waiting(id, team, now, number, follow));
        creations.spawn(async move { store.create(new).await });
        while creations.len() >= AT_ONCE {
            creations.join_next().await.transpose()?.transpose()?;
        }
    }
    while let Some(created) = creations.join_next().await {
        created??;
    }
    Ok((store, tasks))
}

/// Creations that may be under way at once; the store groups what gathers.
const AT_ONCE: usize = 1024;

/// The benchmark's callback says `succeeded`, as Replicate does (see [`crate::requests`]).
fn followed(shape: Shape) -> Follow {
    Follow { provider: (shape == Shape::Ruled).then(|| "replicate".to_owned()), ..Follow::default() }
}

fn waiting(id: TaskId, team: TeamId, now: Timestamp, key_number: u32, follow: Follow) -> NewTask {
    let deadline = now.plus(Duration::from_secs(24 * 3600));
    let policy = Policy {
        max_retries: 3,
        backoff: Backoff::Exponential,
        then: Then::Wait,
        max_wait_ms: 24 * 3600 * 1000,
        callback: true,
        signal: true,
        completion: false,
    };
    let task = Task { state: State::Waiting { deadline }, attempt: 1, ..Task::new(id, team, 5, policy, None, now) };
    let request = Request {
        target_url: "http://127.0.0.1:9999/v1/predictions".to_owned(),
        method: Method::Post,
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: Some("x".repeat(1024)),
        timeout_ms: 30_000,
        retry_on: Vec::new(),
        delay_until: None,
        wait_for_signal: true,
        on_complete_url: None,
        on_complete_max_retries: 5,
        metadata: Vec::new(),
        retry_of: None,
        depth: 0,
        follow,
    };
    NewTask { task, request, host: HostId(1), key_number, idempotency: None }
}

fn config(store: &Store) -> Outcome<Config> {
    let flags = FlagValues::default().with_default("database", store.url());
    let environment = [("ASYNCQUEUE_SECRET_KEY".to_owned(), SECRET_KEY.to_owned())];
    Ok(Config::load(flags, environment, &Host::system(&|_| Ok(())))?)
}

fn surroundings() -> Surroundings {
    Surroundings {
        clock: Arc::new(SystemClock),
        resolver: Arc::new(SystemResolver),
        tls: None,
        detours: asyncqueue::outbound::Detours::default(),
        fatal: Arc::new(|why| panic!("{why}")),
    }
}

/// Fisher and Yates, by a generator that gives every run the same order.
fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for upper in (1..items.len()).rev() {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = upper as u64 + 1;
        items.swap(upper, usize::try_from(state % bound).unwrap_or_default());
    }
}

/// Takes the next `count` tasks' callback ids.
pub fn take_callbacks(tasks: &mut Vec<Waiting>, count: u32) -> Outcome<Vec<String>> {
    let left = tasks.len().checked_sub(count as usize);
    let left = left.ok_or_else(|| Failure(format!("only {} of {count} waiting tasks are left", tasks.len())))?;
    Ok(tasks.drain(left..).map(|task| task.callback_id).collect())
}
