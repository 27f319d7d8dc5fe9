use super::*;
use crate::task::{Backoff, Follow, Method, Policy, Request, Task, TaskId, TeamId, Then};

const NOW: Timestamp = Timestamp(100_000);

fn record(state: State, error: Option<&str>) -> TaskRecord {
    let policy = Policy {
        max_retries: 2,
        backoff: Backoff::Exponential,
        then: Then::Wait,
        max_wait_ms: 60_000,
        callback: true,
        signal: false,
        completion: true,
    };
    let mut task = Task::new(TaskId::from_parts(1, 2, 3), TeamId(1), 5, policy, None, Timestamp(0));
    task.state = state;
    task.attempt = 3;
    task.retry_count = 2;
    task.error = error.map(str::to_owned);
    let request = Request {
        target_url: "https://x.example/".to_owned(),
        method: Method::Post,
        headers: Vec::new(),
        body: None,
        timeout_ms: 30_000,
        retry_on: Vec::new(),
        delay_until: None,
        wait_for_signal: false,
        on_complete_url: None,
        on_complete_max_retries: 5,
        metadata: Vec::new(),
        retry_of: None,
        depth: 0,
        follow: Follow::default(),
    };
    TaskRecord { task, request, key_number: 0, result: None, progress: None, delivery: None }
}

fn done(status: Status, by: EndedBy) -> State {
    State::Done { status, by, at: Timestamp(9_000) }
}

fn failed_with(code: u16) -> EventRecord {
    let entry = Entry::AttemptFinished {
        attempt: 1,
        status_code: Some(code),
        error: Some("no".to_owned()),
        duration_ms: None,
        next_attempt_at: None,
    };
    EventRecord { at: Timestamp(1), entry, body: None }
}

#[test]
fn a_failure_says_what_every_attempt_said() {
    let error = "Server error: HTTP 503 - Service Unavailable";
    let failed = record(done(Status::Failed, EndedBy::Failure), Some(error));
    let same = explain(&failed, &[failed_with(503), failed_with(503), failed_with(503)], NOW);
    assert_eq!(same.title, error);
    assert_eq!(
        same.lines[0],
        "3 attempts failed, each time: HTTP 503. 2 retries are allowed, so it was given up after 9.0 s."
    );
    assert!(same.lines[1].starts_with("The fault is on the target's side"));
    let turns = explain(&failed, &[failed_with(500), failed_with(503)], NOW);
    assert!(turns.lines[0].contains("in turn: HTTP 500; HTTP 503"), "{turns:?}");
}

#[test]
fn a_refusal_is_told_from_a_failure() {
    let refused =
        record(done(Status::Failed, EndedBy::Failure), Some("Target rejected the request: HTTP 401 - Unauthorized"));
    let said = explain(&refused, &[], NOW);
    assert!(said.lines[0].contains("A refusal is final") && said.lines[1].contains("key"), "{said:?}");
    let told = explain(&record(done(Status::Failed, EndedBy::Callback), Some("nsfw")), &[], NOW);
    assert!(told.title == "nsfw" && told.lines[0].contains("webhook"), "{told:?}");
}

#[test]
fn a_timeout_points_to_a_late_callback() {
    let over = record(done(Status::Timeout, EndedBy::Deadline), None);
    assert!(explain(&over, &[], NOW).title.contains("within 1 min"));
    let late = EventRecord { at: NOW, entry: Entry::CallbackLate, body: None };
    assert!(explain(&over, &[late], NOW).lines[1].contains("Its body is kept"));
}

#[test]
fn what_goes_on_says_since_when_and_until_when() {
    let waiting = explain(&record(State::Waiting { deadline: Timestamp(130_000) }, None), &[], NOW);
    assert_eq!(waiting.title, "Waiting to be told for 30 s");
    assert!(waiting.lines[0].ends_with("It times out in 30 s."), "{waiting:?}");
    let due = explain(&record(State::Pending { since: Timestamp(40_000) }, None), &[], NOW);
    assert_eq!(due.title, "Due for 1 min");
    let later = explain(&record(State::Delayed { due_at: Timestamp(104_000) }, None), &[failed_with(500)], NOW);
    assert_eq!(later.title, "Attempt 4 in 4.0 s");
}

#[test]
fn a_failure_quotes_the_target_and_says_why_there_is_no_further_attempt() {
    let mut failed = record(done(Status::Failed, EndedBy::Failure), Some("Target rejected the request: HTTP 422"));
    let mut answer = crate::task::Payload {
        status_code: 422,
        headers: Vec::new(),
        body: bytes::Bytes::from_static(br#"{"detail":[{"msg":"field required"}]}"#),
        duration_ms: 3,
    };
    failed.result = Some(answer.clone());
    let said = explain(&failed, &[failed_with(422)], NOW).lines.join(" ");
    assert!(said.contains("In its own words: “field required”"), "{said}");
    answer.status_code = 202;
    failed.result = Some(answer);
    failed.task.error = Some("Network error: connection refused".to_owned());
    failed.task.attempt = 1;
    failed.task.retry_count = 0;
    let said = explain(&failed, &[], NOW).lines.join(" ");
    assert!(!said.contains("field required"), "the answer that took the job is not about its end: {said}");
    assert!(said.contains("The only attempt failed. Trying again would not help"), "{said}");
    failed.task.policy.max_retries = 0;
    let said = explain(&failed, &[], NOW).lines.join(" ");
    assert!(said.contains("No retry is allowed (maxRetries)"), "{said}");
}

#[test]
fn a_poll_that_is_refused_is_not_blamed_on_the_target_url() {
    let error = "Poll refused: HTTP 404 - Not Found: no such job";
    let refused = record(done(Status::Failed, EndedBy::Poll), Some(error));
    let said = explain(&refused, &[], NOW).lines.join(" ");
    assert!(said.contains("refused to answer") && said.contains("urlTemplate"), "{said}");
    assert!(!said.contains("target URL"), "{said}");
    let failed = record(done(Status::Failed, EndedBy::Poll), Some("out of memory"));
    assert!(explain(&failed, &[], NOW).lines[0].contains("the provider said that it failed"));
}
