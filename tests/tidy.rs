//! The rules about the code itself that no compiler holds: who may know whom, how long things may be, and that the
//! documentation names everything there is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use asyncqueue::config::SETTINGS;
use asyncqueue::telemetry::metrics::Metrics;

/// `(room, rooms it may import)`. A room is a module at the top of `src`; arrows only point down.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("task", &[]),
    ("guard", &[]),
    ("memory", &[]),
    ("net", &["memory"]),
    ("providers", &[]),
    ("telemetry", &[]),
    ("config", &["telemetry"]),
    ("clock", &["task"]),
    ("store", &["task"]),
    ("waiters", &["task"]),
    ("wire", &["task"]),
    ("credentials", &["clock", "task"]),
    ("outbound", &["guard", "memory", "task"]),
    ("teams", &["credentials", "store", "task"]),
    ("people", &["clock", "credentials", "net", "store", "task", "teams"]),
    ("timers", &["clock", "store", "task"]),
    ("follow", &["providers", "task"]),
    ("keysets", &["guard", "outbound", "providers"]),
    ("vault", &["credentials", "guard", "store", "task"]),
    ("stats", &["clock", "store", "task"]),
    ("strays", &["clock", "follow", "store", "task", "telemetry"]),
    (
        "dispatch",
        &[
            "clock",
            "credentials",
            "follow",
            "guard",
            "outbound",
            "stats",
            "store",
            "task",
            "teams",
            "telemetry",
            "vault",
        ],
    ),
    (
        "poll",
        &[
            "clock",
            "follow",
            "guard",
            "outbound",
            "providers",
            "stats",
            "store",
            "task",
            "telemetry",
            "timers",
            "vault",
        ],
    ),
    ("client", &["guard", "outbound"]),
    ("deliver", &["clock", "guard", "outbound", "stats", "store", "task", "teams", "telemetry", "wire"]),
    ("admin", &["clock", "credentials", "people", "store", "task", "teams", "wire"]),
    (
        "api",
        &[
            "clock",
            "credentials",
            "follow",
            "guard",
            "keysets",
            "net",
            "people",
            "providers",
            "store",
            "task",
            "teams",
            "telemetry",
            "vault",
            "waiters",
            "wire",
        ],
    ),
    ("oidc", &["clock", "credentials", "guard", "keysets", "outbound", "providers"]),
    (
        "ui",
        &[
            "clock",
            "credentials",
            "follow",
            "net",
            "oidc",
            "people",
            "providers",
            "stats",
            "store",
            "task",
            "waiters",
            "wire",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "api",
            "clock",
            "config",
            "credentials",
            "deliver",
            "dispatch",
            "guard",
            "keysets",
            "net",
            "oidc",
            "outbound",
            "people",
            "poll",
            "providers",
            "stats",
            "store",
            "strays",
            "task",
            "teams",
            "telemetry",
            "timers",
            "ui",
            "vault",
            "waiters",
        ],
    ),
    ("simulate", &["clock", "guard", "net", "outbound", "providers"]),
    (
        "cli",
        &[
            "admin",
            "api",
            "app",
            "client",
            "clock",
            "config",
            "credentials",
            "guard",
            "net",
            "outbound",
            "simulate",
            "telemetry",
            "wire",
        ],
    ),
];

/// The roots of the crate, which name the rooms and are none.
const ROOTS: &[&str] = &["lib", "main"];

/// Backends of the store, which never see one another.
const BACKENDS: &[&str] = &["memory", "sqlite", "postgres"];

/// The most lines of a function, and of a file.
const FUNCTION_MAX: usize = 60;
const FILE_MAX: usize = 600;

/// `(file, function, lines)` of functions that were longer before there was a limit. They may only shrink.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[
    ("src/net/tests/smuggling.rs", "codings", 70),
    ("src/net/tests/smuggling.rs", "heads", 120),
    ("src/store/contract/tasks.rs", "events_are_told_in_order", 70),
    ("src/telemetry/metrics/mod.rs", "new", 78),
];

struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        gather(&root().join(folder), &mut paths);
    }
    paths.sort();
    let load = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
    };
    paths.into_iter().map(load).collect()
}

