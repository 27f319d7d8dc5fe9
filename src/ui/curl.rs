//! A task's call as a command to paste. What is in it came from elsewhere, so it is quoted in a way that a shell takes
//! literally, control characters and all.

use std::fmt::Write;

use crate::task::{Method, Request};

/// The command that makes the call once more.
pub fn command(request: &Request) -> String {
    let mut text = "curl".to_owned();
    if request.method != Method::Get {
        let _ = write!(text, " -X {}", request.method.name());
    }
    let _ = write!(text, " {}", quoted(&request.target_url));
    for (name, value) in &request.headers {
        let _ = write!(text, " \\\n  -H {}", header(name, value));
    }
    if let Some(body) = request.body.as_deref().filter(|_| request.method != Method::Get) {
        let _ = write!(text, " \\\n  --data-raw {}", quoted(body));
    }
    text
}

/// A header; a secret is left to a variable of the reader's shell.
fn header(name: &str, value: &str) -> String {
    if !is_secret(name, value) {
        return quoted(&format!("{name}: {value}"));
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let variable: String = name.chars().map(plain).collect();
    format!("\"{}: $H_{variable}\"", name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_"))
}

/// Whether a header's value signs somebody in, or stands for one in the vault. Pages show neither.
pub fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = ["authorization", "cookie", "token", "secret", "key", "password", "credential", "signature"];
    value.starts_with("tok_") || words.iter().any(|word| name.contains(word))
}

/// One word of a shell's command line.
pub fn quoted(text: &str) -> String {
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return escaped(text);
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// In `$'…'`, where control characters have names; a terminal must not obey them when the command is pasted.
fn escaped(text: &str) -> String {
    let mut word = "$'".to_owned();
    for c in text.chars() {
        let _ = match c {
            '\'' | '\\' => write!(word, "\\{c}"),
            '\n' => write!(word, "\\n"),
            c if c.is_control() => write!(word, "\\u{:04x}", u32::from(c)),
            c => write!(word, "{c}"),
        };
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_left_to_the_readers_shell() {
        assert_eq!(header("X-Api-Key", "very secret"), "\"X-Api-Key: $H_X_API_KEY\"");
        assert_eq!(header("X\"$(id)", "tok_1"), "\"X___id_: $H_X___ID_\"");
        assert_eq!(header("accept", "it's"), r"'accept: it'\''s'");
    }

    #[test]
    fn a_shell_takes_what_is_quoted_literally() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(rm -rf /) `x` \\"), r"'it'\''s $(rm -rf /) `x` \'");
        assert_eq!(quoted("\u{1b}]8;;x\u{7}'"), r"$'\u001b]8;;x\u0007\''");
        let spoken =
            std::process::Command::new("bash").args(["-c", &format!("printf %s {}", quoted("\u{1b}'\\\n€"))]).output();
        assert_eq!(String::from_utf8(spoken.unwrap().stdout).unwrap(), "\u{1b}'\\\n€");
    }
}
