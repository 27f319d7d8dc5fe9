//! Reads request bodies against a cap and a deadline. Most bodies arrive together with their head; for those this
//! neither copies nor sets a timer.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use hyper::body::Body as _;
use tokio::time::timeout;

/// How long a client may take to send a body, where nothing else is set.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than allowed; what lies beyond was not read.
    #[error("Request body too large")]
    TooLarge,
    /// Not complete in time.
    #[error("Request body timed out")]
    TooSlow,
    /// The client went away, or its framing made no sense.
    #[error("Malformed request body")]
    Broken,
}

impl BodyError {
    /// The status to answer with. The server ends the connection with each of these.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// The whole body, of at most `cap` bytes. One that is declared larger is not read at all.
pub async fn read(body: Body, headers: &HeaderMap, cap: usize, deadline: Duration) -> Result<Bytes, BodyError> {
    if declared(headers).is_some_and(|length| length > cap as u64) {
        return Err(BodyError::TooLarge);
    }
    let mut whole = pin!(collect(body, cap));
    if let Poll::Ready(outcome) = poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        return outcome;
    }
    timeout(deadline, whole).await.unwrap_or(Err(BodyError::TooSlow))
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(mut body: Body, cap: usize) -> Result<Bytes, BodyError> {
    let first = next(&mut body, cap).await?.unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(&mut body, cap - first.len()).await? else {
        return Ok(first);
    };
    let mut whole = BytesMut::with_capacity(room(&body, first.len() + second.len(), cap));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while !body.is_end_stream() {
        let Some(more) = next(&mut body, cap - whole.len()).await? else {
            break;
        };
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// What to set aside. A declared length is only half believed: it costs the client nothing.
fn room(body: &Body, read: usize, cap: usize) -> usize {
    const BELIEVED: usize = 256 * 1024;
    let left = usize::try_from(body.size_hint().lower()).unwrap_or(BELIEVED);
    (read + left.min(BELIEVED)).min(cap)
}

/// The next bytes, of which there may be no more than `left`. Trailers are passed over.
async fn next(body: &mut Body, left: usize) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        return if data.len() > left {
            Err(BodyError::TooLarge)
        } else {
            Ok(Some(data))
        };
    }
    Ok(None)
}
