//! A sound history, and the same with one thing broken at a time: each rule must find its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Observed, TaskRead, check};
use crate::harness::target::{Call, Hook};
use crate::harness::time::iso;
use crate::ledger::{Act, By, Create, Entry, Kind, Verdict};

const SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// When everything here begins.
const T0: i64 = 1_700_000_000_000;

#[derive(Clone)]
struct History {
    entries: Vec<Entry>,
    seen: Observed,
}

impl History {
    /// The rules that are found broken.
    fn broken(&self) -> BTreeSet<&'static str> {
        check(&self.entries, &self.seen).iter().map(|violation| violation.rule).collect()
    }

    fn create(&mut self, index: usize) -> &mut Create {
        let mut creates =
            self.entries.iter_mut().filter_map(|it| if let Entry::Create(it) = it { Some(it) } else { None });
        creates.nth(index).expect("a creation")
    }

    fn act(&mut self, by: By) -> &mut Act {
        let mut acts = self.entries.iter_mut().filter_map(|it| if let Entry::Act(it) = it { Some(it) } else { None });
        acts.find(|act| act.by == by).expect("an act")
    }

    /// Changes a field of a task in both reads.
    fn set(&mut self, task: &str, field: &str, value: Value) {
        let read = self.read(task);
        (read.first[field], read.second[field]) = (value.clone(), value);
    }

    fn read(&mut self, task: &str) -> &mut TaskRead {
        self.seen.tasks.iter_mut().find(|read| read.id == task).expect("a task")
    }

    fn call(&mut self, task: &str) -> &mut Call {
        self.seen.calls.iter_mut().find(|call| call.task == task).expect("a call")
    }

    /// Adds a task: its creation, its reads, its webhook where it has one.
    fn add(&mut self, kind: Kind, id: &str, request: &Value, state: &Value) {
        let mut task = json!({"id": id, "metadata": {"marker": id}, "maxRetries": 1, "body": "sent", "retryCount": 0});
        for (field, value) in request.as_object().into_iter().chain(state.as_object()).flatten() {
            task[field] = value.clone();
        }
        let request = task_request(&task, request);
        let create = Create {
            marker: id.into(),
            team: 0,
            kind,
            request,
            verdict: Verdict::Acknowledged,
            status: 201,
            sent: T0,
            id: Some(id.into()),
        };
        self.entries.push(Entry::Create(create));
        if task["onCompleteUrl"].is_string() {
            self.seen.hooks.push(hook(&task));
        }
        let events = state["events"].clone();
        self.seen.tasks.push(TaskRead {
            team: 0,
            id: id.into(),
            first: task.clone(),
            second: task,
            events,
            listed: true,
        });
    }

    fn called(&mut self, task: &str, attempt: u32, at: i64, status: u16) {
        let signature = signed(b"sent");
        let answered = Some(at + 10);
        self.seen.calls.push(Call {
            task: task.into(),
            attempt,
            at,
            answered,
            status,
            body: b"sent".to_vec(),
            signature,
        });
    }

    fn acted(&mut self, by: By, task: &str, body: &str, at: i64) {
        let answer = json!({"task": self.read(task).first});
        let (task, credential, body) = (task.to_owned(), format!("credential of {task}"), body.to_owned());
        let verdict = Verdict::Acknowledged;
        self.entries.push(Entry::Act(Act {
            by,
            task,
            credential,
            body,
            verdict,
            status: 200,
            answer,
            sent: at,
            answered: at + 5,
        }));
    }
}

fn task_request(task: &Value, request: &Value) -> Value {
    let mut request = request.clone();
    for field in ["metadata", "maxRetries", "body"] {
        request[field] = task[field].clone();
    }
    request
}

fn hmac(parts: &[&[u8]], key: &[u8]) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn signed(body: &[u8]) -> String {
    format!("t=1,v1={}", crate::harness::signature::to_hex(&hmac(&[b"1.", body], SECRET.as_bytes())))
}

fn hook(task: &Value) -> Hook {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let event = format!("task.{}", task["status"].as_str().unwrap());
    let body = json!({"event": event, "task": task}).to_string().into_bytes();
    let standard = format!("v1,{}", STANDARD.encode(hmac(&[b"id.1.", &body], &[0; 32])));
    let id = task["id"].as_str().unwrap().to_owned();
    Hook { task: id, event, status: 200, signature: signed(&body), body, standard: ["id".into(), "1".into(), standard] }
}

fn result(body: &str) -> Value {
    json!({"statusCode": 200, "headers": {}, "body": body, "duration": 0})
}

