//! Gathers the provider templates, so that adding one is adding a file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=providers");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("providers");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files
        .retain(|file| file.extension().is_some_and(|extension| extension == "json") && !file.ends_with("schema.json"));
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy();
        // Not the file's own path: a folder that was moved with what was built in it would go on reading the old one.
        let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})", format!("/providers/{name}.json"));
        writeln!(list, "    ({name:?}, include_str!({path})),").unwrap();
    }
    list.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("providers.rs"), list).unwrap();
}
