//! The requests of every row, rendered once; what differs between two of them is written into a gap.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

/// Bytes in each measured body.
pub const BODY_BYTES: usize = 1024;
/// Characters in a callback id.
pub const CALLBACK_ID: usize = 64;
/// Digits in an operation's number.
pub const NUMBER: usize = 8;

/// A request whose gaps, all of one length, can be filled again and again.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    gaps: Vec<Range<usize>>,
}

impl Template {
    /// A request that is always the same.
    pub fn fixed(request: String) -> Self {
        Self { bytes: request.into_bytes(), gaps: Vec::new() }
    }

    /// A request with a gap wherever `marker` stands.
    pub fn with_gaps(request: String, marker: &str) -> Self {
        let gaps = request.match_indices(marker).map(|(at, _)| at..at + marker.len()).collect();
        Self { bytes: request.into_bytes(), gaps }
    }

    /// Writes `value`, which is as long as the marker was, into every gap.
    pub fn fill(&mut self, value: &str) {
        for gap in &self.gaps {
            self.bytes[gap.clone()].copy_from_slice(value.as_bytes());
        }
    }

    /// The request as it goes out.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whom a request is for, and with which key.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    /// The server.
    pub address: SocketAddr,
    /// The API key, where one is needed.
    pub key: Option<&'a str>,
}

impl Door<'_> {
    /// A POST of JSON.
    pub fn post(&self, path: &str, body: &str) -> String {
        let mut request = self.head("POST", path);
        let _ = write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        request
    }

    /// A GET.
    pub fn get(&self, path: &str) -> String {
        self.head("GET", path) + "\r\n"
    }

    fn head(&self, method: &str, path: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(key) = self.key {
            let _ = write!(head, "Authorization: Bearer {key}\r\n");
        }
        head
    }

    /// Posts the provider's webhook to a callback id that is filled in later.
    pub fn callback(&self) -> Template {
        let marker = "#".repeat(CALLBACK_ID);
        let head = r#"{"id":"prediction-4f1c","status":"succeeded","metrics":{"seconds":4.25},"output":["#;
        let body = padded(&format!("{head}\""), "\"]}");
        Template::with_gaps(self.post(&format!("/v1/callbacks/{marker}"), &body), &marker)
    }
}

/// A task that is not due for an hour.
pub fn delayed_task() -> String {
    let due = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let due = due.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let head = format!(r#"{{"targetUrl":"http://127.0.0.1:9999/v1/predictions","delayUntil":"{due}","#);
    padded(&(head + r#""headers":{"Content-Type":"application/json"},"body":"{\"prompt\":\""#), r#"\"}"}"#)
}

/// A task whose whole life is measured: its number stands in both of its URLs.
pub fn cycle_task(target: SocketAddr, number: &str) -> String {
    let head = format!(
        r#"{{"targetUrl":"http://{target}/call/{number}","onCompleteUrl":"http://{target}/done/{number}","maxWaitTime":600,"#
    );
    padded(&(head + PLACEHOLDER_BODY), r#"\"}"}"#)
}

/// The start of a call's body that carries the placeholder.
const PLACEHOLDER_BODY: &str =
    r#""headers":{"Content-Type":"application/json"},"body":"{\"webhook\":\"{asyncqueue_callback_url}\",\"prompt\":\""#;

/// `start`, prose, `end`: exactly as long as every measured body.
fn padded(start: &str, end: &str) -> String {
    const PROSE: &str = "a lighthouse at dusk, seen from the sea, in the manner of an old engraving; ";
    let room = BODY_BYTES - start.len() - end.len();
    let prose: String = PROSE.chars().cycle().take(room).collect();
    format!("{start}{prose}{end}")
}
