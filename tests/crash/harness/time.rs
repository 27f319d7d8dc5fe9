//! The harness's own clock, which nobody sets while a test runs.

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the harness judges the service's clock, so it cannot use it")]
pub fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock of this era")
}

/// The ISO 8601 form of a time in milliseconds.
pub fn iso(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).expect("a time in range");
    format!("{time:.3}")
}

/// Milliseconds of an ISO 8601 time.
pub fn parse_ms(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}
