//! Webhooks as their providers document them: every file of `tests/data/webhooks` that names its template and its job.

use std::sync::LazyLock;

use serde_json::Value;

use super::facts::Sent;
use super::values::{at, texts};

/// `(name of the file, its bytes)`, gathered by build.rs.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/webhooks.rs"));

static SAMPLES: LazyLock<Vec<Sample>> =
    LazyLock::new(|| FILES.iter().filter_map(|(_, bytes)| Sample::read(bytes)).collect());

/// One whose body is JSON, or nothing.
struct Sample {
    template: String,
    job: String,
    query: Option<String>,
    body: String,
}

/// The documented webhook of a template that has this status, or, where there is none, something at this path; told of
/// `job` instead of its own.
pub(super) fn of(template: &Value, job: &str, status: Option<&str>, present: Option<&str>) -> Option<Sent> {
    let rule = &template["callback"]["rule"];
    let id = texts(&rule["idPath"]).first()?.clone();
    let fits = |sample: &&Sample| {
        let stands_there = match status {
            Some(status) => sample.value(rule["statusPath"].as_str().unwrap_or_default()).as_deref() == Some(status),
            None => present.is_some_and(|path| sample.json().is_some_and(|body| at(&body, path, 0).is_some())),
        };
        template["id"] == sample.template.as_str() && stands_there && sample.value(&id).as_ref() == Some(&sample.job)
    };
    SAMPLES.iter().find(fits).and_then(|sample| sample.told_of(job, &id))
}

impl Sample {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, body) = std::str::from_utf8(bytes).ok()?.split_once("\n\n")?;
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let sample = Self {
            template: value("# template: ")?,
            job: value("# job: ")?,
            query: value("POST /?"),
            body: body.to_owned(),
        };
        (sample.body.is_empty() || sample.json().is_some()).then_some(sample)
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// The text at a path, or of a parameter (`?name`).
    fn value(&self, path: &str) -> Option<String> {
        if let Some(name) = path.strip_prefix('?') {
            let mut pairs = url::form_urlencoded::parse(self.query.as_deref()?.as_bytes());
            return pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        }
        let body = self.json()?;
        let value = at(&body, path, 0).filter(|_| !path.is_empty())?;
        value.as_str().map(str::to_owned).or_else(|| Some(value.to_string()))
    }

    /// The same with another job's id wherever its own stands; None if it then no longer names that job.
    fn told_of(&self, job: &str, id: &str) -> Option<Sent> {
        let quoted = Value::from(job).to_string();
        let encoded: String = url::form_urlencoded::byte_serialize(job.as_bytes()).collect();
        let told = Self {
            template: self.template.clone(),
            job: job.to_owned(),
            query: self.query.as_ref().map(|query| query.replace(&self.job, &encoded)),
            body: self.body.replace(&self.job, &quoted[1..quoted.len() - 1]),
        };
        let names_it = told.value(id).as_deref() == Some(job);
        names_it.then(|| Sent { query: told.query, body: told.body.into_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Facts;

    fn end(id: &str, job: &str, failed: bool) -> (Option<String>, String) {
        let sent = Facts::named(id).unwrap().end(job, failed).unwrap();
        (sent.query, String::from_utf8(sent.body).unwrap())
    }

    #[test]
    fn a_documented_webhook_is_sent_with_the_jobs_own_id() {
        let (_, body) = end("replicate", "job \"7\"", false);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["id"], &body["status"]), (&Value::from("job \"7\""), &Value::from("succeeded")));
        assert!(body["output"] != Value::Null && body["webhook"] != Value::Null, "{body}");
        let (_, fal) = end("fal", "r", false);
        assert!(fal.contains("196619188014358660"), "as it was written: {fal}");
    }

    #[test]
    fn the_job_may_be_named_in_the_query() {
        let (query, body) = end("speechmatics", "a b", false);
        assert_eq!((query.as_deref(), body.as_str()), (Some("id=a+b&status=success"), ""));
    }

    #[test]
    fn what_is_not_documented_is_made_of_the_rule() {
        assert!(end("kling", "k", true).1.contains("it broke"));
    }

    #[test]
    fn most_ends_of_which_there_is_a_sample_are_sent_so() {
        let documented = |facts: &Facts, failed: bool| {
            let names = if failed { ("failValues", "failWhenPresent") } else { ("doneValues", "doneWhenPresent") };
            let first = |name: &str| texts(&facts["callback"]["rule"][name]).first().cloned();
            let status = first(names.0);
            let present = first(names.1).filter(|_| status.is_none());
            of(facts, "job", status.as_deref(), present.as_deref()).is_some()
        };
        let all = Facts::all();
        let count =
            all.iter().map(|facts| usize::from(documented(facts, false)) + usize::from(documented(facts, true)));
        let count: usize = count.sum();
        assert!(count >= 30, "{count}");
    }
}
