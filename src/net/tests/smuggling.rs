//! Requests that two parties could read in two ways, and what else no client sends in good faith. One test, one list.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Limits, PATIENCE, Server, short, statuses};

/// What is sent, and the statuses that may come back. A second request waits behind many of them; it must not be answered.
struct Case(&'static str, Vec<u8>, &'static [u16]);

const BAD: &[u16] = &[400];
const OK: &[u16] = &[200];
const THEN_BAD: &[u16] = &[200, 400];

/// A request with these header lines besides `Host`, and this body, followed by a second request.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn head(head: &str) -> Vec<u8> {
    format!("{head}\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn lengths() -> Vec<Case> {
    vec![
        Case("CL then TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), BAD),
        Case("TE then CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), BAD),
        Case("CL 0 then TE", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), BAD),
        Case("TE then a CL of words", post("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", "0\r\n\r\n"), BAD),
        Case("two different CL", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"), BAD),
        Case("two equal CL", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), BAD),
        Case("two equal CL of 0", post("Content-Length: 0\r\nContent-Length: 0\r\n", ""), BAD),
        Case("CL list", post("Content-Length: 3, 3\r\n", "abc"), BAD),
        Case("CL with a plus", post("Content-Length: +3\r\n", "abc"), BAD),
        Case("CL in hex", post("Content-Length: 0x3\r\n", "abc"), BAD),
        Case("CL below 0", post("Content-Length: -1\r\n", ""), BAD),
        Case("CL overflow", post("Content-Length: 18446744073709551619\r\n", "abc"), BAD),
        Case("CL empty", post("Content-Length: \r\n", ""), BAD),
        Case("CL with a letter", post("Content-Length: 3a\r\n", "abc"), BAD),
    ]
}

fn codings() -> Vec<Case> {
    let te = |value: &str| post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
    vec![
        Case("TE gzip, chunked", te("gzip, chunked"), BAD),
        Case("TE chunked, chunked", te("chunked, chunked"), BAD),
        Case("TE chunked, identity", te("chunked, identity"), BAD),
        Case("TE identity", te("identity"), BAD),
        Case("TE xchunked", te("xchunked"), BAD),
        Case("TE empty", te(""), BAD),
        Case("TE quoted", te("\"chunked\""), BAD),
        Case("TE with a vertical tab", te("\x0bchunked"), BAD),
        Case("TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), BAD),
        Case("TE before a colon's space", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), BAD),
        Case("TE on 1.0", head("POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked"), BAD),
        Case("chunk size 0x3", chunked("0x3\r\nabc\r\n0\r\n\r\n"), BAD),
        Case("chunk size -3", chunked("-3\r\nabc\r\n0\r\n\r\n"), BAD),
        Case("chunk size overflow", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), BAD),
        Case("chunk size ended by LF", chunked("3\nabc\r\n0\r\n\r\n"), BAD),
        Case("chunk longer than its size", chunked("3\r\nabcd\r\n0\r\n\r\n"), BAD),
        Case("chunk size empty", chunked("\r\nabc\r\n0\r\n\r\n"), BAD),
        Case("chunk extension with LF", chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), BAD),
        Case("too many trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(65))), BAD),
    ]
}