fn gather(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Fails with everything that is wrong at once.
fn expect_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}\n  {}", problems.join("\n  "));
}

impl Source {
    /// The room that a file of `src` belongs to.
    fn room(&self) -> &str {
        let rest = self.path.strip_prefix("src/").unwrap_or(&self.path);
        rest.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Code lines with their numbers; comments are left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The name and the length of each function, by the indentation that rustfmt keeps.
    fn functions(&self) -> Vec<(&str, usize)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let starts = lines.iter().enumerate().filter_map(|(at, line)| Some((at, line, function_name(line)?)));
        let length = |(at, line, name): (usize, &&str, _)| {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let body = lines[at..].iter().take_while(|line| **line != end).count();
            // A declaration in a trait has no body.
            let declared =
                lines[at..].iter().find(|line| line.ends_with(['{', ';'])).is_some_and(|line| line.ends_with(';'));
            (name, if declared || is_one_line(line) { 1 } else { body + 1 })
        };
        starts.map(length).collect()
    }
}

fn is_one_line(line: &str) -> bool {
    line.ends_with(['}', ';'])
}

fn function_name(line: &str) -> Option<&str> {
    const BEFORE: &[&str] = &["pub", "pub(super)", "pub(crate)", "const", "async", "unsafe"];
    let mut words = line.split_whitespace().skip_while(|word| BEFORE.contains(word));
    let name = (words.next() == Some("fn")).then(|| words.next()).flatten()?;
    name.split(['(', '<']).next()
}

/// The words that follow `prefix` wherever it stands: `crate::a`, and each of `crate::{a, b::c}`.
fn imported<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |text: &'a str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.trim_end_matches(['}', ';']).split(',').map(word)),
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn arrows_only_point_down() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut problems = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !ROOTS.contains(&source.room())) {
        let room = source.room();
        let Some(allowed) = table.get(room) else {
            problems.push(format!("{}: the room `{room}` is not in the table", source.path));
            continue;
        };
        for (number, line) in source.code() {
            let others = imported(line, "crate::").into_iter().filter(|other| *other != room);
            for other in others.filter(|other| table.contains_key(other) && !allowed.contains(other)) {
                problems.push(format!("{}:{number}: `{room}` must not import `{other}`", source.path));
            }
        }
    }
    expect_none(&problems, "The import rule (MAY_IMPORT in tests/tidy.rs):");
}

#[test]
fn the_table_has_no_circle() {
    for (place, (room, allowed)) in MAY_IMPORT.iter().enumerate() {
        let before = &MAY_IMPORT[..place];
        for other in *allowed {
            assert!(before.iter().any(|(known, _)| known == other), "`{room}` stands above `{other}` in the table");
        }
    }
}

#[test]
fn only_the_client_calls_without_the_guards_rules() {
    let mut problems = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !["client", "guard"].contains(&source.room())) {
        let found = source.code().filter(|(_, line)| line.contains("trusting("));
        problems.extend(found.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())));
    }
    expect_none(&problems, "A service must judge what it calls:");
}

#[test]
fn backends_of_the_store_do_not_see_one_another() {
    let mut problems = Vec::new();
    for source in sources(&["src/store"]) {
        let place =
            source.path.trim_start_matches("src/store/").split(['/', '.']).next().unwrap_or_default().to_owned();
        if !BACKENDS.contains(&place.as_str()) {
            continue;
        }
        for (number, line) in source.code() {
            let seen = imported(line, "store::").into_iter().chain(imported(line, "super::"));
            for other in seen.filter(|other| BACKENDS.contains(other) && *other != place) {
                problems.push(format!("{}:{number}: `store::{place}` must not import `store::{other}`", source.path));
            }
        }
    }
    expect_none(&problems, "The store's backends meet in its contract only:");
}

#[test]
fn functions_are_short() {
    let mut problems = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (name, lines) in source.functions() {
            let listed = LONG_FUNCTIONS.iter().find(|(path, known, _)| *path == source.path && *known == name);
            let most = listed.map_or(FUNCTION_MAX, |(_, _, lines)| *lines);
            if lines > most {
                problems.push(format!("{}: `{name}` has {lines} lines; {most} are allowed", source.path));
            }
        }
    }
    expect_none(&problems, "A long function is a sign of two things in one place:");
}

