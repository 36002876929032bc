//! What it took to open the sessions.

use serde::Serialize;

use crate::cli::load::{clock::SECOND, latency::Curve, process::Usage};

/// All sessions were opened.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli::load) struct Opening {
    pub(in crate::cli::load) sessions: u64,
    pub(in crate::cli::load) seconds: f64,
    /// Handshakes that were refused and tried again.
    pub(in crate::cli::load) refused: u64,
    /// From the connection's first byte to the complete first snapshot, in microseconds.
    pub(in crate::cli::load) snapshot: Curve,
    /// Of the server, for each session.
    pub(in crate::cli::load) cpu_micros_per_session: Option<f64>,
    pub(in crate::cli::load) resident_kib_before: Option<u64>,
    pub(in crate::cli::load) resident_kib: Option<u64>,
    /// How much more the server holds, for each session.
    pub(in crate::cli::load) kib_per_session: Option<f64>,
}

impl Opening {
    pub(in crate::cli::load) fn new(
        sessions: u64,
        took: u64,
        before: Option<Usage>,
        after: Option<Usage>,
        snapshot: Curve,
        refused: u64,
    ) -> Self {
        let both = before.zip(after);
        let each = |difference: f64| difference / sessions.max(1) as f64;
        Self {
            sessions,
            seconds: took as f64 / SECOND as f64,
            refused,
            snapshot,
            cpu_micros_per_session: both.map(|(before, after)| each((after.cpu_micros - before.cpu_micros) as f64)),
            resident_kib_before: before.map(|usage| usage.resident_kib),
            resident_kib: after.map(|usage| usage.resident_kib),
            kib_per_session: both.map(|(before, after)| each(after.resident_kib as f64 - before.resident_kib as f64)),
        }
    }
}
