//! Native webhooks of the providers (tests/data/webhooks) are understood as their documentation means them.

use std::fs;
use std::path::Path;

use crate::providers::{Delivery, Verdict, embedded};

/// One file: what to expect, then a request.
pub(super) struct Webhook {
    pub name: String,
    pub template: Option<String>,
    pub state: String,
    pub job: Option<String>,
    query: Option<String>,
    content_type: Option<String>,
    pub body: Vec<u8>,
}

impl Webhook {
    fn delivery(&self) -> Delivery<'_> {
        Delivery { query: self.query.as_deref(), content_type: self.content_type.as_deref(), body: &self.body }
    }
}

pub(super) fn all() -> Vec<Webhook> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/webhooks");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

pub(super) fn read(file: &Path) -> Webhook {
    let bytes = fs::read(file).unwrap();
    let split = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let path = head.lines().find_map(|line| line.strip_prefix("POST ")).unwrap();
    Webhook {
        name: file.file_stem().unwrap().to_string_lossy().into_owned(),
        template: value("# template: "),
        state: value("# state: ").unwrap(),
        job: value("# job: "),
        query: path.split_once('?').map(|(_, query)| query.to_owned()),
        content_type: value("content-type: "),
        body: bytes[split + 2..].to_vec(),
    }
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "done",
        Verdict::Fail { .. } => "failed",
        Verdict::Interim => "interim",
        Verdict::Challenge { .. } => "challenge",
    }
}

#[test]
fn each_gets_its_documented_state_and_job() {
    let mut seen = 0;
    for webhook in all() {
        let Some(id) = &webhook.template else { continue };
        let rule = &embedded().unwrap().get(id).unwrap().callback().unwrap().rule;
        let reading = rule.read(&webhook.delivery()).unwrap();
        assert_eq!(name(&reading.verdict), webhook.state, "{}", webhook.name);
        assert_eq!(reading.job_id, webhook.job, "{}", webhook.name);
        seen += 1;
    }
    assert!(seen >= 53, "{seen} webhooks");
}

/// Shapes that no provider sends: no template takes one of them for the end of its job.
#[test]
fn what_nobody_sends_is_never_the_end() {
    let odd: Vec<Webhook> = all().into_iter().filter(|webhook| webhook.state == "unknown").collect();
    assert!(odd.len() >= 5);
    for template in embedded().unwrap() {
        let Some(callback) = template.callback() else { continue };
        for webhook in &odd {
            if let Ok(reading) = callback.rule.read(&webhook.delivery()) {
                assert_eq!(reading.verdict, Verdict::Interim, "{} as of {}", webhook.name, template.id);
            }
        }
    }
}

/// A rule that fits one provider says nothing wrong of another's failures.
#[test]
fn failures_have_words() {
    for webhook in all().iter().filter(|webhook| webhook.state == "failed") {
        let rule = &embedded().unwrap().get(webhook.template.as_ref().unwrap()).unwrap().callback().unwrap().rule;
        let Verdict::Fail { error } = rule.read(&webhook.delivery()).unwrap().verdict else {
            panic!("{}", webhook.name)
        };
        assert!(!error.is_empty() && error.len() < 200, "{}: {error}", webhook.name);
    }
}