#[test]
fn files_are_short() {
    let too_long = |source: &Source| source.text.lines().count() > FILE_MAX;
    let long = sources(&["src", "tests", "benches"]).into_iter().filter(too_long);
    let problems: Vec<String> =
        long.map(|source| format!("{}: {} lines", source.path, source.text.lines().count())).collect();
    expect_none(&problems, "A file of more than 600 lines wants to be a folder:");
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not find itself.
    let unfinished = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let bare_ignore = ["#[", "ignore]"].concat();
    let mut problems = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (number, line) in source.code() {
            let found = unfinished.iter().find(|name| line.contains(name.as_str()));
            problems.extend(found.map(|name| format!("{}:{number}: {name}…)", source.path)));
            if line.contains(&bare_ignore) {
                problems.push(format!("{}:{number}: an ignored test needs a reason: = \"…\"", source.path));
            }
        }
    }
    expect_none(&problems, "Unfinished code:");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let mut problems = Vec::new();
    let (mut in_dependencies, mut has_reason) = (false, false);
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
            has_reason = false;
        } else if line.is_empty() {
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if in_dependencies && !has_reason {
            problems.push(line.to_owned());
        }
    }
    expect_none(&problems, "In Cargo.toml a comment above each group of dependencies says what they are for:");
}

#[test]
fn the_documentation_names_every_route() {
    let plain = |text: &str| {
        let parts = text.split('{').enumerate();
        parts
            .map(|(at, part)| if at == 0 { part } else { part.split_once('}').map_or(part, |(_, rest)| rest) })
            .collect::<Vec<_>>()
            .join("{}")
    };
    let documented = plain(&read("docs/api.md"));
    let described: serde_json::Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let routes: Vec<String> = described["paths"].as_object().unwrap().keys().cloned().collect();
    assert!(routes.len() >= 17, "{routes:?}");
    let missing: Vec<String> =
        routes.into_iter().filter(|route| !documented.contains(&format!("{}`", plain(route)))).collect();
    expect_none(&missing, "docs/api.md lacks these routes:");
}

#[test]
fn the_documentation_names_every_setting() {
    let documented = read("docs/configuration.md");
    let is_there = |name: &str| documented.contains(&format!("`{name}`"));
    let names = SETTINGS.iter().flat_map(|setting| [format!("--{}", setting.name), setting.variable()]);
    let missing: Vec<String> = names.filter(|name| !is_there(name)).collect();
    expect_none(&missing, "docs/configuration.md lacks these settings:");
}

#[test]
fn the_documentation_names_every_metric() {
    let documented = read("docs/operations.md");
    let shown = Metrics::new("0").render();
    let names = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<String> =
        names.filter(|name| !documented.contains(&format!("`{name}"))).map(str::to_owned).collect();
    expect_none(&missing, "docs/operations.md lacks these metrics:");
}

#[test]
fn the_architecture_shows_the_import_rule_as_it_is() {
    let documented = read("ARCHITECTURE.md");
    let list = |rooms: &[&str]| match rooms {
        [] => "nothing".to_owned(),
        rooms => rooms.iter().map(|room| format!("`{room}`")).collect::<Vec<_>>().join(", "),
    };
    let rows = MAY_IMPORT.iter().map(|(room, allowed)| format!("| `{room}` | {} |", list(allowed)));
    let missing: Vec<String> = rows.filter(|row| !documented.contains(row.as_str())).collect();
    expect_none(&missing, "ARCHITECTURE.md lacks these rows:");
}

#[test]
fn a_crossing_is_seen_however_it_is_spelled() {
    assert_eq!(imported("use crate::{task, store::Store};", "crate::"), ["task", "store"]);
    assert_eq!(imported("let x = crate::api::f(crate::task::g());", "crate::"), ["api", "task"]);
    let text = "    pub(super) async fn a<T>(\n    ) {\n        x\n    }\nfn b() {}\nfn c();\n".to_owned();
    let source = Source { path: String::new(), text };
    assert_eq!(source.functions(), [("a", 4), ("b", 1), ("c", 1)]);
}
