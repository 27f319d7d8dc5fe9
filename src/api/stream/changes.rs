//! The statuses that a history tells of, and where a client is in them.

use std::fmt::Write;

use serde::Serialize;

use crate::api::view::EventView;
use crate::store::EventRecord;
use crate::task::{Entry, State, Status, TaskId, Timestamp};

/// A status that a task came to.
pub struct Change {
    /// The number of the line of history that says so, from 1.
    seq: u32,
    /// Which status.
    pub status: Status,
    event: EventView,
    /// The end of a delay: it comes after the line of this number, and is none itself.
    is_due: bool,
}

/// What a client was told last: the id of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    seq: u32,
    /// The status it was told.
    pub status: Option<Status>,
}

impl Place {
    /// Reads an id that we gave out.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, status) = text.split_once('.')?;
        Some(Self { seq: seq.parse().ok()?, status: Some(Status::from_name(status)?) })
    }

    /// Whether it was told how the task ended.
    pub fn is_at_the_end(self) -> bool {
        self.status.is_some_and(Status::is_final)
    }

    /// Whether a change is news to who stands here.
    pub fn comes_before(self, change: &Change) -> bool {
        change.seq > self.seq || (change.is_due && change.seq == self.seq && self.status != Some(change.status))
    }
}

/// A task's first status.
pub fn first_status(delay_until: Option<Timestamp>, created_at: Timestamp) -> Status {
    if delay_until.is_some_and(|until| until > created_at) { Status::Delayed } else { Status::Pending }
}

/// The changes of status in a history.
pub fn of(events: &[EventRecord], first: Status) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (place, record) in events.iter().enumerate() {
        let current = changes.last().map(|last| last.status);
        if let Some(status) = status_after(record, events.get(place + 1), current, first) {
            changes.push(Change::new(place, record, status));
        }
    }
    changes
}

fn status_after(
    record: &EventRecord,
    next: Option<&EventRecord>,
    current: Option<Status>,
    first: Status,
) -> Option<Status> {
    match &record.entry {
        Entry::Created => Some(first),
        // The late answer of an attempt that a callback overtook.
        _ if current.is_some_and(Status::is_final) => None,
        Entry::AttemptStarted { .. } => Some(Status::Processing),
        Entry::AttemptFinished { next_attempt_at: Some(_), .. } => Some(Status::Delayed),
        // What followed in the same step says more.
        Entry::AttemptFinished { .. } if next.is_some_and(|next| next.at == record.at && decides(&next.entry)) => None,
        Entry::AttemptFinished { .. } => Some(Status::Pending),
        Entry::Waiting { .. } => Some(Status::Waiting),
        Entry::Polling { .. } => Some(Status::Polling),
        Entry::Ended { status, .. } => Some(*status),
        Entry::PollFinished { .. }
        | Entry::CallbackReceived { .. }
        | Entry::CallbackLate
        | Entry::SignalReceived
        | Entry::Progress
        | Entry::WebhookAttempted { .. } => None,
    }
}

fn decides(entry: &Entry) -> bool {
    matches!(entry, Entry::Waiting { .. } | Entry::Polling { .. } | Entry::Ended { .. })
}

/// What an event carries.
#[derive(Serialize)]
struct Data<'a> {
    id: String,
    status: &'static str,
    #[serde(flatten)]
    event: &'a EventView,
}

impl Change {
    fn new(place: usize, record: &EventRecord, status: Status) -> Self {
        let seq = u32::try_from(place + 1).unwrap_or(u32::MAX);
        Self { seq, status, event: EventView::of(seq, record), is_due: false }
    }

    /// The end of the delay that is the last of these changes, if it is over. It is no line of history.
    pub fn due(changes: &[Self], state: State) -> Option<Self> {
        let last = changes.last().filter(|last| last.status == Status::Delayed)?;
        let State::Pending { since } = state else { return None };
        let event = EventView::due(last.seq, since);
        Some(Self { seq: last.seq, status: Status::Pending, event, is_due: true })
    }

    /// Where a client is that was told this.
    pub fn place(&self) -> Place {
        Place { seq: self.seq, status: Some(self.status) }
    }

