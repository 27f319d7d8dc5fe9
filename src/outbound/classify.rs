//! What came of a call, in the words of the task's state machine.

use std::time::Duration;

use http::StatusCode;

use super::{Answer, CallError};
use crate::task::{self, Payload, Timestamp};

/// The longest `Retry-After` that is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The rules of the task whose call is judged.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Status codes to retry beside 5xx.
    pub retry_on: &'a [u16],
    /// The time that the call had, milliseconds.
    pub timeout_ms: i64,
    /// When the call ended.
    pub now: Timestamp,
}

/// Judges a call: what it means for the task, and what is kept of the answer.
///
/// None for a call that was given up before anything was sent: it does not count as an attempt.
pub fn classify(outcome: Result<Answer, CallError>, attempt: Attempt<'_>) -> Option<(task::Answer, Option<Payload>)> {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(CallError::Stopped { sent: false }) => return None,
        Err(error) => return Some((failed(error, attempt), None)),
    };
    let judged = judge(answer.status, retry_after(&answer, attempt.now), attempt);
    let payload = Payload {
        status_code: answer.status,
        headers: answer.headers,
        body: answer.body,
        duration_ms: i64::try_from(answer.elapsed.as_millis()).unwrap_or(i64::MAX),
    };
    Some((judged, Some(payload)))
}

fn judge(status: u16, retry_after_ms: Option<i64>, attempt: Attempt<'_>) -> task::Answer {
    match status {
        500..=599 => {
            let error = format!("Server error: HTTP {}", status_text(status));
            task::Answer::Retryable { status, error, retry_after_ms }
        }
        _ if attempt.retry_on.contains(&status) => {
            task::Answer::Retryable { status, error: rejected(status), retry_after_ms }
        }
        400..=499 => task::Answer::Rejected { status, error: rejected(status) },
        _ => task::Answer::Accepted { status, job: None },
    }
}

fn rejected(status: u16) -> String {
    format!("Target rejected the request: HTTP {}", status_text(status))
}

/// `500 - Internal Server Error`; just the number where it has no name.
pub fn status_text(status: u16) -> String {
    match StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()) {
        Some(reason) => format!("{status} - {reason}"),
        None => status.to_string(),
    }
}

fn failed(error: CallError, attempt: Attempt<'_>) -> task::Answer {
    let text = error.to_string();
    match error {
        CallError::Refused(_) => task::Answer::Forbidden { error: format!("Target refused: {text}") },
        CallError::ForbiddenRedirect(_) | CallError::Forbidden(_) => task::Answer::Forbidden { error: text },
        CallError::NotSent(_) => task::Answer::NotSent { error: format!("Network error: {text}") },
        CallError::Broken(_) => task::Answer::Unknown { error: format!("Network error: {text}") },
        CallError::TimedOut { sent: false } => task::Answer::NotSent { error: timed_out(attempt.timeout_ms) },
        CallError::TimedOut { sent: true } => task::Answer::Unknown { error: timed_out(attempt.timeout_ms) },
        CallError::Stopped { .. } => task::Answer::Unknown { error: "Attempt interrupted; outcome unknown".to_owned() },
        CallError::TooLarge { status, limit } => too_large(status, limit, attempt),
    }
}

/// A refusal or failure needs no body to be understood; only an accepted call's answer is missed.
fn too_large(status: u16, limit: usize, attempt: Attempt<'_>) -> task::Answer {
    match judge(status, None, attempt) {
        task::Answer::Accepted { .. } => {
            let error = format!("The answer was larger than {limit} bytes; its body was dropped");
            task::Answer::TooLarge { status, error }
        }
        other => other,
    }
}

fn timed_out(timeout_ms: i64) -> String {
    let (seconds, millis) = (timeout_ms / 1000, timeout_ms % 1000);
    if millis == 0 {
        return format!("Timeout after {seconds} s");
    }
    let fraction = format!("{millis:03}");
    format!("Timeout after {seconds}.{} s", fraction.trim_end_matches('0'))
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. Milliseconds, an hour at most.
pub fn retry_after(answer: &Answer, now: Timestamp) -> Option<i64> {
    let (_, value) = answer.headers.iter().find(|(name, _)| name == "retry-after")?;
    let millis = match value.trim().parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * 1000,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?;
            date.timestamp().as_millisecond().saturating_sub(now.0)
        }
    };
    let most = i64::try_from(RETRY_AFTER_MAX.as_millis()).unwrap_or(i64::MAX);
    Some(millis.clamp(0, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Attempt<'_> = Attempt { retry_on: &[429], timeout_ms: 30_000, now: Timestamp(784_111_777_000) };

    fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status, headers, body: bytes::Bytes::new(), elapsed: Duration::ZERO }
    }

    fn judged(outcome: Result<Answer, CallError>) -> task::Answer {
        classify(outcome, PLAIN).unwrap().0
    }

    #[test]
    fn the_texts_are_those_of_the_contract() {
        let text = |outcome| judged(outcome).error().unwrap().to_owned();
        assert_eq!(text(Ok(answer(500, &[]))), "Server error: HTTP 500 - Internal Server Error");
        assert_eq!(text(Ok(answer(422, &[]))), "Target rejected the request: HTTP 422 - Unprocessable Entity");
        assert_eq!(text(Err(CallError::NotSent("connection refused".into()))), "Network error: connection refused");
        assert_eq!(text(Err(CallError::TimedOut { sent: true })), "Timeout after 30 s");
        assert_eq!(timed_out(500), "Timeout after 0.5 s");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        let wish = |value| match judged(Ok(answer(503, &[("retry-after", value)]))) {
            task::Answer::Retryable { retry_after_ms, .. } => retry_after_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(wish("7"), Some(7000));
        assert_eq!(wish("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(wish("Sun, 06 Nov 1994 08:59:37 GMT"), Some(600_000));
        assert_eq!(wish("100000"), Some(3_600_000));
        assert_eq!(wish("soon"), None);
    }

    #[test]
    fn a_listed_status_is_retried_and_others_are_final() {
        assert!(matches!(judged(Ok(answer(429, &[]))), task::Answer::Retryable { .. }));
        assert!(matches!(judged(Ok(answer(404, &[]))), task::Answer::Rejected { .. }));
        assert!(matches!(judged(Ok(answer(302, &[]))), task::Answer::Accepted { .. }));
    }

    #[test]
    fn a_call_that_was_never_sent_is_no_attempt_when_the_service_stops() {
        assert_eq!(classify(Err(CallError::Stopped { sent: false }), PLAIN), None);
        assert!(matches!(judged(Err(CallError::Stopped { sent: true })), task::Answer::Unknown { .. }));
    }
}
