//! Structured logs on stderr: readable on a terminal, one JSON object a line elsewhere.

use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Text`] if stderr is a terminal, else [`Format::Json`].
    Auto,
    /// Lines for people.
    Text,
    /// One object a line: `timestamp`, `level`, `target`, `message`, and the event's fields beside them.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("the log filter is wrong: {0}")]
    Filter(String),
    /// There is one already.
    #[error("a log is already in place")]
    Taken,
}

/// Starts the log of this process. To be called once.
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    let terminal = stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let subscriber = subscriber(json, colour, filter, stderr).map_err(LogError::Filter)?;
    // Not `.init()`, which would also listen to the `log` crate: what dependencies say there is not ours to vouch for.
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Taken)
}

/// Says what is wrong with a filter, without installing it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    if filter.trim().is_empty() {
        return Err("the filter is empty".to_owned());
    }
    EnvFilter::try_new(filter).map(drop).map_err(|cause| format!("{filter:?} is not a log filter ({cause})"))
}

fn subscriber<W>(json: bool, colour: bool, filter: &str, writer: W) -> Result<impl Subscriber, String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    check_filter(filter)?;
    let filter = EnvFilter::try_new(filter).map_err(|cause| cause.to_string())?.and(filter_fn(may_be_logged));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if json {
        let layer = fmt::layer().json().flatten_event(true).with_span_list(false).with_current_span(false);
        layer.with_writer(writer).boxed()
    } else {
        fmt::layer().with_ansi(colour).with_writer(writer).boxed()
    };
    Ok(Registry::default().with(layer.with_filter(filter)))
}

/// Below `info` only our own events: at `debug` and `trace` HTTP and TLS libraries print paths, headers and bodies,
/// and no filter an operator asks for may bring those out.
fn may_be_logged(event: &Metadata<'_>) -> bool {
    let ours = event.target() == "asyncqueue" || event.target().starts_with("asyncqueue::");
    ours || *event.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Captured {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    fn logged(json: bool, filter: &str, work: impl FnOnce()) -> String {
        let captured = Captured::default();
        tracing::subscriber::with_default(subscriber(json, false, filter, captured.clone()).unwrap(), work);
        String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let line = logged(true, "info", || {
            tracing::info!(attempt = 2, host = "h\n", "Called \u{1b}[31m it");
        });
        assert_eq!(line.lines().count(), 1, "{line}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["message"], "Called \u{1b}[31m it");
        assert_eq!(object["attempt"], 2);
        assert_eq!(object["target"], module_path!());
        assert!(object["timestamp"].is_string());
    }

    #[test]
    fn text_from_outside_cannot_steer_a_terminal() {
        let line = logged(false, "info", || tracing::info!("red \u{1b}[31m"));
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn dependencies_stay_silent_below_info_whatever_the_filter() {
        let text = logged(true, "trace,hyper=trace", || {
            tracing::trace!(target: "hyper::proto", "GET /v1/callbacks/secret");
            tracing::debug!(target: "asyncqueue_lookalike", "no");
            tracing::warn!(target: "hyper::proto", "loud");
            tracing::trace!(target: "asyncqueue::dispatch", "ours");
        });
        assert!(text.contains("loud") && text.contains("ours"), "{text}");
        assert!(!text.contains("secret") && !text.contains("lookalike"), "{text}");
    }

    #[test]
    fn filters_are_checked() {
        for good in ["info", "warn,asyncqueue::store=debug", "off"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "asyncqueue=loud", "a=b=c"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
