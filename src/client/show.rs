//! Standard output and standard error: what scripts read goes to the one, all else to the other, and nothing that came from
//! elsewhere can move a cursor or change a title.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use super::answer::Task;
use super::failure::{Exit, Failure};

/// Where a command writes.
pub struct Screen {
    /// Whether answers are passed on as they came.
    pub json: bool,
    /// Whether a person looks at standard output.
    out_is_terminal: bool,
    /// Whether a person looks at standard error.
    err_is_terminal: bool,
    /// The progress line that stands there, if one does.
    line: String,
}

impl Screen {
    /// This process's.
    pub fn new(json: bool) -> Self {
        let (out_is_terminal, err_is_terminal) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self { json, out_is_terminal, err_is_terminal, line: String::new() }
    }

    /// The answer itself for scripts, or else what `table` makes of it.
    pub fn answer(&mut self, body: &[u8], table: impl FnOnce(&[u8]) -> Result<String, Failure>) -> Result<(), Failure> {
        if self.json {
            return self.line(&String::from_utf8_lossy(body));
        }
        let text = table(body)?;
        out(text.as_bytes())
    }

    /// A line of text.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        let shown = if self.out_is_terminal { escaped(text) } else { Cow::Borrowed(text) };
        out(shown.as_bytes())?;
        out(b"\n")
    }

    /// A result's body: its very bytes, unless a person's terminal would have to take them.
    pub fn body(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if !self.out_is_terminal {
            return out(bytes);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.say(&format!("the result is {} bytes that are no text; redirect them to a file", bytes.len()));
            return Ok(());
        };
        self.line(text.strip_suffix('\n').unwrap_or(text))
    }

    /// The end of a task that was waited for.
    pub fn end(&mut self, body: &[u8], task: &Task) -> Result<Exit, Failure> {
        self.still();
        if self.json {
            self.line(&String::from_utf8_lossy(body))?;
        } else if let Some(result) = &task.result {
            self.body(&result.bytes()?)?;
        }
        let exit = task.exit().unwrap_or(Exit::Timeout);
        if exit != Exit::Done {
            let why = task.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            self.say(&format!("task {} ended as {}{why}", task.id, task.status));
        }
        Ok(exit)
    }

    /// Tells a person.
    pub fn say(&mut self, text: &str) {
        self.still();
        eprintln!("asyncqueue: {}", escaped(text));
    }

    /// Shows how a wait goes, where a person looks.
    pub fn progress(&mut self, status: &str, seconds: u64) {
        let line = format!("{}, {seconds} s", escaped(status));
        if self.err_is_terminal && self.line != line {
            eprint!("\r\u{1b}[2K{line}");
            let _ = std::io::stderr().flush();
            self.line = line;
        }
    }

    /// Takes the progress line away.
    pub fn still(&mut self) {
        if !std::mem::take(&mut self.line).is_empty() {
            eprint!("\r\u{1b}[2K");
        }
    }
}

fn out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Text without characters that a terminal obeys or that hide what stands there; JSON stays the same JSON.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_odd(c) {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_odd(c: char) -> bool {
    let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    hides || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_that_it_would_obey() {
        assert_eq!(escaped("\u{1b}]0;title\u{7}\u{9b}31m\u{7f}\r"), "\\u001b]0;title\\u0007\\u009b31m\\u007f\\u000d");
        assert_eq!(escaped("a\u{202e}b"), "a\\u202eb");
        assert!(matches!(escaped("plain é 日本 😀\n\tdone"), Cow::Borrowed(_)));
        let json = "{\"a\":\"\u{9b}\u{202e}\"}";
        let same: serde_json::Value = serde_json::from_str(&escaped(json)).unwrap();
        assert_eq!(same, serde_json::from_str::<serde_json::Value>(json).unwrap());
    }
}
