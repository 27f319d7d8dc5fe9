//! The one writer. Commands that gather while a commit runs share the next one; nobody is answered before the disk has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::checkpoint::Log;
use super::handout::HandOut;
use super::in_hand::InHand;
use super::ready::{Place, Ready};
use super::redo::{Behind, Redo};
use super::row::{self, Row};
use crate::store::encoding::{self, Written};
use crate::store::{Effects, Ended, Observer, StoreError, facts};
use crate::task::{Delivery, Entry, Keep, State, Step, Task, TaskId, TeamId, Timestamp};

/// At most this many commands share a commit.
const BATCH_MAX: usize = 512;

/// After a batch of so many commands more are on their way: the next commit waits a moment for them, because a commit that
/// more of them share costs each of them less. Whoever comes alone never waits.
const BUSY: usize = 8;
const GATHER: Duration = Duration::from_micros(100);

/// So long after such a batch rows that are behind are still left there, if they are not too many.
const RUSH: Duration = Duration::from_secs(1);

/// Commands that may wait for the writer; beyond that the store says it is overloaded.
pub(super) const QUEUE_MAX: usize = 8192;

/// The longest error of a row that may be behind, bytes.
const ERROR_MAX: usize = 1024;

/// What a caller wants done. It can be run again, in case a neighbour in the batch spoils the first try.
trait Command: Send {
    /// Runs it; false if it failed midway and its writes must be taken back.
    fn run(&mut self, writer: &mut Writer) -> bool;
    /// Answers the caller, once the fate of the commit is known.
    fn answer(self: Box<Self>, committed: Result<(), String>);
}

type Batch = Vec<Box<dyn Command>>;

struct Asked<F, T> {
    act: F,
    outcome: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Command for Asked<F, T>
where
    T: Send,
    F: FnMut(&mut Writer) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, writer: &mut Writer) -> bool {
        let outcome = (self.act)(writer);
        let broken = |error: &StoreError| {
            matches!(error, StoreError::Unavailable(_) | StoreError::Unreadable(_) | StoreError::Damaged(_))
        };
        let sound = !outcome.as_ref().is_err_and(broken);
        self.outcome = Some(outcome);
        sound
    }

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let failed = committed.map_err(StoreError::Unavailable);
        let outcome = self.outcome.unwrap_or_else(|| Err(closed_transaction()));
        // The caller may have gone away; what it asked for stands all the same.
        let _ = self.caller.send(failed.and(outcome));
    }
}

/// The writing side of the store, on a thread of its own.
pub(super) struct Writer {
    pub db: Connection,
    pub ready: Ready,
    /// Completion webhooks being delivered now.
    pub delivering: InHand,
    /// Polls being made now.
    pub polling: InHand,
    pub effects: Effects,
    pub hand_out: HandOut,
    pub redo: Redo,
    /// The number of the next journal row. None is used twice while the redo table may name it.
    next_row: i64,
    /// When the latest batch began that showed that there is much to do.
    busy_at: Option<Instant>,
    /// The latest commit was to sweep rows that are behind.
    sweeps: bool,
    /// How the counters change by this commit.
    counts: HashMap<(TeamId, i64), i64>,
}

/// What the writer shares with the rest of the store.
pub(super) struct Shared {
    pub observer: Arc<dyn Observer>,
    /// Told why, when the disk cannot be trusted any more. Should end the process.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
    pub log: Log,
    /// Where callers wait.
    pub runtime: Option<tokio::runtime::Handle>,
    /// Held as long as anything is written: an embedded store has one owner.
    pub lock: std::fs::File,
}

impl Shared {
    /// Answers all callers. Within the runtime that is one waking instead of one for each.
    fn answer(&self, batch: Batch, failure: Option<String>) {
        let answer = move || {
            for command in batch {
                command.answer(failure.clone().map_or(Ok(()), Err));
            }
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { answer() })),
            None => answer(),
        }
    }
}

