//! The end of an instance that nobody asked for, and what sessions are handed.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::*;
use crate::config::{self, Sources, variable};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn sessions_live_by_the_defaults_of_the_settings() {
    let defaults = config::load(&Sources::default(), &[]).unwrap();
    assert_eq!(session_config(&defaults), crate::session::SessionConfig::default());
}

#[tokio::test]
async fn a_component_that_dies_stops_the_instance_and_is_named_in_the_last_line_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", directory.path().join("orders.db").display());
    let settings = [
        // Nobody listens there, which is waited for.
        ("kafka.brokers", "127.0.0.1:1"),
        ("database.url", &database),
        ("auth.secret", "a secret of at least thirty-two bytes!"),
        ("http.listen", "127.0.0.1:0"),
        ("operations.listen", "127.0.0.1:0"),
        ("shutdown.spread", "100ms"),
        ("shutdown.grace", "100ms"),
    ];
    let environment = settings.map(|(key, value)| (variable(key), value.to_owned())).into();
    let settings = config::load(&Sources { environment, ..Sources::default() }, &[]).unwrap();
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(lines);
    let mut app = App::build(settings, Arc::new(|_| {})).unwrap();
    app.front.as_mut().unwrap().keys = Component::task("keys", async |_stop| panic!("on purpose"));
    let ended = app.run_until_stopped(std::future::pending()).await;
    assert!(matches!(ended, Err(RunError::EndedEarly("keys"))), "{ended:?}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains("ERROR") && last.contains("the keys ended early"), "{log}");
}