fn heads() -> Vec<Case> {
    vec![
        Case("no Host", head("GET / HTTP/1.1\r\nA: b"), BAD),
        Case("two Hosts", head("GET / HTTP/1.1\r\nHost: a\r\nHost: a"), BAD),
        Case("Host with userinfo", head("GET / HTTP/1.1\r\nHost: a@b"), BAD),
        Case("Host with a path", head("GET / HTTP/1.1\r\nHost: a/b"), BAD),
        Case("Host list", head("GET / HTTP/1.1\r\nHost: a b"), BAD),
        Case("userinfo in the target", head("GET http://u@a/ HTTP/1.1\r\nHost: a"), BAD),
        Case("obs-fold", head("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c"), BAD),
        Case("fold at the first line", head("GET / HTTP/1.1\r\n Host: a"), BAD),
        Case("NUL in a value", head("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c"), BAD),
        Case("bare CR in a value", head("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc"), BAD),
        Case("bare CR between lines", head("GET / HTTP/1.1\r\nHost: a\rA: b"), BAD),
        Case("bare LF lines", b"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n\n".to_vec(), BAD),
        Case("one bare LF", head("GET / HTTP/1.1\r\nHost: a\nA: b"), BAD),
        Case("space before the colon", head("GET / HTTP/1.1\r\nHost: a\r\nA : b"), BAD),
        Case("no colon", head("GET / HTTP/1.1\r\nHost: a\r\nAb"), BAD),
        Case("empty name", head("GET / HTTP/1.1\r\nHost: a\r\n: b"), BAD),
        Case("name with a high byte", b"GET / HTTP/1.1\r\nHost: a\r\n\xffA: b\r\n\r\n".to_vec(), BAD),
        Case("HTTP/1.2", head("GET / HTTP/1.2\r\nHost: a"), BAD),
        Case("HTTP/2.0", head("GET / HTTP/2.0\r\nHost: a"), BAD),
        Case("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), BAD),
        Case("no method", head(" / HTTP/1.1\r\nHost: a"), BAD),
        Case("two spaces", head("GET  / HTTP/1.1\r\nHost: a"), BAD),
        Case("space in the target", head("GET / x HTTP/1.1\r\nHost: a"), BAD),
        Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), BAD),
        Case("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh".to_vec(), BAD),
        Case("random bytes", (0..200_u8).map(|i| i.wrapping_mul(151) | 0x80).collect(), BAD),
        Case("65 fields", head(&format!("GET / HTTP/1.1\r\nHost: a{}", "\r\nA: b".repeat(64))), &[431]),
        Case("large field", head(&format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "b".repeat(33_000))), &[431]),
        Case("endless field", format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "b".repeat(40_000)).into(), &[431]),
        Case("long target", head(&format!("GET /{} HTTP/1.1\r\nHost: a", "a".repeat(8192))), &[414]),
        Case("huge target", head(&format!("GET /{} HTTP/1.1\r\nHost: a", "a".repeat(40_000))), &[414]),
        Case("endless target", format!("GET /{}", "a".repeat(40_000)).into(), &[414]),
        Case("nothing but line ends", b"\r\n\r\n\r\n".to_vec(), &[408]),
    ]
}

/// Behind a body whose end hides in it, folded lines are found all the same.
fn behind_another() -> Vec<Case> {
    let folded = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc";
    let after = |lines: &str, body: &str| {
        format!("POST /echo HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}{folded}{folded}").into_bytes()
    };
    vec![
        Case("behind no body", after("", ""), THEN_BAD),
        Case("behind a sized body", after("Content-Length: 8\r\n", "\r\n\r\nabcd"), THEN_BAD),
        Case("behind chunks", after("Transfer-Encoding: chunked\r\n", "4\r\n\r\n\r\n\r\n0\r\nX: y\r\n\r\n"), THEN_BAD),
    ]
}

fn in_good_faith() -> Vec<Case> {
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n").into_bytes();
    let raw = |text: &str| text.as_bytes().to_vec();
    vec![
        Case("plain", get(""), OK),
        Case("64 fields", get(&"A: b\r\n".repeat(62)), OK),
        Case("31 KiB of header", get(&format!("A: {}\r\n", "b".repeat(31 * 1024))), OK),
        Case("Content-Encoding identity", get("Content-Encoding: identity\r\n"), OK),
        Case("leading line end", raw("\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), OK),
        Case("absolute form", raw("GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), OK),
        Case("1.0 without Host", raw("GET / HTTP/1.0\r\n\r\n"), OK),
        Case("Host with a port", raw("GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"), OK),
        Case("lower-case method", raw("get / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), &[405]),
        Case("CONNECT", raw("CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), &[404]),
        Case("OPTIONS *", raw("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), &[404]),
        Case("Upgrade to h2c", get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), OK),
    ]
}

/// What the server says to `bytes`, and whether it then closed the connection.
async fn converse(server: &Server, bytes: &[u8]) -> (String, bool) {
    let mut client = server.connect().await;
    // The server may have refused and closed before it got everything.
    let _ = client.write_all(bytes).await;
    let mut heard = Vec::new();
    let is_closed = timeout(PATIENCE, client.read_to_end(&mut heard)).await.is_ok();
    (String::from_utf8_lossy(&heard).into_owned(), is_closed)
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_end_the_connection() {
    let server = Server::start(Limits { idle: Duration::from_secs(60), ..short() }).await;
    let cases = [lengths(), codings(), heads(), behind_another(), in_good_faith()].into_iter().flatten();
    let mut wrong = Vec::new();
    for Case(name, bytes, expected) in cases {
        let (heard, is_closed) = converse(&server, &bytes).await;
        let is_refused = expected.last().is_some_and(|status| matches!(status, 400 | 414 | 431));
        let says_it_closes = heard.contains("connection: close\r\n") || name == "too many trailers";
        let is_well_said =
            says_it_closes && heard.contains("content-type: application/json\r\n") && heard.contains(r#"{"error":""#);
        if statuses(&heard) != expected || !is_closed || (is_refused && !is_well_said) {
            wrong.push(format!("{name}: wanted {expected:?}, closed: {is_closed}, heard {heard}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
