//! The one function that changes a task.

use super::{
    Answer, CallbackVerdict, EarlyCallbacks, EndedBy, Entry, Event, Job, Late, Left, PollVerdict, Polling,
    REFUSALS_MAX, State, Status, Task, Then, Timestamp, mark,
};

/// What becomes of the payload that came with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is not kept.
    Nothing,
    /// It is the target's answer, kept while the task waits.
    Answer,
    /// It is the task's result.
    Result,
    /// The answer that was kept before becomes the result.
    AnswerAsResult,
    /// It is the task's progress.
    Progress,
}

/// A change that was decided: what to save, and what the world must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The task as it is now.
    pub task: Task,
    /// What to write into its history.
    pub log: Vec<Entry>,
    /// What to do with the event's payload.
    pub keep: Keep,
    /// Whether a completion webhook must be queued, in the same transaction.
    pub notify: bool,
    /// The job that now stands for the task.
    pub job: Option<Job>,
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The credential is used up or expired, or was never given out.
    Gone,
    /// The task is in another state.
    Conflict,
    /// The event is about an attempt or a deadline that is over.
    Stale,
}

/// An event that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task is {}", status.name())]
pub struct Refusal {
    /// The status that the task is in, and stays in.
    pub status: Status,
    /// Why.
    pub why: Why,
    /// What the event's payload is worth as a late callback; with `Late::None` it is not kept.
    pub keep_late: Late,
}

/// A target's wish for a later retry (`Retry-After`) is obeyed up to an hour.
const RETRY_AFTER_MAX_MS: i64 = 3_600_000;

/// Decides what an event does to a task.
///
/// Total: every pair of state and event is decided here, and what is not an arrow in the diagram is a [`Refusal`].
pub fn step(task: &Task, event: &Event, now: Timestamp) -> Result<Step, Refusal> {
    match event {
        Event::Due => due(task, now),
        Event::Claimed { lease_until } => claimed(task, *lease_until, now),
        Event::Returned { attempt, started_at } => returned(task, *attempt, *started_at, now),
        Event::Answered { attempt, answer, duration_ms } => answered(task, *attempt, answer, *duration_ms, now),
        Event::Interrupted { attempt } => interrupted(task, *attempt, now),
        Event::Callback { verdict, early } => callback(task, verdict, *early, now),
        Event::CallbackLeft(left) => callback_left(task, *left, now),
        Event::Polled { poll, verdict, .. } => polled(task, *poll, verdict, event, now),
        Event::Signal { error, result } => signal(task, error.as_deref(), *result, now),
        Event::Cancel => cancel(task, now),
        Event::DeadlinePassed => deadline_passed(task, now),
    }
}

fn due(task: &Task, now: Timestamp) -> Result<Step, Refusal> {
    match task.state {
        State::Delayed { due_at } if due_at <= now => Ok(Step::to(task, State::Pending { since: due_at })),
        _ => Err(Refusal::of(task, Why::Stale)),
    }
}

fn claimed(task: &Task, lease_until: Timestamp, now: Timestamp) -> Result<Step, Refusal> {
    match task.state {
        State::Pending { .. } if task.attempt <= task.policy.max_retries => {
            let mut step = Step::to(task, State::Processing { lease_until });
            step.task.attempt += 1;
            step.task.started_at = Some(now);
            step.log.push(Entry::AttemptStarted { attempt: step.task.attempt });
            Ok(step)
        }
        _ => Err(Refusal::of(task, Why::Conflict)),
    }
}

fn returned(task: &Task, attempt: u32, started_at: Option<Timestamp>, now: Timestamp) -> Result<Step, Refusal> {
    current_attempt(task, attempt)?;
    if task.started_at != started_at {
        return Err(Refusal::of(task, Why::Stale));
    }
    let mut step = Step::to(task, State::Pending { since: now });
    step.task.attempt -= 1;
    let error = Some("Given back before anything was sent".to_owned());
    step.log.push(finished(attempt, None, error, None));
    if task.accepted {
        // An earlier attempt's job is running: calling again would pay twice.
        wait(&mut step, now);
    }
    Ok(step)
}

