//! How far the recorders are, as every instance reads it once a second.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tokio::sync::watch;

use crate::domain::{Halt, Progress};

/// Progress at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressView {
    /// All partitions that have a row.
    pub progress: Vec<Progress>,
    /// The partition count under which versions were first taken from the log.
    pub partition_count: Option<i32>,
    /// What whoever records them has halted.
    pub halts: BTreeMap<i32, Halt>,
    /// When it had been read.
    pub read_at: Instant,
}

impl ProgressView {
    /// Where a partition is.
    pub fn of(&self, partition: i32) -> Option<&Progress> {
        self.progress.iter().find(|progress| progress.partition == partition)
    }

    /// Whether events may take their version from a log that has this many partitions now.
    pub fn accepts_unversioned(&self, partition_count: i32) -> bool {
        self.partition_count.is_none_or(|first| first == partition_count)
    }
}

/// Reads the latest progress; `None` until it was read once.
pub type ProgressViews = watch::Receiver<Option<Arc<ProgressView>>>;
