//! What can be wrong, and with what it was seen.

/// A promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Flaw {
    /// A version went down or came twice, without a `removed` or a snapshot between.
    Regress,
    /// A frame showed an order whose record does not name the user.
    Leak,
    /// Frames came in a sequence the wire forbids.
    Sequence,
    /// A frame says something else than its record.
    Garbled,
    /// A screen was wrong for too long without saying that it may be.
    Silent,
    /// In the end a screen is not the truth.
    Stale,
    /// In the end a screen says that it is stale although nothing is, or fresh although a partition is halted.
    Freshness,
    /// Rows are not the fold of what was recorded.
    Rows,
    /// A record was recorded twice or never.
    Recorded,
    /// Progress passed a record that was not kept as a dead letter.
    DeadLetter,
    /// A session ended with another cause than it had, or with none.
    Cause,
    /// The hub called a state of its own wrong that had been proved.
    Alarm,
    /// It never came to rest.
    Stuck,
}

/// Flaws with what was seen.
pub(super) type Flaws = Vec<(Flaw, String)>;
