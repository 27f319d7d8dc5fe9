//! The servers that somebody works with, each under a name, with its key: a file that only its owner may read.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// The longest name of a profile.
const NAME_MAX: usize = 64;

/// A server with its key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// The server's base URL.
    pub url: String,
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The certificates to trust instead of the public web's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// All of them.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// The one that is used when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Where they are kept, unless `ASYNCQUEUE_PROFILES` says otherwise.
    pub fn usual_path() -> Option<PathBuf> {
        directories::ProjectDirs::from("", "", "asyncqueue").map(|folders| folders.config_dir().join("profiles.toml"))
    }

    /// Reads the file; there may be none. One that others may read is refused: it holds keys.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let unusable = |why: String| Failure::usage(format!("{}: {why}", path.display()));
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(error.to_string())),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(unusable("others may read it, and it holds keys; chmod 600 it".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        // The parser's own words would show the line, and with it a key.
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            unusable(format!("line {line} is not understood"))
        })
    }

    /// Writes the file, for its owner alone.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let unusable = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
        let text = toml::to_string(self).map_err(|error| Failure::usage(error.to_string()))?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        }
        let fresh = path.with_extension("new");
        // What lies there was left by a command that was killed.
        let _ = std::fs::remove_file(&fresh);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh).map_err(unusable)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)?;
        std::fs::rename(&fresh, path).map_err(unusable)
    }

    /// The profile of this name, or the default one; none if there is no default.
    pub fn find(&self, name: Option<&str>) -> Result<Option<&Profile>, Failure> {
        let Some(name) = name.or(self.default.as_deref()) else { return Ok(None) };
        let known = || self.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        let found = self.profiles.get(name);
        found.map(Some).ok_or_else(|| Failure::usage(format!("there is no profile {name:?}; there are: {}", known())))
    }

    /// Adds one, or replaces it; the first is the default.
    pub fn set(&mut self, name: &str, profile: Profile) -> Result<(), Failure> {
        let fine = (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !fine {
            return Err(Failure::usage("a profile's name is 1 to 64 letters, digits, hyphens, underscores and dots"));
        }
        self.default.get_or_insert_with(|| name.to_owned());
        self.profiles.insert(name.to_owned(), profile);
        Ok(())
    }

    /// Makes one the default.
    pub fn choose(&mut self, name: &str) -> Result<(), Failure> {
        self.find(Some(name))?;
        self.default = Some(name.to_owned());
        Ok(())
    }

    /// Forgets one.
    pub fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.find(Some(name))?;
        self.profiles.remove(name);
        self.default.take_if(|default| default == name);
        Ok(())
    }

    /// Names and profiles, and whether each is the default.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Profile, bool)> {
        let is_default = |name: &str| self.default.as_deref() == Some(name);
        self.profiles.iter().map(move |(name, profile)| (name.as_str(), profile, is_default(name)))
    }
}
