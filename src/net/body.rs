//! Reads request bodies against a cap and a deadline. Most bodies arrive together with their head; for those this
//! neither copies nor sets a timer.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::time::timeout;

use super::room;

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
    /// Compressed, or coded in another way.
    #[error("Content-Encoding is not supported")]
    Coded,
    /// Large, and just now there is no memory for it.
    #[error("There is no memory for a large body just now")]
    NoRoom,
}

impl BodyError {
    /// The status to answer with. The server ends the connection with each of these but [`Coded`](Self::Coded), whose body was read.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Coded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The whole body, of at most `cap` bytes. One that is declared larger is not read at all, and one that is coded is not
/// decoded: that would be another way to grow.
pub async fn read(body: Body, headers: &HeaderMap, cap: usize, deadline: Duration) -> Result<Bytes, BodyError> {
    let text = read_as_it_is(body, headers, cap, deadline).await?;
    check_coding(headers).map(|()| text)
}

/// Refuses a body that is coded. It says more of the body than of the client, so it is asked after everything that does
/// not need the body's meaning.
pub fn check_coding(headers: &HeaderMap) -> Result<(), BodyError> {
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(is_identity);
    if plain { Ok(()) } else { Err(BodyError::Coded) }
}

fn is_identity(value: &HeaderValue) -> bool {
    let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// The whole body, whatever it is coded in; see [`check_coding`].
pub async fn read_as_it_is(
    body: Body,
    headers: &HeaderMap,
    cap: usize,
    deadline: Duration,
) -> Result<Bytes, BodyError> {
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
    let mut whole = BytesMut::with_capacity(at_first(&body, first.len() + second.len(), cap));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    let mut leased = None;
    while !body.is_end_stream() {
        if whole.len() > room::SMALL && leased.is_none() {
            let most = most(&body, whole.len(), cap);
            leased = Some(room::lease(most).await.ok_or(BodyError::NoRoom)?);
            whole.reserve(most - whole.len());
        }
        let Some(more) = next(&mut body, cap - whole.len()).await? else {
            break;
        };
        whole.extend_from_slice(&more);
    }
    let whole = whole.freeze();
    Ok(match leased {
        Some(lease) => room::hold(whole, lease),
        None => whole,
    })
}

/// What to set aside at first. A declared length is only half believed: it costs the client nothing.
fn at_first(body: &Body, read: usize, cap: usize) -> usize {
    let left = usize::try_from(body.size_hint().lower()).unwrap_or(room::SMALL);
    (read + left.min(room::SMALL)).min(cap)
}

/// How large the body may be in the end.
fn most(body: &Body, read: usize, cap: usize) -> usize {
    let left = body.size_hint().upper().and_then(|left| usize::try_from(left).ok());
    left.map_or(cap, |left| read.saturating_add(left).min(cap))
}

/// Keeps a large body's room until the answer to it has been sent, which may be as large.
pub fn until_sent(answer: Response, body: Bytes) -> Response {
    if body.len() <= room::SMALL {
        return answer;
    }
    answer.map(|inner| Body::new(Holding { inner, _body: body }))
}

/// An answer's body, and the request's.
struct Holding {
    inner: Body,
    _body: Bytes,
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The next bytes, of which there may be no more than `left`. Trailers are passed over.
async fn next(body: &mut Body, left: usize) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        return if data.len() > left { Err(BodyError::TooLarge) } else { Ok(Some(data)) };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use axum::body::Body;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, header::CONTENT_LENGTH};
    use hyper::body::Frame;
    use tokio::{
        sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        time::sleep,
    };

    use super::{BodyError, DEADLINE, read};

    /// A body that arrives piece by piece.
    struct Pieces(UnboundedReceiver<&'static str>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            self.0.poll_recv(cx).map(|piece| {
                piece.map(|piece| match piece {
                    "broken" => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    piece => Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
                })
            })
        }
    }

    fn pieces(there: &[&'static str]) -> (UnboundedSender<&'static str>, Body) {
        let (sender, receiver) = unbounded_channel();
        for piece in there {
            sender.send(*piece).unwrap();
        }
        (sender, Body::new(Pieces(receiver)))
    }

    async fn read_all(there: &[&'static str], cap: usize) -> Result<Bytes, BodyError> {
        let (_, body) = pieces(there);
        read(body, &HeaderMap::new(), cap, DEADLINE).await
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_cap() {
        assert_eq!(read_all(&[], 6).await.unwrap(), "");
        assert_eq!(read_all(&["abc"], 6).await.unwrap(), "abc");
        assert_eq!(read_all(&["abc", "d", "ef"], 6).await.unwrap(), "abcdef");
        assert_eq!(read_all(&["abcdefg"], 6).await, Err(BodyError::TooLarge));
        assert_eq!(read_all(&["abc", "defg"], 6).await, Err(BodyError::TooLarge));
        assert_eq!(read_all(&["abc", "def", "g"], 6).await, Err(BodyError::TooLarge));
        assert_eq!(read_all(&["abc", "broken"], 6).await, Err(BodyError::Broken));
    }

    #[tokio::test]
    async fn a_body_that_is_there_is_not_copied() {
        let bytes = Bytes::from_static(b"abc");
        let read = read(Body::from(bytes.clone()), &HeaderMap::new(), 3, DEADLINE).await.unwrap();
        assert_eq!(read.as_ptr(), bytes.as_ptr());
    }

    #[tokio::test]
    async fn a_body_declared_too_large_is_not_waited_for() {
        let (_sender, body) = pieces(&[]);
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("7"))]);
        assert_eq!(read(body, &headers, 6, DEADLINE).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn dripping_does_not_extend_the_deadline() {
        let (sender, body) = pieces(&["a"]);
        tokio::spawn(async move {
            while sender.send("b").is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        // If each byte gave it more time, a thousand would have come first.
        let deadline = Duration::from_millis(200);
        assert_eq!(read(body, &HeaderMap::new(), 1000, deadline).await, Err(BodyError::TooSlow));
    }
}
