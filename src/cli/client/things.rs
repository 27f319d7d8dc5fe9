//! `asyncqueue signal`, `token`, `provider` and `endpoint`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::{At, secret, segment, text};
use crate::client::{self, Ask, Creation, Exit, Failure, Screen, Server, Table, read};

#[derive(Args)]
pub(super) struct Signal {
    #[command(flatten)]
    at: At,
    /// The task's signal token, which its creation showed
    #[arg(value_name = "TOKEN")]
    token: String,
    /// The result: JSON, @FILE, or @- for standard input; without it the target's answer is the result
    #[arg(long, value_name = "JSON|@FILE")]
    result: Option<String>,
    /// The job failed
    #[arg(long)]
    failed: bool,
    /// Why it failed
    #[arg(long, value_name = "TEXT", requires = "failed")]
    error: Option<String>,
}

/// Tells how a job went.
pub(super) async fn signal(signal: Signal) -> Result<Exit, Failure> {
    let (server, mut screen) = signal.at.connect()?;
    let mut fields = Creation::default();
    fields.set("status", Some(if signal.failed { "failed" } else { "completed" }));
    fields.set_json("result", signal.result.as_deref().map(text).transpose()?)?;
    fields.set("error", signal.error);
    let ask = Ask::post(format!("/v1/signals/{}", segment(&signal.token)?), Some(fields.text()));
    let answer = server.ask(ask).await?;
    screen.answer(&answer, |body| Ok(super::task::facts(&read(body)?)))?;
    Ok(Exit::Done)
}

