//! Reads an answer to its end, within bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::error::{CallError, describe_http};
use super::message::Live;
use super::pool::{Key, Pool};
use super::room::{self, Rooms};

/// The most room made for a body before it has come.
const RESERVED_MAX: usize = 16 * 1024;

/// The most room made at once for a body that has a lease.
const LEASED_MAX: usize = 16 * 1024 * 1024;

/// What the target answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Lower-case names in the order of their first appearance, repeated ones joined by `, `.
    pub headers: Vec<(String, String)>,
    /// The bytes as they came; compressed ones stay compressed.
    pub body: Bytes,
    /// From the start of the call, redirects included.
    pub elapsed: Duration,
}

/// Refuses what is no final HTTP status. A 101 would be the start of another protocol, for which nobody asked.
pub(super) fn check_status(status: StatusCode) -> Result<(), CallError> {
    match status.as_u16() {
        200..=599 => Ok(()),
        code => Err(CallError::Broken(format!("the target answered with status {code}"))),
    }
}

/// Reads the body, and gives the connection back if it can be used again. Large ones take turns for `rooms`.
pub(super) async fn read(
    live: Live,
    key: Key,
    pool: &Arc<Pool>,
    limit: usize,
    rooms: &Rooms,
) -> Result<Answer, CallError> {
    let (head, body) = live.response.into_parts();
    let status = head.status.as_u16();
    let body = read_body(body, limit, rooms, key.team).await?.ok_or(CallError::TooLarge { status, limit })?;
    if !has_two_lengths(&head.headers) {
        pool.put(key, live.wire).await;
    }
    Ok(Answer { status, headers: flatten(&head.headers), body, elapsed: Duration::ZERO })
}

/// Gives the connection of an unread answer back, if there is nothing to read; else closes it.
pub(super) async fn give_back(live: Live, key: Key, pool: &Arc<Pool>) {
    if live.response.body().is_end_stream() && !has_two_lengths(live.response.headers()) {
        pool.put(key, live.wire).await;
    }
}

/// The whole body, or `None` as soon as it is known to be longer than `limit`.
async fn read_body(mut body: Incoming, limit: usize, rooms: &Rooms, team: i64) -> Result<Option<Bytes>, CallError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Ok(None);
    }
    // As much as was announced, within reason: an announcement costs its sender nothing.
    let mut whole = BytesMut::with_capacity(announced.min(RESERVED_MAX));
    let (mut lease, mut may_be) = (None, room::SMALL);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::Broken(describe_http(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - whole.len() {
            return Ok(None);
        }
        let come = whole.len() + data.len();
        if come > may_be {
            let (larger, length) = rooms.lease(team, come, announced, limit).await;
            (lease, may_be) = (Some(larger), length);
            // At once, and not again and again with a copy; what is not written to takes no memory.
            whole.reserve(may_be.min(LEASED_MAX).saturating_sub(whole.len()));
        }
        whole.extend_from_slice(&data);
    }
    let whole = whole.freeze();
    Ok(Some(match lease {
        Some(lease) => lease.hold(whole),
        None => whole,
    }))
}

/// Two parsers may see two ends of such an answer, so nothing that follows it is believed.
fn has_two_lengths(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
}

fn flatten(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let joined = |name| {
        let mut values = headers.get_all(name).iter().map(text);
        let first = values.next().unwrap_or_default();
        values.fold(first, |joined, value| joined + ", " + &value)
    };
    headers.keys().map(|name| (name.as_str().to_owned(), joined(name))).collect()
}
