//! `lifecycle`: the statuses orders go through. Compared without regard to case, `-` and space as `_`.

use super::{reader::Section, rule::text};

/// Longest status, in characters.
const MAX_STATUS_CHARS: usize = 64;

/// Known statuses and those an order ends in.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Statuses accepted; an event with another becomes a dead letter. Empty, the default: any.
    pub statuses: Vec<String>,
    /// Statuses an order ends in. Default `delivered,cancelled,refunded,returned,completed,done,closed`.
    pub terminal: Vec<String>,
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
        }
    }
}
