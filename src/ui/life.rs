//! One task's life as a picture: what took how long, to scale, in lanes that tell waiting for a worker from calling, and
//! calling from waiting for somebody to tell.

use maud::{Markup, html};

use super::words;
use crate::store::EventRecord;
use crate::task::{Entry, Status, Timestamp};

/// A stretch of time in a lane.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    lane: usize,
    from: Timestamp,
    to: Timestamp,
    class: &'static str,
    said: String,
}

/// A moment in a lane.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    lane: usize,
    at: Timestamp,
    class: &'static str,
    said: String,
}

const LANES: [&str; 4] = ["Queued", "Calls", "Waiting", "Webhook"];
const QUEUED: usize = 0;
const CALLS: usize = 1;
const WAITS: usize = 2;
const WEBHOOK: usize = 3;

/// What happened, and since when what goes on now.
struct Life {
    spans: Vec<Span>,
    marks: Vec<Mark>,
    queued_since: Option<Timestamp>,
    calling_since: Option<(u32, Timestamp)>,
    waiting_since: Option<(&'static str, Timestamp)>,
}

impl Life {
    fn of(events: &[EventRecord], now: Timestamp) -> Self {
        let mut life =
            Self { spans: Vec::new(), marks: Vec::new(), queued_since: None, calling_since: None, waiting_since: None };
        for event in events {
            life.take(event);
        }
        life.close(now);
        life
    }

    fn take(&mut self, event: &EventRecord) {
        let at = event.at;
        match &event.entry {
            Entry::Created => self.queued_since = Some(at),
            Entry::AttemptStarted { attempt } => {
                self.queue_ends(at);
                self.calling_since = Some((*attempt, at));
            }
            Entry::AttemptFinished { attempt, status_code, error, next_attempt_at, .. } => {
                let said = format!("Attempt {attempt}: {}", outcome(*status_code, error.as_deref()));
                self.call_ends(at, if error.is_some() { "t-bad" } else { "t-ok" }, &said);
                self.queued_since = next_attempt_at.map(|_| at);
            }
            Entry::Waiting { .. } => self.waiting_since = Some(("t-wait", at)),
            Entry::Polling { .. } => self.waiting_since = Some(("t-poll", at)),
            Entry::Ended { status, .. } => {
                self.queue_ends(at);
                self.close(at);
                self.mark(if self.has_waited() { WAITS } else { CALLS }, at, class_of(*status), status.name());
            }
            Entry::WebhookAttempted { status_code, error, .. } => {
                let class = if error.is_none() { "t-ok" } else { "t-bad" };
                self.mark(WEBHOOK, at, class, &outcome(*status_code, error.as_deref()));
            }
            Entry::PollFinished { poll, status_code, error, word, .. } => {
                let said = word.clone().unwrap_or_else(|| outcome(*status_code, error.as_deref()));
                self.mark(WAITS, at, if error.is_none() { "t-poll" } else { "t-bad" }, &format!("Poll {poll}: {said}"));
            }
            Entry::CallbackReceived { error } => {
                self.mark(WAITS, at, if error.is_none() { "t-busy" } else { "t-bad" }, "Callback");
            }
            Entry::CallbackLate => self.mark(WAITS, at, "t-late", "Late callback"),
            Entry::SignalReceived => self.mark(WAITS, at, "t-busy", "Signal"),
            Entry::Progress => self.mark(WAITS, at, "t-idle", "Progress"),
        }
    }

    fn mark(&mut self, lane: usize, at: Timestamp, class: &'static str, said: &str) {
        self.marks.push(Mark { lane, at, class, said: said.to_owned() });
    }

    fn has_waited(&self) -> bool {
        self.spans.iter().any(|span| span.lane == WAITS)
    }

    fn queue_ends(&mut self, at: Timestamp) {
        if let Some(from) = self.queued_since.take() {
            let said = "Queued".to_owned();
            self.spans.push(Span { lane: QUEUED, from, to: at, class: "t-idle", said });
        }
    }

