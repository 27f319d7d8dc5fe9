//! Follows the raw bytes of a connection, because the parser folds away what smuggling lives on: it drops a repeated
//! `Content-Length`, and one beside a `Transfer-Encoding`, before anyone can see it. Counting the raw lines shows it.

/// Where in the stream the next byte belongs.
#[derive(Debug)]
enum Place {
    /// In a request's head.
    Head,
    /// In a body of which so many bytes are still to come.
    Sized(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// Nowhere known. The parser refuses such a body too, so no further head is believed.
    Lost,
}

/// How a request's body is framed, as the parser understood it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Sized(u64),
    Chunked,
}

/// A connection's framing, byte by byte.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    /// Bytes of the head under way, and whatever came in the same read after it.
    raw: Vec<u8>,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { place: Place::Head, raw: Vec::new() }
    }

    /// Takes note of bytes just read.
    pub(super) fn saw(&mut self, bytes: &[u8]) {
        let skipped = self.skip_body(bytes);
        if matches!(self.place, Place::Head) {
            self.raw.extend_from_slice(&bytes[skipped..]);
        }
    }

    /// Whether a part of a head has been read.
    pub(super) fn is_in_head(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Whether the client owes us nothing and we it: no request is half read.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.place, Place::Head) && self.raw.is_empty()
    }

    /// Whether the rest of the stream makes no sense.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.place, Place::Lost)
    }

    /// How long the request line under way is, as far as it was read.
    pub(super) fn request_line_len(&self) -> usize {
        self.raw.iter().position(|byte| *byte == b'\n').unwrap_or(self.raw.len())
    }

    /// Says whether the head that the parser just read had exactly `fields` lines and no bare line feed, and moves past it.
    pub(super) fn is_plain_head(&mut self, fields: usize, body: BodyFraming) -> bool {
        let Some(lines) = HeadLines::of(&self.raw).filter(|_| matches!(self.place, Place::Head)) else {
            self.place = Place::Lost;
            self.raw = Vec::new();
            return false;
        };
        self.place = match body {
            BodyFraming::Sized(0) => Place::Head,
            BodyFraming::Sized(length) => Place::Sized(length),
            BodyFraming::Chunked => Place::Chunked(Chunks::Start),
        };
        self.move_past(lines.end);
        !lines.bare && lines.fields == fields
    }

    fn move_past(&mut self, head: usize) {
        const KEPT: usize = 1024;
        let raw = std::mem::take(&mut self.raw);
        let next = head + self.skip_body(&raw[head..]);
        self.raw = raw;
        if next < self.raw.len() && matches!(self.place, Place::Head) {
            self.raw.drain(..next);
        } else {
            self.raw.clear();
            // Ten thousand waiting connections should not each hold their largest head.
            self.raw.shrink_to(KEPT);
        }
    }

    /// How many of `bytes` belong to a body.
    fn skip_body(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Head => 0,
            Place::Lost => bytes.len(),
            Place::Sized(left) => {
                let skipped = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= skipped as u64;
                if *left == 0 {
                    self.place = Place::Head;
                }
                skipped
            }
            Place::Chunked(chunks) => {
                let (place, skipped) = chunks.skip(bytes);
                self.place = place;
                skipped
            }
        }
    }
}

/// What the lines of a head look like.
struct HeadLines {
    fields: usize,
    /// Whether a line ends without a carriage return.
    bare: bool,
    /// Where the head ends.
    end: usize,
}

impl HeadLines {
    fn of(raw: &[u8]) -> Option<Self> {
        let mut lines = Self { fields: 0, bare: false, end: 0 };
        let mut seen_request_line = false;
        loop {
            let rest = &raw[lines.end..];
            let line = &rest[..rest.iter().position(|byte| *byte == b'\n')?];
            lines.end += line.len() + 1;
            let text = line.strip_suffix(b"\r");
            lines.bare |= text.is_none();
            match (text.unwrap_or(line).is_empty(), seen_request_line) {
                // A client may end its last request with one line too many.
                (true, false) => {}
                (true, true) => return Some(lines),
                (false, true) => lines.fields += 1,
                (false, false) => seen_request_line = true,
            }
        }
    }
}

