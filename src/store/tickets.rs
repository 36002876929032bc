//! What becomes of a one-time ticket that somebody shows, in both dialects.

use super::StoreError;

/// Asked once, right before a commit. `false`: what was done is rolled back.
pub type MayCommit<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// A ticket that was used up, and what it takes to undo that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedTicket {
    /// Its name.
    pub digest: Vec<u8>,
    /// What it says.
    pub claims: String,
    /// Until when it would have been good, in milliseconds, by the database's clock.
    pub expires_at: i64,
}

/// What became of the use of a ticket.
#[derive(Debug)]
pub enum TicketUse {
    /// It is used up, and nobody else was told so.
    Used(UsedTicket),
    /// It was not good, or not any more.
    NotGood,
    /// It was not to be committed: the ticket is as good as before.
    Withdrawn,
    /// The database was told to commit, and nobody knows whether it has.
    Unknown(UsedTicket, StoreError),
}

/// How a transaction ended that was to be committed only if somebody agreed.
pub(super) enum Ending {
    Committed,
    Withdrawn,
    Unknown(StoreError),
}

impl TicketUse {
    /// The transaction that found this ticket, and removed it, ended so.
    pub(super) fn of(ticket: Option<UsedTicket>, ending: Ending) -> Self {
        match (ticket, ending) {
            (_, Ending::Withdrawn) => Self::Withdrawn,
            (None, _) => Self::NotGood,
            (Some(ticket), Ending::Committed) => Self::Used(ticket),
            (Some(ticket), Ending::Unknown(error)) => Self::Unknown(ticket, error),
        }
    }
}