    fn call_ends(&mut self, at: Timestamp, class: &'static str, said: &str) {
        if let Some((_, from)) = self.calling_since.take() {
            self.spans.push(Span { lane: CALLS, from, to: at, class, said: said.to_owned() });
        }
    }

    /// What is still open ends here.
    fn close(&mut self, at: Timestamp) {
        self.queue_ends(at);
        if let Some((attempt, _)) = self.calling_since {
            self.call_ends(at, "t-busy", &format!("Attempt {attempt}: under way"));
        }
        if let Some((class, from)) = self.waiting_since.take() {
            let said = if class == "t-poll" { "Polled" } else { "Waiting" }.to_owned();
            self.spans.push(Span { lane: WAITS, from, to: at, class, said });
        }
    }
}

fn outcome(status_code: Option<u16>, error: Option<&str>) -> String {
    match (status_code, error) {
        (Some(code), _) => format!("HTTP {code}"),
        (None, Some(error)) => error.to_owned(),
        (None, None) => "no answer".to_owned(),
    }
}

fn class_of(status: Status) -> &'static str {
    match status {
        Status::Completed => "t-ok",
        Status::Failed => "t-bad",
        Status::Timeout => "t-late",
        _ => "t-idle",
    }
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 14.0;
const LANE: f64 = 30.0;
const BAR: f64 = 14.0;

/// Where a moment lies in the picture.
struct Scale {
    from: Timestamp,
    length: f64,
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a month of milliseconds is exact in a double")]
    fn of(from: Timestamp, to: Timestamp) -> Self {
        Self { from, length: to.millis_since(from).max(1) as f64 }
    }

    #[expect(clippy::cast_precision_loss, reason = "a month of milliseconds is exact in a double")]
    fn x(&self, at: Timestamp) -> f64 {
        let share = (at.millis_since(self.from) as f64 / self.length).clamp(0.0, 1.0);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }
}

/// The picture of a history; `over` says that the task has ended.
pub fn picture(events: &[EventRecord], over: bool, now: Timestamp) -> Markup {
    let Some(first) = events.first() else { return html! {} };
    let last = events.last().map_or(first.at, |event| event.at);
    let end = if over { last } else { now.max(last) };
    let life = Life::of(events, end);
    let scale = Scale::of(first.at, end);
    let lanes: Vec<usize> = (0..LANES.len()).filter(|lane| life.uses(*lane)).collect();
    let row = |lane: usize| lanes.iter().position(|known| *known == lane).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "four lanes")]
    let y = |row: usize| 8.0 + LANE * row as f64;
    let floor = y(lanes.len());
    html! {
        svg.life viewBox={"0 0 " (WIDTH) " " (floor + 20.0)} role="img" aria-label=(summary(&life, first.at, end)) {
            @for (row, lane) in lanes.iter().enumerate() {
                text.name x="0" y=(y(row) + 12.0) { (LANES[*lane]) }
                line.lane x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(row) + BAR / 2.0) y2=(y(row) + BAR / 2.0) {}
            }
            @for span in &life.spans { (span.draw(&scale, y(row(span.lane)))) }
            @for mark in &life.marks { (mark.draw(&scale, y(row(mark.lane)))) }
            line.lane x1=(LEFT) x2=(WIDTH - RIGHT) y1=(floor) y2=(floor) {}
            text x=(LEFT) y=(floor + 15.0) { (words::clock(first.at)) }
            text x=(f64::midpoint(LEFT, WIDTH)) y=(floor + 15.0) text-anchor="middle" { (words::duration(end.millis_since(first.at))) }
            text x=(WIDTH - RIGHT) y=(floor + 15.0) text-anchor="end" { (words::clock(end)) @if !over { " (now)" } }
        }
    }
}

impl Life {
    fn uses(&self, lane: usize) -> bool {
        self.spans.iter().any(|span| span.lane == lane) || self.marks.iter().any(|mark| mark.lane == lane)
    }
}

