//! Where a server of a test lives: its folder, its port, its key, and how it is started.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::random;
use crate::postgres::free_port;

/// Everything that stays the same when the server is killed and started again.
pub struct Site {
    /// Holds the logs and the journal; removed at the end of a test that passed.
    pub dir: PathBuf,
    /// Holds the database alone.
    pub store: PathBuf,
    pub addr: SocketAddr,
    /// The bootstrap key; where it is empty none is given.
    pub key: String,
    /// A command in front of the binary, such as strace.
    pub wrapper: Vec<OsString>,
    pub environment: Vec<(String, String)>,
    pub arguments: Vec<String>,
    /// The database that nodes share; none for the embedded store of this site alone.
    pub shared: Option<String>,
    /// Callbacks of one address in a minute; 0 is off.
    pub callback_limit: u32,
}

impl Site {
    /// A new folder and a free port.
    pub fn new(label: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("asyncqueue-{label}-{}-{}", std::process::id(), random::hex(3)));
        let store = dir.join("store");
        std::fs::create_dir_all(&store).expect("a folder for the test");
        Self {
            store,
            dir,
            addr: free_address(),
            key: format!("async_{}", random::hex(24)),
            wrapper: Vec::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            shared: None,
            callback_limit: 0,
        }
    }

    pub fn database(&self) -> PathBuf {
        self.store.join("asyncqueue.db")
    }

    fn database_argument(&self) -> String {
        self.shared.clone().unwrap_or_else(|| format!("sqlite:{}", self.database().display()))
    }

    /// `asyncqueue serve` on this site, ready to be spawned.
    pub fn serve(&self) -> Command {
        let mut command = self.binary(&self.wrapper, &self.key);
        command.args(["serve", "--listen", &self.addr.to_string(), "--database", &self.database_argument()]);
        let limit = if self.callback_limit == 0 { "0".to_owned() } else { format!("{}/60", self.callback_limit) };
        command.args(["--allow-target", "127.0.0.0/8", "--callback-rate-limit", &limit, "--signal-rate-limit", "0"]);
        command.args(["--log", "json"]).args(&self.arguments);
        command
    }

    fn binary(&self, wrapper: &[OsString], key: &str) -> Command {
        let binary = OsString::from(env!("CARGO_BIN_EXE_asyncqueue"));
        let words: Vec<OsString> = wrapper.iter().cloned().chain([binary]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASYNCQUEUE_")) {
            command.env_remove(name);
        }
        if !key.is_empty() {
            command.env("ASYNCQUEUE_BOOTSTRAP_KEY", key);
        }
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs another command of the binary on the same store, and gives what it printed; panics where it fails.
    pub fn command(&self, words: &[&str]) -> String {
        succeeded(&format!("asyncqueue {}", words.join(" ")), &self.attempt(words))
    }

    /// The same, whatever comes of it.
    pub fn attempt(&self, words: &[&str]) -> Output {
        self.bare(&[words, &["--database", &self.database_argument()]].concat())
    }

    /// Runs the binary with these words alone.
    pub fn bare(&self, words: &[&str]) -> Output {
        self.binary(&[], "").args(words).output().expect("the binary runs")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("kept for inspection: {}", self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The standard output of a command that must have succeeded.
pub fn succeeded(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {} {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command that must have been refused said, on standard error alone and with exit code 1.
pub fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{said}");
    said
}

/// The first word of `text` that starts with `prefix`, whatever quotes or labels stand around it.
pub fn word_with_prefix(text: &str, prefix: &str) -> String {
    let start = text.find(prefix).unwrap_or_else(|| panic!("no `{prefix}…` in `{text}`"));
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || "_-+/=".contains(c);
    text[start..].chars().take_while(|c| part_of_word(*c)).collect()
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// All files below `dir`.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}
