//! How a call can fail, and the short words in which that is told.
//!
//! No text holds an address: a task's error is shown to whoever wrote the task, and must not answer questions
//! about the operator's network.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use crate::guard::Refused;

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The guard refused the target, or the place a redirect led to. Trying again is pointless.
    #[error("{0}")]
    Refused(Refused),
    /// A redirect that is not followed. Trying again is pointless.
    #[error("Forbidden redirect: {0}")]
    ForbiddenRedirect(String),
    /// The call must not be made as it is. Trying again is pointless.
    #[error("{0}")]
    Forbidden(String),
    /// A network error, and certainly no byte of the request was written.
    #[error("{0}")]
    NotSent(String),
    /// A network error or a malformed answer; the target may have seen the request.
    #[error("{0}")]
    Broken(String),
    /// The deadline passed.
    #[error("timed out")]
    TimedOut {
        /// Whether the target may have seen the request.
        sent: bool,
    },
    /// The service stopped before the call ended.
    #[error("the service stopped")]
    Stopped {
        /// Whether the target may have seen the request.
        sent: bool,
    },
    /// The target answered, with more than is taken.
    #[error("answer is larger than {limit} bytes")]
    TooLarge {
        /// The answer's status code.
        status: u16,
        /// What would have been taken.
        limit: usize,
    },
}

/// The first cause of type `E` below `error`, also inside I/O errors, which hide theirs.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        let hidden = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = hidden.map_or_else(|| current.source(), |inner| Some(inner as &(dyn Error + 'static)));
    }
    None
}

/// Words for an error of the network or of TLS; `fallback` where it is neither.
pub(super) fn describe(error: &(dyn Error + 'static), fallback: &str) -> String {
    if let Some(tls) = find::<rustls::Error>(error) {
        return format!("TLS: {}", describe_tls(tls));
    }
    find::<io::Error>(error).and_then(|io| describe_io(io.kind())).unwrap_or(fallback).to_owned()
}

/// Words for an error of the HTTP exchange.
pub(super) fn describe_http(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return "answer headers are too large".to_owned();
    }
    if error.is_parse() {
        return "malformed answer".to_owned();
    }
    if error.is_incomplete_message() {
        return "connection closed before the answer was complete".to_owned();
    }
    describe(error, "connection closed before the answer was complete")
}

fn describe_io(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => "connection closed",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::UnexpectedEof => "connection closed before the answer was complete",
        io::ErrorKind::FileTooLarge => "too many interim answers",
        _ => return None,
    })
}

fn describe_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(certificate) => describe_certificate(certificate),
        rustls::Error::AlertReceived(_) => "the target refused the handshake",
        rustls::Error::PeerIncompatible(_) => "no protocol version or cipher in common",
        rustls::Error::InvalidMessage(_) => "the target does not speak TLS on this port",
        _ => "handshake failed",
    }
}

fn describe_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate is for another name"
        }
        CertificateError::UnknownIssuer => "certificate is not trusted",
        CertificateError::Revoked => "certificate is revoked",
        _ => "certificate is not valid",
    }
}
