//! A mixed load at fixed rates: 200 creations, 100 callbacks, 50 signals and 20 cancellations a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::random::Random;
use super::world::World;
use crate::ledger::Kind;

const TICK: Duration = Duration::from_millis(5);
const AT_ONCE: usize = 256;

/// A load that runs until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    running: JoinHandle<()>,
    permits: Arc<Semaphore>,
}

impl Load {
    pub fn start(world: &Arc<World>, random: Random) -> Self {
        let (stop, permits) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(AT_ONCE)));
        let running = tokio::spawn(run(Arc::clone(world), random, Arc::clone(&stop), Arc::clone(&permits)));
        Self { stop, running, permits }
    }

    /// Sends nothing new and waits until every request has its end.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.await.expect("the load does not panic");
        let all = u32::try_from(AT_ONCE).expect("a small number");
        drop(self.permits.acquire_many(all).await.expect("an open semaphore"));
    }
}

async fn run(world: Arc<World>, mut random: Random, stop: Arc<AtomicBool>, permits: Arc<Semaphore>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tick = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        tick += 1;
        for action in actions(&world, &mut random, tick) {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                break;
            };
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                action.perform(&world).await;
                // In this order: who holds all permits holds the only world.
                drop(world);
                drop(permit);
            });
        }
    }
}

enum Action {
    Create { team: usize, kind: Kind, changes: Value },
    Callback { task: String, id: String, twice: bool },
    Signal { task: String, token: String, failed: bool },
    Cancel { team: usize, task: String },
}

/// What is due at a tick: a creation at each, a callback at every second, and so on.
fn actions(world: &World, random: &mut Random, tick: u64) -> Vec<Action> {
    let mut due = vec![creation(world, random)];
    if tick.is_multiple_of(2) {
        due.extend(callback(world, random));
    }
    if tick.is_multiple_of(4) {
        due.extend(signal(world, random));
    }
    if tick.is_multiple_of(10) {
        due.extend(cancellation(world, random));
    }
    due
}

fn creation(world: &World, random: &mut Random) -> Action {
    let kind = match random.between(0, 100) {
        0..50 => Kind::Callback,
        50..75 => Kind::Signal,
        75..85 => Kind::Victim,
        85..90 => Kind::Plain,
        90..94 => Kind::Flaky,
        94..98 => Kind::Delayed,
        _ => Kind::Short,
    };
    let mut changes = json!({"maxRetries": random.between(1, 4), "priority": random.between(1, 11)});
    if random.chance(30) {
        let path = if random.chance(10) { "/hook?fail=1" } else { "/hook" };
        changes["onCompleteUrl"] = world.target.url(path).into();
    }
    Action::Create { team: usize::from(random.chance(5)), kind, changes }
}

fn callback(world: &World, random: &mut Random) -> Option<Action> {
    let (task, id) = world.target.take_callback(|len| random.index(len))?;
    Some(Action::Callback { task, id, twice: random.chance(5) })
}

fn signal(world: &World, random: &mut Random) -> Option<Action> {
    let mut tokens = world.tokens.lock().unwrap();
    // The older ones, so that the call has most likely been made.
    let index = random.index((tokens.len() / 2).max(1));
    if index >= tokens.len() {
        return None;
    }
    let (task, token) = tokens.swap_remove(index);
    Some(Action::Signal { task, token, failed: random.chance(20) })
}

fn cancellation(world: &World, random: &mut Random) -> Option<Action> {
    let mut victims = world.victims.lock().unwrap();
    let index = random.index(victims.len());
    let (team, task) = if index < victims.len() {
        victims.swap_remove(index)
    } else {
        return None;
    };
    Some(Action::Cancel { team, task })
}

impl Action {
    async fn perform(self, world: &World) {
        match self {
            Self::Create { team, kind, changes } => drop(world.create(team, kind, &changes).await),
            Self::Callback { task, id, twice: false } => drop(world.callback(&task, &id).await),
            Self::Callback { task, id, twice: true } => {
                drop(tokio::join!(world.callback(&task, &id), world.callback(&task, &id)));
            }
            Self::Signal { task, token, failed } => drop(world.signal(&task, &token, failed).await),
            Self::Cancel { team, task } => drop(world.cancel(team, &task).await),
        }
    }
}
