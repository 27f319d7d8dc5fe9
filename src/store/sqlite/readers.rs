//! Readers: a few connections on threads of their own, so that neither a long list nor a cold page holds up the writer.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Jobs that may wait for a reader.
const QUEUE_MAX: usize = 16_384;

/// The reading side of the store.
pub(super) struct Readers(mpsc::Sender<Job>);

impl Readers {
    /// Puts each connection on a thread; the threads end when this value is gone.
    pub fn start(connections: Vec<Connection>) -> Result<Self, StoreError> {
        let (sender, jobs) = mpsc::channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for db in connections {
            let jobs = jobs.clone();
            std::thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || serve(&db, &jobs))
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        Ok(Self(sender))
    }

    /// Runs `query` on one of the connections.
    pub async fn run<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            if !answer.is_closed() {
                let _ = answer.send(query(db));
            }
        });
        self.0.try_send(job).map_err(|_| StoreError::Overloaded)?;
        answered.await.map_err(|_| StoreError::Unavailable("the query was given up".to_owned()))?
    }
}

fn serve(db: &Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = next else { return };
        // A query that panics takes its own caller down and nobody else.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(db)));
    }
}
