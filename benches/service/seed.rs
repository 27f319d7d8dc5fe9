//! Waiting tasks, made before anything is measured.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::lab::{Lab, Service};
use crate::load::{Client, Load};
use crate::requests::{Template, waiting_task};
use crate::target::Target;

/// How long no call at all may come to its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A task that waits for its callback.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The task's id.
    pub id: String,
    /// What resolves it.
    pub callback_id: String,
}

/// The service, freshly started on a store with `count` waiting tasks, and those tasks in random order. The process that
/// is handed back has not made them itself, so that what making them cost is in none of its numbers.
pub async fn service_with_waiting(lab: &Lab, count: u32) -> Outcome<(Service, Vec<Waiting>)> {
    let (service, mut tasks) = through_the_api(lab, count).await?;
    shuffle(&mut tasks);
    Ok((service.restarted(lab).await?, tasks))
}

/// Makes the tasks as a client would: created, called, waiting.
async fn through_the_api(lab: &Lab, count: u32) -> Outcome<(Service, Vec<Waiting>)> {
    let service = lab.service().await?;
    let target = Target::silent().await?;
    let made = Arc::new(Mutex::new(Vec::with_capacity(count as usize)));
    let load = Load {
        what: "the creation of a waiting task",
        template: Template::fixed(service.door().post("/v1/tasks", &waiting_task(target.address))),
        fills: Vec::new(),
        count,
        status: 201,
    };
    let keep = Arc::clone(&made);
    let observe = move |_, answer: &crate::wire::Answer<'_>| {
        let created: Created = serde_json::from_slice(answer.body)?;
        keep.lock().unwrap_or_else(PoisonError::into_inner).push(created.task);
        Ok(())
    };
    let mut client = Client::connect(service.server.address).await?;
    let run = client.run_observed(load, Box::new(observe)).await;
    run.map_err(|failure| service.server.explain(failure))?;
    service.wait_for_total("waiting", count, PATIENCE).await?;
    let tasks = std::mem::take(&mut *made.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((service, tasks))
}

#[derive(Deserialize)]
struct Created {
    task: Waiting,
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
