//! Simulated providers: targets that answer by path, and the native webhooks that real ones send.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Answer, Created, KEY, Reply, Seen, Service, Target};

/// A provider whose script is told the method and path (without the query), the request, and how many like it there
/// were, from 1.
pub async fn provider(script: impl Fn(&str, &Seen, usize) -> Reply + Send + Sync + 'static) -> Target {
    let counts: Mutex<HashMap<String, usize>> = Mutex::default();
    Target::start(move |seen, _| {
        let key = route(seen);
        let number = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(key.clone()).or_default();
            *count += 1;
            *count
        };
        script(&key, seen, number)
    })
    .await
}

/// A provider that takes jobs at `/jobs`, and answers the polls of job 7 in turn, the last one again and again.
pub async fn job_7(polls: Vec<Reply>) -> Target {
    provider(move |route, _, number| match route {
        "POST /jobs" => Reply::status(200, r#"{"id":7}"#),
        "GET /jobs/7" => polls[number.min(polls.len()) - 1].clone(),
        _ => Reply::status(404, "{}"),
    })
    .await
}

/// Method and path, without the query.
pub fn route(seen: &Seen) -> String {
    format!("{} {}", seen.method, seen.path.split('?').next().unwrap_or_default())
}

/// The base URL that a provider was called at.
pub fn base(seen: &Seen) -> String {
    format!("http://{}", seen.header("host").unwrap())
}

/// What a target saw on one route.
pub fn seen_on(target: &Target, wanted: &str) -> Vec<Seen> {
    target.seen().into_iter().filter(|seen| route(seen) == wanted).collect()
}

/// A task of `job_7`, polled each second.
pub fn polled(target: &Target, more: Value) -> Value {
    let config = merged(
        json!({
            "urlTemplate": target.url("/jobs/{startResult.body.id}"),
            "statusPath": "status",
            "doneValues": ["done"],
            "failValues": ["failed"],
            "interval": 1,
        }),
        more,
    );
    json!({"targetUrl": target.url("/jobs"), "pollConfig": config})
}

/// The first object with the other's members.
pub fn merged(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("no object: {more}") };
    object.as_object_mut().unwrap().extend(more);
    object
}

/// Puts a value into the vault of team `default`; answers its reference.
pub async fn token(service: &Service, value: &str, more: Value) -> String {
    let body = merged(json!({"name": "a key", "value": value}), more).to_string();
    let answer = service.send("POST", "/v1/tokens", &[("x-api-key", KEY)], Some(&body)).await.expect(201);
    answer.json()["token"]["id"].as_str().unwrap().to_owned()
}

/// The path of the callback URL that a provider was given, query and all.
pub fn path_of(url: &str) -> String {
    format!("/{}", url.splitn(4, '/').nth(3).unwrap_or_else(|| panic!("no URL: {url}")))
}

/// A webhook as its provider sends it (tests/data/webhooks).
#[derive(Clone)]
pub struct Webhook {
    pub name: String,
    pub template: Option<String>,
    pub state: String,
    pub job: Option<String>,
    pub query: Option<String>,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    /// What the task is to be told, where that is written down.
    pub error: Option<String>,
}

/// The lines of a table in tests/data that are no comments: a template, three columns, and the body.
pub fn rows(file: &str) -> Vec<[String; 5]> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)).unwrap();
    let columns = |line: &str| line.splitn(5, '\t').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(columns).collect()
}

impl Webhook {
    /// The one of this name.
    pub fn named(name: &str) -> Self {
        Self::all().into_iter().find(|webhook| webhook.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// All there are, by name.
    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/webhooks");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let split = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = std::str::from_utf8(&bytes[..split]).unwrap();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Self {
            name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            template: value("# template: "),
            state: value("# state: ").unwrap(),
            job: value("# job: "),
            query: value("POST /?"),
            content_type: value("content-type: "),
            body: bytes[split + 2..].to_vec(),
            error: None,
        }
    }

    /// The rarer outcomes of a template, one line each in events.tsv.
    pub fn rare(template: &str) -> Vec<Self> {
        let read = |[template, state, job, error, body]: [String; 5]| {
            let told = |text: String| Some(text).filter(|text| text != "-");
            let (query, sent) = body.strip_prefix('?').map_or((None, &*body), |query| (Some(query.to_owned()), ""));
            Self {
                name: format!("{template}: {body}"),
                job: told(job),
                error: told(error),
                content_type: query.is_none().then(|| "application/json".to_owned()),
                body: sent.as_bytes().to_vec(),
                query,
                template: Some(template),
                state,
            }
        };
        rows("events.tsv").into_iter().filter(|row| row[0] == template).map(read).collect()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as it is kept: JSON without the white space between tokens.
    pub fn compact(&self) -> String {
        let mut in_string = false;
        let mut escaped = false;
        let keep = |c: &char| {
            if in_string {
                in_string = escaped || *c != '"';
                escaped = *c == '\\' && !escaped;
                return true;
            }
            in_string = *c == '"';
            !c.is_ascii_whitespace()
        };
        self.text().chars().filter(keep).collect()
    }

    /// Sends it to a path of the service, with further headers.
    pub async fn send(&self, service: &Service, path: &str, headers: &[(&str, &str)]) -> Answer {
        let path = match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let mut all: Vec<(&str, &str)> = self.content_type.iter().map(|kind| ("content-type", kind.as_str())).collect();
        all.extend(headers);
        let mut connection = super::Connection::open(service.address).await;
        connection.send("POST", &path, &all, Some(&self.body)).await
    }
}

impl Service {
    /// Creates a task that polls or waits, and waits until it does.
    pub async fn following(&self, body: &Value) -> Created {
        let created = self.create(body).await;
        self.once(&created.id, "followed", |task| ["polling", "waiting"].contains(&task["status"].as_str().unwrap()))
            .await;
        created
    }
}