/// One task of each sort, and a restart in the middle of it.
fn sound() -> History {
    let seen = Observed { at: T0 + 100_000, lateness: 2_000, secrets: vec![SECRET.into()], ..Observed::default() };
    let mut history = History { entries: vec![Entry::Ready(T0 - 9_000)], seen };
    let done = json!({"status": "completed", "completedAt": iso(T0 + 50), "result": result("{\"a\":1}")});
    history.add(Kind::Callback, "callback", &json!({"onCompleteUrl": "http://hook/"}), &done);
    history.called("callback", 1, T0, 200);
    history.acted(By::Callback, "callback", "{ \"a\" : 1 }", T0 + 40);
    let failed = json!({"status": "failed", "error": "no", "completedAt": iso(T0 + 50)});
    history.add(Kind::Signal, "signal", &json!({}), &failed);
    history.called("signal", 1, T0, 200);
    history.acted(By::Signal, "signal", r#"{"status":"failed","error":"no"}"#, T0 + 40);
    let due = json!({"delayUntil": iso(T0 + 3_600_000)});
    history.add(Kind::Victim, "victim", &due, &json!({"status": "cancelled", "completedAt": iso(T0 + 50)}));
    history.acted(By::Cancel, "victim", "", T0 + 40);
    let plain = json!({"status": "completed", "completedAt": iso(T0 + 1_100), "result": {"body": "ok"}});
    history.add(Kind::Flaky, "flaky", &json!({}), &plain);
    history.called("flaky", 1, T0, 500);
    history.called("flaky", 2, T0 + 1_015, 200);
    history.add(Kind::Delayed, "delayed", &json!({"delayUntil": iso(T0 + 500)}), &plain);
    history.called("delayed", 1, T0 + 505, 200);
    let waiting = json!([{"type": "waiting", "at": iso(T0 + 10)}]);
    let timeout = json!({"status": "timeout", "completedAt": iso(T0 + 2_100), "events": waiting});
    history.add(Kind::Short, "short", &json!({"maxWaitTime": 2}), &timeout);
    history.called("short", 1, T0, 200);
    history.entries.extend([Entry::Down(T0 + 20_000), Entry::Ready(T0 + 22_000)]);
    history
}

/// Breaks one thing, and expects exactly these rules to find it.
fn finds<const N: usize>(rules: [&'static str; N], breakage: impl FnOnce(&mut History)) {
    let mut history = sound();
    breakage(&mut history);
    assert_eq!(history.broken(), BTreeSet::from(rules));
}

#[test]
fn a_sound_history_has_no_violation() {
    finds([], |_| {});
}

#[test]
fn a_lost_creation_is_found() {
    finds(["I1"], |it| it.seen.tasks.retain(|read| read.id != "delayed"));
    finds(["I1"], |it| it.read("delayed").listed = false);
}

#[test]
fn a_changed_field_is_found() {
    finds(["I1"], |it| it.create(4).request["priority"] = json!(3));
    finds(["I1"], |it| {
        it.set("delayed", "metadata", json!({"marker": "delayed", "more": "x"}));
    });
    finds(["I1"], |it| it.create(4).request["delayUntil"] = json!(iso(T0 + 501)));
}

#[test]
fn a_refused_creation_that_is_there_is_found() {
    finds(["I1"], |it| {
        let create = it.create(4);
        (create.verdict, create.id) = (Verdict::Refused, None);
    });
}

#[test]
fn a_creation_done_twice_is_found() {
    finds(["I1"], |it| {
        let mut copy = it.read("delayed").clone();
        copy.id = "copy".into();
        it.seen.tasks.push(TaskRead {
            first: json!({"metadata": {"marker": "delayed"}, "status": "delayed", "delayUntil": iso(T0 * 2)}),
            ..copy
        });
        let last = it.seen.tasks.last_mut().unwrap();
        last.second = last.first.clone();
    });
}

#[test]
fn a_lost_callback_is_found() {
    finds(["I2"], |it| {
        it.set("callback", "result", result("{\"a\":2}"));
        it.seen.hooks[0] = hook(&it.seen.tasks[0].first);
    });
}

#[test]
fn a_callback_answered_with_another_state_is_found() {
    finds(["I2"], |it| {
        it.act(By::Callback).answer["task"]["status"] = json!("waiting");
    });
}

#[test]
fn a_lost_signal_is_found() {
    finds(["I2"], |it| it.set("signal", "error", json!("other")));
}

#[test]
fn an_undone_cancellation_is_found() {
    finds(["I2"], |it| it.set("victim", "status", json!("delayed")));
}

#[test]
fn a_result_that_nobody_sent_is_found() {
    finds(["I2"], |it| it.act(By::Callback).verdict = Verdict::Refused);
}

#[test]
fn a_callback_that_was_not_answered_may_count_or_not() {
    finds([], |it| it.act(By::Callback).verdict = Verdict::Unknown);
}

#[test]
fn a_second_acknowledgement_is_found() {
    finds(["I3"], |it| {
        let again = it.act(By::Callback).clone();
        it.entries.push(Entry::Act(again));
    });
}

#[test]
fn a_live_credential_that_is_denied_is_found() {
    finds(["I3"], |it| {
        let act = it.act(By::Callback);
        let denied = Act { task: "delayed".into(), verdict: Verdict::Refused, status: 404, ..act.clone() };
        it.entries.push(Entry::Act(denied));
    });
}

#[test]
fn a_final_state_that_changes_is_found() {
    finds(["I4"], |it| it.read("flaky").second["result"] = json!(null));
}

#[test]
fn a_call_after_a_cancellation_is_found() {
    finds(["I5"], |it| {
        it.set("victim", "delayUntil", json!(null));
        it.create(2).request["delayUntil"] = json!(null);
        it.called("victim", 1, T0 + 46, 200);
    });
}

#[test]
fn too_many_attempts_are_found() {
    finds(["I6"], |it| it.called("flaky", 3, T0 + 5_000, 200));
    finds(["I6"], |it| it.called("flaky", 2, T0 + 5_000, 200));
}

#[test]
fn an_early_attempt_is_found() {
    finds(["I7"], |it| it.call("delayed").at = T0 + 400);
    finds(["I7"], |it| it.call("flaky").answered = Some(T0 + 100));
}

#[test]
fn a_task_left_in_the_middle_is_found() {
    finds(["I8"], |it| it.set("flaky", "status", json!("processing")));
    finds(["I8"], |it| {
        it.set("flaky", "status", json!("delayed"));
        it.set("flaky", "nextAttemptAt", json!(iso(T0 + 90_000)));
    });
}

#[test]
fn a_wait_of_the_wrong_length_is_found() {
    finds(["I9"], |it| it.set("short", "completedAt", json!(iso(T0 + 1_500))));
    finds(["I9"], |it| it.set("short", "completedAt", json!(iso(T0 + 4_500))));
    finds(["I9"], |it| it.set("short", "status", json!("waiting")));
}

#[test]
fn a_deadline_that_passes_while_the_service_is_down_waits_a_minute() {
    let down_from = |it: &mut History| it.entries.extend([Entry::Down(T0 + 1_000), Entry::Ready(T0 + 9_000)]);
    finds([], |it| {
        down_from(it);
        it.set("short", "completedAt", json!(iso(T0 + 70_000)));
    });
    finds(["I9"], |it| {
        down_from(it);
        it.set("short", "completedAt", json!(iso(T0 + 9_100)));
    });
}

#[test]
fn a_damaged_call_is_found() {
    finds(["I10"], |it| it.call("flaky").body[0] ^= 1);
    finds(["I10"], |it| it.call("flaky").signature.push('0'));
}

#[test]
fn a_damaged_webhook_is_found() {
    finds(["I10"], |it| it.seen.hooks[0].signature.push('0'));
    finds(["I10"], |it| it.seen.hooks[0].standard[2].push('0'));
    finds(["I10"], |it| it.seen.hooks[0].event = "task.failed".into());
    finds(["I10"], |it| it.set("callback", "retryCount", json!(7)));
}

#[test]
fn a_missing_or_needless_webhook_is_found() {
    finds(["W"], |it| it.seen.hooks.clear());
    finds(["W"], |it| it.seen.hooks[0].status = 500);
    finds(["W"], |it| it.seen.hooks.push(hook(&it.seen.tasks[3].first)));
    finds(["W"], |it| {
        let copy = it.seen.hooks[0].clone();
        it.seen.hooks.extend([copy.clone(), copy]);
    });
}

#[test]
fn a_look_into_another_team_is_found() {
    finds(["I12"], |it| it.seen.foreign.push(("flaky".into(), 200)));
    finds(["I12"], |it| it.read("flaky").team = 1);
}

#[test]
fn a_damaged_database_is_found() {
    let path = std::env::temp_dir().join(format!("asyncqueue-damaged-{}.db", std::process::id()));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(20000));").unwrap();
    drop(connection);
    assert_eq!(super::integrity(&path), []);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4_096..8_192].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(super::integrity(&path)[0].rule, "I11");
    std::fs::remove_file(path).unwrap();
}
