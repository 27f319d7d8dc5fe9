//! Gathers what flags, environment and file say, as text, and decides who wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Host;
use super::command_line::FlagValues;
use super::error::{Origin, Problem};
use super::file;
use super::secret::{BOOTSTRAP_KEY, OIDC_SECRET, SECRET_KEY};
use super::settings::{Preset, SETTINGS, Setting};
use super::suggest::{did_you_mean, nearest};

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "ASYNCQUEUE_";
/// Names the file, as `--config` does.
pub(super) const CONFIG_FILE: &str = "ASYNCQUEUE_CONFIG";

/// What was said about one setting, and where.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) texts: Vec<String>,
    pub(super) origin: Origin,
}

impl std::fmt::Debug for Value {
    /// Without the texts: one may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What the command-line client reads; a service that is started beside them lets them be.
const OF_THE_CLIENT: [&str; 5] = ["URL", "API_KEY", "PROFILE", "PROFILES", "CA_FILE"];

/// The winning text of each setting.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    values: BTreeMap<&'static str, Value>,
}

/// The variables of which no copy is kept beyond the reading.
pub(super) type SecretTexts = BTreeMap<&'static str, String>;

impl Sources {
    /// Weakest first, so that the stronger overwrite.
    pub(super) fn gather(
        mut flags: FlagValues,
        env: impl IntoIterator<Item = (String, String)>,
        host: &Host<'_>,
        problems: &mut Vec<Problem>,
    ) -> (Self, SecretTexts) {
        let mut sources = Self::defaults(std::mem::take(&mut flags.defaults), host);
        let mut environment = Environment::sort(env, problems);
        if let Some((path, origin)) = named_file(&mut flags, &mut environment) {
            sources.take_file(&path, origin, host, problems);
        }
        sources.values.append(&mut environment.values);
        for (name, texts) in flags.values {
            sources.values.insert(name, Value { texts: split(name, texts), origin: Origin::Flag(name) });
        }
        (sources, environment.secrets)
    }

    fn defaults(own: BTreeMap<&'static str, String>, host: &Host<'_>) -> Self {
        let texts = SETTINGS.iter().filter_map(|setting| match setting.default {
            Preset::Text(text) => Some((setting.name, text.to_owned())),
            Preset::Derived(_) if setting.name == "database" => {
                let folder = host.data_folder.as_ref()?;
                Some((setting.name, format!("sqlite:{}", folder.join("asyncqueue.db").display())))
            }
            Preset::Nothing | Preset::Derived(_) => None,
        });
        let values = texts.chain(own).map(|(name, text)| (name, Value { texts: vec![text], origin: Origin::Default }));
        Self { values: values.collect() }
    }

    fn take_file(&mut self, path: &Path, named_by: Origin, host: &Host<'_>, problems: &mut Vec<Problem>) {
        match (host.read_file)(path) {
            Ok(text) => self.values.extend(file::read(path, &text, problems)),
            Err(cause) => problems.push(Problem::new(
                named_by,
                format!("the file {} cannot be read: {cause}", path.display()),
                "correct the path, or leave it out",
            )),
        }
    }

    /// What is said about a setting; `None` if nothing is, not even by a default.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// What is said about a setting, as single texts.
    pub(super) fn texts(&self, name: &str) -> &[String] {
        self.get(name).map_or(&[], |value| &value.texts)
    }

    /// Where the value of a setting came from.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.get(name).map_or(Origin::Default, |value| value.origin.clone())
    }

    /// Reads one setting; on failure the problem is noted where it stands.
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        read: impl Fn(&[String]) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let problem = |message| {
            let origin = self.get(name).map_or(Origin::Missing(name), |value| value.origin.clone());
            Problem::new(origin, message, format!("give {}", expected(name)))
        };
        read(self.texts(name)).map_err(|message| problems.push(problem(message))).ok()
    }
}

