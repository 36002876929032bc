//! How a run is told while it goes on: one line on a terminal, written again each second; elsewhere a line now and then.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::cli::output::say;

/// Where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Writes to stderr.
pub(super) struct Progress {
    is_terminal: bool,
    written_at: Option<Instant>,
    phase: String,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), written_at: None, phase: String::new() }
    }

    /// What is being done now.
    pub(super) fn phase(&mut self, phase: &str) {
        self.phase = phase.to_owned();
        self.written_at = None;
    }

    /// Says how it goes.
    pub(super) fn tell(&mut self, how: &str) {
        let line = format!("{}: {how}", self.phase);
        if self.is_terminal {
            let mut stderr = io::stderr().lock();
            // Progress is not worth failing for.
            let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
        } else if self.written_at.is_none_or(|at| at.elapsed() >= LINE_INTERVAL) {
            self.written_at = Some(Instant::now());
            say(line);
        }
    }

    /// Leaves the terminal's line to others.
    pub(super) fn end(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
