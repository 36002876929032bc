//! The log: one line per event, JSON for machines or text for people. Never a token, a secret or a payload.
//!
//! The two functions that touch what a process has only one of, the default subscriber and the panic hook, are called once, by
//! `main`.

use std::{
    any::Any,
    io::{self, IsTerminal},
    panic,
};

use prometheus_client::metrics::counter::Counter;
use tracing::{Subscriber, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

use crate::config::{Log, LogFormat};

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// As containers expect of a service.
    Stdout,
    /// For commands whose answer is on stdout.
    Stderr,
}

/// Makes the log of these settings the log of the process.
pub fn start_logging(log: &Log, destination: Destination) -> Result<(), SetGlobalDefaultError> {
    match destination {
        Destination::Stdout => {
            tracing::subscriber::set_global_default(subscriber(log, io::stdout().is_terminal(), io::stdout))
        }
        Destination::Stderr => {
            tracing::subscriber::set_global_default(subscriber(log, io::stderr().is_terminal(), io::stderr))
        }
    }
}

/// Counts and logs every panic, with its place. The message only where the source holds it as it is: a formatted one may
/// quote data.
pub fn report_panics(panics: Counter) {
    panic::set_hook(Box::new(move |info| {
        panics.inc();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = shown(info.payload());
        let thread = std::thread::current();
        tracing::error!(
            panic.place = place,
            panic.thread = thread.name(),
            panic.message = message,
            "a thread panicked"
        );
    }));
}

fn shown(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().unwrap_or(&"(not shown: may quote data)")
}

fn subscriber<W>(log: &Log, is_terminal: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = match log.format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(is_terminal).with_writer(writer).boxed(),
    };
    // The web server's own start-up chatter says nothing that our lines do not. What it says of requests it cannot read anybody
    // can cause without end, so they are counted in its place. And sqlx warns of a line of a password file by repeating it. A
    // directive of the settings wins.
    let level = format!("actix_server=warn,actix_http=off,sqlx_postgres::options=error,{}", log.level);
    // The settings have refused what does not parse, so nothing is lost here.
    tracing_subscriber::registry().with(lines).with(EnvFilter::builder().parse_lossy(level))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: Option<LogFormat>, is_terminal: bool) -> String {
        let (log, buffer) = (Log { format, level: level.into() }, Buffer::default());
        let writer = buffer.clone();
        let subscriber = subscriber(&log, is_terminal, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(session.id = "s-1", session.orders = 3, "session ended");
            tracing::debug!("a detail");
            tracing::error!(target: "actix_http::h1::dispatcher", "stream error: request parse error");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_machine_reads_one_object_per_line_with_dotted_fields() {
        let line: Value = serde_json::from_str(&logged("info", None, false)).unwrap();
        assert_eq!(line["message"], "session ended");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["session.id"], "s-1");
        assert_eq!(line["session.orders"], 3);
    }

    #[test]
    fn a_terminal_shows_text_unless_told_otherwise() {
        assert!(logged("info", None, true).contains("session ended"));
        assert!(serde_json::from_str::<Value>(&logged("info", None, true)).is_err());
        assert!(serde_json::from_str::<Value>(&logged("info", Some(LogFormat::Json), true)).is_ok());
        assert!(!logged("info", Some(LogFormat::Text), false).contains('\u{1b}'));
    }

    #[test]
    fn directives_decide_what_is_logged() {
        assert_eq!(logged("off", None, false), "");
        assert_eq!(logged("warn,ordercast::telemetry=debug", None, false).lines().count(), 2);
    }

    #[test]
    fn requests_that_cannot_be_read_are_not_told_unless_somebody_asks() {
        for (level, told) in [("info", false), ("error", false), ("trace", false), ("info,actix_http=error", true)] {
            assert_eq!(logged(level, None, false).contains("stream error"), told, "{level}");
        }
    }

    #[test]
    fn a_panic_s_message_is_shown_only_if_it_quotes_nothing() {
        let message = |panics: fn()| shown(&*panic::catch_unwind(panics).unwrap_err());
        assert_eq!(message(|| panic!("as the source has it")), "as the source has it");
        let quotes = message(|| panic!("the token was {}", std::hint::black_box("canary")));
        assert!(!quotes.contains("canary"), "{quotes}");
    }
}
