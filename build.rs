//! Gathers the provider templates, and the webhooks that are documented of them, so that adding one is adding a file.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let templates = |name: &str| name.strip_suffix(".json").filter(|name| *name != "schema").map(str::to_owned);
    gather("providers", "providers", "include_str", templates);
    gather("tests/data/webhooks", "webhooks", "include_bytes", |name| name.strip_suffix(".http").map(str::to_owned));
}

/// Writes the list of the folder's files, `(name, contents)` each, by the names that `named` gives them.
fn gather(folder: &str, list: &str, include: &str, named: impl Fn(&str) -> Option<String>) {
    println!("cargo::rerun-if-changed={folder}");
    let path = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join(folder);
    let mut files: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let Some(name) = named(&file) else { continue };
        // Not the file's own path: a folder that was moved with what was built in it would go on reading the old one.
        let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})", format!("/{folder}/{file}"));
        writeln!(text, "    ({name:?}, {include}!({path})),").unwrap();
    }
    text.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join(format!("{list}.rs")), text).unwrap();
}