/// The way to the writer. When it is gone, what was queued is committed and the store is closed.
pub(super) struct Handle {
    commands: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// Runs `act` in a transaction; answers when it is on disk.
    pub async fn run<T, F>(&self, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    {
        let (caller, answered) = oneshot::channel();
        let command = Box::new(Asked { act, outcome: None, caller });
        let commands = self.commands.as_ref().ok_or_else(closed)?;
        commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        answered.await.map_err(|_| closed())?
    }
}

fn closed_transaction() -> StoreError {
    StoreError::Unavailable("the transaction was given up".to_owned())
}

fn closed() -> StoreError {
    StoreError::Unavailable("the writer has stopped".to_owned())
}

/// Starts the writer's thread.
pub(super) fn start(db: Connection, shared: Shared, behind_max: usize) -> Result<(Handle, Behind), StoreError> {
    let ready = Ready::load(&db).map_err(super::failed)?;
    let redo = Redo::load(&db, behind_max)?;
    let behind = redo.behind();
    let next_row = db
        .query_row(
            "SELECT max(coalesce((SELECT max(id) FROM journal), 0), coalesce((SELECT max(id) FROM redo), 0)) + 1",
            [],
            |row| row.get(0),
        )
        .map_err(super::failed)?;
    let (sender, commands) = mpsc::channel(QUEUE_MAX);
    let writer = Writer {
        db,
        ready,
        delivering: InHand::default(),
        polling: InHand::default(),
        effects: Effects::default(),
        hand_out: HandOut::default(),
        redo,
        next_row,
        busy_at: None,
        sweeps: false,
        counts: HashMap::new(),
    };
    let thread = std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || {
            let fatal = shared.fatal.clone();
            let work = std::panic::AssertUnwindSafe(|| writer.serve(commands, &shared));
            if std::panic::catch_unwind(work).is_err() {
                fatal("the writer panicked");
            }
            drop(shared.lock);
        })
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok((Handle { commands: Some(sender), thread: Some(thread) }, behind))
}

