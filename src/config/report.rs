//! The configuration shown to people: what is in force, and what there is to set.

use std::fmt::Write;

use super::secret::{BOOTSTRAP_KEY, OIDC_SECRET, SECRET_KEY};
use super::settings::{Config, Preset, SETTINGS, Setting};

impl Config {
    /// Every effective value with its source, for `asyncqueue check-config`. Secrets are only said to be there.
    pub fn describe(&self) -> String {
        table(&self.in_force())
    }

    /// Name, value and source of every setting.
    pub fn in_force(&self) -> Vec<(&'static str, String, String)> {
        let settings = SETTINGS
            .iter()
            .map(|setting| (setting.name, self.effective(setting), self.sources.origin(setting.name).to_string()));
        let secrets = [
            (BOOTSTRAP_KEY, self.bootstrap_key.is_some()),
            (SECRET_KEY, self.secret_keys.is_some()),
            (OIDC_SECRET, self.oidc_secret.is_some()),
        ];
        let secrets = secrets.map(|(name, set)| (name, presence(set).to_owned(), String::new()));
        settings.chain(secrets).collect()
    }

    fn effective(&self, setting: &Setting) -> String {
        if setting.name == "database" {
            return self.database.shown();
        }
        match self.sources.get(setting.name) {
            Some(value) => value.texts.join(", "),
            None if setting.name == "public-url" => format!("http://{}", self.listen),
            None => String::new(),
        }
    }
}

fn presence(set: bool) -> &'static str {
    if set { "set" } else { "not set" }
}

fn table(rows: &[(&str, String, String)]) -> String {
    let names = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, value, source)| {
        let line = format!("{name:names$}  {value:values$}  {source}");
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

/// The table of `docs/configuration.md`. A test holds the page to it.
pub fn markdown_table() -> String {
    let head = "| Flag | Environment | Value | Default | |\n|---|---|---|---|---|\n".to_owned();
    SETTINGS.iter().fold(head, |mut text, setting| {
        let _ = writeln!(
            text,
            "| `--{}` | `{}` | `{}`{} | {} | {} |",
            setting.name,
            setting.variable(),
            setting.form.replace('|', "\\|"),
            if setting.repeatable { ", repeatable" } else { "" },
            default_cell(setting.default),
            setting.help
        );
        text
    })
}

fn default_cell(default: Preset) -> String {
    match default {
        Preset::Text(text) => format!("`{text}`"),
        Preset::Derived(text) => text.replace('<', "&lt;").replace('>', "&gt;"),
        Preset::Nothing => "none".to_owned(),
    }
}
