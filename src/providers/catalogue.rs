//! The templates that come with the program: every file of the folder `providers/`.

use std::fmt;
use std::sync::LazyLock;

use super::template::Template;
use super::wire;

/// `(name of the file, its text)`, gathered by build.rs.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// The files as they are written: `(name without the ending, text)`.
pub fn files() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// All templates, in the order in which they are listed.
#[derive(Debug)]
pub struct Catalogue(Vec<Template>);

/// A template's file that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTemplate {
    /// The file's name, without the ending.
    pub file: String,
    /// What is wrong with it.
    pub error: String,
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "providers/{}.json: {}", self.file, self.error)
    }
}

impl std::error::Error for BadTemplate {}

/// The templates of this program. Checked at the first call, which belongs at the start.
pub fn embedded() -> Result<&'static Catalogue, BadTemplate> {
    static EMBEDDED: LazyLock<Result<Catalogue, BadTemplate>> = LazyLock::new(|| Catalogue::read(FILES));
    EMBEDDED.as_ref().map_err(Clone::clone)
}

impl Catalogue {
    /// Reads and checks templates: `(name, text)`.
    pub fn read(files: &[(&str, &str)]) -> Result<Self, BadTemplate> {
        let mut templates = Vec::with_capacity(files.len());
        for (name, text) in files {
            let bad = |error: String| BadTemplate { file: (*name).to_owned(), error };
            let wire: wire::Template = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
            if wire.id != *name {
                return Err(bad(format!("its id is {}, which must be the file's name", wire.id)));
            }
            templates.push(Template::of_wire(wire).map_err(bad)?);
        }
        check_classes(&templates)?;
        templates.sort_by(|a, b| (a.place.unwrap_or(u16::MAX), &a.id).cmp(&(b.place.unwrap_or(u16::MAX), &b.id)));
        Ok(Self(templates))
    }

    /// The template that stands in callback ids with this number.
    pub fn of_class(&self, class: u8) -> Option<&Template> {
        self.0.iter().find(|template| template.callback_class == Some(class))
    }

    /// The template with this id.
    pub fn get(&self, id: &str) -> Option<&Template> {
        self.0.iter().find(|template| template.id == id)
    }

    /// The templates that share an account's events, by the account's name (`openai`) or by one of their ids. An event
    /// that comes for the account is about a task of one of them, and is judged by that one's rule.
    pub fn of_account(&self, name: &str) -> Vec<&Template> {
        let account = self.get(name).and_then(Template::account).unwrap_or(name);
        self.iter().filter(|template| template.account() == Some(account)).collect()
    }

    /// All of them, in the order in which they are listed.
    pub fn iter(&self) -> std::slice::Iter<'_, Template> {
        self.0.iter()
    }
}

/// Each class is one template's.
fn check_classes(templates: &[Template]) -> Result<(), BadTemplate> {
    for (index, template) in templates.iter().enumerate() {
        let Some(class) = template.callback_class else { continue };
        let bad = |error: String| BadTemplate { file: template.id.clone(), error };
        if !(2..=63).contains(&class) || !template.takes_callback_url() {
            return Err(bad(
                "callbackClass is 2 to 63, of a provider that takes a callback URL with each job".to_owned()
            ));
        }
        if let Some(other) = templates[..index].iter().find(|other| other.callback_class == Some(class)) {
            return Err(bad(format!("callbackClass {class} is that of {}", other.id)));
        }
    }
    Ok(())
}

impl<'a> IntoIterator for &'a Catalogue {
    type Item = &'a Template;
    type IntoIter = std::slice::Iter<'a, Template>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