impl Writer {
    fn serve(mut self, mut commands: mpsc::Receiver<Box<dyn Command>>, shared: &Shared) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut last = 0;
        loop {
            if last >= BUSY && commands.len() < last {
                std::thread::sleep(GATHER);
            }
            if commands.blocking_recv_many(&mut batch, BATCH_MAX) == 0 {
                self.sweep_all(shared);
                return;
            }
            last = batch.len();
            let is_for_now = |failed: &Option<StoreError>| matches!(failed, Some(StoreError::Unavailable(_)));
            let mut failed = self.settle(&mut batch, shared, true);
            if self.sweeps && is_for_now(&failed) {
                // Nobody is refused because rows were to be swept beside.
                failed = self.settle(&mut batch, shared, false);
            }
            if batch.len() > 1 && is_for_now(&failed) {
                // Most often the disk is full. What only looks, or is small, need not share the fate of the rest.
                for command in batch.drain(..) {
                    let mut alone = vec![command];
                    failed = self.settle(&mut alone, shared, false);
                    shared.answer(alone, failed.as_ref().map(ToString::to_string));
                }
            }
            shared.answer(
                std::mem::replace(&mut batch, Vec::with_capacity(BATCH_MAX)),
                failed.as_ref().map(ToString::to_string),
            );
            self.move_log(shared);
        }
    }

    fn move_log(&self, shared: &Shared) {
        if let Err(StoreError::Damaged(error)) = shared.log.after_commit(&self.db) {
            (shared.fatal)(&error);
        }
    }

    /// Commits what the commands want, all or nothing; says why if it was nothing.
    fn settle(&mut self, batch: &mut Batch, shared: &Shared, may_sweep: bool) -> Option<StoreError> {
        let start = Instant::now();
        if batch.len() >= BUSY {
            self.busy_at = Some(start);
        }
        self.sweeps = may_sweep && self.redo.should_tidy(self.is_in_a_rush());
        let failed = self.commit(batch).err();
        match &failed {
            None => {
                self.delivering.commit();
                self.polling.commit();
                self.redo.commit();
                self.hand_out.commit();
                shared.observer.committed(&self.effects);
            }
            Some(error) => self.recover(error, shared),
        }
        shared.observer.batch(batch.len(), start.elapsed());
        self.effects = Effects::default();
        failed
    }

    /// Runs all commands in one transaction. If one fails midway, all are taken back and run once more, each in a
    /// savepoint of its own, so that it spoils only itself. Savepoints cost a copy of every page, so the first try has none.
    fn commit(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.statement("BEGIN IMMEDIATE")?;
        if batch.iter_mut().all(|command| command.run(self)) && self.hand_out().is_ok() {
            return self.finish();
        }
        self.roll_back();
        self.effects = Effects::default();
        self.remember_anew()?;
        self.statement("BEGIN IMMEDIATE")?;
        for command in batch.iter_mut() {
            self.run_alone(command.as_mut())?;
        }
        self.hand_out_later();
        self.finish()
    }

    /// At the end nothing need be behind. If it fails, the next start finds it.
    fn sweep_all(&mut self, shared: &Shared) {
        loop {
            match self.sweep_apart() {
                Ok(true) => self.move_log(shared),
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "The last changes of tasks stay in the redo table until the next start");
                    return;
                }
            }
        }
    }

    /// Sweeps in a transaction of its own, and says whether any rows are left.
    fn sweep_apart(&mut self) -> Result<bool, StoreError> {
        self.statement("BEGIN IMMEDIATE")?;
        let are_left = self.redo.sweep_some(&self.db).map_err(super::failed)?;
        self.statement("COMMIT")?;
        self.redo.commit();
        Ok(are_left)
    }

    fn is_in_a_rush(&self) -> bool {
        self.busy_at.is_some_and(|at| at.elapsed() < RUSH)
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        if self.sweeps {
            self.redo.tidy(&self.db, self.is_in_a_rush()).map_err(super::failed)?;
        }
        self.save_counts().map_err(super::failed)?;
        self.statement("COMMIT")
    }

    /// Runs one command so that its failure takes back its own writes and not its neighbours'.
    fn run_alone(&mut self, command: &mut dyn Command) -> Result<(), StoreError> {
        let counts = self.counts.clone();
        let (delivering, polling, redo) = (self.delivering.mark(), self.polling.mark(), self.redo.mark());
        self.statement("SAVEPOINT command")?;
        if !command.run(self) {
            // SQLite ends a transaction by itself when the disk fails or is full; then nothing can be saved.
            if self.db.is_autocommit() {
                return Err(closed_transaction());
            }
            self.statement("ROLLBACK TO command")?;
            self.counts = counts;
            self.delivering.roll_back(delivering);
            self.polling.roll_back(polling);
            self.redo.roll_back(redo);
            self.ready = Ready::load(&self.db).map_err(super::failed)?;
        }
        self.statement("RELEASE command")
    }

    /// After a commit failed: nothing of it holds, and what memory says of the store is read anew.
    fn recover(&mut self, error: &StoreError, shared: &Shared) {
        tracing::error!(%error, "A commit failed; nothing of it was acknowledged");
        if matches!(error, StoreError::Damaged(_)) {
            (shared.fatal)(&error.to_string());
        }
        self.roll_back();
        if let Err(error) = self.remember_anew() {
            (shared.fatal)(&error.to_string());
        }
    }

    fn roll_back(&mut self) {
        if !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    fn remember_anew(&mut self) -> Result<(), StoreError> {
        self.counts.clear();
        self.delivering.roll_back(0);
        self.polling.roll_back(0);
        self.redo.roll_back(0);
        self.hand_out.forget();
        self.ready = Ready::load(&self.db).map_err(super::failed)?;
        Ok(())
    }

    fn statement(&mut self, sql: &str) -> Result<(), StoreError> {
        self.db.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(super::failed)?;
        Ok(())
    }

    fn save_counts(&mut self) -> rusqlite::Result<()> {
        let mut save = self.db.prepare_cached(
            "INSERT INTO counter (team, status, tasks) VALUES (?1, ?2, ?3) \
             ON CONFLICT (team, status) DO UPDATE SET tasks = tasks + excluded.tasks",
        )?;
        for ((team, status), change) in self.counts.drain().filter(|(_, change)| *change != 0) {
            save.execute(params![team.0, status, change])?;
        }
        Ok(())
    }

    /// Adds to the journal; answers the new row's number.
    pub fn append(
        &mut self,
        prev: Option<i64>,
        entries: &[Entry],
        written: Option<(&str, Option<&[u8]>)>,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let events = (!entries.is_empty()).then(|| encoding::write_entries(entries));
        let (head, body) = written.map_or((None, None), |(head, body)| (Some(head), body));
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO journal (id, prev, at, events, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .map_err(super::failed)?;
        let id = self.next_row;
        insert.execute(params![id, prev, now.0, events, head, body]).map_err(super::failed)?;
        self.next_row += 1;
        Ok(id)
    }

    /// Loads a row that must exist.
    pub fn row(&self, id: TaskId) -> Result<Row, StoreError> {
        self.row_by_key(id.sort_key())?.filter(|row| row.task.id == id).ok_or(StoreError::NotFound)
    }

    /// The row with this key, if there is one.
    pub fn row_by_key(&self, key: i64) -> Result<Option<Row>, StoreError> {
        match self.redo.get(key) {
            Some(row) => Ok(Some(Row::clone(&row))),
            None => row::load_by_key(&self.db, key).map_err(super::failed),
        }
    }

    /// Saves what changed of a row; later, if no index is concerned and its head is a new journal row that tells of it. But
    /// memory is no place for long texts.
    pub fn save(&mut self, row: &Row, later: bool) -> Result<(), StoreError> {
        let is_short = row.task.error.as_ref().is_none_or(|error| error.len() <= ERROR_MAX);
        if later && is_short {
            return self.redo.put(&self.db, row).map_err(super::failed);
        }
        row::update(&self.db, row).map_err(super::failed)?;
        self.redo.forget(row.task.id.sort_key());
        Ok(())
    }

    /// Saves what a step decided, with everything that belongs to it.
    pub fn apply(
        &mut self,
        mut row: Row,
        step: Step,
        payload: Option<&Written>,
        now: Timestamp,
    ) -> Result<Row, StoreError> {
        self.hand_out.heard(now);
        let before = row.task;
        row.task = step.task;
        let kept = payload.filter(|_| matches!(step.keep, Keep::Answer | Keep::Result | Keep::Progress));
        let is_told = !step.log.is_empty() || kept.is_some();
        if is_told {
            row.head = self.append(Some(row.head), &step.log, kept.map(Written::parts), now)?;
        }
        match step.keep {
            Keep::Nothing => {}
            Keep::Answer => row.answer = kept.map(|_| row.head),
            Keep::Result => row.result = kept.map(|_| row.head),
            Keep::AnswerAsResult => row.result = row.answer,
            Keep::Progress => row.progress = kept.map(|_| row.head),
        }
        if let Some(job) = &step.job {
            self.remember_job(row.task.team, job, row.task.id)?;
        }
        if step.notify {
            row.delivery = Some(Delivery::due(now));
            self.plan_delivery(row.task.id, now)?;
        }
        self.save(&row, is_told && row::are_indexed_alike(&before, &row.task))?;
        self.polled(&before, &row.task)?;
        self.moved(&before, &row)?;
        Ok(row)
    }

    /// Keeps the plan of polls in step with a change of it.
    fn polled(&mut self, before: &Task, after: &Task) -> Result<(), StoreError> {
        if before.polling == after.polling {
            return Ok(());
        }
        row::update_polling(&self.db, after).map_err(super::failed)?;
        if before.polling.next_at != after.polling.next_at {
            if let Some(at) = before.polling.next_at {
                self.unplan_poll(at.0, before.id.sort_key())?;
            }
            if let Some(at) = after.polling.next_at {
                self.plan_poll(after.id, at)?;
            }
        }
        Ok(())
    }

    /// Keeps queue, timers, counts and waiters in step with a change of state.
    fn moved(&mut self, before: &Task, row: &Row) -> Result<(), StoreError> {
        let after = &row.task;
        if before.state == after.state {
            return Ok(());
        }
        if let State::Pending { .. } = before.state {
            self.ready.remove(&self.db, before.team, row.host, before.id.sort_key()).map_err(super::failed)?;
        }
        self.count(before.team, before.state, -1);
        self.entered(row)?;
        self.effects.changed.push(after.id);
        Ok(())
    }

    /// A task is in a new state, or new itself.
    pub fn entered(&mut self, row: &Row) -> Result<(), StoreError> {
        let task = &row.task;
        self.count(task.team, task.state, 1);
        self.effects.ended.extend(Ended::of(task));
        self.may_go(row)?;
        if let State::Pending { since } = task.state {
            let place = Place { rank: -i64::from(task.priority), since: since.0, key: task.id.sort_key() };
            self.ready.add(task.team, row.host, place);
            self.effects.ready = true;
        }
        if let Some(at) = task.state.timer() {
            self.set_timer(at, task.id.sort_key())?;
        }
        Ok(())
    }

    /// Notes for retention when a task ended, as soon as nothing has to be done for it any more.
    pub fn may_go(&self, row: &Row) -> Result<(), StoreError> {
        let Some(at) = row.task.completed_at().filter(|_| !row.is_delivering()) else { return Ok(()) };
        let mut insert =
            self.db.prepare_cached("INSERT OR IGNORE INTO ended (at, key) VALUES (?1, ?2)").map_err(super::failed)?;
        insert.execute([at.0, row.task.id.sort_key()]).map_err(super::failed)?;
        Ok(())
    }

    /// It may not, for now or because it is gone.
    pub fn may_not_go(&self, row: &Row) -> Result<(), StoreError> {
        let Some(at) = row.task.completed_at() else { return Ok(()) };
        let mut delete =
            self.db.prepare_cached("DELETE FROM ended WHERE at = ?1 AND key = ?2").map_err(super::failed)?;
        delete.execute([at.0, row.task.id.sort_key()]).map_err(super::failed)?;
        Ok(())
    }

    pub fn set_timer(&mut self, at: Timestamp, key: i64) -> Result<(), StoreError> {
        let mut insert =
            self.db.prepare_cached("INSERT OR IGNORE INTO timer (at, key) VALUES (?1, ?2)").map_err(super::failed)?;
        insert.execute([at.0, key]).map_err(super::failed)?;
        self.effects.timer = Some(self.effects.timer.map_or(at, |earliest| earliest.min(at)));
        Ok(())
    }

    pub fn plan_delivery(&mut self, id: TaskId, at: Timestamp) -> Result<(), StoreError> {
        let mut insert =
            self.db.prepare_cached("INSERT OR IGNORE INTO outbox (at, key) VALUES (?1, ?2)").map_err(super::failed)?;
        insert.execute([at.0, id.sort_key()]).map_err(super::failed)?;
        drop(insert);
        self.effects.deliver |= !self.hand_out.planned(id, at);
        Ok(())
    }

    pub fn count(&mut self, team: TeamId, state: State, change: i64) {
        *self.counts.entry((team, facts::status_code(state.status()))).or_default() += change;
    }

    /// Removes a task with its journal and webhook; its timers are dropped when they fire.
    pub fn remove(&mut self, row: &Row) -> Result<(), StoreError> {
        let key = row.task.id.sort_key();
        self.remove_journal(row.head).map_err(super::failed)?;
        self.forget_jobs(key)?;
        if let Some(at) = row.delivery.and_then(|delivery| delivery.next_attempt_at) {
            self.unplan_delivery(key, at).map_err(super::failed)?;
        }
        let mut delete = self.db.prepare_cached("DELETE FROM task WHERE key = ?1").map_err(super::failed)?;
        delete.execute([key]).map_err(super::failed)?;
        drop(delete);
        self.may_not_go(row)?;
        self.redo.forget(key);
        self.count(row.task.team, row.task.state, -1);
        Ok(())
    }

    pub fn unplan_delivery(&self, key: i64, at: Timestamp) -> rusqlite::Result<()> {
        self.db.prepare_cached("DELETE FROM outbox WHERE at = ?1 AND key = ?2")?.execute([at.0, key])?;
        Ok(())
    }

    fn remove_journal(&self, head: i64) -> rusqlite::Result<()> {
        let mut delete = self.db.prepare_cached("DELETE FROM journal WHERE id = ?1 RETURNING prev")?;
        let mut next = Some(head);
        while let Some(id) = next {
            next = delete.query_row([id], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten();
        }
        Ok(())
    }

    pub fn woke_deliveries(&mut self) {
        self.effects.deliver = true;
    }
}
