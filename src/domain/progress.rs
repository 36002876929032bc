//! How far the recorder is in a partition, and why it may be no further.

use std::collections::BTreeMap;

use super::{Epoch, Position};

/// Where the recorder is in a partition, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: i32,
    /// The log's name.
    pub log_id: String,
    /// Counts the replacements of the log under that name.
    pub generation: i32,
    /// The next offset to apply.
    pub next_offset: i64,
    /// Offset and digest of the last record that was applied: proof that the log is still the same.
    pub last_record: Option<LastRecord>,
}

impl Progress {
    /// The life of the log this progress counts in.
    pub fn epoch(&self) -> Epoch {
        Epoch::of(&self.log_id, self.generation)
    }

    /// The same as snapshots carry it.
    pub fn position(&self) -> Position {
        Position { partition: self.partition, epoch: self.epoch(), next_offset: self.next_offset }
    }
}

/// Remembers one record by a digest of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// The record's offset.
    pub offset: i64,
    /// Digest of its key, value and timestamp.
    pub digest: u64,
}

/// Why a partition is not recorded any more until somebody decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Halt {
    /// Records expired before they were recorded.
    Gap,
    /// The log was replaced.
    Regression,
}

impl Halt {
    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "log_gap",
            Self::Regression => "log_regression",
        }
    }

    /// A reason that only a newer version knows still means that nothing is recorded.
    pub(crate) fn of(stored: &str) -> Self {
        if stored == Self::Gap.as_str() { Self::Gap } else { Self::Regression }
    }
}

/// The halted partitions.
pub type Halts = BTreeMap<i32, Halt>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_reads_back_as_it_was_stored_and_one_of_a_newer_version_halts_too() {
        for halt in [Halt::Gap, Halt::Regression] {
            assert_eq!(Halt::of(halt.as_str()), halt);
        }
        assert_eq!(Halt::of("of a newer version"), Halt::Regression);
    }
}