    /// Writes the event.
    pub fn write(&self, task: TaskId, text: &mut String) {
        let data = Data { id: task.to_string(), status: self.status.name(), event: &self.event };
        let data = serde_json::to_string(&data).expect("plain data is always JSON");
        let _ = write!(text, "id: {}.{}\nevent: status\ndata: {data}\n\n", self.seq, self.status.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64, entry: Entry) -> EventRecord {
        EventRecord { at: Timestamp(ms), entry, body: None }
    }

    fn finished(next: Option<i64>) -> Entry {
        Entry::AttemptFinished {
            attempt: 1,
            status_code: None,
            error: None,
            duration_ms: None,
            next_attempt_at: next.map(Timestamp),
        }
    }

    fn names(events: &[EventRecord]) -> Vec<String> {
        let shown = |change: &Change| format!("{}.{}", change.seq, change.status.name());
        of(events, Status::Pending).iter().map(shown).collect()
    }

    #[test]
    fn a_history_tells_each_status_once() {
        let ended = Entry::Ended { status: Status::Completed, error: None };
        let history = [
            at(0, Entry::Created),
            at(1, Entry::AttemptStarted { attempt: 1 }),
            at(2, finished(Some(3))),
            at(3, Entry::AttemptStarted { attempt: 2 }),
            at(4, finished(None)),
            at(4, Entry::Waiting { deadline: Timestamp(9) }),
            at(5, Entry::CallbackReceived { error: None }),
            at(5, Entry::Progress),
            at(6, Entry::CallbackReceived { error: None }),
            at(6, ended),
            at(7, Entry::CallbackLate),
            at(8, finished(None)),
        ];
        let told = ["1.pending", "2.processing", "3.delayed", "4.processing", "6.waiting", "10.completed"];
        assert_eq!(names(&history), told);
    }

    #[test]
    fn an_attempt_that_was_lost_or_given_back_is_pending_again() {
        let history = [at(0, Entry::Created), at(1, Entry::AttemptStarted { attempt: 1 }), at(2, finished(None))];
        assert_eq!(names(&history), ["1.pending", "2.processing", "3.pending"]);
        let ended = Entry::Ended { status: Status::Failed, error: None };
        let failed =
            [at(0, Entry::Created), at(1, Entry::AttemptStarted { attempt: 1 }), at(2, finished(None)), at(2, ended)];
        assert_eq!(names(&failed), ["1.pending", "2.processing", "4.failed"]);
    }

    #[test]
    fn the_end_of_a_delay_is_told_once_and_between_two_lines() {
        let delayed = of(&[at(0, Entry::Created)], Status::Delayed);
        let due = Change::due(&delayed, State::Pending { since: Timestamp(5) }).unwrap();
        assert!(Place::parse("1.delayed").unwrap().comes_before(&due));
        assert!(!Place::parse("1.pending").unwrap().comes_before(&due));
        let mut text = String::new();
        due.write(TaskId::from_parts(1, 2, 3), &mut text);
        assert!(
            text.starts_with("id: 1.pending\nevent: status\ndata: {") && text.contains(r#""type":"due""#),
            "{text}"
        );
        let processing = State::Processing { lease_until: Timestamp(9) };
        assert!(Change::due(&delayed, processing).is_none());
        assert!(
            Change::due(&of(&[at(0, Entry::Created)], Status::Pending), State::Pending { since: Timestamp(5) })
                .is_none()
        );
    }

    #[test]
    fn a_place_knows_what_comes_after_it() {
        let history = [at(0, Entry::Created), at(1, Entry::AttemptStarted { attempt: 1 })];
        let all = of(&history, Status::Delayed);
        let news = |place: &str| {
            let place = Place::parse(place).unwrap_or_default();
            all.iter().filter(|change| place.comes_before(change)).count()
        };
        assert_eq!(
            ["", "0.pending", "1.delayed", "1.pending", "2.processing", "9.failed"].map(news),
            [2, 2, 1, 1, 0, 0]
        );
        for odd in ["1", "x.pending", "1.done", "-1.pending", "99999999999.pending"] {
            assert_eq!(Place::parse(odd), None, "{odd}");
        }
    }
}