fn answered(task: &Task, attempt: u32, answer: &Answer, took: i64, now: Timestamp) -> Result<Step, Refusal> {
    let entry = finished(attempt, answer.status_code(), answer.error().map(str::to_owned), Some(took));
    if matches!(task.state, State::Done { by: EndedBy::Callback, .. }) && attempt == task.attempt {
        return Ok(late_answer(task, entry));
    }
    current_attempt(task, attempt)?;
    let mut step = Step::to(task, task.state);
    step.log.push(entry);
    match answer {
        Answer::Accepted { job, .. } => accept(&mut step, job.as_ref(), now),
        Answer::Rejected { error, .. } => reject(&mut step, error, now),
        Answer::Retryable { error, retry_after_ms, .. } => retry_or_fail(&mut step, error, *retry_after_ms, now),
        Answer::NotSent { error } => retry_or_fail(&mut step, error, None, now),
        Answer::Unknown { error } => retry_or_wait(&mut step, error, now),
        Answer::TooLarge { error, .. } => wait_or_fail(&mut step, error, now),
        Answer::Forbidden { error } => give_up(&mut step, error, now),
    }
    if let Some(Entry::AttemptFinished { next_attempt_at, .. }) = step.log.first_mut() {
        *next_attempt_at = match step.task.state {
            State::Delayed { due_at } => Some(due_at),
            _ => None,
        };
    }
    Ok(step)
}

/// The answer of an attempt that a callback overtook is history, nothing more.
fn late_answer(task: &Task, entry: Entry) -> Step {
    let mut step = Step::to(task, task.state);
    step.log.push(entry);
    step
}

fn interrupted(task: &Task, attempt: u32, now: Timestamp) -> Result<Step, Refusal> {
    const ERROR: &str = "Attempt interrupted; outcome unknown";
    current_attempt(task, attempt)?;
    let mut step = Step::to(task, task.state);
    step.log.push(finished(attempt, None, Some(ERROR.to_owned()), None));
    if retries_left(task) && !task.accepted {
        // A lost worker says nothing of the target, so there is nothing to back off from.
        step.task.retry_count += 1;
        step.task.state = State::Pending { since: now };
    } else {
        wait_or_fail(&mut step, ERROR, now);
    }
    Ok(step)
}

fn callback(task: &Task, verdict: &CallbackVerdict, early: EarlyCallbacks, now: Timestamp) -> Result<Step, Refusal> {
    if !task.policy.callback {
        return Err(Refusal::of(task, Why::Gone));
    }
    match task.state {
        State::Waiting { .. } | State::Polling { .. } => {}
        // It may overtake the answer to the call that asked for it, but not the call itself.
        State::Processing { .. } | State::Pending { .. } | State::Delayed { .. }
            if early == EarlyCallbacks::Accept && task.attempt > 0 => {}
        State::Done { by, .. } => {
            let keep_late = task.late.taking(verdict);
            return Err(Refusal { keep_late, ..Refusal::after_end(task, by, EndedBy::Callback) });
        }
        _ => return Err(Refusal::of(task, Why::Conflict)),
    }
    let mut step = Step::to(task, task.state);
    step.log.push(Entry::CallbackReceived { error: None });
    match verdict {
        CallbackVerdict::Done => {
            step.end(Status::Completed, EndedBy::Callback, None, now);
            step.keep = Keep::Result;
        }
        CallbackVerdict::Failed(error) => {
            step.end(Status::Failed, EndedBy::Callback, Some(error), now);
            step.keep = Keep::Result;
        }
        CallbackVerdict::Interim => interim(&mut step, now),
    }
    Ok(step)
}

/// What cannot be read cannot be a result, but it says that there may be one: it is asked for at once.
fn callback_left(task: &Task, left: Left, now: Timestamp) -> Result<Step, Refusal> {
    if !task.policy.callback || !matches!(task.state, State::Waiting { .. } | State::Polling { .. }) {
        return Err(Refusal::of(task, Why::Stale));
    }
    let mut step = Step::to(task, task.state);
    let error = match left {
        Left::TooLarge { limit } => format!("The body is larger than {limit} bytes"),
        Left::OtherJob => "It is about another job than the one that the answer to the call named".to_owned(),
    };
    step.log.push(Entry::CallbackReceived { error: Some(error) });
    let polls = matches!(task.state, State::Polling { .. }) && task.polling.next_at.is_some();
    if polls && matches!(left, Left::TooLarge { .. }) {
        step.task.polling.next_at = Some(now);
    }
    Ok(step)
}

