//! The configuration as the binary takes it: every setting from each source, who wins, and what is wrong said at once.

use std::collections::BTreeMap;
use std::fs;

use asyncqueue::config::SETTINGS;

use crate::harness::site::{Site, refusal, succeeded};

/// A value of each setting that is not its default.
fn samples() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("listen", "127.0.0.1:18080"),
        ("database", "postgres://queue@db.example/queue"),
        ("role", "api,callbacks"),
        ("node-name", "one"),
        ("node-lease", "28s"),
        ("require-sync", "true"),
        ("public-url", "https://queue.example/base"),
        ("allow-target", "10.0.0.0/8"),
        ("max-in-flight", "11"),
        ("max-in-flight-per-host", "12"),
        ("max-deliveries", "13"),
        ("max-polls", "24"),
        ("max-task-bytes", "1MiB"),
        ("max-callback-bytes", "2MiB"),
        ("max-answer-bytes", "3MiB"),
        ("callback-early", "reject"),
        ("callback-rate-limit", "7/8"),
        ("callback-rate-limit-counts", "refused"),
        ("callback-rate-limit-exempt", "192.0.2.0/24"),
        ("signal-rate-limit", "9/10"),
        ("team-rate-limit", "14"),
        ("trusted-proxy", "198.51.100.0/24"),
        ("max-connections", "15"),
        ("max-connections-per-source", "16"),
        ("first-byte-timeout", "17s"),
        ("header-timeout", "18s"),
        ("body-timeout", "19s"),
        ("idle-timeout", "20s"),
        ("retention", "21d"),
        ("secret-grace", "22h"),
        ("shutdown-notice", "2s"),
        ("shutdown-grace", "23s"),
        ("session-idle", "25m"),
        ("session-lifetime", "26h"),
        ("no-dashboard", "true"),
        ("max-streams", "27"),
        ("oidc-issuer", "https://id.example"),
        ("oidc-client-id", "queue"),
        ("oidc-allowed-domain", "example.com"),
        ("log", "json"),
        ("log-level", "debug"),
    ])
}

/// What `check-config` shows: name to value and source.
fn shown(site: &Site, words: &[&str]) -> BTreeMap<String, (String, String)> {
    let words = [&["check-config"], words].concat();
    let text = succeeded("check-config", &site.bare(&words));
    let columns =
        |line: &str| line.split("  ").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let rows = text.lines().map(|line| -> Vec<String> { columns(line) }).filter(|row| !row.is_empty());
    rows.map(|mut row| {
        row.resize(3, String::new());
        (row[0].clone(), (row[1].clone(), row[2].clone()))
    })
    .collect()
}

fn refused(site: &Site, words: &[&str]) -> String {
    refusal(&site.bare(&[&["check-config"], words].concat()))
}

fn set(site: &mut Site, name: &str, value: &str) {
    site.environment.retain(|(known, _)| known != name);
    site.environment.push((name.to_owned(), value.to_owned()));
}

