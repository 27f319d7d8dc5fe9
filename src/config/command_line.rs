//! The settings as flags. Values are taken as text here, so that they are judged together with the other sources.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::settings::{Preset, SETTINGS, Setting};

/// The form of a setting that is on or off.
const SWITCH: &str = "true|false";

/// The flags of all settings, and `--config`; for every subcommand that needs the configuration.
pub fn args() -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help("File to read settings from: TOML, its keys the names of the flags [env: ASYNCQUEUE_CONFIG]");
    std::iter::once(config).chain(SETTINGS.iter().map(arg)).collect()
}

fn arg(setting: &'static Setting) -> Arg {
    let action = if setting.repeatable { ArgAction::Append } else { ArgAction::Set };
    let arg = Arg::new(setting.name).long(setting.name).value_name(setting.form).action(action).help(help(setting));
    // A switch may be given without its value.
    if setting.form == SWITCH { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
}

fn help(setting: &Setting) -> String {
    let default = match setting.default {
        Preset::Text(text) | Preset::Derived(text) => format!(" [default: {text}]"),
        Preset::Nothing => String::new(),
    };
    let repeatable = if setting.repeatable { " (repeatable)" } else { "" };
    format!("{}{repeatable}{default} [env: {}]", setting.help, setting.variable())
}

/// What the command line said.
#[derive(Clone, Debug, Default)]
pub struct FlagValues {
    pub(super) config: Option<PathBuf>,
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
    pub(super) defaults: BTreeMap<&'static str, String>,
}

impl FlagValues {
    /// The settings among the flags of a subcommand; one that does not have them all is fine.
    pub fn from_matches(matches: &ArgMatches) -> Self {
        let config = matches.try_get_one::<PathBuf>("config").ok().flatten().cloned();
        let given = |setting: &Setting| matches.try_get_many::<String>(setting.name).ok().flatten();
        let values = SETTINGS
            .iter()
            .filter_map(|setting| given(setting).map(|values| (setting.name, values.cloned().collect())));
        Self { config, values: values.collect(), defaults: BTreeMap::new() }
    }

    /// Changes a default: how a subcommand brings its own. Every source still wins over it; unknown names are ignored.
    #[must_use]
    pub fn with_default(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Some(setting) = Setting::named(name) {
            self.defaults.insert(setting.name, value.into());
        }
        self
    }
}
