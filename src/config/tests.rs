use std::collections::BTreeSet;
use std::time::Duration;

use clap::Command;

use super::*;
use crate::telemetry::logging;

const FILE: &str = "/etc/asyncqueue.toml";

/// What to load a configuration from. `file` is what the file named by `ASYNCQUEUE_CONFIG` holds.
#[derive(Default)]
struct Given<'a> {
    flags: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
    file: Option<&'a str>,
}

impl Given<'_> {
    fn load(&self) -> Result<Config, ConfigError> {
        let command = Command::new("test").no_binary_name(true).args(args());
        let flags = FlagValues::from_matches(&command.try_get_matches_from(self.flags).unwrap());
        let file = self.file.map(|_| ("ASYNCQUEUE_CONFIG", FILE));
        let env = file.iter().chain(self.env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read_file = |_: &Path| self.file.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into());
        let check_target = |target: &str| {
            if target == "bad" { Err("not a target".to_owned()) } else { Ok(()) }
        };
        let host =
            Host { read_file: &read_file, data_folder: Some("/data/asyncqueue".into()), check_target: &check_target };
        Config::load(flags, env.collect::<Vec<_>>(), &host)
    }

    /// The whole text of the refusal.
    fn refusal(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

fn flags(flags: &[&str]) -> Result<Config, ConfigError> {
    Given { flags, ..Given::default() }.load()
}

fn with_env(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Given { env, ..Given::default() }.load()
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = flags(&[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database, Database::Sqlite("/data/asyncqueue/asyncqueue.db".into()));
    assert_eq!(config.public_url, None);
    assert_eq!(config.base_url("127.0.0.1:9".parse().unwrap()), "http://127.0.0.1:9");
    assert_eq!(config.callback_rate_limit, Some(RateLimit { count: 30, window: Duration::from_secs(60) }));
    assert_eq!(config.callback_rate_limit_counts, RateLimitCounts::All);
    assert_eq!(config.callback_early, EarlyCallbacks::Accept);
    assert_eq!(config.team_rate_limit, None);
    assert_eq!(config.max_connections, None);
    assert_eq!(config.log, logging::Format::Auto);
    assert_eq!((config.max_task_bytes, config.max_callback_bytes), (10 << 20, 16 << 20));
    assert_eq!(config.retention, Duration::from_hours(30 * 24));
    assert!(config.allow_target.is_empty() && config.trusted_proxy.is_empty() && config.secret_keys.is_none());
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let env = [("ASYNCQUEUE_MAX_IN_FLIGHT", "2"), ("ASYNCQUEUE_MAX_DELIVERIES", "2")];
    let file = Some("max-in-flight = 3\nmax-deliveries = 3\nmax-in-flight-per-host = \"3\"");
    let config = Given { flags: &["--max-in-flight", "1"], env: &env, file }.load().unwrap();
    assert_eq!((config.max_in_flight, config.max_deliveries, config.max_in_flight_per_host), (1, 2, 3));
}

#[test]
fn the_command_line_scripts_rely_on_is_there() {
    let config = flags(&[
        "--listen=0.0.0.0:80",
        "--database=sqlite:x.db",
        "--public-url=https://q.example/",
        "--allow-target=10.0.0.0/8",
        "--allow-target=host",
        "--callback-rate-limit=0",
        "--trusted-proxy=10.0.0.1",
        "--team-rate-limit=600",
        "--callback-early=reject",
        "--log=json",
    ])
    .unwrap();
    assert_eq!(config.base_url(config.listen), "https://q.example");
    assert_eq!(config.allow_target, ["10.0.0.0/8", "host"]);
    assert_eq!((config.callback_rate_limit, config.team_rate_limit), (None, Some(600)));
    assert_eq!((config.callback_early, config.log), (EarlyCallbacks::Reject, logging::Format::Json));
    assert_eq!(config.trusted_proxy, ["10.0.0.1/32".parse().unwrap()]);
}

#[test]
fn lists_are_arrays_in_a_file_and_have_commas_elsewhere() {
    let file = Some("trusted-proxy = [\"10.0.0.0/8\", \"::1\"]");
    assert_eq!(Given { file, ..Given::default() }.load().unwrap().trusted_proxy.len(), 2);
    assert_eq!(with_env(&[("ASYNCQUEUE_TRUSTED_PROXY", "10.0.0.0/8, ::1")]).unwrap().trusted_proxy.len(), 2);
    assert_eq!(flags(&["--trusted-proxy", "10.0.0.0/8,::1", "--trusted-proxy", "::2"]).unwrap().trusted_proxy.len(), 3);
}

#[test]
fn an_unknown_variable_is_refused_by_name_with_a_suggestion() {
    let refusal = with_env(&[("ASYNCQUEUE_LISTN", "hunter2")]).unwrap_err().to_string();
    assert!(refusal.contains("variable ASYNCQUEUE_LISTN: there is no such setting; did you mean ASYNCQUEUE_LISTEN?"));
    assert!(!refusal.contains("hunter2"));
    assert!(with_env(&[("ASYNCQUEUE_XYZZY", "1")]).unwrap_err().to_string().ends_with("unset it"));
    assert!(with_env(&[("PATH", "/bin"), ("ASYNCQUEUES_LISTEN", "x")]).is_ok());
}

#[test]
fn what_kubernetes_says_about_a_service_of_our_name_is_not_for_us() {
    let links = [
        ("ASYNCQUEUE_SERVICE_HOST", "10.0.0.1"),
        ("ASYNCQUEUE_SERVICE_PORT_HTTP", "80"),
        ("ASYNCQUEUE_PORT", "tcp://10.0.0.1:80"),
        ("ASYNCQUEUE_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(with_env(&links).is_ok());
    assert!(with_env(&[("ASYNCQUEUE_PORT", "8080")]).is_err());
}

#[test]
fn an_empty_variable_is_as_good_as_none_but_a_secret_must_not_vanish() {
    let unset = [("ASYNCQUEUE_LISTEN", ""), ("ASYNCQUEUE_CONFIG", "")];
    assert_eq!(with_env(&unset).unwrap().listen.port(), 8080);
    assert!(with_env(&[("ASYNCQUEUE_SECRET_KEY", "")]).is_err());
    assert!(with_env(&[("ASYNCQUEUE_BOOTSTRAP_KEY", "")]).is_err());
}

#[test]
fn the_file_is_refused_by_line_and_key() {
    let text = "# comment\nlistn = \"x\"\ncallbacks.early = \"reject\"\n[signal]\nrate-limit = 0\n";
    let refusal = Given { file: Some(text), ..Given::default() }.refusal();
    for line in [
        "/etc/asyncqueue.toml:2, key listn: there is no such setting; did you mean listen?",
        "/etc/asyncqueue.toml:3, key callbacks.early: there is no such setting; did you mean callback-early?",
        "/etc/asyncqueue.toml:5, key signal.rate-limit: there is no such setting; did you mean signal-rate-limit?",
    ] {
        assert!(refusal.contains(line), "{refusal}");
    }
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let refusal = Given { file: Some("listen = \"127.0.0.1:1\"\nlog = \n"), ..Given::default() }.refusal();
    assert!(refusal.contains("/etc/asyncqueue.toml:2"), "{refusal}");
}

#[test]
fn a_file_of_the_wrong_types_is_refused() {
    for text in
        ["listen = 1.5", "listen = true", "listen = [\"127.0.0.1:1\"]", "log-level = {}", "trusted-proxy = [[]]"]
    {
        assert!(Given { file: Some(text), ..Given::default() }.load().is_err(), "{text}");
    }
}

#[test]
fn secrets_are_refused_in_a_file_and_sent_to_their_variable() {
    let text = "secret-key = \"hunter2\"\nbootstrap_key = \"hunter2\"";
    let refusal = Given { file: Some(text), ..Given::default() }.refusal();
    assert!(refusal.contains("ASYNCQUEUE_SECRET_KEY") && refusal.contains("ASYNCQUEUE_BOOTSTRAP_KEY"), "{refusal}");
    assert!(!refusal.contains("hunter2"));
}

#[test]
fn a_missing_file_is_named_with_who_named_it() {
    let refusal = Given { flags: &["--config", "/nowhere"], ..Given::default() }.refusal();
    assert!(refusal.contains("flag --config: the file /nowhere cannot be read"), "{refusal}");
}

#[test]
fn all_problems_are_told_at_once() {
    let error = Given {
        flags: &["--listen", "8080", "--allow-target", "bad"],
        env: &[("ASYNCQUEUE_LOG", "xml"), ("ASYNCQUEUE_NOPE", "1"), ("ASYNCQUEUE_SECRET_KEY", "short")],
        file: Some("retention = \"30\"\nnope = 1"),
    }
    .load()
    .unwrap_err();
    let text = error.to_string();
    for source in [
        "--listen",
        "ASYNCQUEUE_LOG",
        "ASYNCQUEUE_NOPE",
        "ASYNCQUEUE_SECRET_KEY",
        ":1, key retention",
        ":2, key nope",
        "--allow-target",
    ] {
        assert!(text.contains(source), "{source} in {text}");
    }
    assert_eq!(error.problems().len(), 7);
}

#[test]
fn an_open_address_needs_a_public_url() {
    for open in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[::ffff:10.0.0.1]:1"] {
        assert!(flags(&["--listen", open]).is_err(), "{open}");
        assert!(flags(&["--listen", open, "--public-url", "https://q.example"]).is_ok(), "{open}");
    }
    for closed in ["127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        assert!(flags(&["--listen", closed]).is_ok(), "{closed}");
    }
}

#[test]
fn the_guard_has_a_word_in_allow_target() {
    let refusal = flags(&["--allow-target", "bad"]).unwrap_err().to_string();
    assert!(refusal.contains("flag --allow-target: \"bad\": not a target"), "{refusal}");
}

#[test]
fn secret_keys_are_32_bytes_each_and_differ() {
    let (one, two) = ("A".repeat(43) + "=", "B".repeat(42) + "A");
    let keys = with_env(&[("ASYNCQUEUE_SECRET_KEY", &format!("{one}, {two}"))]).unwrap().secret_keys.unwrap();
    assert_eq!(keys.expose()[0], [0; 32]);
    assert_eq!(keys.expose().len(), 2);
    for bad in ["x", &format!("{one},"), &format!("{one},{one}"), &"A".repeat(42), "hunter2"] {
        let refusal = with_env(&[("ASYNCQUEUE_SECRET_KEY", bad)]).unwrap_err().to_string();
        assert!(bad.len() < 3 || !refusal.contains(bad), "{refusal}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let (bootstrap, secret) = (format!("async_{}", "k".repeat(32)), "A".repeat(43));
    let env = [("ASYNCQUEUE_BOOTSTRAP_KEY", bootstrap.as_str()), ("ASYNCQUEUE_SECRET_KEY", &secret)];
    let config = with_env(&env).unwrap();
    let shown = format!("{config:?}{}", config.describe());
    assert!(!shown.contains("kkkk") && !shown.contains("AAAA") && !shown.contains("0, 0, 0"), "{shown}");
    assert_eq!(config.bootstrap_key.unwrap().expose(), &bootstrap);
    assert!(with_env(&[("ASYNCQUEUE_BOOTSTRAP_KEY", "async_short")]).is_err());
}

#[test]
fn the_description_names_every_value_and_its_source() {
    let env = [("ASYNCQUEUE_LOG", "json"), ("ASYNCQUEUE_SECRET_KEY", &*"A".repeat(43))];
    let config =
        Given { flags: &["--listen=127.0.0.1:1"], env: &env, file: Some("\nretention = \"1d\"") }.load().unwrap();
    let text = config.describe();
    let line = |name: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{name}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("listen"), "127.0.0.1:1 flag --listen");
    assert_eq!(line("log"), "json variable ASYNCQUEUE_LOG");
    assert_eq!(line("retention"), "1d /etc/asyncqueue.toml:2, key retention");
    assert_eq!(line("public-url"), "http://127.0.0.1:1 default");
    assert_eq!(line("ASYNCQUEUE_SECRET_KEY"), "set");
    assert_eq!(line("ASYNCQUEUE_BOOTSTRAP_KEY"), "not set");
    assert_eq!(line("ASYNCQUEUE_OIDC_CLIENT_SECRET"), "not set");
    assert_eq!(text.lines().count(), SETTINGS.len() + 3);
}

#[test]
fn without_a_data_folder_the_database_must_be_named() {
    let host =
        Host { read_file: &|_| Err(io::ErrorKind::NotFound.into()), data_folder: None, check_target: &|_| Ok(()) };
    let refusal = Config::load(FlagValues::default(), [], &host).unwrap_err().to_string();
    assert!(refusal.contains("setting database: a value is needed"), "{refusal}");
}

#[test]
fn a_subcommand_may_bring_its_own_defaults() {
    let host =
        Host { read_file: &|_| Err(io::ErrorKind::NotFound.into()), data_folder: None, check_target: &|_| Ok(()) };
    let own = || FlagValues::default().with_default("database", "sqlite:/tmp/x.db").with_default("no-such", "x");
    assert_eq!(Config::load(own(), [], &host).unwrap().database, Database::Sqlite("/tmp/x.db".into()));
    let env = [("ASYNCQUEUE_DATABASE".to_owned(), "sqlite:y.db".to_owned())];
    assert_eq!(Config::load(own(), env, &host).unwrap().database, Database::Sqlite("y.db".into()));
}

#[test]
fn names_are_the_fields_names_and_differ() {
    let names: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), SETTINGS.len());
    let debugged = format!("{:?}", flags(&[]).unwrap());
    for name in names {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        assert!(debugged.contains(&format!("{}: ", name.replace('-', "_"))), "{name}");
    }
}

#[test]
fn the_flags_are_well_formed() {
    Command::new("test").args(args()).debug_assert();
}

#[test]
fn the_page_holds_the_table() {
    let page = include_str!("../../docs/configuration.md");
    assert!(page.contains(&markdown_table()), "docs/configuration.md should hold exactly this:\n{}", markdown_table());
}
