//! The command-line client as people and scripts meet it: the real program against the real service.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::service::{Folder, team_key};
use crate::support::{KEY, Reply, Service, Target};

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_asyncqueue");

/// How a command ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A person at a machine: variables, and what is typed in.
#[derive(Clone)]
struct Person {
    variables: Vec<(String, String)>,
    input: String,
}

impl Person {
    fn new(url: &str, key: &str) -> Self {
        let mut person = Self { variables: Vec::new(), input: String::new() };
        for (name, value) in [("URL", url), ("API_KEY", key), ("PROFILES", "/nonexistent/profiles.toml")] {
            person.set(name, value);
        }
        person
    }

    fn of(service: &Service) -> Self {
        Self::new(&format!("http://{}", service.address), KEY)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((format!("ASYNCQUEUE_{name}"), value.to_owned()));
    }

    fn typing(&self, input: &str) -> Self {
        Self { input: input.to_owned(), ..self.clone() }
    }

    async fn runs(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        self.command(command).await
    }

    /// The same on a terminal.
    async fn sees(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("script");
        let line = std::iter::once(PROGRAM).chain(arguments.iter().copied()).map(|word| format!("'{word}'"));
        command.args(["-qec", &line.collect::<Vec<_>>().join(" "), "/dev/null"]);
        self.command(command).await
    }

    async fn command(&self, mut command: Command) -> Ran {
        command.envs(self.variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = self.input.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            child.wait_with_output().unwrap()
        });
        let output = ended.await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let shown = [String::from_utf8_lossy(&output.stdout).as_ref(), &err].concat();
        assert!(!shown.contains(KEY), "the key was printed: {shown}");
        Ran { code: output.status.code().unwrap(), out: output.stdout, err }
    }
}

/// A target whose answer's body is this.
async fn says(body: &[u8]) -> Target {
    let bytes = Reply::bytes(200, &[], body);
    Target::start(move |_, _| Reply::Send(bytes.clone())).await
}

#[tokio::test]
async fn a_wait_ends_with_the_results_body_and_nothing_else() {
    let service = Service::start().await;
    let person = Person::of(&service);
    let body = "{\"a\": 1}\u{1b}[31m é\n";
    let target = says(body.as_bytes()).await;
    let ran = person.runs(&["task", "create", "--wait", &target.url("/x")]).await.expect(0);
    assert_eq!((ran.text(), ran.err.as_str()), (body, ""), "a pipe gets the very bytes");
    let ran = person.runs(&["task", "create", "--wait", "--json", &target.url("/x")]).await.expect(0);
    let task = ran.json()["task"].clone();
    assert_eq!((&task["status"], &task["result"]["body"]), (&json!("completed"), &json!(body)));
    let id = task["id"].as_str().unwrap();
    assert_eq!(person.runs(&["task", "wait", id]).await.expect(0).text(), body);
    assert_eq!(person.runs(&["task", "wait", id, "--json"]).await.expect(0).json()["task"], service.task(id).await);

    let binary = says(&[0xff, 0, 0x1b, 0x80]).await;
    let ran = person.runs(&["task", "create", &binary.url("/"), "--wait"]).await.expect(0);
    assert_eq!(ran.out, [0xff, 0, 0x1b, 0x80], "base64 is undone");
}

#[tokio::test]
async fn a_terminal_is_never_written_on_by_a_result() {
    let service = Service::start().await;
    let person = Person::of(&service);
    let target = says("\u{1b}]0;owned\u{7}\u{9b}31m".as_bytes()).await;
    let ran = person.sees(&["task", "create", "--wait", &target.url("/")]).await.expect(0);
    assert!(ran.text().contains(r"\u001b]0;owned\u0007\u009b31m"), "{ran:?}");
    // The only escapes are those of the progress line.
    assert_eq!(ran.text().replace("\u{1b}[2K", "").matches('\u{1b}').count(), 0, "{ran:?}");
    assert!(ran.text().contains("asking, 0 s"), "a wait shows how it goes: {ran:?}");
    let json = person.sees(&["task", "create", "--wait", "--json", &target.url("/")]).await.expect(0);
    assert!(!json.text().replace("\u{1b}[2K", "").contains(['\u{1b}', '\u{9b}']), "{json:?}");
    let binary = says(&[0xff, 0x1b]).await;
    let ran = person.sees(&["task", "create", "--wait", &binary.url("/")]).await.expect(0);
    assert!(ran.text().contains("the result is 2 bytes that are no text"), "{ran:?}");
}