#[derive(Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Subcommand)]
enum TokenVerb {
    /// Put a value into the vault, and print its reference
    Create {
        /// What it is
        #[arg(value_name = "NAME")]
        name: String,
        /// The file that holds the value; without it, or for `-`, standard input does
        #[arg(long, value_name = "PATH")]
        value_file: Option<PathBuf>,
        /// A host that the value may go to, such as api.example.com or *.example.com (repeatable)
        #[arg(long = "allow-host", value_name = "HOST")]
        allowed_hosts: Vec<String>,
        /// It checks signatures, and is never sent
        #[arg(long)]
        verify_only: bool,
    },
    /// Show the tokens that work
    List,
    /// Stop a token from working
    Revoke {
        /// Its reference: tok_…
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Works on the vault.
pub(super) async fn tokens(Tokens { at, verb }: Tokens) -> Result<Exit, Failure> {
    let (server, mut screen) = at.connect()?;
    match verb {
        TokenVerb::Create { name, value_file, allowed_hosts, verify_only } => {
            let value = secret(value_file.as_deref())?;
            let mut fields = Creation::default();
            fields.set("name", Some(name));
            fields.set("value", Some(value.as_str()));
            fields.set("allowedHosts", Some(allowed_hosts).filter(|hosts| !hosts.is_empty()));
            fields.set("use", verify_only.then_some("verify"));
            let answer = server.ask(Ask::post("/v1/tokens", Some(fields.text()))).await?;
            screen.answer(&answer, |body| Ok(read::<client::Token>(body)?.token.id + "\n"))?;
        }
        TokenVerb::List => {
            let answer = server.ask(Ask::get("/v1/tokens")).await?;
            screen.answer(&answer, |body| Ok(token_table(&read(body)?)))?;
        }
        TokenVerb::Revoke { id } => {
            let answer = server.ask(Ask::delete(format!("/v1/tokens/{}", segment(&id)?))).await?;
            screen.answer(&answer, |body| Ok(read::<client::Token>(body)?.token.id + "\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn token_table(tokens: &client::Tokens) -> String {
    let mut table = Table::new(&["ID", "NAME", "CREATED", "USE", "HOSTS"]);
    for token in &tokens.tokens {
        let hosts = if token.allowed_hosts.is_empty() { "any".to_owned() } else { token.allowed_hosts.join(" ") };
        let created = token.created_at.as_deref().unwrap_or_default();
        table.row([&token.id, &token.name, created, token.purpose.as_deref().unwrap_or("send"), &hosts]);
    }
    table.text()
}

#[derive(Args)]
pub(super) struct Providers {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    verb: ProviderVerb,
}

#[derive(Subcommand)]
enum ProviderVerb {
    /// Show all of them
    List,
    /// Show what is known about one, as JSON
    Get {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Shows what the server knows about providers.
pub(super) async fn providers(Providers { at, verb }: Providers) -> Result<Exit, Failure> {
    let (server, mut screen) = at.connect()?;
    let answer = server.ask(Ask::get("/v1/providers")).await?;
    match verb {
        ProviderVerb::List => screen.answer(&answer, |body| provider_table(&read(body)?))?,
        ProviderVerb::Get { id } => {
            let all: client::Providers<'_> = read(&answer)?;
            let found = all.providers.into_iter().find(|raw| named(raw, &id));
            let missing = || Failure::new(Exit::NotFound, format!("the server knows no provider {id:?}"));
            screen.line(found.ok_or_else(missing)?.get())?;
        }
    }
    Ok(Exit::Done)
}

fn named(raw: &RawValue, id: &str) -> bool {
    read::<client::Provider<'_>>(raw.get().as_bytes()).is_ok_and(|provider| provider.id == id)
}

fn provider_table(all: &client::Providers<'_>) -> Result<String, Failure> {
    let mut table = Table::new(&["ID", "NAME", "WEBHOOK", "POLLS", "WHAT IT DOES"]);
    for raw in &all.providers {
        let provider: client::Provider<'_> = read(raw.get().as_bytes())?;
        let webhook = match provider.callback.as_ref().map(|callback| callback.url.kind.as_str()) {
            None => "no",
            Some("account") => "per account",
            Some(_) => "per task",
        };
        let polls = if provider.poll_config.is_some() { "yes" } else { "no" };
        table.row([&provider.id, &provider.name, webhook, polls, &provider.description]);
    }
    Ok(table.text())
}

#[derive(Args)]
pub(super) struct Endpoints {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    verb: EndpointVerb,
}

#[derive(Subcommand)]
enum EndpointVerb {
    /// Make an endpoint; its URL is shown now and after a rotation
    Create {
        /// The provider's id
        #[arg(value_name = "PROVIDER")]
        provider: String,
        /// The vault reference of the provider's webhook secret
        #[arg(long, value_name = "tok_…")]
        secret: Option<String>,
    },
    /// Show the team's endpoints
    List,
    /// Give an endpoint a new URL; the old one is gone
    Rotate {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Remove an endpoint
    Delete {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Works on endpoints.
pub(super) async fn endpoints(Endpoints { at, verb }: Endpoints) -> Result<Exit, Failure> {
    let (server, mut screen) = at.connect()?;
    match verb {
        EndpointVerb::Create { provider, secret } => {
            let mut fields = Creation::default();
            fields.set("provider", Some(provider));
            fields.set("secret", secret);
            endpoint(&server, &mut screen, Ask::post("/v1/endpoints", Some(fields.text()))).await?;
        }
        EndpointVerb::List => {
            let answer = server.ask(Ask::get("/v1/endpoints")).await?;
            screen.answer(&answer, |body| Ok(endpoint_table(&read(body)?)))?;
        }
        EndpointVerb::Rotate { id } => {
            endpoint(&server, &mut screen, Ask::post(format!("/v1/endpoints/{}/rotate", segment(&id)?), None)).await?;
        }
        EndpointVerb::Delete { id } => {
            endpoint(&server, &mut screen, Ask::delete(format!("/v1/endpoints/{}", segment(&id)?))).await?;
        }
    }
    Ok(Exit::Done)
}

async fn endpoint(server: &Server, screen: &mut Screen, ask: Ask) -> Result<(), Failure> {
    let answer = server.ask(ask).await?;
    screen.answer(&answer, |body| {
        let endpoint = read::<client::Endpoint>(body)?.endpoint;
        let mut table = Table::new(&[]);
        table.entry("id", Some(&endpoint.id));
        table.entry("provider", Some(&endpoint.provider));
        table.entry("secret", endpoint.secret.as_deref());
        table.entry("created", Some(&endpoint.created_at));
        table.entry("URL", endpoint.url.as_deref());
        Ok(table.text())
    })
}

fn endpoint_table(endpoints: &client::Endpoints) -> String {
    let mut table = Table::new(&["ID", "PROVIDER", "SECRET", "CREATED"]);
    for endpoint in &endpoints.endpoints {
        let secret = endpoint.secret.as_deref().unwrap_or("none");
        table.row([&endpoint.id, &endpoint.provider, secret, &endpoint.created_at]);
    }
    table.text()
}
