//! `hub`: how much of the log an instance keeps in memory.

use std::time::Duration;

use super::{
    reader::Section,
    rule::{duration, number},
};

/// The tail of the log. The byte cap wins over the grace.
#[derive(Debug, Clone)]
pub struct Hub {
    /// How far behind the recorder's progress the tail begins. 0 s to 10 min, default 5 s.
    pub tail_grace: Duration,
    /// Bytes the tail may hold. 1 MiB to 1 TiB, default 256 MiB.
    pub tail_bytes: usize,
}

impl Hub {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            tail_grace: section.value("tail_grace", "5s", duration("0s", "10m")),
            tail_bytes: section.value("tail_bytes", "268435456", number(1 << 20..=1 << 40)),
        }
    }
}
