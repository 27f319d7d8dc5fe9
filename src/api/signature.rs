//! Whether a webhook is really from its provider.

use http::{HeaderMap, StatusCode};

use super::Api;
use super::problem::Problem;
use crate::providers::{Invalid, Keys, Scheme, Signed};
use crate::task::TeamId;
use crate::vault::Denied;

impl Api {
    /// Checks a webhook's signature over its exact bytes, where there is anything to check it with: a secret of the
    /// team's, by reference, or the provider's public keys.
    pub async fn check_signature(
        &self,
        team: TeamId,
        scheme: &Scheme,
        secret: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Problem> {
        if secret.is_none() && !scheme.needs_no_secret() {
            return Ok(());
        }
        let signed = Signed { headers, body };
        let opened = match secret {
            Some(id) => Some(self.vault.verifier(team, id).await.map_err(unverifiable)?),
            None => None,
        };
        let secrets: Vec<&str> = opened.iter().map(|secret| secret.as_str()).collect();
        let now = self.clock.now().unix_seconds();
        let Some(url) = scheme.jwks_url().filter(|_| scheme.wants_jwks(&signed)) else {
            return scheme.verify(&signed, &Keys { secrets: &secrets, jwks: None }, now).map_err(|why| refused(&why));
        };
        // What is wrong whatever the keys are is refused without them, be they reachable or not.
        let keyless = scheme.verify(&signed, &Keys { secrets: &secrets, jwks: None }, now);
        if let Err(why @ (Invalid::Missing | Invalid::Malformed | Invalid::Stale)) = keyless {
            return Err(refused(&why));
        }
        let jwks = self.keysets.get(url).await.ok_or_else(Problem::unavailable)?;
        let verdict = scheme.verify(&signed, &Keys { secrets: &secrets, jwks: Some(&jwks) }, now);
        // The provider may have changed its keys since they were fetched.
        let Err(Invalid::UnknownKey { .. } | Invalid::Mismatch) = verdict else {
            return verdict.map_err(|why| refused(&why));
        };
        let jwks = self.keysets.refreshed(url).await.ok_or_else(Problem::unavailable)?;
        scheme.verify(&signed, &Keys { secrets: &secrets, jwks: Some(&jwks) }, now).map_err(|why| refused(&why))
    }
}

fn refused(why: &Invalid) -> Problem {
    tracing::debug!(?why, "A provider's signature was refused");
    Problem::new(StatusCode::UNAUTHORIZED, "Invalid provider signature")
}

fn unverifiable(denied: Denied) -> Problem {
    match denied {
        Denied::Store(error) => error.into(),
        denied => {
            tracing::warn!(%denied, "A webhook's signature cannot be checked");
            Problem::new(StatusCode::UNAUTHORIZED, "Invalid provider signature")
        }
    }
}