impl Span {
    fn draw(&self, scale: &Scale, y: f64) -> Markup {
        let (from, to) = (scale.x(self.from), scale.x(self.to));
        let wide = (to - from).max(3.0);
        let took = words::duration(self.to.millis_since(self.from));
        let wash = matches!(self.lane, QUEUED | WAITS);
        html! {
            g class=(self.class) {
                title { (self.said) ", " (took) }
                rect class=(if wash { "wash" } else { "span" }) x=(n(from)) y=(n(y)) width=(n(wide)) height=(BAR) rx="3" {}
            }
            @if wide > 64.0 && wash { text x=(n(from + 6.0)) y=(n(y + 11.0)) { (took) } }
        }
    }
}

impl Mark {
    fn draw(&self, scale: &Scale, y: f64) -> Markup {
        html! {
            g class=(self.class) {
                title { (self.said) " at " (words::clock(self.at)) }
                circle class="mark" cx=(n(scale.x(self.at))) cy=(n(y + BAR / 2.0)) r="5.5" {}
            }
        }
    }
}

fn n(value: f64) -> String {
    format!("{value:.1}")
}

/// The picture in words.
fn summary(life: &Life, from: Timestamp, to: Timestamp) -> String {
    let time = |lane: usize| {
        life.spans.iter().filter(|span| span.lane == lane).map(|span| span.to.millis_since(span.from)).sum()
    };
    format!(
        "Timeline over {}: queued {}, calling {}, waiting {}",
        words::duration(to.millis_since(from)),
        words::duration(time(QUEUED)),
        words::duration(time(CALLS)),
        words::duration(time(WAITS)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64, entry: Entry) -> EventRecord {
        EventRecord { at: Timestamp(millis), entry, body: None }
    }

    fn history() -> Vec<EventRecord> {
        let refused = Entry::AttemptFinished {
            attempt: 1,
            status_code: Some(500),
            error: Some("Server error".to_owned()),
            duration_ms: Some(20),
            next_attempt_at: Some(Timestamp(1100)),
        };
        let taken = Entry::AttemptFinished {
            attempt: 2,
            status_code: Some(202),
            error: None,
            duration_ms: Some(50),
            next_attempt_at: None,
        };
        vec![
            at(0, Entry::Created),
            at(10, Entry::AttemptStarted { attempt: 1 }),
            at(30, refused),
            at(1100, Entry::AttemptStarted { attempt: 2 }),
            at(1150, taken),
            at(1150, Entry::Waiting { deadline: Timestamp(99_000) }),
            at(9000, Entry::CallbackReceived { error: None }),
            at(9000, Entry::Ended { status: Status::Completed, error: None }),
        ]
    }

    #[test]
    fn every_stretch_of_time_lies_in_its_lane() {
        let life = Life::of(&history(), Timestamp(9000));
        let spans: Vec<_> = life.spans.iter().map(|span| (span.lane, span.from.0, span.to.0, span.class)).collect();
        let expected = [
            (QUEUED, 0, 10, "t-idle"),
            (CALLS, 10, 30, "t-bad"),
            (QUEUED, 30, 1100, "t-idle"),
            (CALLS, 1100, 1150, "t-ok"),
            (WAITS, 1150, 9000, "t-wait"),
        ];
        assert_eq!(spans, expected);
        assert_eq!(life.marks.len(), 2);
        assert!(picture(&history(), true, Timestamp(0)).into_string().contains("waiting 7.8 s"));
    }

    #[test]
    fn what_goes_on_reaches_to_now() {
        let life = Life::of(&history()[..6], Timestamp(5000));
        let last = life.spans.last().unwrap();
        assert_eq!((last.lane, last.from.0, last.to.0), (WAITS, 1150, 5000));
        let calling = Life::of(&history()[..2], Timestamp(40));
        assert_eq!(calling.spans.last().map(|span| (span.lane, span.to.0)), Some((CALLS, 40)));
    }
}
