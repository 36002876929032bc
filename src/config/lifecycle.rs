//! `lifecycle`: the statuses orders go through. Compared without regard to case, `-` and space as `_`.

use std::time::Duration;

use super::{
    reader::Section,
    rule::{duration, text},
};

/// Longest status, in characters.
const MAX_STATUS_CHARS: usize = 64;

/// Known statuses and those an order ends in.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Statuses accepted; an event with another becomes a dead letter. Empty, the default: any.
    pub statuses: Vec<String>,
    /// Statuses an order ends in. Default `delivered,cancelled,refunded,returned,completed,done,closed`.
    pub terminal: Vec<String>,
    /// How long after its end an order is erased; a marker of its version stays. 1 h to 10 years, unset: never.
    pub erase_after: Option<Duration>,
}

impl Lifecycle {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            statuses: section.list("statuses", "", text(MAX_STATUS_CHARS)),
            terminal: section.list(
                "terminal",
                "delivered,cancelled,refunded,returned,completed,done,closed",
                text(MAX_STATUS_CHARS),
            ),
            erase_after: section.optional("erase_after", duration("1h", "10y")),
        }
    }
}