/// The flags of a creation that need nothing of a test.
const FLAGS: &[&str] = &[
    "--method",
    "PUT",
    "-H",
    "X-One: a:b",
    "--header",
    "x-two:2",
    "--body",
    "@-",
    "--timeout",
    "2.5",
    "--max-retries",
    "1",
    "--retry-backoff",
    "linear",
    "--retry-on",
    "429",
    "--retry-on",
    "409",
    "--delay-until",
    "2027-01-01T00:00:00Z",
    "--priority",
    "9",
    "--wait-for-signal",
    "--max-wait-time",
    "77",
    "--on-complete-max-retries",
    "2",
    "--callback-config",
    r#"{"statusPath":"s","doneValues":["ok"]}"#,
    "--metadata",
    "user=4=2",
    "--metadata",
    "b=",
    "--poll-config",
    r#"{"urlTemplate":"{startResult.body.u}","statusPath":"s","doneValues":["d"],"failValues":[]}"#,
    "--provider-param",
    "region=eu",
    "--json",
];

#[tokio::test]
async fn every_field_of_a_creation_is_a_flag() {
    let service = Service::start().await;
    let person = Person::of(&service);
    let target = Target::ok().await;
    let (url, hook) = (target.url("/{asyncqueue_callback_url}"), target.url("/hook"));
    let urls = ["task", "create", &url, "--on-complete-url", &hook];
    let ran = person.typing("from standard input\n").runs(&[&urls[..], FLAGS].concat()).await.expect(0);
    let created = ran.json();
    let task = &created["task"];
    assert!(created["callbackUrl"].is_string() && created["signalToken"].is_string(), "{created}");
    let expected = json!({
        "method": "PUT", "headers": {"X-One": "a:b", "x-two": "2"}, "body": "from standard input\n", "timeout": 2.5,
        "maxRetries": 1, "retryBackoff": "linear", "retryOn": [429, 409], "delayUntil": "2027-01-01T00:00:00.000Z", "priority": 9,
        "waitForSignal": true, "maxWaitTime": 77, "onCompleteUrl": target.url("/hook"), "onCompleteMaxRetries": 2,
        "metadata": {"user": "4=2", "b": ""}, "providerParams": {"region": "eu"}, "useCallback": false, "provider": null,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&task[name], value, "{name}");
    }
    assert_eq!(task["callbackConfig"]["doneValues"], json!(["ok"]));
    assert_eq!(task["pollConfig"]["doneValues"], json!(["d"]));
    let secret = crate::support::provider::token(&service, "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=", json!({})).await;
    let provider = ["task", "create", &target.url("/"), "--provider", "replicate", "--use-callback", "--body", "{}"];
    let ran = person.runs(&[&provider[..], &["--callback-secret", &secret, "--json"]].concat()).await.expect(0);
    let task = &ran.json()["task"];
    assert_eq!((&task["provider"], &task["useCallback"]), (&json!("replicate"), &json!(true)));
    assert_eq!(task["callbackSecret"], json!(secret));
}

