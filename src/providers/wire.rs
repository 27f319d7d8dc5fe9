//! The written forms: what a template's file holds, what a user may give, and what is stored with a task. Unknown
//! fields are refused everywhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Texts {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }

    /// The shortest form.
    pub fn of<T: ToString>(items: &[T]) -> Self {
        match items {
            [one] => Self::One(one.to_string()),
            several => Self::Several(several.iter().map(T::to_string).collect()),
        }
    }

    fn is_none(&self) -> bool {
        self.all().is_empty()
    }
}

/// A poll configuration, field by field in the public order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Poll {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short_number")]
    pub interval: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_values: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_values: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_url_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short_number")]
    pub max_duration: Option<f64>,
}

/// What a template knows about polling beyond the public fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Finer {
    /// Documented values that mean that the job goes on; for people, since any unknown value means that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending_values: Vec<String>,
    /// More fail values than the public list has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_values: Vec<String>,
    /// Paths of values that mean success by being there.
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub done_when_present: Texts,
    /// Paths of values that mean failure by saying something, even with a done status.
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub fail_when_present: Texts,
    /// Paths of results: where one is there, what `fail_when_present` finds is a part that failed, not the job.
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub unless_present: Texts,
    /// Where the error is, where the public form has no errorPath.
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub error_path: Texts,
    /// Status codes that mean “not yet” where 401, 403, 404 and 410 would mean trouble.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending_statuses: Vec<u16>,
    /// GET if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The body of a poll that is a POST; its strings may hold `{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// Slashes inside of an id stay as they are.
    #[serde(skip_serializing_if = "is_false")]
    pub keep_slashes: bool,
    /// The result comes by callback only, so that a poll that says done had better wait for it (Baseten).
    #[serde(skip_serializing_if = "is_false")]
    pub result_by_callback: bool,
    /// A better URL than the public template's, where the answer to the submission names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_url_template: Option<String>,
    /// The public URL's place for jobs that were submitted to these paths. A task stores the one that is its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub url_templates: BTreeMap<String, String>,
}

/// A poll configuration as it is stored with a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoredPoll {
    pub poll_config: Poll,
    pub finer: Finer,
    pub id_path: Texts,
    pub trusted: Vec<String>,
    /// Whether a user wrote the URL, who may not have placeholders in its host.
    pub user_url: bool,
    pub user_result_url: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
}

/// Where the body of an answer says whether the request was accepted, for providers that answer 200 all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    pub code_path: String,
    pub accepted_values: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again_values: Vec<String>,
    #[serde(default, skip_serializing_if = "Texts::is_none")]
    pub error_path: Texts,
}

/// How a job is called off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cancel {
    pub method: String,
    pub url_template: String,
}

/// A callback rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_path: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done_values: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_values: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interim_values: Vec<String>,
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub done_when_present: Texts,
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub fail_when_present: Texts,
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub id_path: Texts,
    #[serde(skip_serializing_if = "Texts::is_none")]
    pub error_path: Texts,
    /// Templates only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_when: Option<ValueAt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_unless: Option<ValueAt>,
    /// Templates only: `empty`, `text`, `binary`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<Form>,
    /// Templates only: a body that is not JSON is the result.
    #[serde(skip_serializing_if = "is_false")]
    pub done_by_form: bool,
    /// Templates only: the id is not spelled as in the answer to the submission.
    #[serde(skip_serializing_if = "is_false")]
    pub id_spelled_otherwise: bool,
    /// Templates only: the field that is sent back when the URL is tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

/// A place, and the value that it has in most events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueAt {
    pub path: String,
    pub value: String,
}

/// A body beside JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Form {
    Empty,
    Text,
    Binary,
}

/// A template's file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    #[serde(rename = "$schema")]
    pub _schema: String,
    pub place: Option<u16>,
    pub id: String,
    pub callback_class: Option<u8>,
    pub name: String,
    pub description: String,
    pub docs: String,
    pub confidence: super::template::Confidence,
    #[serde(default)]
    pub notes: Vec<String>,
    pub submit: Option<super::template::Submit>,
    #[serde(default)]
    pub id_path: Texts,
    pub envelope: Option<Envelope>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    pub poll_config: Option<Poll>,
    #[serde(default)]
    pub poll: Finer,
    pub cancel: Option<Cancel>,
    pub callback: Option<Callback>,
    #[serde(default)]
    pub credential_hosts: Vec<String>,
    #[serde(default = "too_many_requests")]
    pub retry_on: Vec<u16>,
    pub max_duration: Option<f64>,
}

/// A template's callbacks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Callback {
    pub url: Passing,
    pub rule: Rule,
    #[serde(default = "post")]
    pub methods: Vec<String>,
    pub max_bytes: Option<usize>,
    pub signature: Option<super::signature::Scheme>,
    pub retries: Option<super::template::Retries>,
    #[serde(default)]
    pub redact: Vec<String>,
}

/// How the callback URL is passed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Passing {
    #[serde(rename = "in")]
    pub place: Part,
    pub at: Option<String>,
    #[serde(default)]
    pub encoding: Encoding,
    pub value: Option<Box<RawValue>>,
    #[serde(default)]
    pub beside: Vec<Setting>,
    /// The account whose events come to one URL, where several templates share it; else the template's id.
    pub account: Option<String>,
    /// For people: where to register the URL of an account.
    pub register: Option<String>,
}

/// A value beside the callback URL.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Setting {
    #[serde(rename = "in")]
    pub place: Option<Part>,
    pub at: String,
    pub value: Box<RawValue>,
    #[serde(default)]
    pub existing: super::inject::Existing,
    /// Whether it is written only along with a secret.
    #[serde(default)]
    pub with_secret: bool,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    Query,
    Body,
    Account,
}

/// How the value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    #[default]
    Raw,
    Base64Json,
}

fn too_many_requests() -> Vec<u16> {
    vec![429]
}

fn post() -> Vec<String> {
    vec!["POST".to_owned()]
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Whole numbers without a fraction, as people write them.
#[expect(clippy::ref_option, reason = "serde asks for a reference")]
fn short_number<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(value) = *value else { return serializer.serialize_none() };
    if value.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 30 days of seconds")]
        return serializer.serialize_i64(value as i64);
    }
    serializer.serialize_f64(value)
}
