//! What goes over the wire when nothing goes wrong.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::harness::*;
use crate::outbound::sign_v1;

#[tokio::test]
async fn a_post_is_sent_whole_signed_and_with_its_length() {
    let server = Server::start(|_| Reply::ok("done")).await;
    let caller = caller(&[]);
    let answer = caller.client.call(1, caller.canary(&server.url("127.0.0.1", "/a?b=%20"))).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"done"[..]));
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "POST /a?b=%20 HTTP/1.1");
    assert_eq!(seen.header("host"), Some(format!("127.0.0.1:{}", server.addr.port()).as_str()));
    assert_eq!(seen.header("content-length"), Some("11"));
    assert_eq!(seen.header("authorization"), Some("Bearer canary"));
    assert_eq!(seen.header("x-asyncqueue-task-id"), Some("canary"));
    assert_eq!(seen.header("user-agent"), Some(concat!("AsyncQueue/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen.header("content-type"), None, "text is not labelled");
    let signature = sign_v1(&["canary"], 1_700_000_000, b"canary body");
    assert_eq!(seen.header("x-asyncqueue-signature"), Some(signature.as_str()));
    for absent in ["transfer-encoding", "accept-encoding", "cookie", "webhook-id"] {
        assert_eq!(seen.header(absent), None);
    }
}

#[tokio::test]
async fn lengths_labels_and_agents_follow_the_request() {
    let server = Server::start(|_| Reply::ok("")).await;
    let caller = caller(&[]);
    let url = server.url("127.0.0.1", "/");
    let agent = (HeaderName::from_static("user-agent"), HeaderValue::from_static("mine"));
    let framing = (HeaderName::from_static("content-length"), HeaderValue::from_static("5"));
    for (method, body) in
        [("POST", None), ("PUT", Some(" {\"a\":1}")), ("GET", Some("ignored")), ("DELETE", Some("[]"))]
    {
        let mut request = caller.get(&url);
        request.method = Method::from_bytes(method.as_bytes()).unwrap();
        request.body = body.map(|body| Bytes::from_static(body.as_bytes()));
        request.headers = vec![agent.clone(), framing.clone()];
        caller.client.call(1, request).await.unwrap();
    }
    let seen = server.seen();
    let lengths: Vec<_> = seen.iter().map(|seen| seen.header("content-length")).collect();
    assert_eq!(lengths, [Some("0"), Some("8"), None, Some("2")]);
    let types: Vec<_> = seen.iter().map(|seen| seen.header("content-type")).collect();
    assert_eq!(types, [None, Some("application/json"), None, Some("application/json")]);
    assert!(seen.iter().all(|seen| seen.header("user-agent") == Some("mine")));
}

#[tokio::test]
async fn standard_webhooks_headers_replace_the_users() {
    let server = Server::start(|_| Reply::ok("")).await;
    let caller = caller(&[]);
    let mut request = caller.canary(&server.url("127.0.0.1", "/"));
    request.headers.push((HeaderName::from_static("webhook-id"), HeaderValue::from_static("theirs")));
    request.signer.as_mut().unwrap().standard_webhooks_id = Some("ours".to_owned());
    caller.client.call(1, request).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.head.matches("webhook-id").count(), 1);
    assert_eq!(seen.header("webhook-id"), Some("ours"));
    assert_eq!(seen.header("webhook-timestamp"), Some("1700000000"));
    assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
}

#[tokio::test]
async fn repeated_answer_headers_are_joined_and_bytes_stay_as_they_are() {
    let gzip = b"\x1f\x8b\x08\x00not really".to_vec();
    let mut bytes =
        b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nSet-Cookie: a\r\nx-a: 2\r\ncontent-encoding: gzip\r\n".to_vec();
    bytes.extend(format!("content-length: {}\r\n\r\n", gzip.len()).into_bytes());
    bytes.extend(&gzip);
    let server = Server::start(move |_| Reply::Send(bytes.clone())).await;
    let caller = caller(&[]);
    let answer = caller.fetch(&server.url("127.0.0.1", "/")).await.unwrap();
    assert_eq!(answer.status, 404);
    let header = |name: &str| answer.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-a"), Some("1, 2"));
    assert_eq!(header("content-encoding"), Some("gzip"));
    assert_eq!(&answer.body[..], &gzip[..]);
    caller.fetch(&server.url("127.0.0.1", "/")).await.unwrap();
    assert_eq!(server.seen()[1].header("cookie"), None, "cookies are not kept");
}
