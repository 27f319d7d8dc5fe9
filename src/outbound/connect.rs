//! Opens connections, and only to addresses that the guard has passed.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use super::detour::Detours;
use super::error::{CallError, describe, find};
use super::message::Wire;
use super::resolve::Resolver;
use super::socket::{Held, Socket};
use crate::guard::{Guard, Refused, Target};

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one address may take while others are still to be tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_millis(2500);
const MAX_ADDRESSES: usize = 16;

/// Opens connections for the client: address by address, then TLS where the scheme asks for it, then HTTP.
pub(super) struct Opener {
    connector: HttpsConnector<Dialer>,
    detours: Detours,
}

impl Opener {
    pub(super) fn new(
        guard: Arc<Guard>,
        resolver: Arc<dyn Resolver>,
        tls: Option<rustls::ClientConfig>,
        detours: Detours,
    ) -> Self {
        let mut tls = tls.unwrap_or_else(public_certificates);
        // A session ticket from one team's connection would let the target recognise another team's.
        tls.resumption = Resumption::disabled();
        let dialer = Dialer { guard, resolver };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Self { connector: builder.wrap_connector(dialer), detours }
    }

    /// A connection to `target`, ready for a request.
    pub(super) async fn open(&self, target: &Target) -> Result<Wire, CallError> {
        let stream = match self.detours.of(target.host()) {
            Some(address) => MaybeHttpsStream::Http(straight_to(address).await.map_err(CallError::NotSent)?),
            None => self.connector.clone().call(target.uri().clone()).await.map_err(|error| explain(&*error))?,
        };
        let socket = socket_of(&stream);
        Wire::start(stream, &socket).await.map_err(|error| CallError::NotSent(describe(&error, "connection closed")))
    }
}

/// A connection to who stands in for a host: no name to look up, no certificate to check.
async fn straight_to(address: SocketAddr) -> Result<TokioIo<Held>, String> {
    let stream = first_that_answers(&[address.ip()], address.port()).await?;
    let _ = stream.set_nodelay(true);
    Held::new(stream).map(TokioIo::new).map_err(|error| describe(&error, "connection closed"))
}

/// The public web's certificates, with the one cryptographic provider that is built in.
fn public_certificates() -> rustls::ClientConfig {
    use hyper_rustls::ConfigBuilderExt;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default TLS versions")
        .with_webpki_roots()
        .with_no_client_auth()
}

fn socket_of(stream: &MaybeHttpsStream<TokioIo<Held>>) -> Arc<Socket> {
    let held = match stream {
        MaybeHttpsStream::Http(plain) => plain.inner(),
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
    };
    Arc::clone(&held.socket)
}

fn explain(error: &(dyn Error + Send + Sync + 'static)) -> CallError {
    match find::<DialError>(error) {
        Some(DialError::Refused(refused)) => CallError::Refused(refused.clone()),
        Some(DialError::Network(text)) => CallError::NotSent(text.clone()),
        None => CallError::NotSent(describe(error, "TLS: handshake failed")),
    }
}

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    Refused(Refused),
    #[error("{0}")]
    Network(String),
}

/// The TCP half: looks the name up once, vets every address, and connects to none but those.
#[derive(Clone)]
struct Dialer {
    guard: Arc<Guard>,
    resolver: Arc<dyn Resolver>,
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<TokioIo<Held>, DialError> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = self.vetted(host, port).await?;
        let connected = timeout(CONNECT_TIMEOUT, first_that_answers(&addresses, port)).await;
        let stream =
            connected.unwrap_or_else(|_| Err("connection timed out".to_owned())).map_err(DialError::Network)?;
        let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
        let (local, peer) = ends.map_err(|error| DialError::Network(describe(&error, "connection closed")))?;
        // Nothing has been written yet. What is vetted is what the kernel says, not what we asked it for.
        let is_vetted = addresses.contains(&peer.ip()) && self.guard.check_address(peer.ip(), host, port).is_ok();
        if !is_vetted || self.guard.check_connection(local, peer, host).is_err() {
            return Err(DialError::Refused(Refused::Resolved));
        }
        let _ = stream.set_nodelay(true);
        let held = Held::new(stream).map_err(|error| DialError::Network(describe(&error, "connection closed")))?;
        Ok(TokioIo::new(held))
    }

    /// The addresses of `host`, all of them allowed. One forbidden address spoils the rest: the name's owner is
    /// either confused or attacking.
    async fn vetted(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, DialError> {
        if let Ok(literal) = host.trim_matches(['[', ']']).parse() {
            self.guard.check_address(literal, host, port).map_err(DialError::Refused)?;
            return Ok(vec![literal]);
        }
        let addresses = self.resolve(host).await.map_err(|text| DialError::Network(text.to_owned()))?;
        for ip in &addresses {
            // Which address and which rule is not for the user to know.
            self.guard.check_address(*ip, host, port).map_err(|_| DialError::Refused(Refused::Resolved))?;
        }
        Ok(addresses)
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, &'static str> {
        let Ok(looked_up) = timeout(RESOLVE_TIMEOUT, self.resolver.resolve(host)).await else {
            return Err("name look-up timed out");
        };
        let mut addresses = looked_up.map_err(|_| "name could not be resolved")?;
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() { Err("name could not be resolved") } else { Ok(addresses) }
    }
}

/// Tries the addresses in turn; the last error is the one told.
async fn first_that_answers(addresses: &[IpAddr], port: u16) -> Result<TcpStream, String> {
    let mut failure = String::new();
    for (tried, ip) in addresses.iter().enumerate() {
        let patience = if tried + 1 == addresses.len() { CONNECT_TIMEOUT } else { ADDRESS_TIMEOUT };
        match timeout(patience, TcpStream::connect(SocketAddr::new(*ip, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = describe(&error, "could not connect"),
            Err(_) => "connection timed out".clone_into(&mut failure),
        }
    }
    Err(failure)
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Held>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(uri).await.map_err(Into::into) })
    }
}
