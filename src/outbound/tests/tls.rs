//! Certificates: one that is right, and every way to be wrong.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::harness::*;
use crate::outbound::CallError;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "test issuer");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for `name`, signed by `issuer`, or by itself.
async fn serve(name: &str, last_year: i32, issuer: Option<&Issuer>) -> Server {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = versions.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
    accept(TlsAcceptor::from(Arc::new(config))).await
}

async fn accept(acceptor: TlsAcceptor) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::unbound(listener.local_addr().unwrap(), |seen| match seen.line().split(' ').nth(1) {
        Some(path) if path.starts_with("/to=") => Reply::send(format!(
            "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            path.trim_start_matches("/to=")
        )),
        _ => Reply::ok("secret"),
    });
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = accepting.count();
            if let Ok(stream) = acceptor.accept(stream).await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream, connection).await });
            }
        }
    });
    server
}

/// A client that trusts `issuer` and nobody else.
fn caller_that_trusts(issuer: &Issuer) -> Caller {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = versions.with_root_certificates(roots).with_no_client_auth();
    caller_with(&["tls.example.com=127.0.0.1"], |config| config.tls = Some(tls))
}

fn https(server: &Server, path: &str) -> String {
    format!("https://tls.example.com:{}{path}", server.addr.port())
}

#[tokio::test]
async fn a_right_certificate_is_taken_and_its_connection_reused() {
    let issuer = issuer();
    let server = serve("tls.example.com", 2100, Some(&issuer)).await;
    let caller = caller_that_trusts(&issuer);
    for _ in 0..3 {
        assert_eq!(caller.fetch(&https(&server, "/")).await.unwrap().body, "secret");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_wrong_certificate_is_a_network_error_before_anything_is_sent() {
    let issuer = issuer();
    let caller = caller_that_trusts(&issuer);
    let cases = [
        (serve("tls.example.com", 2020, Some(&issuer)).await, "TLS: certificate expired"),
        (serve("other.example.com", 2100, Some(&issuer)).await, "TLS: certificate is for another name"),
        (serve("tls.example.com", 2100, None).await, "TLS: certificate is not trusted"),
    ];
    for (server, text) in cases {
        let error = caller.client.call(1, caller.canary(&https(&server, "/"))).await.unwrap_err();
        assert_eq!(error, CallError::NotSent(text.to_owned()));
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_target_without_tls_is_a_network_error() {
    let server = Server::start(|_| Reply::Hang).await;
    let talking = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = talking.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = talking.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example.com ESMTP\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let caller = caller_that_trusts(&issuer());
    let error = caller.fetch(&format!("https://tls.example.com:{port}/")).await.unwrap_err();
    assert_eq!(error, CallError::NotSent("TLS: the target does not speak TLS on this port".to_owned()));
    let mut request = caller.get(&https(&server, "/"));
    request.timeout = std::time::Duration::from_millis(200);
    assert_eq!(caller.client.call(1, request).await.unwrap_err(), CallError::TimedOut { sent: false });
}

#[tokio::test]
async fn a_downgrade_to_plain_http_is_another_origin() {
    let issuer = issuer();
    let server = serve("tls.example.com", 2100, Some(&issuer)).await;
    let plain = Server::start(|_| Reply::ok("plain")).await;
    let caller = caller_that_trusts(&issuer);
    let path = format!("/to={}", plain.url("tls.example.com", "/"));
    let answer = caller.client.call(1, caller.canary(&https(&server, &path))).await.unwrap();
    assert_eq!(answer.body, "plain");
    assert!(!plain.seen()[0].head.contains("canary"));
}
