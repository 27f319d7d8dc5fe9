//! T32: bodies of all sorts on the callback route and on the creation, judged by Python's own reader of JSON.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Answer, Connection, Created, KEY, Service, Target, hex};

const VALID: &str = r#"0|-0|1|-1|10|1.5|-1.50|1e5|1E+5|1e-5|1.0E+2|1e400|-1e-400|123456789012345678901234567890|196619188014358660
""|"a"|"\u0000"|"\ud800"|"\udc00\ud800"|"\ud83d\ude00"|"é"|"日本"|"😀"|"\"\\\/\b\f\n\r\t"|"\u00E9"|"/"|"]"|"a, b : c"
true|false|null|[]|{}|[[]]|[{}]|{"a":{}}|{"":0}|{"a":1,"a":2}|{"b":1,"a":2}|[1,[2,[3]]]|{"a":[{"b":null}]}|[0.10,1e1,-0.0]
 1 | [ 1 , 2 ] | { "a" : 1 , "b" : [ ] } | "  two  " "#;

const INVALID: &str = r#"nul|tru|True|NULL|undefined|NaN|Infinity|-Infinity|[NaN]|01|-01|00|1.|.5|+1|-|--1|1e|1e+|0e|1e5.5|0x10|1_000|1,5|１
"|"a|a"|'a'|"\x41"|"\u12"|"\u123g"|"\a"|"\"|"a" "b"|[|]|[1|1]|[1,]|[,1]|[,]|[1,,2]|[1 2]|[1;2]|[1]]|[1}|{|}|{"a"}|{"a":}|{"a":1,}
{,}|{a:1}|{'a':1}|{1:2}|{null:1}|{"a":1 "b":2}|{"a" 1}|{"a":1,,"b":2}|{"a":1}}|{"a":1]|{}{}|1 2|[] []|{"a":1}x|/*c*/1|1//c|#c|(1)|<a/>|a=1&b=2
{"a":1;"b":2}|{"a"::1}|{"a":"b}|["a]|[true fals]|{"a":truee}"#;

/// Texts that no line of a table can hold.
const INVALID_BYTES: &[&[u8]] = &[
    b"",
    b" ",
    b"\n\t\r ",
    b"\x001",
    b"1\x00",
    b"\x0b1",
    b"\x0c1",
    b"\xc2\xa01",
    b"\xe2\x80\xa81",
    b"\xef\xbb\xbf1",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b"\xfe\xff\x00{\x00}",
    b"{\x00}\x00",
    b"\"\xff\"",
    b"\"\xc0\xaf\"",
    b"\"\xe0\x80\xaf\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xe2\x82\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\"\x80\"",
    b"{\"a\":\"\xe9\"}",
];

/// Every table's texts, and strings with each control character as it is.
fn cases() -> Vec<Vec<u8>> {
    let tables =
        [VALID, INVALID].into_iter().flat_map(|table| table.split(['|', '\n'])).map(|text| text.as_bytes().to_vec());
    let bytes = INVALID_BYTES.iter().map(|text| text.to_vec());
    let controls = (0..=0x20).chain([0x7f]).map(|byte| vec![b'"', byte, b'"']);
    tables.chain(bytes).chain(controls).collect()
}

/// What each text means to Python; none if it is not JSON.
fn meanings(texts: &[Vec<u8>]) -> Vec<Option<String>> {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracles/json_bodies.py"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = texts.iter().map(|text| hex(text) + "\n").collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let told: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(told.len(), texts.len());
    told.into_iter().map(|meaning| (meaning != "invalid").then_some(meaning)).collect()
}

async fn post(service: &Service, path: &str, body: &[u8]) -> Answer {
    let headers = [("x-api-key", KEY), ("content-type", "application/json")];
    Connection::open(service.address).await.send("POST", path, &headers, Some(body)).await
}

async fn waiting(service: &Service, target: &Target) -> Created {
    let created =
        service.create(&json!({"targetUrl": target.url("/"), "waitForSignal": true, "maxWaitTime": 600})).await;
    service.becomes(&created.id, "waiting").await;
    created
}

#[tokio::test]
async fn a_callback_takes_what_is_json_and_nothing_else_and_changes_no_meaning() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let cases = cases();
    let meanings = meanings(&cases);
    let valid = meanings.iter().flatten().count();
    assert!(valid >= 45 && cases.len() - valid >= 120, "{valid} of {} are JSON", cases.len());
    let mut kept = Vec::new();
    let mut open = waiting(&service, &target).await;
    for (case, meaning) in cases.iter().zip(&meanings) {
        let answer = post(&service, &open.callback_path(), case).await;
        if meaning.is_none() {
            answer.expect_error(400, "Request body must be valid JSON");
            assert_eq!(service.task(&open.id).await["status"], "waiting", "{case:?}");
            continue;
        }
        let shown = String::from_utf8_lossy(case).into_owned();
        assert_eq!(answer.status, 200, "{shown}: {}", answer.text());
        let task = service.task(&open.id).await;
        kept.push(task["result"]["body"].as_str().unwrap().as_bytes().to_vec());
        open = waiting(&service, &target).await;
    }
    let before: Vec<_> = meanings.into_iter().flatten().collect();
    let after: Vec<_> = self::meanings(&kept).into_iter().flatten().collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_creation_is_an_object_with_what_it_needs_or_a_400() {
    let service = Service::start().await;
    for case in cases() {
        let answer = post(&service, "/v1/tasks", &case).await;
        assert_eq!(answer.status, 400, "{case:?}: {}", answer.text());
        assert!(!answer.error().is_empty(), "{case:?}");
    }
    assert_eq!(service.ask("GET", "/v1/tasks").await.json()["pagination"]["total"], 0);
}

#[tokio::test]
async fn any_depth_is_taken_by_a_callback_and_nothing_breaks_at_a_creation() {
    let (service, target) = (Service::start().await, Target::ok().await);
    let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
    let open = waiting(&service, &target).await;
    post(&service, &open.callback_path(), &deep).await.expect(200);
    assert_eq!(service.task(&open.id).await["result"]["body"].as_str().unwrap().as_bytes(), deep);
    post(&service, "/v1/tasks", &deep).await.expect(400);
    let members: Vec<_> = (0..100_000).map(|number| format!("\"k{number}\":1")).collect();
    let wide = format!("{{{}}}", members.join(","));
    post(&service, "/v1/tasks", wide.as_bytes()).await.expect(400);
}