/// Where in a chunked body we are; the number is what is left of the chunk.
#[derive(Clone, Copy, Debug)]
enum Chunks {
    Start,
    Size(u64),
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataReturn,
    DataEnd,
    /// At the start of a line after the last chunk.
    LineStart,
    Trailer,
    TrailerEnd,
    End,
}

impl Chunks {
    /// Where `bytes` lead to, and how many of them belong to the body.
    fn skip(mut self, bytes: &[u8]) -> (Place, usize) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let Self::Data(left) = self {
                let step = usize::try_from(left).map_or(bytes.len() - at, |left| left.min(bytes.len() - at));
                at += step;
                let left = left - step as u64;
                self = if left == 0 { Self::DataReturn } else { Self::Data(left) };
                continue;
            }
            at += 1;
            if matches!((self, byte), (Self::End, b'\n')) {
                return (Place::Head, at);
            }
            let Some(next) = self.after(*byte) else {
                return (Place::Lost, bytes.len());
            };
            self = next;
        }
        (Place::Chunked(self), at)
    }

    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, _) => Self::Size(hex(byte)?),
            (Self::Size(left) | Self::Extension(left), b'\r') => Self::SizeEnd(left),
            (Self::Extension(_), b'\n') => return None,
            (Self::Size(left), b';' | b' ' | b'\t') | (Self::Extension(left), _) => Self::Extension(left),
            (Self::Size(left), _) => Self::Size(left.checked_mul(16)?.checked_add(hex(byte)?)?),
            (Self::SizeEnd(0) | Self::TrailerEnd, b'\n') => Self::LineStart,
            (Self::SizeEnd(left), b'\n') => Self::Data(left),
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Start,
            (Self::LineStart, b'\r') => Self::End,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::LineStart | Self::Trailer, _) => Self::Trailer,
            _ => return None,
        })
    }
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::{BodyFraming, Framing};

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// However a stream is cut into reads, a head after a body is found.
    fn finds_the_next_head(head: &[u8], fields: usize, framing: BodyFraming, body: &[u8]) {
        let stream = [head, body, GET].concat();
        for cut in head.len()..=stream.len() {
            let mut raw = Framing::new();
            raw.saw(&stream[..cut]);
            assert!(raw.is_plain_head(fields, framing));
            stream[cut..].chunks(3).for_each(|bytes| raw.saw(bytes));
            assert_eq!(raw.raw, GET, "cut at {cut}");
            assert!(raw.is_plain_head(1, BodyFraming::Sized(0)));
            assert!(!raw.is_in_head());
        }
    }

    #[test]
    fn a_head_is_found_after_any_body() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
        finds_the_next_head(head, 2, BodyFraming::Sized(0), b"");
        finds_the_next_head(head, 2, BodyFraming::Sized(11), b"\r\n\r\nGET / X");
        finds_the_next_head(head, 2, BodyFraming::Chunked, b"0\r\n\r\n");
        finds_the_next_head(head, 2, BodyFraming::Chunked, b"5\r\n\r\n0\r\n\r\n0;a=b\r\nX: y\r\nZ: \r\n\r\n");
        finds_the_next_head(head, 2, BodyFraming::Chunked, b"00A ;x\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n");
    }

    #[test]
    fn a_folded_line_is_missed_and_a_bare_line_feed_seen() {
        let plain = |head: &[u8], fields| {
            let mut raw = Framing::new();
            raw.saw(head);
            raw.is_plain_head(fields, BodyFraming::Sized(0))
        };
        assert!(plain(b"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n", 1));
        assert!(!plain(b"GET / HTTP/1.1\r\nA: b\r\nA: b\r\n\r\n", 1));
        assert!(!plain(b"GET / HTTP/1.1\nA: b\r\n\r\n", 1));
        assert!(!plain(b"GET / HTTP/1.1\r\nA: b\r\n\n", 1));
    }

    #[test]
    fn no_head_is_believed_after_a_broken_chunk() {
        let mut raw = Framing::new();
        raw.saw(b"POST / HTTP/1.1\r\nA: b\r\n\r\n");
        assert!(raw.is_plain_head(1, BodyFraming::Chunked));
        raw.saw(b"0x3\r\nabc\r\n0\r\n\r\n");
        raw.saw(GET);
        assert!(!raw.is_plain_head(1, BodyFraming::Sized(0)));
    }
}
