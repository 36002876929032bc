//! What an instance that is not ready waits for, in words for its log.

use std::fmt::{self, Display, Formatter};

/// The first thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nothing is known of the topic.
    Log,
    /// Progress was not read yet.
    Progress,
    /// The leaders of these partitions have not told where their logs begin and end.
    Ends(Vec<i32>),
    /// What the leaders of these partitions have told is older than progress.
    NewerLook(Vec<i32>),
    /// So many offsets lie between the positions and where the log ended at the start.
    Records(u64),
}

impl Display for Waiting {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => out.write_str("the brokers to tell about the topic"),
            Self::Progress => out.write_str("the database to tell how far the log is recorded"),
            Self::Ends(partitions) => {
                write!(out, "the leaders of the partitions {partitions:?} to tell where their logs begin and end")
            }
            Self::NewerLook(partitions) => {
                write!(out, "an answer about the partitions {partitions:?} that is newer than recorded progress")
            }
            Self::Records(behind) => write!(out, "the records up to where the log ended at the start: {behind} to go"),
        }
    }
}
