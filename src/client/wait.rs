//! Waits for a task's end, through restarts of the service.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::{Created, read};
use super::failure::{Exit, Failure};
use super::server::{Ask, Server};
use super::show::Screen;

/// The longest that one request is held.
const HELD: u64 = 25;

/// How long the server may be away before the wait is given up.
const OUTAGE: Duration = Duration::from_secs(60);

/// The pause before a server that was away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// A time beyond any wait.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The answer once the task has ended; a failure when `limit` was over before.
pub async fn wait(server: &Server, id: &str, limit: Option<Duration>, screen: &mut Screen) -> Result<Bytes, Failure> {
    let began = Instant::now();
    let deadline = began + limit.unwrap_or(FOR_EVER);
    let mut status = String::from("asking");
    let mut held = 0;
    let mut away_since = None;
    loop {
        let asked = server.ask(Ask::get(format!("/v1/tasks/{id}?wait={held}")));
        let Some(answer) = watched(asked, deadline, || screen.progress(&status, began.elapsed().as_secs())).await
        else {
            return last_look(server, id, began.elapsed().as_secs()).await;
        };
        match answer {
            Ok(body) => {
                let task = read::<Created>(&body)?.task;
                if task.exit().is_some() {
                    return Ok(body);
                }
                (status, held, away_since) = (task.status, HELD, None);
            }
            Err(failure) if failure.exit == Exit::Unreachable => {
                if away_since.get_or_insert_with(Instant::now).elapsed() >= OUTAGE {
                    return Err(failure);
                }
                "server away, trying again".clone_into(&mut status);
                held = 0;
                sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// The answer if the task ended just now; else how it stands.
async fn last_look(server: &Server, id: &str, seconds: u64) -> Result<Bytes, Failure> {
    let body = server.ask(Ask::get(format!("/v1/tasks/{id}"))).await?;
    let task = read::<Created>(&body)?.task;
    match task.exit() {
        Some(_) => Ok(body),
        None => Err(Failure::new(Exit::Timeout, format!("task {id} is {} after {seconds} s", task.status))),
    }
}

/// Awaits an answer until the deadline, and tells every second that it is still awaited.
async fn watched<T>(asked: impl Future<Output = T>, deadline: Instant, mut tell: impl FnMut()) -> Option<T> {
    let mut asked = std::pin::pin!(asked);
    loop {
        tell();
        let until = (Instant::now() + Duration::from_secs(1)).min(deadline);
        match timeout_at(until, &mut asked).await {
            Ok(answer) => return Some(answer),
            Err(_) if Instant::now() >= deadline => return None,
            Err(_) => {}
        }
    }
}
