//! T26: what we sign is accepted by receivers' own code: the published library of Standard Webhooks, and a few lines of
//! Python. `./test` installs the library and names the interpreter that has it in `AQ_TEST_PYTHON`; where neither the
//! variable nor what it installed is there, the lines of Python judge alone.

use std::io::Write;
use std::process::{Command, Stdio};

use asyncqueue::admin::Act;
use serde_json::{Value, json};

use crate::support::{Reply, Seen, Service, Target, hex};

/// Where `./test` puts the library, for who runs this test alone after it.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/verifiers/bin/python");

/// The interpreter, and whether it must have the library.
fn interpreter() -> (String, bool) {
    match std::env::var("AQ_TEST_PYTHON") {
        Ok(python) => (python, true),
        Err(_) if std::path::Path::new(INSTALLED).exists() => (INSTALLED.to_owned(), true),
        Err(_) => ("python3".to_owned(), false),
    }
}

/// One message with the secret that a receiver would check it with.
fn case(seen: &Seen, secret: &str, change: bool) -> Value {
    let headers: serde_json::Map<_, _> =
        seen.headers.iter().map(|(name, value)| (name.to_lowercase(), json!(value))).collect();
    json!({"secret": secret, "headers": headers, "body": hex(&seen.body), "change": change})
}

/// What this script of ours prints, told these values. It needs what `./test` installs.
pub fn python(script: &str, told: &Value) -> Vec<String> {
    let (python, _) = interpreter();
    let mut command = Command::new(&python);
    command.arg(script).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{python}: {error}"));
    child.stdin.take().unwrap().write_all(told.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{python}: {}; ./test installs what is needed", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Who accepts each case, after all of them were asked; panics where somebody accepts a changed body.
fn verdicts(cases: &[Value]) -> Vec<Vec<String>> {
    let (python, library) = interpreter();
    let mut command = Command::new(&python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/verify_webhooks.py"));
    command.args(library.then_some("--library")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{python}: {error}"));
    child.stdin.take().unwrap().write_all(json!(cases).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{python}: {}; ./test installs what is needed", output.status);
    let verdicts: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts.len(), cases.len());
    for verdict in &verdicts {
        assert_eq!(verdict["fooled"], json!([]));
    }
    let names = |verdict: &Value| serde_json::from_value(verdict["accepts"].clone()).unwrap();
    verdicts.iter().map(names).collect()
}

/// Everybody who is asked.
fn all() -> Vec<String> {
    let both = ["ours".to_owned(), "standard".to_owned()];
    both[..if interpreter().1 { 2 } else { 1 }].to_vec()
}

/// A completed task's webhook.
async fn told(service: &Service, answer: &str) -> Seen {
    let said = answer.to_owned();
    let target = Target::start(move |_, _| Reply::status(200, &said)).await;
    let receiver = Target::ok().await;
    let body = json!({"targetUrl": target.url("/"), "onCompleteUrl": receiver.url("/hook")});
    service.create(&body).await;
    receiver.request(1).await
}

#[tokio::test]
async fn receivers_verify_a_webhook_and_no_changed_byte_of_it() {
    let service = Service::start().await;
    let secret = service.secret().await;
    let mut cases = Vec::new();
    for answer in ["{\"a\": 1}", "", "é 日本 😀 \u{0} \\u0000 \"quoted\""] {
        cases.push(case(&told(&service, answer).await, &secret, true));
    }
    assert_eq!(verdicts(&cases), vec![all(); 3]);
}

#[tokio::test]
async fn during_a_rotation_receivers_verify_with_either_secret_and_with_no_other() {
    let service = Service::start().await;
    let first = service.secret().await;
    let before = told(&service, "before").await;
    service.act(Act::RotateSecret { team: "default".to_owned() }).await;
    let second = service.secret().await;
    let during = told(&service, "during").await;
    // A second rotation within the grace time drops the first secret: two sign, never three.
    service.act(Act::RotateSecret { team: "default".to_owned() }).await;
    let third = service.secret().await;
    let after = told(&service, "after").await;
    for seen in [&during, &after] {
        assert_eq!(seen.header("x-asyncqueue-signature").unwrap().matches("v1=").count(), 2);
        assert_eq!(seen.header("webhook-signature").unwrap().matches("v1,").count(), 2);
    }
    let cases = [
        (&before, &first, true),
        (&before, &second, false),
        (&during, &first, true),
        (&during, &second, true),
        (&during, &third, false),
        (&after, &first, false),
        (&after, &second, true),
        (&after, &third, true),
    ];
    let asked: Vec<_> = cases.iter().map(|(seen, secret, _)| case(seen, secret, true)).collect();
    let expected: Vec<_> = cases.iter().map(|(.., accepted)| if *accepted { all() } else { Vec::new() }).collect();
    assert_eq!(verdicts(&asked), expected);
}

#[tokio::test]
async fn a_target_verifies_a_call_and_a_receiver_refuses_what_is_signed_for_another_time() {
    let service = Service::start().await;
    let secret = service.secret().await;
    let target = Target::ok().await;
    service.create(&json!({"targetUrl": target.url("/"), "body": "{\"prompt\": \"ü\"}"})).await;
    let call = target.request(1).await;
    assert_eq!(call.header("webhook-signature"), None, "calls carry our own signature alone");
    service.clock.advance(200);
    let fine = told(&service, "a clock that is 200 s ahead").await;
    service.clock.advance(400);
    let wrong = told(&service, "a clock that is 600 s ahead").await;
    let asked = [case(&fine, &secret, false), case(&wrong, &secret, false)];
    assert_eq!(verdicts(&asked), [all(), Vec::new()]);
    assert_eq!(verdicts(&[case(&call, &secret, true)]), [vec!["ours".to_owned()]]);
}
