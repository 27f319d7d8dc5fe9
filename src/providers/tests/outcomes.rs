//! Outcomes that providers document, and few jobs have: failures, moderation, cancellation, events beside the end. One
//! line each, in tests/data/events.tsv and polls.tsv.

use crate::providers::{Delivery, PollAnswer, PollVerdict, Template, Verdict, embedded};

const EVENTS: &str = include_str!("../../../tests/data/events.tsv");
const POLLS: &str = include_str!("../../../tests/data/polls.tsv");

/// The lines that are no comments, in their five columns, each with its template.
fn lines(text: &'static str) -> Vec<(&'static Template, [&'static str; 4])> {
    let read = |line: &'static str| {
        let columns: Vec<&str> = line.splitn(5, '\t').collect();
        let template = embedded().unwrap().get(columns[0]).unwrap_or_else(|| panic!("{line}"));
        (template, columns[1..].try_into().unwrap_or_else(|_| panic!("{line}")))
    };
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(read).collect();
    assert!(lines.len() > 80, "{} lines", lines.len());
    lines
}

#[test]
fn each_event_gets_its_documented_state_job_and_error() {
    for (template, [state, job, error, body]) in lines(EVENTS) {
        let (query, body) = body.strip_prefix('?').map_or((None, body), |query| (Some(query), ""));
        let delivery = Delivery { query, content_type: None, body: body.as_bytes() };
        let reading = template.callback().unwrap().rule.read(&delivery).unwrap();
        let expected = match state {
            "done" => Verdict::Done,
            "failed" => Verdict::Fail { error: error.to_owned() },
            "interim" => Verdict::Interim,
            other => panic!("{other}"),
        };
        assert_eq!(reading.verdict, expected, "{}: {body}", template.id);
        assert_eq!(reading.job_id.as_deref().unwrap_or("-"), job, "{}: {body}", template.id);
    }
}

#[test]
fn each_answer_to_a_poll_means_what_is_documented() {
    for (template, [meaning, status, error, body]) in lines(POLLS) {
        let answer = PollAnswer { status: status.parse().unwrap(), body: body.as_bytes() };
        let expected = match meaning {
            "done" => PollVerdict::Done,
            "failed" => PollVerdict::Fail { error: error.to_owned() },
            "pending" => PollVerdict::Pending,
            "busy" => PollVerdict::Busy,
            "refused" => PollVerdict::Refused,
            other => panic!("{other}"),
        };
        assert_eq!(template.poll().unwrap().judge(&answer), expected, "{}: {body}", template.id);
    }
}
