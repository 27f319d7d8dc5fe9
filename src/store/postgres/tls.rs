//! Whom to trust on the way to the server, as the URL says (libpq, section "SSL Support").

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::store::StoreError;

/// Which server's certificate is taken.
pub(super) enum Trust {
    /// Any: `sslmode=prefer` and `require` protect from who listens, not from who answers.
    Anyone,
    /// One that the web's authorities vouch for: `sslmode=verify-full`.
    Authorities,
    /// One that this file's authorities vouch for: `sslrootcert`.
    File(String),
}

impl Trust {
    /// Takes what is said of trust out of a URL; answers the rest.
    pub fn take_from(url: &str) -> Result<(String, Self), StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut rest, mut trust) = (Vec::new(), Self::Anyone);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", "verify-full" | "verify-ca")) if !trust.is_verified() => trust = Self::Authorities,
                Some(("sslmode", "verify-full" | "verify-ca")) => {}
                Some(("sslrootcert", path)) => trust = Self::File(decoded(path)?),
                _ => rest.push(option),
            }
        }
        let mark = if rest.is_empty() { "" } else { "?" };
        Ok((format!("{base}{mark}{}", rest.join("&")), trust))
    }

    /// Whether the certificate is checked.
    pub fn is_verified(&self) -> bool {
        !matches!(self, Self::Anyone)
    }
}

fn decoded(text: &str) -> Result<String, StoreError> {
    let pair = format!("v={}", text.replace('+', "%2B"));
    let value = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
    value.ok_or_else(|| StoreError::Unavailable("sslrootcert in the database URL names no file".to_owned()))
}

/// How TLS is spoken.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let roots = match trust {
        Trust::Anyone => {
            let verifier = Arc::new(Anyone(provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
        }
        Trust::Authorities => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Trust::File(path) => from_file(path)?,
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn from_file(path: &str) -> Result<RootCertStore, StoreError> {
    let unusable = |why: String| StoreError::Unavailable(format!("sslrootcert {path} cannot be used: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::Trust;

    #[test]
    fn trust_is_taken_out_of_the_url() {
        let url = "postgres://a:b@one:1,two:2/db?sslmode=verify-full&application_name=x&sslrootcert=%2Fetc%2Fca.pem";
        let (rest, trust) = Trust::take_from(url).unwrap();
        assert_eq!(rest, "postgres://a:b@one:1,two:2/db?application_name=x");
        assert!(matches!(trust, Trust::File(path) if path == "/etc/ca.pem"));
        let (rest, trust) = Trust::take_from("postgres://a@one/db?sslmode=require").unwrap();
        assert_eq!(rest, "postgres://a@one/db?sslmode=require");
        assert!(matches!(trust, Trust::Anyone));
        let (rest, trust) = Trust::take_from("postgres://a@one/db?sslmode=verify-full").unwrap();
        assert_eq!(rest, "postgres://a@one/db");
        assert!(matches!(trust, Trust::Authorities));
    }
}