#[tokio::test]
async fn an_exit_code_says_how_it_went() {
    let service = Service::start().await;
    let person = Person::of(&service);
    let (ok, down) = (Target::ok().await, Target::start(|_, _| Reply::status(500, "{}")).await);
    let failed = person.runs(&["task", "create", "--wait", "--max-retries", "0", &down.url("/")]).await.expect(1);
    assert!(failed.err.contains("ended as failed: Server error: HTTP 500"), "{failed:?}");
    person.runs(&["task", "create"]).await.expect(2);
    person.runs(&["task", "create", &ok.url("/"), "--header", "nocolon"]).await.expect(2);
    person.runs(&["task", "create", &ok.url("/"), "--wait=5"]).await.expect(2);
    person.runs(&["task", "get", "../tokens"]).await.expect(2);
    person.runs(&["task", "get", "x", "--url", "ftp://x"]).await.expect(2);
    let missing = person.runs(&["task", "get", "01999999-9999-7999-8999-999999999999"]).await.expect(3);
    assert_eq!(missing.err, "asyncqueue: Task not found\n");
    person.runs(&["provider", "get", "nobody"]).await.expect(3);
    let url = format!("http://{}", service.address);
    Person::new(&url, "async_wrong").runs(&["task", "list"]).await.expect(4);
    let keyless = Person::new(&url, "").runs(&["task", "list"]).await.expect(4);
    assert_eq!(keyless.err, "asyncqueue: API key required\n");
    let closed = Person::new("http://127.0.0.1:1/", KEY).runs(&["task", "list"]).await.expect(2);
    assert!(closed.err.contains("is no server's URL"), "a port that no HTTP server has: {closed:?}");
    let away = Person::new(&format!("http://127.0.0.1:{}", crate::postgres::free_port()), KEY)
        .runs(&["task", "list"])
        .await
        .expect(5);
    assert!(away.err.contains("cannot be reached: connection refused"), "{away:?}");

    let waiting = ["task", "create", "--wait-for-signal", &ok.url("/")];
    let timed = [&waiting[..], &["--max-wait-time", "1", "--wait"]].concat();
    assert!(person.runs(&timed).await.expect(6).err.contains("ended as timeout"));
    let left = [&waiting[..], &["--max-wait-time", "600", "--wait", "--give-up-after", "1"]].concat();
    assert!(person.runs(&left).await.expect(6).err.contains("is waiting after 1 s"));
    let made = person.runs(&[&waiting[..], &["--max-wait-time", "600", "--json"]].concat()).await.expect(0).json();
    let id = made["task"]["id"].as_str().unwrap();
    service.becomes(id, "waiting").await;
    let wait = ["task", "wait", id];
    let (cancelled, seen) = tokio::join!(person.runs(&wait), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        person.runs(&["task", "cancel", id]).await
    });
    seen.expect(0);
    cancelled.expect(7);
    let refused = person.runs(&["task", "cancel", id]).await.expect(8);
    assert_eq!(refused.err, "asyncqueue: Task cannot be cancelled (current: cancelled)\n");
    let invalid = person.runs(&["task", "create", "http://10.0.0.1/", "--priority", "11"]).await.expect(8);
    assert!(
        invalid.err.contains("priority must be") && invalid.err.contains("targetUrl is not allowed"),
        "{invalid:?}"
    );
}

