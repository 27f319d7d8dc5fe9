//! Callback rules: read from a user or a template, stored, and shown.

use super::json::Json;
use super::path::{Path, Place};
use super::rule::{CallbackRule, Forms};
use super::wire::{self, Form, Texts};
use super::wrong::{Fields, Wrong};

const VALUES_MAX: usize = 100;

impl CallbackRule {
    /// Reads a user's `callbackConfig`; with a provider, its keys override those of the template's rule. All that is
    /// wrong is told at once.
    pub fn parse(json: Json<'_>, template: Option<&CallbackRule>) -> Result<Self, Vec<Wrong>> {
        let mut fields = Fields::new("callbackConfig", json)?;
        let given = read(&mut fields);
        check(&given, &mut fields);
        fields.finish()?;
        let under = template.map(Self::to_wire).unwrap_or_default();
        let rule = Self::of_wire(over(given, under)).map_err(|error| vec![Wrong::of("callbackConfig", &error)])?;
        rule.checked()
    }

    /// Values without a place to find them are a mistake.
    fn checked(self) -> Result<Self, Vec<Wrong>> {
        let values = [&self.done, &self.fail, &self.interim];
        if self.status.is_none() && values.iter().any(|values| !values.is_empty()) {
            let text = "is required with doneValues, failValues or interimValues: it says where the value is";
            return Err(vec![Wrong::of("callbackConfig.statusPath", text)]);
        }
        Ok(self)
    }

    /// What was stored with a task.
    pub fn restore(text: &str) -> Result<Self, String> {
        let wire = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::of_wire(wire)
    }

    /// What to store with a task: the whole rule, whatever later versions' templates say.
    pub fn stored(&self) -> String {
        serde_json::to_string(&self.to_wire()).expect("it is plain data")
    }

    /// What the API shows: the contract's fields, in their order.
    pub fn shown(&self) -> String {
        let wire = self.to_wire();
        let public = wire::Rule {
            only_when: None,
            fail_unless: None,
            forms: Vec::new(),
            done_by_form: false,
            id_spelled_otherwise: false,
            challenge: None,
            ..wire
        };
        serde_json::to_string(&public).expect("it is plain data")
    }

    /// The error completes “`<the rule>` …”.
    pub(super) fn of_wire(wire: wire::Rule) -> Result<Self, String> {
        fn each<T>(texts: &Texts, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
            texts.all().iter().map(|text| parse(text)).collect()
        }
        let pair = |value: wire::ValueAt| Place::parse(&value.path).map(|place| (place, value.value));
        Ok(Self {
            status: wire.status_path.as_deref().map(Place::parse).transpose()?,
            done: wire.done_values,
            fail: wire.fail_values,
            interim: wire.interim_values,
            done_when_present: each(&wire.done_when_present, Path::parse)?,
            fail_when_present: each(&wire.fail_when_present, Path::parse)?,
            id: each(&wire.id_path, Place::parse)?,
            error: each(&wire.error_path, Place::parse)?,
            only_when: wire.only_when.map(pair).transpose()?,
            fail_unless: wire.fail_unless.map(pair).transpose()?,
            forms: Forms {
                empty: wire.forms.contains(&Form::Empty),
                text: wire.forms.contains(&Form::Text),
                binary: wire.forms.contains(&Form::Binary),
                done: wire.done_by_form,
            },
            id_spelled_otherwise: wire.id_spelled_otherwise,
            challenge: wire.challenge,
        })
    }

    fn to_wire(&self) -> wire::Rule {
        let pair = |(place, value): &(Place, String)| wire::ValueAt { path: place.to_string(), value: value.clone() };
        let forms = [(self.forms.empty, Form::Empty), (self.forms.text, Form::Text), (self.forms.binary, Form::Binary)];
        wire::Rule {
            status_path: self.status.as_ref().map(ToString::to_string),
            done_values: self.done.clone(),
            fail_values: self.fail.clone(),
            interim_values: self.interim.clone(),
            done_when_present: Texts::of(&self.done_when_present),
            fail_when_present: Texts::of(&self.fail_when_present),
            id_path: Texts::of(&self.id),
            error_path: Texts::of(&self.error),
            only_when: self.only_when.as_ref().map(pair),
            fail_unless: self.fail_unless.as_ref().map(pair),
            forms: forms.iter().filter(|(taken, _)| *taken).map(|(_, form)| *form).collect(),
            done_by_form: self.forms.done,
            id_spelled_otherwise: self.id_spelled_otherwise,
            challenge: self.challenge.clone(),
        }
    }
}

