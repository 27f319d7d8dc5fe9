//! Which server, and with which key. A key goes to the server that it was given together with, and to no other.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::failure::Failure;
use super::profiles::Profiles;

/// A server to use when nothing names one: where `serve` and `dev` listen unless told otherwise.
const HERE: &str = "http://127.0.0.1:8080";

/// What flags and environment say.
#[derive(Default)]
pub struct Given {
    /// `--url`.
    pub url: Option<String>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--ca-file`, or its variable.
    pub ca_file: Option<PathBuf>,
    /// `ASYNCQUEUE_URL`.
    pub env_url: Option<String>,
    /// `ASYNCQUEUE_API_KEY`.
    pub env_key: Option<Zeroizing<String>>,
    /// `ASYNCQUEUE_PROFILE`.
    pub env_profile: Option<String>,
}

/// A server with its key.
pub struct Session {
    /// Its base URL.
    pub url: String,
    /// The API key, if there is one.
    pub key: Option<Zeroizing<String>>,
    /// The certificates to trust instead of the public web's.
    pub ca_file: Option<PathBuf>,
}

impl Session {
    /// Chooses: a profile that a flag names; else the URL of a flag or variable, with the variable's key; else the profile
    /// of a variable, or the default one; else the service on this machine.
    pub fn choose(given: Given, profiles: impl FnOnce() -> Result<Profiles, Failure>) -> Result<Self, Failure> {
        let Given { url, profile, ca_file, env_url, env_key, env_profile } = given;
        if url.is_some() && profile.is_some() {
            return Err(Failure::usage("--url and --profile name two servers; give one of them"));
        }
        if profile.is_none()
            && let Some(url) = url.or(env_url)
        {
            return Ok(Self { url, key: env_key, ca_file });
        }
        let wanted = profile.or(env_profile);
        let profiles = profiles()?;
        match profiles.find(wanted.as_deref())? {
            Some(found) => {
                let key = found.key.clone().map(Zeroizing::new);
                Ok(Self { url: found.url.clone(), key, ca_file: ca_file.or(found.ca_file.clone()) })
            }
            None => Ok(Self { url: HERE.to_owned(), key: env_key, ca_file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::profiles::Profile;
    use super::*;

    fn profiles() -> Profiles {
        let mut profiles = Profiles::default();
        for name in ["a", "b"] {
            let profile =
                Profile { url: format!("https://{name}.example"), key: Some(format!("key-{name}")), ca_file: None };
            profiles.set(name, profile).unwrap();
        }
        profiles
    }

    fn chosen(given: Given) -> (String, Option<String>) {
        let session = Session::choose(given, || Ok(profiles())).unwrap_or_else(|failure| panic!("{}", failure.text));
        (session.url, session.key.map(|key| key.to_string()))
    }

    fn of(url: &str, key: &str) -> (String, Option<String>) {
        (url.to_owned(), Some(key.to_owned()))
    }

    #[test]
    fn a_key_goes_to_the_server_that_it_was_given_with() {
        let env_key = || Some(Zeroizing::new("key-env".to_owned()));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(chosen(Given::default()), of("https://a.example", "key-a"), "the first profile is the default");
        assert_eq!(chosen(Given { env_key: env_key(), ..Given::default() }), of("https://a.example", "key-a"));
        let env = Given { env_key: env_key(), env_url: text("https://env.example"), ..Given::default() };
        assert_eq!(chosen(env), of("https://env.example", "key-env"));
        let flag =
            Given { env_key: env_key(), env_url: text("https://env.example"), profile: text("b"), ..Given::default() };
        assert_eq!(chosen(flag), of("https://b.example", "key-b"));
        let keyless = Given { url: text("https://c.example"), env_profile: text("b"), ..Given::default() };
        assert_eq!(chosen(keyless), ("https://c.example".to_owned(), None));
        let variable = Given { env_profile: text("b"), ..Given::default() };
        assert_eq!(chosen(variable), of("https://b.example", "key-b"));
    }

    #[test]
    fn two_servers_or_an_unknown_profile_are_refused_and_nothing_means_this_machine() {
        let two = Given { url: Some("https://c".to_owned()), profile: Some("a".to_owned()), ..Given::default() };
        assert!(Session::choose(two, || Ok(profiles())).is_err());
        let unknown = Given { profile: Some("c".to_owned()), ..Given::default() };
        assert!(Session::choose(unknown, || Ok(profiles())).is_err());
        let here = Session::choose(Given::default(), || Ok(Profiles::default()));
        assert_eq!(here.unwrap_or_else(|failure| panic!("{}", failure.text)).url, HERE);
    }
}