/// The form of a setting's values, with an example where there is one.
fn expected(name: &str) -> String {
    Setting::named(name).map_or_else(String::new, |setting| match setting.default {
        Preset::Text(text) => format!("{}, such as {text}", setting.form),
        Preset::Nothing | Preset::Derived(_) => setting.form.to_owned(),
    })
}

/// Lists may be written with commas; single values are left alone.
fn split(name: &str, texts: Vec<String>) -> Vec<String> {
    if !Setting::named(name).is_some_and(|setting| setting.repeatable) {
        return texts;
    }
    let parts = texts.iter().flat_map(|text| text.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The file that a flag or else a variable names, and which of them did.
fn named_file(flags: &mut FlagValues, environment: &mut Environment) -> Option<(PathBuf, Origin)> {
    let flag = flags.config.take().map(|path| (path, Origin::Flag("config")));
    let variable = environment.config.take().map(|path| (path, Origin::Variable(CONFIG_FILE.to_owned())));
    flag.or(variable)
}

/// Our variables, sorted by what they are.
#[derive(Default)]
struct Environment {
    values: BTreeMap<&'static str, Value>,
    secrets: SecretTexts,
    config: Option<PathBuf>,
}

impl Environment {
    fn sort(env: impl IntoIterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Self {
        let mut sorted = Self::default();
        for (name, text) in env {
            if !name.starts_with(PREFIX) || is_service_link(&name, &text) || is_of_the_client(&name) {
                continue;
            }
            if text.contains('\u{fffd}') {
                problems.push(Problem::new(Origin::Variable(name), "the value is not UTF-8", "set it anew"));
            } else if let Err(name) = sorted.place(name, text) {
                problems.push(unknown_variable(name));
            }
        }
        sorted
    }

    /// Puts a variable where it belongs; gives the name back if there is no such place. Empty is as good as unset,
    /// because that is how compose files and unit files leave a variable out; only a secret must not vanish like that.
    fn place(&mut self, name: String, text: String) -> Result<(), String> {
        if let Some(secret) = [BOOTSTRAP_KEY, SECRET_KEY, OIDC_SECRET].into_iter().find(|secret| *secret == name) {
            self.secrets.insert(secret, text);
        } else if name == CONFIG_FILE {
            self.config = Some(text).filter(|text| !text.is_empty()).map(PathBuf::from);
        } else {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                return Err(name);
            };
            if !text.is_empty() {
                let texts = split(setting.name, vec![text]);
                self.values.insert(setting.name, Value { texts, origin: Origin::Variable(name) });
            }
        }
        Ok(())
    }
}

fn unknown_variable(name: String) -> Problem {
    let known = SETTINGS.iter().map(Setting::variable);
    let others = [CONFIG_FILE, BOOTSTRAP_KEY, SECRET_KEY, OIDC_SECRET].map(str::to_owned);
    // All begin alike, which says nothing about how close they are.
    let bare = known.chain(others).map(|variable| variable.replacen(PREFIX, "", 1));
    let meant = nearest(name.trim_start_matches(PREFIX), bare).map(|bare| format!("{PREFIX}{bare}"));
    Problem::new(Origin::Variable(name), "there is no such setting", did_you_mean(meant, "unset it"))
}

fn is_of_the_client(name: &str) -> bool {
    OF_THE_CLIENT.contains(&name.trim_start_matches(PREFIX))
}

/// Kubernetes gives every container variables for the services around it; a service called `asyncqueue` is named by
/// `ASYNCQUEUE_SERVICE_HOST`, `ASYNCQUEUE_PORT=tcp://…` and their kin. Nobody wrote those, so nobody is to blame.
fn is_service_link(name: &str, text: &str) -> bool {
    let rest = name.trim_start_matches(PREFIX);
    rest == "SERVICE_HOST"
        || rest.starts_with("SERVICE_PORT")
        || (rest == "PORT" && text.contains("://"))
        || rest.strip_prefix("PORT_").is_some_and(|port| port.starts_with(|first: char| first.is_ascii_digit()))
}