fn polled(task: &Task, poll: u32, verdict: &PollVerdict, event: &Event, now: Timestamp) -> Result<Step, Refusal> {
    let current = matches!(task.state, State::Polling { .. }) && poll == task.polling.polls + 1;
    let (true, Then::Poll(policy)) = (current, task.policy.then) else {
        return Err(Refusal::of(task, Why::Stale));
    };
    let mut step = Step::to(task, task.state);
    let wish = match verdict {
        PollVerdict::Later { retry_after_ms, .. } => retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MAX_MS),
        _ => 0,
    };
    let refused = matches!(verdict, PollVerdict::Refused { .. });
    step.task.polling = Polling {
        polls: poll,
        refusals: if refused { task.polling.refusals + 1 } else { 0 },
        mark: mark_of(event),
        next_at: Some(now.plus_millis(policy.delay_ms(task.id, poll).max(wish))),
    };
    match verdict {
        PollVerdict::Done => step.end(Status::Completed, EndedBy::Poll, None, now),
        PollVerdict::Failed { error } => step.end(Status::Failed, EndedBy::Poll, Some(error), now),
        PollVerdict::Pending | PollVerdict::Later { .. } => {}
        PollVerdict::Refused { .. } if step.task.polling.refusals < REFUSALS_MAX => {}
        // A webhook is expected all the same; without it the deadline ends the task.
        PollVerdict::Refused { .. } | PollVerdict::Impossible { .. } if policy.eases => {
            step.task.polling.next_at = None;
        }
        PollVerdict::Refused { error } | PollVerdict::Impossible { error } => {
            step.end(Status::Failed, EndedBy::Poll, Some(error), now);
        }
    }
    if step.task.status().is_final() {
        step.keep = Keep::Result;
    }
    if step.task.polling.mark != task.polling.mark || step.task.state != task.state {
        step.log.insert(0, poll_finished(event, step.task.polling.next_at));
    }
    Ok(step)
}

fn mark_of(event: &Event) -> u32 {
    let Event::Polled { verdict, status_code, word, .. } = event else { return 0 };
    mark(*status_code, word.as_deref(), verdict.error())
}

fn poll_finished(event: &Event, next_attempt_at: Option<Timestamp>) -> Entry {
    let Event::Polled { poll, verdict, status_code, word, duration_ms } = event else {
        unreachable!("only a poll's event is written down as one");
    };
    Entry::PollFinished {
        poll: *poll,
        status_code: *status_code,
        word: word.clone(),
        error: verdict.error().map(|error| with_what_was_said(error, verdict)),
        duration_ms: *duration_ms,
        next_attempt_at,
    }
}

fn with_what_was_said(error: &str, verdict: &PollVerdict) -> String {
    match verdict {
        PollVerdict::Later { said: Some(said), .. } => format!("{error}: {said}"),
        _ => error.to_owned(),
    }
}

/// News that a job goes on proves that the provider took it: from here on the task waits and never calls again.
fn interim(step: &mut Step, now: Timestamp) {
    step.log.push(Entry::Progress);
    step.keep = Keep::Progress;
    step.task.accepted = true;
    if matches!(step.task.state, State::Pending { .. } | State::Delayed { .. }) {
        wait(step, now);
    }
}

fn signal(task: &Task, error: Option<&str>, result: bool, now: Timestamp) -> Result<Step, Refusal> {
    if !task.policy.signal {
        return Err(Refusal::of(task, Why::Gone));
    }
    match task.state {
        State::Waiting { .. } | State::Polling { .. } => {}
        State::Done { by, .. } => return Err(Refusal::after_end(task, by, EndedBy::Signal)),
        _ => return Err(Refusal::of(task, Why::Conflict)),
    }
    let mut step = Step::to(task, task.state);
    step.log.push(Entry::SignalReceived);
    let status = if error.is_some() { Status::Failed } else { Status::Completed };
    step.end(status, EndedBy::Signal, error, now);
    step.keep = if result { Keep::Result } else { Keep::AnswerAsResult };
    Ok(step)
}

fn cancel(task: &Task, now: Timestamp) -> Result<Step, Refusal> {
    match task.state {
        State::Pending { .. } | State::Delayed { .. } | State::Waiting { .. } | State::Polling { .. } => {
            let mut step = Step::to(task, task.state);
            step.end(Status::Cancelled, EndedBy::Cancellation, None, now);
            Ok(step)
        }
        State::Processing { .. } | State::Done { .. } => Err(Refusal::of(task, Why::Conflict)),
    }
}

fn deadline_passed(task: &Task, now: Timestamp) -> Result<Step, Refusal> {
    match task.state {
        State::Waiting { deadline } | State::Polling { deadline } if deadline <= now => {
            let mut step = Step::to(task, task.state);
            step.end(Status::Timeout, EndedBy::Deadline, None, now);
            Ok(step)
        }
        _ => Err(Refusal::of(task, Why::Stale)),
    }
}

fn current_attempt(task: &Task, attempt: u32) -> Result<(), Refusal> {
    let current = matches!(task.state, State::Processing { .. }) && attempt == task.attempt;
    if current { Ok(()) } else { Err(Refusal::of(task, Why::Stale)) }
}

fn retries_left(task: &Task) -> bool {
    task.attempt <= task.policy.max_retries
}

fn finished(attempt: u32, status_code: Option<u16>, error: Option<String>, duration_ms: Option<i64>) -> Entry {
    Entry::AttemptFinished { attempt, status_code, error, duration_ms, next_attempt_at: None }
}