#[test]
fn every_setting_is_the_same_from_flag_variable_and_file() {
    let mut site = Site::new("op-config-all");
    let samples = samples();
    let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    let missing: Vec<_> = names.iter().filter(|name| !samples.contains_key(*name)).collect();
    assert!(missing.is_empty(), "no sample here for {missing:?}");
    // The provider of single sign-on needs its secret, which is no setting.
    set(&mut site, "ASYNCQUEUE_OIDC_CLIENT_SECRET", "secret");
    // Nodes that share a database share a secret key.
    set(&mut site, "ASYNCQUEUE_SECRET_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let defaults = shown(&site, &[]);
    let words: Vec<String> = names.iter().map(|name| format!("--{name}={}", samples[name])).collect();
    let by_flag = shown(&site, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let file = site.dir.join("all.toml");
    let keys: Vec<String> = names.iter().map(|name| format!("{name} = \"{}\"", samples[name])).collect();
    fs::write(&file, keys.join("\n")).unwrap();
    let by_file = shown(&site, &["--config", file.to_str().unwrap()]);
    for setting in SETTINGS {
        set(&mut site, &setting.variable(), samples[setting.name]);
    }
    let by_variable = shown(&site, &[]);
    for (line, setting) in (1..).zip(SETTINGS) {
        let name = setting.name;
        assert_ne!(defaults[name].0, samples[name], "{name}: the sample is the default");
        let sources = [
            (&by_flag, format!("flag --{name}")),
            (&by_variable, format!("variable {}", setting.variable())),
            (&by_file, format!("{}:{line}, key {name}", file.display())),
        ];
        for (shown, source) in sources {
            assert_eq!(shown[name], (samples[name].to_owned(), source));
        }
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let mut site = Site::new("op-config-order");
    let file = site.dir.join("order.toml");
    fs::write(&file, "max-in-flight = 21\nallow-target = [\"10.1.0.0/16\", \"10.2.0.0/16\"]\n").unwrap();
    set(&mut site, "ASYNCQUEUE_CONFIG", file.to_str().unwrap());
    let value = |site: &Site, words: &[&str]| shown(site, words)["max-in-flight"].0.clone();
    assert_eq!(value(&site, &[]), "21");
    assert_eq!(shown(&site, &[])["allow-target"].0, "10.1.0.0/16, 10.2.0.0/16");
    set(&mut site, "ASYNCQUEUE_MAX_IN_FLIGHT", "22");
    assert_eq!(value(&site, &[]), "22");
    assert_eq!(value(&site, &["--max-in-flight", "23"]), "23");
    // Empty is as good as unset.
    set(&mut site, "ASYNCQUEUE_MAX_IN_FLIGHT", "");
    assert_eq!(value(&site, &[]), "21");
    // A flag names the file before a variable does, and a stronger source replaces a list whole.
    let other = site.dir.join("other.toml");
    fs::write(&other, "max-in-flight = 24\n").unwrap();
    assert_eq!(value(&site, &["--config", other.to_str().unwrap()]), "24");
    assert_eq!(shown(&site, &["--allow-target", "10.3.0.0/16"])["allow-target"].0, "10.3.0.0/16");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_where_it_stands() {
    let mut site = Site::new("op-config-wrong");
    let file = site.dir.join("wrong.toml");
    fs::write(&file, "max-in-fligth = 5\nretention = \"soon\"\n[server]\nport = 1\n").unwrap();
    set(&mut site, "ASYNCQUEUE_MAX_DELIVERYS", "5");
    set(&mut site, "ASYNCQUEUE_CALLBACK_EARLY", "perhaps");
    let said =
        refused(&site, &["--config", file.to_str().unwrap(), "--max-task-bytes", "lots", "--allow-target", "a b"]);
    let path = file.display();
    for part in [
        format!("{path}:1, key max-in-fligth"),
        "max-in-flight".to_owned(),
        format!("{path}:2, key retention"),
        format!("{path}:4, key server.port"),
        "variable ASYNCQUEUE_MAX_DELIVERYS".to_owned(),
        "ASYNCQUEUE_MAX_DELIVERIES".to_owned(),
        "variable ASYNCQUEUE_CALLBACK_EARLY".to_owned(),
        "flag --max-task-bytes".to_owned(),
        "flag --allow-target".to_owned(),
        "the configuration has 7 problems:".to_owned(),
    ] {
        assert!(said.contains(&part), "`{part}` is not in: {said}");
    }
    // `serve` says the same, and makes nothing.
    let served = refusal(&site.attempt(&["serve", "--config", file.to_str().unwrap()]));
    assert!(served.contains("key max-in-fligth"), "{served}");
    assert!(!site.database().exists());
}

#[test]
fn secrets_are_said_to_be_there_and_never_shown() {
    let mut site = Site::new("op-config-secret");
    let secret = "Wlpaf1paWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=";
    set(&mut site, "ASYNCQUEUE_SECRET_KEY", secret);
    let table = shown(&site, &[]);
    assert_eq!(table["ASYNCQUEUE_SECRET_KEY"].0, "set");
    assert_eq!(table["ASYNCQUEUE_BOOTSTRAP_KEY"].0, "not set");
    assert!(!format!("{table:?}").contains(secret));
    for bad in ["too-short", "", &format!("{secret},{}", &secret[1..])] {
        set(&mut site, "ASYNCQUEUE_SECRET_KEY", bad);
        let said = refused(&site, &[]);
        assert!(said.contains("ASYNCQUEUE_SECRET_KEY"), "{said}");
        assert!(bad.is_empty() || !said.contains(bad), "a refusal shows the secret: {said}");
    }
    site.environment.clear();
    set(&mut site, "ASYNCQUEUE_BOOTSTRAP_KEY", "hunter2-is-no-key");
    let said = refused(&site, &[]);
    assert!(said.contains("ASYNCQUEUE_BOOTSTRAP_KEY") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_missing_file_is_named() {
    let site = Site::new("op-config-missing");
    let said = refused(&site, &["--config", "/nowhere/asyncqueue.toml"]);
    assert!(said.contains("/nowhere/asyncqueue.toml") && said.contains("flag --config"), "{said}");
}
