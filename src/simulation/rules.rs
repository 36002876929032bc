//! Rules that can be switched off, wherever they live: the simulation must be seen to fail without each.

use crate::{hub, log};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A batch is applied only where progress stands at the position it was read from.
    CompareAndSet,
    /// Rows and progress are committed together.
    OneTransaction,
    /// Recording goes on at the progress in SQL, not at the offsets committed to Kafka.
    PositionsFromSql,
    /// A dead letter has been delivered before progress passes its record.
    DeadLetterFirst,
    /// Who halts a partition tells the others by way of SQL.
    HaltsInSql,
    /// One about the log.
    Log(log::rules::LogRule),
    /// One of the hub.
    Hub(hub::rules::HubRule),
}

/// The same, where each is looked up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switches {
    pub(super) off: Option<Rule>,
    pub(super) log: log::rules::LogRules,
    pub(super) hub: Option<hub::rules::HubRule>,
}

impl Switches {
    pub(super) fn without(off: Option<Rule>) -> Self {
        let mut switches = Self { off, ..Self::default() };
        match off {
            Some(Rule::Log(rule)) => switches.log.off = Some(rule),
            Some(Rule::Hub(rule)) => switches.hub = Some(rule),
            _ => {}
        }
        switches
    }
}