fn accept(step: &mut Step, job: Option<&Job>, now: Timestamp) {
    match step.task.policy.then {
        Then::Finish => {
            step.end(Status::Completed, EndedBy::Answer, None, now);
            step.keep = Keep::Result;
        }
        Then::Wait | Then::Poll(_) => {
            wait(step, now);
            step.keep = Keep::Answer;
            step.job = job.cloned();
        }
    }
}

fn reject(step: &mut Step, error: &str, now: Timestamp) {
    if step.task.policy.then == Then::Finish {
        step.end(Status::Completed, EndedBy::Answer, None, now);
        step.keep = Keep::Result;
    } else {
        give_up(step, error, now);
    }
}

fn retry_or_fail(step: &mut Step, error: &str, retry_after_ms: Option<i64>, now: Timestamp) {
    if step.task.accepted || !retry(step, retry_after_ms, now) {
        give_up(step, error, now);
    }
}

fn retry_or_wait(step: &mut Step, error: &str, now: Timestamp) {
    if step.task.accepted || !retry(step, None, now) {
        wait_or_fail(step, error, now);
    }
}

/// Plans the next attempt; false if none is left.
fn retry(step: &mut Step, retry_after_ms: Option<i64>, now: Timestamp) -> bool {
    if !retries_left(&step.task) {
        return false;
    }
    step.task.retry_count += 1;
    let backoff = now.plus(step.task.policy.backoff.delay(step.task.retry_count));
    let wished = retry_after_ms.map_or(backoff, |millis| now.plus_millis(millis.min(RETRY_AFTER_MAX_MS)));
    step.task.state = State::Delayed { due_at: backoff.max(wished) };
    true
}

/// The job may be running and paid for: where somebody could still tell, the task waits to be told.
fn wait_or_fail(step: &mut Step, error: &str, now: Timestamp) {
    if step.task.policy.then == Then::Finish {
        give_up(step, error, now);
    } else {
        wait(step, now);
    }
}

/// No further attempt: fails, unless the provider has already shown that it took the job.
fn give_up(step: &mut Step, error: &str, now: Timestamp) {
    if step.task.accepted {
        wait(step, now);
    } else {
        fail(step, error, now);
    }
}

fn fail(step: &mut Step, error: &str, now: Timestamp) {
    step.end(Status::Failed, EndedBy::Failure, Some(error), now);
    step.keep = Keep::Result;
}

fn wait(step: &mut Step, now: Timestamp) {
    let task = &mut step.task;
    match task.policy.then {
        // Polling needs the answer to the call; without one only a callback can end the task.
        Then::Poll(policy) if step.log.iter().any(is_accepted_attempt) => {
            let deadline = now.plus_millis(policy.for_ms);
            task.state = State::Polling { deadline };
            task.polling.next_at = Some(now.plus_millis(policy.delay_ms(task.id, 0)));
            step.log.push(Entry::Polling { deadline });
        }
        _ => {
            let deadline = now.plus_millis(task.policy.max_wait_ms);
            task.state = State::Waiting { deadline };
            step.log.push(Entry::Waiting { deadline });
        }
    }
}

fn is_accepted_attempt(entry: &Entry) -> bool {
    matches!(entry, Entry::AttemptFinished { error: None, .. })
}

impl Step {
    fn to(task: &Task, state: State) -> Self {
        let task = Task { state, ..task.clone() };
        Self { task, log: Vec::new(), keep: Keep::Nothing, notify: false, job: None }
    }

    fn end(&mut self, status: Status, by: EndedBy, error: Option<&str>, at: Timestamp) {
        self.task.state = State::Done { status, by, at };
        self.task.polling.next_at = None;
        self.task.error = error.map(str::to_owned);
        self.log.push(Entry::Ended { status, error: self.task.error.clone() });
        // A cancellation is the owner's own act; nobody needs to be told.
        self.notify = self.task.policy.completion && status != Status::Cancelled;
    }
}

impl Late {
    /// What the place is to hold after a late callback with this verdict; `None` if it stays as it is. There is one
    /// place. News, or what no rule knew, may be all that there is of a paid job, so they are kept; and they make room
    /// for the end.
    fn taking(self, verdict: &CallbackVerdict) -> Self {
        match (self, verdict) {
            (Self::None, CallbackVerdict::Interim) => Self::News,
            (Self::None | Self::News, CallbackVerdict::Done | CallbackVerdict::Failed(_)) => Self::End,
            _ => Self::None,
        }
    }
}

impl Refusal {
    fn of(task: &Task, why: Why) -> Self {
        Self { status: task.status(), why, keep_late: Late::None }
    }

    /// Ended by the same credential or by time: it is gone. Ended by anything else: the caller learns the state.
    fn after_end(task: &Task, by: EndedBy, credential: EndedBy) -> Self {
        let gone = by == credential || by == EndedBy::Deadline;
        Self::of(task, if gone { Why::Gone } else { Why::Conflict })
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
