//! What docs/providers.md says is so: its table, and the template and the event that it shows how to write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use super::webhooks::{self, Webhook};
use crate::providers::{Catalogue, Delivery, Verdict, embedded, table};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../../../docs/providers.md");

/// What the page says to write into this file.
fn block(file: &str) -> &'static str {
    let marker = format!("<!-- test: {file} -->\n```");
    let (_, rest) = PAGE.split_once(&marker).unwrap_or_else(|| panic!("docs/providers.md shows no {file}"));
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0
}

/// Writes what the page says into a file, in a folder that is removed at the end.
struct Written(PathBuf);

impl Written {
    fn holding(file: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("asyncqueue-page-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let written = Self(folder.join(Path::new(file).file_name().unwrap()));
        fs::write(&written.0, block(file)).unwrap();
        written
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn the_page_holds_the_table() {
    let table = table(embedded().unwrap());
    assert!(PAGE.contains(&table), "docs/providers.md should hold exactly this:\n{table}");
}

#[test]
fn the_template_that_the_page_shows_is_read_and_its_event_means_what_the_page_says() {
    let file = Written::holding("providers/acme-video.json");
    let text = fs::read_to_string(&file.0).unwrap();
    let catalogue = Catalogue::read(&[(file.0.file_stem().unwrap().to_str().unwrap(), &text)]).unwrap();
    let template = catalogue.get("acme-video").unwrap();
    assert!(template.poll().is_some() && template.takes_callback_url());

    let event = Written::holding("tests/data/webhooks/acme-video.failed.http");
    let Webhook { template: named, state, job, body, .. } = webhooks::read(&event.0);
    assert_eq!((named.as_deref(), state.as_str()), (Some("acme-video"), "failed"));
    let delivery = Delivery { query: None, content_type: Some("application/json"), body: &body };
    let reading = template.callback().unwrap().rule.read(&delivery).unwrap();
    assert_eq!(reading.verdict, Verdict::Fail { error: "the prompt was refused".to_owned() });
    assert_eq!(reading.job_id, job);
}

/// Where `./test` puts the validator, for who runs this test alone after it.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/verifiers/bin/python");

/// `./test` names the interpreter that has the validator; where there is none, `./test` is still to come.
#[test]
fn the_template_that_the_page_shows_fits_the_schema() {
    let installed = Path::new(INSTALLED).exists().then(|| INSTALLED.to_owned());
    let Some(python) = env::var("AQ_TEST_PYTHON").ok().or(installed) else { return };
    let file = Written::holding("providers/acme-video.json");
    let judged = Command::new(python).arg(format!("{ROOT}/tests/oracles/templates.py")).arg(&file.0).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}