#[tokio::test]
async fn people_read_tables_and_scripts_the_servers_own_json() {
    let service = Service::start().await;
    let person = Person::of(&service);
    let target = Target::ok().await;
    let made = person
        .runs(&["task", "create", &target.url("/job"), "--wait-for-signal", "--max-wait-time", "600"])
        .await
        .expect(0);
    let field = |name: &str| {
        let line =
            made.text().lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {made:?}"));
        line[name.len()..].trim().to_owned()
    };
    let (id, token) = (field("id"), field("signal token"));
    assert!(field("callback URL").contains("/v1/callbacks/"));
    service.becomes(&id, "waiting").await;
    let list = person.runs(&["task", "list", "--status", "waiting"]).await.expect(0);
    let rows: Vec<Vec<&str>> = list.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "STATUS", "CREATED", "TARGET"]);
    assert_eq!(
        (rows.len(), rows[1][0], rows[1][1], rows[1][3]),
        (2, id.as_str(), "waiting", target.url("/job").as_str())
    );
    let signalled = person.runs(&["signal", &token, "--result", r#"{"a": [1]}"#]).await.expect(0);
    assert!(signalled.text().contains("completed"), "{signalled:?}");
    assert_eq!(person.runs(&["task", "wait", &id]).await.expect(0).text(), r#"{"a":[1]}"#);
    let events = person.runs(&["task", "events", &id]).await.expect(0);
    let kinds: Vec<&str> = events.text().lines().skip(1).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(kinds, service.event_types(&id).await);
    let asked = service.ask("GET", &format!("/v1/tasks/{id}/events")).await;
    assert_eq!(person.runs(&["task", "events", &id, "--json"]).await.expect(0).text(), format!("{}\n", asked.text()));
    for _ in 0..2 {
        person.runs(&["task", "retry", &id]).await.expect(0);
    }
    let page = person.runs(&["task", "list", "--limit", "1"]).await.expect(0);
    assert_eq!(page.err, "asyncqueue: 1 of 3; --offset 1 shows what follows\n");
    let all = service.ask("GET", "/v1/tasks?limit=20&offset=0").await;
    assert_eq!(person.runs(&["task", "list", "--json"]).await.expect(0).json()["pagination"], all.json()["pagination"]);
    person.runs(&["task", "delete", &id]).await.expect(0);
    person.runs(&["task", "get", &id]).await.expect(3);
    person.runs(&["task", "resend", &id]).await.expect(3);
    let failed = person.runs(&["signal", &token, "--failed", "--error", "no"]).await.expect(3);
    assert!(failed.err.contains("Invalid or expired signal token"), "{failed:?}");
}

#[tokio::test]
async fn the_vault_endpoints_and_providers_are_there_too() {
    let service = Service::start().await;
    let person = Person::of(&service);
    let secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
    let made =
        person.typing(&format!("{secret}\n")).runs(&["token", "create", "webhooks", "--verify-only"]).await.expect(0);
    let id = made.text().trim().to_owned();
    assert!(id.starts_with("tok_"), "{made:?}");
    let arguments = ["token", "create", "key", "--allow-host", "api.example.com", "--json"];
    let bound = person.typing("Bearer x").runs(&arguments).await.expect(0).json();
    assert_eq!(bound["token"]["allowedHosts"], json!(["api.example.com"]));
    person.typing("two\nlines").runs(&["token", "create", "n"]).await.expect(2);
    let list = person.runs(&["token", "list"]).await.expect(0);
    assert!(
        list.text().contains("verify") && list.text().contains("api.example.com") && !list.text().contains(secret),
        "{list:?}"
    );

    let endpoint = person.runs(&["endpoint", "create", "openai", "--secret", &id, "--json"]).await.expect(0).json();
    let endpoint_id = endpoint["endpoint"]["id"].as_str().unwrap();
    let rotated = person.runs(&["endpoint", "rotate", endpoint_id]).await.expect(0);
    assert!(rotated.text().contains("/v1/callbacks/endpoints/"), "{rotated:?}");
    assert!(person.runs(&["endpoint", "list"]).await.expect(0).text().contains(endpoint_id));
    person.runs(&["endpoint", "delete", endpoint_id]).await.expect(0);
    person.runs(&["endpoint", "delete", endpoint_id]).await.expect(3);
    person.runs(&["token", "revoke", &id]).await.expect(0);
    person.runs(&["token", "revoke", &id]).await.expect(3);

    let providers = person.runs(&["provider", "list"]).await.expect(0);
    let line = providers.text().lines().find(|line| line.starts_with("fal ")).unwrap();
    assert!(line.contains("per task") && line.contains("yes"), "{line}");
    assert_eq!(person.runs(&["provider", "get", "fal"]).await.expect(0).json()["name"], "fal.ai");
}

#[tokio::test]
async fn profiles_keep_servers_and_keys_in_a_file_that_only_its_owner_may_read() {
    let service = Service::start().await;
    let folder = Folder::make();
    let path = folder.0.join("kept/profiles.toml");
    let mut person = Person { variables: Vec::new(), input: String::new() };
    person.set("PROFILES", path.to_str().unwrap());
    let url = format!("http://{}", service.address);
    let (other, _) = team_key(&service, "default").await;
    person.typing(&format!("{KEY}\n")).runs(&["profile", "set", "one", "--url", &url]).await.expect(0);
    person.typing(&other).runs(&["profile", "set", "two", "--url", "http://127.0.0.1:9999"]).await.expect(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let list = person.runs(&["profile", "list"]).await.expect(0);
    assert!(list.text().contains("one") && list.text().contains("two") && !list.text().contains(&other), "{list:?}");
    person.runs(&["task", "list"]).await.expect(0);
    person.runs(&["task", "list", "--profile", "two"]).await.expect(5);
    person.runs(&["profile", "use", "two"]).await.expect(0);
    person.runs(&["task", "list"]).await.expect(5);
    person.runs(&["task", "list", "--profile", "one"]).await.expect(0);
    // A variable's server does not get a profile's key.
    let mut elsewhere = person.clone();
    elsewhere.set("URL", &url);
    elsewhere.runs(&["task", "list"]).await.expect(4);
    person.runs(&["profile", "remove", "two"]).await.expect(0);
    person.runs(&["task", "list", "--profile", "two"]).await.expect(2);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = person.runs(&["task", "list", "--profile", "one"]).await.expect(2);
    assert!(refused.err.contains("chmod 600"), "{refused:?}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, format!("[profiles.one]\nurl = \"x\"\nkey = \"{KEY}\"\nsurprise = 1\n")).unwrap();
    person.runs(&["task", "list"]).await.expect(2);
}

/// A task as a service would show it.
fn task(status: &str) -> String {
    let result = json!({"statusCode": 200, "headers": {}, "body": "done", "duration": 1});
    json!({"task": {"id": "01999999-9999-7999-8999-999999999999", "status": status, "createdAt": "", "result": result}})
        .to_string()
}

#[tokio::test]
async fn a_creation_that_may_have_got_through_is_sent_again_under_the_same_key() {
    let server = Target::start(|seen, number| match (seen.method.as_str(), number) {
        ("POST", 1) => Reply::Cut,
        ("POST", 2) => Reply::with(503, &[("retry-after", "0")], r#"{"error":"later"}"#),
        ("POST", 3) => Reply::status(409, r#"{"error":"A request with this Idempotency-Key is in flight"}"#),
        _ => Reply::status(201, &task("pending")),
    })
    .await;
    let person = Person::new(&server.url(""), KEY);
    person.runs(&["task", "create", "https://x.example/"]).await.expect(0);
    let keys: Vec<String> =
        server.seen().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.len() == 4 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(server.seen()[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    person.runs(&["task", "create", "https://x.example/"]).await.expect(0);
    assert_ne!(server.seen()[4].header("idempotency-key"), Some(keys[0].as_str()), "another command, another key");
    person.runs(&["task", "create", "https://x.example/", "--idempotency-key", "mine"]).await.expect(0);
    assert_eq!(server.seen()[5].header("idempotency-key"), Some("mine"));

    let cut = Target::start(|_, _| Reply::Cut).await;
    Person::new(&cut.url(""), KEY).runs(&["task", "retry", "01999999-9999-7999-8999-999999999999"]).await.expect(5);
    assert_eq!(cut.count(), 1, "what cannot be told apart from a second wish is sent once");
}

#[tokio::test]
async fn a_wait_outlasts_a_server_that_is_away_for_a_moment() {
    let server = Target::start(|_, number| match number {
        1..=6 => Reply::Cut,
        7 => Reply::status(503, r#"{"error":"The service cannot store or read just now; try again"}"#),
        8 => Reply::status(200, &task("waiting")),
        _ => Reply::status(200, &task("completed")),
    })
    .await;
    let ran = Person::new(&server.url(""), KEY).runs(&["task", "wait", "01999999-9999-7999-8999-999999999999"]).await;
    assert_eq!(ran.expect(0).text(), "done");
    assert!(server.seen().last().unwrap().path.ends_with("?wait=25"));
}

#[tokio::test]
async fn a_key_is_not_taken_along_to_where_a_server_redirects() {
    let elsewhere = Target::ok().await;
    let to = elsewhere.url("/v1/tasks");
    let server = Target::start(move |_, _| Reply::with(307, &[("location", &to)], "")).await;
    let ran = Person::new(&server.url(""), KEY).runs(&["task", "list"]).await.expect(5);
    assert!(ran.err.contains("redirects to"), "{ran:?}");
    assert_eq!(elsewhere.count(), 0);
    let page = Target::start(|_, _| Reply::status(200, "<html>")).await;
    let ran = Person::new(&page.url(""), KEY).runs(&["task", "list"]).await.expect(5);
    assert_eq!(ran.err, "asyncqueue: the answer is none of AsyncQueue's\n");
}

#[tokio::test]
async fn completions_and_manual_pages_are_made_from_the_commands() {
    let person = Person { variables: Vec::new(), input: String::new() };
    let bash = person.runs(&["completions", "bash"]).await.expect(0);
    assert!(bash.text().contains("--idempotency-key") && bash.text().contains("complete -F"), "{}", bash.text());
    let mut check = Command::new("bash");
    check.arg("-n");
    assert_eq!(person.typing(bash.text()).command(check).await.expect(0).err, "");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(person.runs(&["completions", shell]).await.expect(0).text().contains("asyncqueue"), "{shell}");
    }
    let folder = Folder::make();
    let pages = folder.0.join("man1");
    person.runs(&["man", pages.to_str().unwrap()]).await.expect(0);
    for name in
        ["asyncqueue", "asyncqueue-serve", "asyncqueue-task", "asyncqueue-task-create", "asyncqueue-endpoint-rotate"]
    {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
}