fn read(fields: &mut Fields<'_>) -> wire::Rule {
    let in_callback = |text: &str| match Place::parse(text)? {
        Place::HttpStatus => Err("must be a path into the body, or ?name for a parameter of the URL".to_owned()),
        _ => Ok(()),
    };
    let in_body = |text: &str| match Path::parse(text)?.segments() {
        [] => Err("must not be empty: the whole body is always there".to_owned()),
        _ => Ok(()),
    };
    wire::Rule {
        status_path: fields.checked("statusPath", in_callback),
        done_values: fields.strings("doneValues", VALUES_MAX).unwrap_or_default(),
        fail_values: fields.strings("failValues", VALUES_MAX).unwrap_or_default(),
        interim_values: fields.strings("interimValues", VALUES_MAX).unwrap_or_default(),
        done_when_present: fields.texts("doneWhenPresent", in_body),
        fail_when_present: fields.texts("failWhenPresent", in_body),
        id_path: fields.texts("idPath", in_callback),
        error_path: fields.texts("errorPath", in_callback),
        ..wire::Rule::default()
    }
}

fn check(given: &wire::Rule, fields: &mut Fields<'_>) {
    let lists = [
        ("doneValues", &given.done_values),
        ("failValues", &given.fail_values),
        ("interimValues", &given.interim_values),
    ];
    for (at, (name, values)) in lists.iter().enumerate() {
        let before = lists[..at]
            .iter()
            .find_map(|(other, known)| values.iter().find(|value| known.contains(value)).map(|value| (other, value)));
        if let Some((other, value)) = before {
            fields.refuse(name, &format!("must not share values with {other}: {value}"));
        }
    }
}

/// The given fields, else the template's; a value that the user gave a meaning loses the template's.
fn over(given: wire::Rule, under: wire::Rule) -> wire::Rule {
    let all = [&given.done_values, &given.fail_values, &given.interim_values];
    let taken: Vec<String> = all.into_iter().flatten().cloned().collect();
    let values = |given: Vec<String>, under: Vec<String>| {
        if given.is_empty() { under.into_iter().filter(|value| !taken.contains(value)).collect() } else { given }
    };
    let texts = |given: Texts, under: Texts| if given.all().is_empty() { under } else { given };
    wire::Rule {
        status_path: given.status_path.or(under.status_path),
        done_values: values(given.done_values, under.done_values),
        fail_values: values(given.fail_values, under.fail_values),
        interim_values: values(given.interim_values, under.interim_values),
        done_when_present: texts(given.done_when_present, under.done_when_present),
        fail_when_present: texts(given.fail_when_present, under.fail_when_present),
        id_path: texts(given.id_path, under.id_path),
        error_path: texts(given.error_path, under.error_path),
        only_when: under.only_when,
        fail_unless: under.fail_unless,
        forms: under.forms,
        done_by_form: under.done_by_form,
        id_spelled_otherwise: under.id_spelled_otherwise,
        challenge: under.challenge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CallbackRule, Vec<String>> {
        CallbackRule::parse(Json::parse(text.as_bytes()).unwrap(), None)
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_was_read_is_shown_stored_and_restored() {
        let text =
            r#"{"statusPath":"state","doneValues":["ok"],"failValues":["bad"],"idPath":"id","errorPath":"error"}"#;
        let rule = parse(text).unwrap();
        assert_eq!(rule.shown(), text);
        assert_eq!(CallbackRule::restore(&rule.stored()).unwrap(), rule);
    }

    #[test]
    fn all_that_is_wrong_is_told_by_name() {
        let wrong = parse(
            r#"{"statusPath":1,"doneValues":["a"],"failValues":["a"],"idPath":"a..b","errorPath":["x",2],"extra":1}"#,
        );
        assert_eq!(
            wrong.unwrap_err(),
            [
                "callbackConfig.statusPath must be a string",
                "callbackConfig.idPath must be names parted by single dots, such as data.status or images.0.url",
                "callbackConfig.errorPath must be a path, or an array of at most 20 paths",
                "callbackConfig.failValues must not share values with doneValues: a",
                "Unknown field: callbackConfig.extra",
            ]
        );
        assert_eq!(parse("[]").unwrap_err(), ["callbackConfig must be an object"]);
        assert_eq!(parse(r#"{"idPath":"a","idPath":"b"}"#).unwrap_err(), ["callbackConfig.idPath is given twice"]);
    }

    #[test]
    fn a_users_keys_override_the_templates() {
        let template = CallbackRule {
            status: Some(Place::parse("?status").unwrap()),
            done: vec!["success".to_owned()],
            fail: vec!["error".to_owned(), "fine".to_owned()],
            id: vec![Place::parse("?id").unwrap()],
            forms: Forms { empty: true, ..Forms::default() },
            ..CallbackRule::default()
        };
        let given = Json::parse(br#"{"doneValues":["fine"]}"#).unwrap();
        let merged = CallbackRule::parse(given, Some(&template)).unwrap();
        assert_eq!((merged.done, merged.fail), (vec!["fine".to_owned()], vec!["error".to_owned()]));
        assert_eq!((merged.status, merged.id, merged.forms), (template.status, template.id, template.forms));
    }
}
