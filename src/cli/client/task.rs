//! `asyncqueue task …`.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Number;

use super::{At, segment, text};
use crate::client::{
    self, Ask, Created, Creation, Events, Exit, Failure, Page, Screen, Server, Table, Task, pairs, read,
};
use crate::clock::SystemClock;
use crate::credentials::Ids;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a task
    Create(Box<Create>),
    /// Show a task
    Get(One),
    /// Wait until a task has ended, and print its result's body
    Wait(Wait),
    /// List the team's tasks, newest first
    List(List),
    /// Give a task up
    Cancel(One),
    /// Do once more what a task did that has ended
    Retry(Retry),
    /// Show everything that a task went through
    Events(One),
    /// Remove a task that has ended
    Delete(One),
    /// Deliver a task's completion webhook once more
    Resend(One),
}

#[derive(Args)]
struct One {
    /// The task's id
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Args)]
struct Wait {
    #[command(flatten)]
    one: One,
    /// Give up after so many seconds, with exit code 6; the task goes on
    #[arg(long, value_name = "SECONDS")]
    give_up_after: Option<u64>,
}

#[derive(Args)]
struct Retry {
    #[command(flatten)]
    one: One,
    /// Wait until the new task has ended, and print its result's body
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
struct List {
    /// Only those in this status
    #[arg(long, value_parser = ["pending", "delayed", "processing", "waiting", "polling", "completed", "failed", "timeout", "cancelled"])]
    status: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// After this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

#[derive(Args)]
struct Create {
    /// The URL to call; `{asyncqueue_callback_url}` in it becomes the callback URL
    #[arg(value_name = "URL")]
    target_url: String,
    /// Wait until the task has ended, and print its result's body
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after so many seconds, with exit code 6; the task goes on
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    give_up_after: Option<u64>,
    /// How to call [default: POST]
    #[arg(long, short = 'X', value_parser = ["GET", "POST", "PUT", "DELETE"])]
    method: Option<String>,
    /// A header to send; a value that starts with tok_ is a reference to the vault (repeatable)
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// What to send: a text, @FILE, or @- for standard input
    #[arg(long, short = 'd', value_name = "TEXT|@FILE")]
    body: Option<String>,
    /// Seconds that one attempt may take [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = number)]
    timeout: Option<Number>,
    /// Retries after a failed attempt, 0 to 10 [default: 3]
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// How the pauses between attempts grow [default: exponential]
    #[arg(long, value_parser = ["exponential", "linear"])]
    retry_backoff: Option<String>,
    /// A further status code to retry, such as 429 (repeatable)
    #[arg(long, value_name = "CODE")]
    retry_on: Vec<u16>,
    /// The earliest time of the call: ISO 8601 with a zone
    #[arg(long, value_name = "TIME")]
    delay_until: Option<String>,
    /// 1 to 10, higher first [default: 5]
    #[arg(long, value_name = "N")]
    priority: Option<u32>,
    /// Wait for a signal or callback after an accepted call
    #[arg(long)]
    wait_for_signal: bool,
    /// Seconds to wait for it [default: 30, or what the provider's jobs take]
    #[arg(long, value_name = "SECONDS", value_parser = number)]
    max_wait_time: Option<Number>,
    /// The provider's template, from `asyncqueue provider list`
    #[arg(long, value_name = "ID")]
    provider: Option<String>,
    /// What the template's URLs need and no answer holds (repeatable)
    #[arg(long = "provider-param", value_name = "NAME=VALUE")]
    provider_params: Vec<String>,
    /// Put the callback URL where the provider wants it
    #[arg(long)]
    use_callback: bool,
    /// The vault reference of the provider's webhook secret
    #[arg(long, value_name = "tok_…")]
    callback_secret: Option<String>,
    /// What a callback means: JSON, @FILE, or @-
    #[arg(long, value_name = "JSON|@FILE")]
    callback_config: Option<String>,
    /// How the job is asked after: JSON, @FILE, or @-
    #[arg(long, value_name = "JSON|@FILE")]
    poll_config: Option<String>,
    /// Where to deliver the completion webhook
    #[arg(long, value_name = "URL")]
    on_complete_url: Option<String>,
    /// Retries of its delivery, 0 to 10 [default: 5]
    #[arg(long, value_name = "N")]
    on_complete_max_retries: Option<u32>,
    /// A note that is kept with the task (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    metadata: Vec<String>,
    /// Makes the same command, given again within a day, answer the first task [default: a new key each time]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// A number as it was written.
fn number(text: &str) -> Result<Number, String> {
    text.parse().map_err(|_| "it is no number".to_owned())
}

/// Runs a verb.
pub(super) async fn run(Arguments { at, verb }: Arguments) -> Result<Exit, Failure> {
    let (server, mut screen) = at.connect()?;
    match verb {
        Verb::Create(create) => return created(&server, &mut screen, *create).await,
        Verb::Wait(Wait { one, give_up_after }) => {
            let id = segment(&one.id)?;
            return waited(&server, &mut screen, id, give_up_after).await;
        }
        Verb::Retry(Retry { one, wait }) => {
            let answer = server.ask(Ask::post(format!("/v1/tasks/{}/retry", segment(&one.id)?), None)).await?;
            return begun(&server, &mut screen, &answer, wait, None).await;
        }
        Verb::List(List { status, limit, offset }) => {
            let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
            let answer = server.ask(Ask::get(format!("/v1/tasks?limit={limit}&offset={offset}{status}"))).await?;
            list(&mut screen, &answer)?;
        }
        Verb::Events(One { id }) => {
            let answer = server.ask(Ask::get(format!("/v1/tasks/{}/events", segment(&id)?))).await?;
            screen.answer(&answer, |body| Ok(events(&read(body)?)))?;
        }
        Verb::Get(One { id }) => shown(&server, &mut screen, Ask::get(path(&id)?)).await?,
        Verb::Delete(One { id }) => shown(&server, &mut screen, Ask::delete(path(&id)?)).await?,
        Verb::Cancel(One { id }) => shown(&server, &mut screen, Ask::post(path(&id)? + "/cancel", None)).await?,
        Verb::Resend(One { id }) => {
            shown(&server, &mut screen, Ask::post(path(&id)? + "/webhook/resend", None)).await?;
        }
    }
    Ok(Exit::Done)
}

fn path(id: &str) -> Result<String, Failure> {
    Ok(format!("/v1/tasks/{}", segment(id)?))
}

async fn shown(server: &Server, screen: &mut Screen, ask: Ask) -> Result<(), Failure> {
    let answer = server.ask(ask).await?;
    screen.answer(&answer, |body| Ok(facts(&read(body)?)))
}

async fn created(server: &Server, screen: &mut Screen, create: Create) -> Result<Exit, Failure> {
    let key = create.idempotency_key.clone().unwrap_or_else(|| Ids::new(Arc::new(SystemClock)).make().0.to_string());
    let (wait, limit) = (create.wait, create.give_up_after);
    let ask = Ask::post("/v1/tasks", Some(creation(create)?.text())).idempotent(&key)?;
    let answer = server.ask(ask).await?;
    begun(server, screen, &answer, wait, limit).await
}

fn creation(create: Create) -> Result<Creation, Failure> {
    let mut fields = Creation::default();
    fields.set("targetUrl", Some(create.target_url));
    fields.set("method", create.method);
    fields.set("headers", pairs(&create.headers, ':')?);
    fields.set("body", create.body.as_deref().map(text).transpose()?);
    fields.set("timeout", create.timeout);
    fields.set("maxRetries", create.max_retries);
    fields.set("retryBackoff", create.retry_backoff);
    fields.set("retryOn", Some(create.retry_on).filter(|codes| !codes.is_empty()));
    fields.set("delayUntil", create.delay_until);
    fields.set("priority", create.priority);
    fields.set("waitForSignal", create.wait_for_signal.then_some(true));
    fields.set("maxWaitTime", create.max_wait_time);
    fields.set("onCompleteUrl", create.on_complete_url);
    fields.set("onCompleteMaxRetries", create.on_complete_max_retries);
    fields.set("provider", create.provider);
    fields.set("providerParams", pairs(&create.provider_params, '=')?);
    fields.set("useCallback", create.use_callback.then_some(true));
    fields.set("callbackSecret", create.callback_secret);
    fields.set_json("callbackConfig", create.callback_config.as_deref().map(text).transpose()?)?;
    fields.set_json("pollConfig", create.poll_config.as_deref().map(text).transpose()?)?;
    fields.set("metadata", pairs(&create.metadata, '=')?);
    Ok(fields)
}

/// Shows a task that was just made, or its end.
async fn begun(
    server: &Server,
    screen: &mut Screen,
    answer: &[u8],
    wait: bool,
    limit: Option<u64>,
) -> Result<Exit, Failure> {
    if wait {
        let created: Created = read(answer)?;
        return waited(server, screen, segment(&created.task.id)?, limit).await;
    }
    screen.answer(answer, |body| Ok(facts(&read(body)?)))?;
    Ok(Exit::Done)
}

async fn waited(server: &Server, screen: &mut Screen, id: &str, limit: Option<u64>) -> Result<Exit, Failure> {
    let waited = client::wait(server, id, limit.map(Duration::from_secs), screen).await;
    screen.still();
    let body = waited?;
    let task = read::<Created>(&body)?.task;
    screen.end(&body, &task)
}

/// What a person wants to know of a task.
pub(super) fn facts(Created { task, callback_url, signal_token }: &Created) -> String {
    let mut table = Table::new(&[]);
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let result = task
        .result
        .as_ref()
        .map(|result| format!("HTTP {}; asyncqueue task wait {} prints it", result.status_code, task.id));
    let target = given(&task.target_url).map(|url| format!("{} {url}", task.method));
    let retries = (task.retry_count > 0).then(|| format!("{} of {}", task.retry_count, task.max_retries));
    table.entry("id", Some(&task.id));
    table.entry("status", Some(&task.status));
    table.entry("target", target.as_deref());
    table.entry("provider", task.provider.as_deref());
    table.entry("created", Some(&task.created_at));
    table.entry("started", task.started_at.as_deref());
    table.entry("next attempt", task.next_attempt_at.as_deref());
    table.entry("retries", retries.as_deref());
    table.entry("completed", task.completed_at.as_deref());
    table.entry("error", task.error.as_deref());
    table.entry("result", result.as_deref());
    table.entry("retry of", task.retry_of.as_deref());
    table.entry("callback URL", callback_url.as_deref());
    table.entry("signal token", signal_token.as_deref());
    table.text()
}

fn list(screen: &mut Screen, answer: &[u8]) -> Result<(), Failure> {
    screen.answer(answer, |body| Ok(tasks(&read::<Page>(body)?.tasks)))?;
    if !screen.json {
        let page: Page = read(answer)?;
        let (shown, lies) = (page.tasks.len() as u64, page.pagination);
        if lies.has_more {
            screen.say(&format!("{shown} of {}; --offset {} shows what follows", lies.total, lies.offset + shown));
        }
    }
    Ok(())
}

fn tasks(tasks: &[Task]) -> String {
    let mut table = Table::new(&["ID", "STATUS", "CREATED", "TARGET"]);
    for task in tasks {
        table.row([&task.id, &task.status, &task.created_at, &shortened(&task.target_url)]);
    }
    table.text()
}

/// A URL that leaves room for the rest.
fn shortened(url: &str) -> String {
    const MOST: usize = 72;
    let mut short: String = url.chars().take(MOST).collect();
    if short.len() < url.len() {
        short.push('…');
    }
    short
}

fn events(events: &Events) -> String {
    let mut table = Table::new(&["#", "AT", "WHAT", ""]);
    for event in &events.events {
        let details = [
            event.attempt.map(|attempt| format!("no. {attempt}")),
            event.status_code.map(|code| format!("HTTP {code}")),
            event.status.clone(),
            event.duration.map(|duration| format!("{duration} ms")),
            event.error.clone(),
            event.next_attempt_at.as_ref().map(|at| format!("next at {at}")),
            event.deadline.as_ref().map(|at| format!("until {at}")),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        table.row([&event.seq.to_string(), &event.at, &event.kind, &details.join(", ")]);
    }
    table.text()
}
