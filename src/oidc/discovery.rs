//! Where a provider's doors are (OpenID Connect Discovery 1.0): asked for once an hour.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::Failed;

/// How long a description is believed.
const BELIEVED: Duration = Duration::from_secs(3600);

/// What a provider says of itself, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Discovered {
    issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Discovered {
    /// Whether we prove who we are in a header. That is the rule where the provider says nothing.
    pub fn takes_basic(&self) -> bool {
        let methods = &self.token_endpoint_auth_methods_supported;
        methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic")
    }
}

/// The description as it was last read.
#[derive(Default)]
pub(super) struct Discovery(Mutex<Option<(Instant, Arc<Discovered>)>>);

impl Discovery {
    /// The description, fetched if it was not lately.
    pub async fn get<F: Future<Output = Result<Bytes, Failed>>>(
        &self,
        issuer: &str,
        fetch: impl FnOnce(String) -> F,
    ) -> Result<Arc<Discovered>, Failed> {
        if let Some((at, known)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < BELIEVED
        {
            return Ok(known.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let found = Arc::new(parse(&fetch(url).await?, issuer)?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

fn parse(text: &[u8], issuer: &str) -> Result<Discovered, Failed> {
    let failed = |why: &str| Failed::Provider(format!("the description of {issuer} {why}"));
    let found: Discovered = serde_json::from_slice(text).map_err(|_| failed("is none"))?;
    // One that speaks for somebody else could have their people signed in here (Discovery, 4.3).
    if found.issuer != issuer {
        return Err(failed("names another issuer"));
    }
    let is_plain = |url: &str| url.starts_with("http://") && issuer.starts_with("https://");
    if [&found.authorization_endpoint, &found.token_endpoint, &found.jwks_uri].into_iter().any(|url| is_plain(url)) {
        return Err(failed("has an endpoint without encryption"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://id.example";

    fn description(issuer: &str, token_endpoint: &str) -> String {
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"https://id.example/a","token_endpoint":"{token_endpoint}",
            "jwks_uri":"https://id.example/k","token_endpoint_auth_methods_supported":["client_secret_post"]}}"#
        )
    }

    #[test]
    fn a_description_speaks_for_its_issuer_and_is_encrypted_throughout() {
        let good = parse(description(ISSUER, "https://id.example/t").as_bytes(), ISSUER).unwrap();
        assert!(!good.takes_basic());
        for bad in [
            description("https://evil.example", "https://id.example/t"),
            description(ISSUER, "http://id.example/t"),
            "{}".to_owned(),
        ] {
            assert!(parse(bad.as_bytes(), ISSUER).is_err(), "{bad}");
        }
    }
}
